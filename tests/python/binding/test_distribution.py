"""The wheel and the source distribution: made and installed without a network, then used."""

import functools
import os
import re
import shutil
import subprocess
import sys
import tarfile
import textwrap
import zipfile

import pytest
import rig

pytestmark = pytest.mark.release

PYTHON = sys.executable
HOME = rig.ROOT / "client" / "python"
#: What an environment of these tests may not have: the package in place, and another libpawl.
HIDDEN = ("PYTHONPATH", "PAWL_PYTHON", "PAWL_ADDR", "PAWL_BUILD_DIR", "PAWL_REQUIRE_NATIVE",
          "PAWL_BACKEND", "PKG_CONFIG_PATH", "LD_LIBRARY_PATH")


@functools.lru_cache(None)
def without_network():
    """A prefix that takes the network away, where that is permitted."""
    for prefix in (("unshare", "-n"), ("unshare", "-rn")):
        if subprocess.run([*prefix, "true"], capture_output=True).returncode == 0:
            return prefix
    return ()


def run(*command, network=False, check=True, cwd="/", **extra):
    env = {name: value for name, value in os.environ.items() if name not in HIDDEN}
    prefix = () if network else without_network()
    done = subprocess.run([*prefix, *map(str, command)], capture_output=True, text=True, cwd=cwd,
                          env=dict(env, **extra))
    assert not check or done.returncode == 0, (command, done.stdout, done.stderr)
    return done


def litter():
    """What setuptools leaves where it runs."""
    return {path for path in (HOME / "build", HOME / "dist", *HOME.glob("src/*.egg-info"))
            if path.exists()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of both files."""
    out = tmp_path_factory.mktemp("dist")
    before = litter()
    run(PYTHON, HOME / "distribute.py", rig.BUILD, out)
    assert litter() == before, "something was left beside the sources"
    return out


@pytest.fixture(scope="module")
def wheel(made):
    return next(made.glob("*.whl"))


@pytest.fixture(scope="module")
def sdist(made):
    return next(made.glob("*.tar.gz"))


@pytest.fixture
def venv(tmp_path):
    """A virtual environment that sees Debian's packages; its python."""
    run(PYTHON, "-m", "venv", "--system-site-packages", tmp_path / "venv")
    return tmp_path / "venv" / "bin" / "python"


def install(python, what, **extra):
    return run(python, "-m", "pip", "install", "--no-index", "--no-deps", "--no-build-isolation",
               "--disable-pip-version-check", "--verbose", what, **extra)


CHECK = textwrap.dedent("""
    import sys, pawl
    from pawl import _backend
    backend, _ = _backend.handle_class()
    print(_backend.native_missing, file=sys.stderr)
    with pawl.Client(sys.argv[1], check_deadline_ms=20000) as client:
        verdicts = [client.check("k", "2/minute").outcome for _ in range(3)]
    print(backend, *verdicts, pawl.__file__)
    assert not any(name.split(".")[0] == "django" for name in sys.modules)
""")


def use(python, daemon, **extra):
    """Three checks of two with what is installed: which backend served, and the verdicts."""
    done = run(python, "-c", CHECK, daemon.unix, network=True, **extra)
    words = done.stdout.split()
    print(done.stderr)
    assert words[4].startswith(str(python.parents[1])), "not the one that was installed"
    return words[0], words[1:4]


def project_version():
    return re.search(r"project\(pawl VERSION (\S+)",
                     (rig.ROOT / "CMakeLists.txt").read_text()).group(1)


def test_names_say_the_version_of_the_project_and_the_stable_abi(wheel, sdist):
    version = project_version()
    machine = os.uname().machine
    assert wheel.name == f"pawl-{version}-cp39-abi3-linux_{machine}.whl"
    assert sdist.name == f"pawl-{version}.tar.gz"


def test_the_wheel_has_every_file_of_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    source = HOME / "src"
    wanted = {str(path.relative_to(source)) for path in (source / "pawl").rglob("*")
              if path.is_file() and path.suffix not in (".so", ".pyc") and "/." not in str(path)}
    packed = {name for name in names if ".dist-info/" not in name}
    assert packed == wanted | {"pawl/_native.abi3.so"}
    assert any(name.endswith("LICENSE") for name in names)


def test_the_wheel_says_what_it_is(wheel):
    archive = zipfile.ZipFile(wheel)
    texts = {name.rpartition("/")[2]: archive.read(name).decode() for name in archive.namelist()
             if ".dist-info/" in name}
    assert "pawl = pawl.pytest_plugin" in texts["entry_points.txt"]
    for line in ("Requires-Python: >=3.9", "Provides-Extra: drf", "Provides-Extra: simplejwt",
                 "Provides-Extra: oauth"):
        assert line in texts["METADATA"], line
    assert not re.search(r"^Requires-Dist: [^;]*$", texts["METADATA"], re.M), "needs nothing"
    assert "pawl/py.typed" in archive.namelist()


def test_the_source_distribution_has_what_a_build_needs(sdist):
    names = {name.partition("/")[2] for name in tarfile.open(sdist).getnames()}
    native = {f"native/{path.name}" for path in (HOME / "native").iterdir()}
    assert native | {"setup.py", "pyproject.toml", "README.md", "LICENSE", "PKG-INFO"} <= names
    assert not [name for name in names if name.endswith(".so")]


def test_the_wheel_carries_libpawl_and_serves(wheel, venv, daemon):
    install(venv, wheel)
    assert use(venv, daemon) == ("native", ["allow", "allow", "deny"])
    library = next(venv.parents[1].rglob("_native.abi3.so"))
    needed = run("ldd", library).stdout
    assert "libpawl" not in needed and "not found" not in needed and "libsodium" in needed


def test_the_source_distribution_builds_against_an_installed_libpawl(sdist, venv, daemon, tmp_path):
    prefix = tmp_path / "prefix"
    for component in ("libpawl0", "libpawl-dev"):
        run("cmake", "--install", rig.BUILD, "--prefix", prefix, "--component", component)
    pkg_config = next(prefix.rglob("pawl.pc")).parent
    install(venv, sdist, PKG_CONFIG_PATH=str(pkg_config), PAWL_REQUIRE_NATIVE="1")
    where = {"LD_LIBRARY_PATH": str(pkg_config.parent)}
    assert use(venv, daemon, **where) == ("native", ["allow", "allow", "deny"])
    library = next(venv.parents[1].rglob("_native.abi3.so"))
    assert f"{prefix}" in run("ldd", library, **where).stdout


def test_without_libpawl_the_pure_client_serves_and_the_build_says_so_loudly(sdist, venv, daemon):
    if run("pkg-config", "--exists", "pawl", check=False).returncode == 0:
        pytest.skip("libpawl-dev is installed on this machine")
    told = install(venv, sdist)
    assert "WITHOUT the C extension: libpawl is missing" in told.stdout + told.stderr
    assert use(venv, daemon) == ("pure", ["allow", "allow", "deny"])
    tag = next(venv.parents[1].rglob("pawl-*.dist-info")) / "WHEEL"
    assert "Root-Is-Purelib: true" in tag.read_text() and "py3-none-any" in tag.read_text()


def test_whoever_requires_the_extension_gets_an_error_instead(sdist, tmp_path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path)
    tree = next(tmp_path.glob("pawl-*"))
    build = (PYTHON, "setup.py", "-q", "build")
    done = run(*build, cwd=tree, check=False, PAWL_REQUIRE_NATIVE="1", CC="no-such-compiler")
    assert done.returncode != 0 and "no-such-compiler" in done.stderr
    done = run(*build, cwd=tree, check=False, PAWL_BUILD_DIR=str(tmp_path))
    assert done.returncode != 0 and "no finished build of pawl" in done.stderr
    shutil.rmtree(tree / "build", ignore_errors=True)

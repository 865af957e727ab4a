"""The Debian packages: contents, dependencies, scripts, lintian. ./dev soak --only package installs
them in a bare root, starts, upgrades and purges."""

import gzip
import re
import shutil
import subprocess

import pytest

from conftest import BUILD, ROOT

pytestmark = pytest.mark.release

DEBIAN = ROOT / "deploy" / "debian"
NAMES = ["libpawl-dev", "libpawl0", "pawlctl", "pawld"]


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          **options)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """name -> the package, made of the release build."""
    folder = tmp_path_factory.mktemp("packages")
    run("cmake", "--preset", "release", "-B", BUILD, cwd=ROOT)
    run("cmake", "--build", BUILD, "--", "--quiet")
    run("cpack", "-B", folder, cwd=BUILD)
    return {name: next(folder.glob(f"{name}_*.deb")) for name in NAMES}


def contents(package):
    """path -> (mode, owner), folders left out."""
    listed = run("dpkg-deb", "-c", package).splitlines()
    return {words[5].lstrip("."): (words[0], words[1])
            for words in map(str.split, listed) if not words[0].startswith("d")}


def field(package, name):
    return run("dpkg-deb", "-f", package, name).strip()


def test_each_package_has_its_files_and_root_owns_them(packages):
    wanted = {
        "pawld": ["/usr/sbin/pawld", "/etc/pawl/pawld.yaml", "/usr/lib/systemd/system/pawld.service",
                  "/usr/lib/systemd/system/pawld.socket", "/usr/lib/sysusers.d/pawl.conf",
                  "/usr/lib/tmpfiles.d/pawl.conf", "/usr/share/man/man8/pawld.8.gz",
                  "/usr/share/man/man5/pawld.yaml.5.gz", "/usr/share/doc/pawld/METRICS.md",
                  "/usr/share/doc/pawld/RUNBOOK.md", "/usr/share/doc/pawld/examples/gateways/.*",
                  "/usr/share/doc/pawld/examples/prometheus/.*",
                  "/usr/share/doc/pawld/examples/grafana/.*"],
        "pawlctl": ["/usr/bin/pawlctl", "/usr/share/man/man1/pawlctl.1.gz"],
        "libpawl0": [r"/usr/lib/[^/]+/libpawl\.so\.0", r"/usr/lib/[^/]+/libpawl\.so\.0\.\d+\.\d+"],
        "libpawl-dev": ["/usr/include/pawl/pawl.h", r"/usr/lib/[^/]+/libpawl\.so",
                        r"/usr/lib/[^/]+/pkgconfig/pawl.pc", "/usr/share/man/man3/libpawl.3.gz",
                        r"/usr/lib/[^/]+/cmake/pawl/pawl-config.cmake"],
    }
    for name, patterns in wanted.items():
        there = contents(packages[name])
        patterns = patterns + [f"/usr/share/doc/{name}/copyright",
                               f"/usr/share/doc/{name}/changelog.Debian.gz"]
        for pattern in patterns:
            assert any(re.fullmatch(pattern, path) for path in there), (name, pattern)
        assert {owner for _, owner in there.values()} == {"root/root"}
        assert not any(mode[1:].count("w") > 1 for mode, _ in there.values() if mode[0] != "l")


def test_packages_name_what_they_need(packages):
    assert re.search(r"\blibuv1\b.*\blibyaml-0-2\b", field(packages["pawld"], "Depends"))
    assert "adduser" in field(packages["pawld"], "Depends")
    assert "tzdata" in field(packages["pawld"], "Depends")
    assert "libsodium23" in field(packages["libpawl0"], "Depends")
    version = field(packages["libpawl0"], "Version")
    assert field(packages["libpawl-dev"], "Depends") == f"libpawl0 (= {version})"


def test_the_version_is_that_of_the_project_and_of_the_changelog(packages):
    project = re.search(r"project\(pawl VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())
    for package in packages.values():
        assert field(package, "Version") == f"{project.group(1)}-1"
    first = (DEBIAN / "changelog").read_text().splitlines()[0]
    assert first.startswith(f"pawl ({project.group(1)}-1) ")


def test_lintian_finds_nothing(packages):
    command = ["lintian", "--allow-root", "--fail-on", "error,warning", *packages.values()]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_package_with_a_fault_does_not_pass_lintian(packages, tmp_path):
    run("dpkg-deb", "-R", packages["pawlctl"], tmp_path / "bad")
    shutil.rmtree(tmp_path / "bad/usr/share/doc")
    run("dpkg-deb", "--root-owner-group", "-b", tmp_path / "bad", tmp_path / "bad.deb")
    done = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning",
                           tmp_path / "bad.deb"], stdout=subprocess.DEVNULL)
    assert done.returncode != 0


def test_every_override_of_lintian_says_why():
    for path in DEBIAN.rglob("*lintian-overrides"):
        before = ""
        for line in path.read_text().splitlines():
            assert line.startswith("#") or before.startswith("#"), (path.name, line)
            before = line


def test_the_scripts_are_sound_shell():
    scripts = [DEBIAN / "pawld" / name for name in ("postinst", "prerm", "postrm")]
    run("shellcheck", *scripts)
    for script in scripts:
        assert "set -e" in script.read_text()


def test_the_settings_are_kept_at_an_upgrade_and_are_the_sample(packages, tmp_path):
    run("dpkg-deb", "-R", packages["pawld"], tmp_path / "pawld")
    assert (tmp_path / "pawld/DEBIAN/conffiles").read_text() == "/etc/pawl/pawld.yaml\n"
    assert (tmp_path / "pawld/etc/pawl/pawld.yaml").read_text() == \
        (ROOT / "deploy/pawld.yaml").read_text()
    page = gzip.decompress((tmp_path / "pawld/usr/share/man/man5/pawld.yaml.5.gz").read_bytes())
    assert b".Nm pawld.yaml" in page

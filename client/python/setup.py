"""Build of the package: metadata is in pyproject.toml, here is the extension.

libpawl is looked for in this order:

1. PAWL_BUILD_DIR, a CMake build folder of this repository: its archives go into the extension, so
   that a wheel carries libpawl and needs nothing of pawl on the machine that it is installed on.
2. ``pkg-config pawl``, the package libpawl-dev: the extension is linked to libpawl.so.0.
3. Neither: the package is built without the extension, with a note; the pure-Python client serves.
   PAWL_REQUIRE_NATIVE=1 makes that an error.
"""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from typing import List, Optional

from setuptools import Extension, find_packages, setup

HERE = pathlib.Path(__file__).resolve().parent
ABI = 0x03090000  # Python 3.9
#: Those of CMakeLists.txt, but for two that Python's own interface cannot keep to: the names of
#: keywords are not const there.
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wstrict-prototypes",
            "-Wmissing-prototypes", "-Wvla", "-Wundef", "-Wpointer-arith"]
#: In the order of the linker: who needs comes before who is needed.
ARCHIVES = ("client/libpawl_client_static.a", "daemon/libpawl_adapter_tls.a",
            "daemon/libpawl_core.a", "proto/libpawl_proto.a")
SYSTEM_LIBRARIES = ("libprotobuf-c", "libsodium", "libssl", "libcrypto")


def version() -> str:
    """That of the CMake project; a source distribution has it in its PKG-INFO."""
    project = HERE.parent.parent / "CMakeLists.txt"
    for path, pattern in ((project, r"^project\(pawl VERSION (\S+)"),
                          (HERE / "PKG-INFO", r"^Version: (\S+)")):
        found = re.search(pattern, path.read_text("utf-8"), re.M) if path.exists() else None
        if found:
            return found.group(1)
    raise SystemExit("setup.py: no version: neither ../../CMakeLists.txt nor PKG-INFO says one")


def pkg_config(*arguments: str) -> Optional[List[str]]:
    """Its words, or None where the module or the program is missing."""
    try:
        done = subprocess.run(["pkg-config", *arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return shlex.split(done.stdout.decode())


def cache_entry(folder: pathlib.Path, name: str) -> str:
    """A variable of a CMake build folder."""
    found = re.search(rf"^{name}:\w+=(.*)$", (folder / "CMakeCache.txt").read_text("utf-8"), re.M)
    return found.group(1) if found else ""


def extension(**options: object) -> Extension:
    sources = sorted(str(path.relative_to(HERE)) for path in (HERE / "native").glob("*.c"))
    headers = sorted(str(path.relative_to(HERE)) for path in (HERE / "native").glob("*.h"))
    options["extra_compile_args"] = ["-std=gnu11", "-fvisibility=hidden", *WARNINGS,
                                     *options.get("extra_compile_args", [])]  # type: ignore
    options["depends"] = headers + options.get("depends", [])  # type: ignore
    return Extension("pawl._native", sources, py_limited_api=True,
                     define_macros=[("Py_LIMITED_API", hex(ABI)), ("PY_SSIZE_T_CLEAN", None)],
                     **options)


def from_build_folder(folder: pathlib.Path) -> Extension:
    """libpawl's archives go into the extension; its names stay hidden there."""
    archives = [folder / name for name in ARCHIVES]
    missing = [str(path) for path in [folder / "CMakeCache.txt", *archives] if not path.exists()]
    if missing:
        raise SystemExit(f"setup.py: PAWL_BUILD_DIR={folder} is no finished build of pawl: "
                         f"{missing[0]} is missing; build it, as with ./dev build")
    include = pathlib.Path(cache_entry(folder, "CMAKE_HOME_DIRECTORY")) / "client" / "include"
    libraries = pkg_config("--libs", *SYSTEM_LIBRARIES) or [
        f"-l{name[3:]}" for name in SYSTEM_LIBRARIES]
    sanitize: List[str] = []
    strip = ["-Wl,--strip-debug"]
    if cache_entry(folder, "PAWL_SANITIZE_ADDRESS") == "ON":
        sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all",
                    "-fno-omit-frame-pointer"]
        strip = []
    return extension(include_dirs=[str(include)],
                     depends=[str(include / "pawl" / "pawl.h"), *map(str, archives)],
                     extra_objects=[str(path) for path in archives],
                     extra_compile_args=sanitize,
                     extra_link_args=["-Wl,--exclude-libs,ALL", "-Wl,--as-needed", "-Wl,-z,now",
                                      *strip, *sanitize[:1], *libraries])


def from_pkg_config() -> Extension:
    return extension(extra_compile_args=pkg_config("--cflags", "pawl") or [],
                     extra_link_args=["-Wl,--as-needed", "-Wl,-z,now",
                                      *(pkg_config("--libs", "pawl") or [])])


def what_is_missing() -> str:
    """Why no extension can be built here; "" when one can."""
    if not (pathlib.Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return "Python.h is missing (Debian: python3-dev)"
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        return f"the compiler {compiler!r} is missing (Debian: build-essential)"
    if not os.environ.get("PAWL_BUILD_DIR") and pkg_config("--exists", "pawl") is None:
        return "libpawl is missing (libpawl-dev with pkg-config, or PAWL_BUILD_DIR=build/release)"
    return ""


def extensions() -> List[Extension]:
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        missing = "this Python has no stable ABI that the extension could use"
    else:
        missing = what_is_missing()
    if not missing:
        folder = os.environ.get("PAWL_BUILD_DIR")
        return [from_build_folder(pathlib.Path(folder).resolve()) if folder else from_pkg_config()]
    if os.environ.get("PAWL_REQUIRE_NATIVE") == "1":
        raise SystemExit(f"setup.py: {missing}")
    print(f"\n{'*' * 78}\n"
          f"pawl: building WITHOUT the C extension: {missing}.\n"
          f"The pure-Python client will serve, several times slower. PAWL_REQUIRE_NATIVE=1 makes\n"
          f"this an error.\n{'*' * 78}\n", file=sys.stderr)
    return []


found = extensions()
setup(version=version(), ext_modules=found,
      package_dir={"": "src"}, packages=find_packages("src"), package_data={"pawl": ["py.typed"]},
      include_package_data=False,
      # One build for 3.9 and all later; without an extension the wheel is for any Python.
      options={"bdist_wheel": {"py_limited_api": "cp39"}} if found else {})

"""The daemon, the tools and the unit tests for arm64, made with Debian's cross compiler against the
arm64 packages of this Debian, and the tests run by qemu's user emulation.

    /usr/bin/python3 tests/support/arm64.py        or: ./dev soak --only arm64

Wants gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user-static, which are no part of
.ci/packages; what is missing is said, and then nothing runs. arm64's packages are unpacked below
build/arm64 and never installed. What the emulation cannot do is listed in EMULATED.

The last line counts; exit status 1 when something that ran went wrong.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "arm64"
SYSTEM = FOLDER / "root"
NEEDS = ("aarch64-linux-gnu-gcc", "qemu-aarch64-static")
#: The emulation has no seccomp, and of TCP_INFO no more than a number.
EMULATED = {"unit_sandbox", "unit_outbound"}
TEST_S = 600
LIBRARIES = r"^(lib\S+-dev) "
TOOLCHAIN = """\
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_SYSROOT {root})
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_FIND_ROOT_PATH {root})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_CROSSCOMPILING_EMULATOR "qemu-aarch64-static;-L;{root}")
"""
APT = """\
APT::Architecture "arm64";
APT::Architectures {{ "arm64"; }};
Dir::State "{folder}/apt/state";
Dir::State::status "{folder}/apt/status";
Dir::Cache "{folder}/apt/cache";
Debug::NoLocking "1";
"""


def run(*command, **options):
    subprocess.run([str(word) for word in command], check=True, **options)


def download():
    """The .deb files of what the build links with, for arm64; apt keeps them between runs."""
    for name in ("state/lists/partial", "cache/archives/partial"):
        (FOLDER / "apt" / name).mkdir(parents=True, exist_ok=True)
    (FOLDER / "apt" / "status").touch()
    (FOLDER / "apt.conf").write_text(APT.format(folder=FOLDER))
    listed = re.findall(LIBRARIES, (ROOT / ".ci" / "packages").read_text(), re.M)
    env = dict(os.environ, APT_CONFIG=str(FOLDER / "apt.conf"))
    run("apt-get", "update", "-qq", env=env)
    run("apt-get", "install", "-qq", "-y", "--no-install-recommends", "--download-only", "libc6-dev",
        *listed, env=env, stdout=subprocess.DEVNULL)
    return sorted((FOLDER / "apt" / "cache" / "archives").glob("*.deb"))


def unpack(packages):
    """A root whose links lead nowhere else, with /usr merged as Debian's is."""
    shutil.rmtree(SYSTEM, ignore_errors=True)
    (SYSTEM / "usr" / "lib").mkdir(parents=True)
    (SYSTEM / "lib").symlink_to("usr/lib")
    for package in packages:
        contents = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE)
        run("tar", "-C", SYSTEM, "--keep-directory-symlink", "-x", stdin=contents.stdout)
        if contents.wait() != 0:
            raise SystemExit(f"arm64: {package} cannot be read")
    for path in SYSTEM.rglob("*"):
        if path.is_symlink() and os.readlink(path).startswith("/"):
            target = SYSTEM / os.readlink(path).lstrip("/")
            path.unlink()
            path.symlink_to(os.path.relpath(target, path.parent))


def build():
    toolchain = FOLDER / "toolchain.cmake"
    toolchain.write_text(TOOLCHAIN.format(root=SYSTEM))
    found = SYSTEM / "usr" / "lib" / "aarch64-linux-gnu" / "pkgconfig"
    env = dict(os.environ, PKG_CONFIG_SYSROOT_DIR=str(SYSTEM),
               PKG_CONFIG_LIBDIR=f"{found}:{SYSTEM}/usr/share/pkgconfig")
    out = FOLDER / "build"
    run("cmake", "--preset", "release", "-B", out, f"-DCMAKE_TOOLCHAIN_FILE={toolchain}", cwd=ROOT,
        env=env, stdout=subprocess.DEVNULL)
    tests = sorted(path.stem.replace("test_", f"{path.parent.name}_", 1) for folder in
                   ("unit", "fault") for path in (ROOT / "tests" / folder).glob("test_*.c"))
    run("cmake", "--build", out, "--target", "pawld", "pawlctl", *tests, cwd=ROOT, env=env,
        stdout=subprocess.DEVNULL)
    return out, tests


def emulate(program, *arguments):
    return subprocess.run(["qemu-aarch64-static", "-L", SYSTEM, program, *arguments],
                          cwd=FOLDER / "build", capture_output=True, text=True, errors="replace",
                          timeout=TEST_S)


def main():
    missing = [name for name in NEEDS if not shutil.which(name)]
    if missing:
        print(f"not run: arm64: no {', '.join(missing)} here")
        return 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    unpack(download())
    out, tests = build()
    wrong = [name for name in ("pawld", "pawlctl")
             if emulate(out / name, "--version").returncode != 0]
    for name in sorted(set(tests) - EMULATED):
        try:
            done = emulate(out / "tests" / name)
        except subprocess.TimeoutExpired:
            wrong.append(name)
            continue
        if done.returncode != 0:
            wrong.append(name)
            print(done.stdout[-2000:] + done.stderr[-2000:])
    print(f"arm64: pawld, pawlctl and {len(tests) - len(EMULATED)} programs of tests, "
          f"{len(wrong)} wrong: {' '.join(wrong)}".rstrip(": "))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

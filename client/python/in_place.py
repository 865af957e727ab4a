"""Build the extension over a CMake build folder of this tree, for use without installing.

    in_place.py BUILD               into client/python/src/pawl, which PYTHONPATH then finds
    in_place.py BUILD --into DIR    the whole package into DIR: a sanitizer's build beside the usual

Warnings are errors here; in a build by a user they are not.
"""

import argparse
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path, help="a build folder, such as build/release")
    parser.add_argument("--into", type=pathlib.Path)
    arguments = parser.parse_args()
    folder = arguments.build.resolve()
    scratch = folder / "python-build"
    env = dict(os.environ, PAWL_BUILD_DIR=str(folder), PAWL_REQUIRE_NATIVE="1",
               CFLAGS=os.environ.get("CFLAGS", "") + " -Werror")
    command = [sys.executable, "setup.py", "-q"]
    if arguments.into is None:
        command += ["build_ext", "--inplace", f"--build-temp={scratch / 'temp'}",
                    f"--build-lib={scratch / 'lib'}"]
        target = HERE / "src"
    else:
        target = arguments.into.resolve()
        command += ["build", f"--build-base={scratch / 'base'}", f"--build-lib={target}"]
    done = subprocess.run(command, cwd=HERE, env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    if done.returncode != 0:
        sys.stdout.buffer.write(done.stdout)
        return done.returncode
    print(f"built {target / 'pawl' / '_native.abi3.so'}; use it with PYTHONPATH={target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

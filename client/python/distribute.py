"""Make the wheel and the source distribution, offline.

    distribute.py BUILD OUT     BUILD as build/release; OUT gets pawl-*.whl and pawl-*.tar.gz

The wheel is built from the unpacked source distribution, so that one which lacks something is
noticed here. Nothing is written beside the sources.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LEFT_OUT = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info", "build")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    arguments = parser.parse_args()
    env = dict(os.environ, PAWL_BUILD_DIR=str(arguments.build.resolve()), PAWL_REQUIRE_NATIVE="1")
    with tempfile.TemporaryDirectory(prefix="pawl-dist-") as folder:
        tree = pathlib.Path(folder) / "pawl"
        shutil.copytree(HERE, tree / "client" / "python", ignore=LEFT_OUT)
        shutil.copy(ROOT / "CMakeLists.txt", tree)
        done = subprocess.run([sys.executable, "-m", "build", "--no-isolation", "--outdir",
                               str(arguments.out.resolve())], cwd=tree / "client" / "python",
                              env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        sys.stdout.buffer.write(done.stdout)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())

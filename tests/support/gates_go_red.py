"""Each linter and gate must object to a fault planted for it; a gate nobody saw failing is none.

    gates_go_red.py BUILD_DIR    (of the dev preset, for compile_commands.json)
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile

import suites

BAD_FORMAT = "int  main( void ){return 0 ;}\n"
BAD_TIDY = """\
int pawl_planted(const int *p);
int pawl_planted(const int *p)
{
    if (p == 0)
        return *p;
    return 0;
}
"""
BAD_CHECK = """\
int pawl_planted(void)
{
    int values[2] = { 1, 2 };

    return values[2];
}
"""
BAD_NAME = "def planted():\n    return no_such_name\n"
BAD_TYPE = "def planted(count: int) -> str:\n    return count\n"
BAD_SHELL = "#!/bin/sh\nrm -rf $1/*\n"


def gates(folder):
    """name -> a command that has to fail."""
    (folder / "format.c").write_text(BAD_FORMAT)
    (folder / "tidy.c").write_text(BAD_TIDY)
    (folder / "check.c").write_text(BAD_CHECK)
    (folder / "shell.sh").write_text(BAD_SHELL)
    shutil.copy(suites.ROOT / ".clang-format", folder)
    shutil.copy(suites.ROOT / ".clang-tidy", folder)
    yield "clang-format", ["clang-format-14", "--dry-run", "-Werror", folder / "format.c"]
    yield "clang-tidy", ["clang-tidy-14", "--quiet", folder / "tidy.c", "--", "-std=c11"]
    yield "cppcheck", ["cppcheck", "--quiet", "--error-exitcode=1", folder / "check.c"]
    yield "shellcheck", ["shellcheck", folder / "shell.sh"]
    (folder / "name.py").write_text(BAD_NAME)
    (folder / "type.py").write_text(BAD_TYPE)
    yield "pyflakes", ["/usr/bin/python3", suites.ROOT / "tests/support/flakes.py",
                       folder / "name.py"]
    yield "mypy", ["/usr/bin/python3", "-m", "mypy", "--cache-dir=/dev/null", "--config-file",
                   suites.ROOT / "client/python/pyproject.toml", folder / "type.py"]
    # A library that exports what the version script does not name.
    (folder / "lib.c").write_text("int pawl_planted(void);\nint pawl_planted(void)\n{ return 0; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "lib.so", folder / "lib.c"], check=True)
    yield "exports", ["/usr/bin/python3", suites.ROOT / "tests/support/exports.py", folder / "lib.so"]
    # A corpus that reaches too little: no fuzzer covers all of its parser's lines.
    yield "corpus coverage", ["/usr/bin/python3", suites.ROOT / "tests/fuzz/coverage.py",
                              "--min", "101", "fuzz_frame",
                              suites.ROOT / "proto/pawl/v1/frame.c"]


def main():
    silent = []
    with tempfile.TemporaryDirectory(prefix="pawl-gates-") as scratch:
        for name, command in gates(pathlib.Path(scratch)):
            done = subprocess.run([str(part) for part in command], cwd=scratch,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode != 1:  # 2 and more: it could not look at all
                silent.append(name)
    print("\n".join(f"{name} does not object to its planted fault" for name in silent)
          or "gates: each one goes red")
    return 1 if silent else 0


if __name__ == "__main__":
    sys.exit(main())

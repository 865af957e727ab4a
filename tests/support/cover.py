"""./dev cover: lines reached by the unit, fault and integration tests, by file (gcovr)."""

import subprocess
import sys

import suites


def main():
    folder = suites.build("cover")
    for old in folder.rglob("*.gcda"):
        old.unlink()
    failed = 0
    for program in suites.programs(folder):
        failed += sum(c.outcome == suites.FAILED for c in suites.run_cmocka(program, "cover"))
    cases = list(suites.run_pytest(folder, "cover", ["-m", "not release and not soak"]))
    failed += sum(case.outcome == suites.FAILED for case in cases)
    print(f"{failed} cases failed on the way" if failed else "all cases passed on the way")
    return subprocess.run(["gcovr", "--root", ".", "--gcov-ignore-parse-errors", "--filter", "daemon/", "--filter", "proto/pawl/",
                           "--filter", "client/", str(folder)],
                          cwd=suites.ROOT).returncode or (1 if failed else 0)


if __name__ == "__main__":
    sys.exit(main())

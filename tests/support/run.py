"""./dev test: builds with each sanitizer, runs every suite, counts single cases.

The last line is ``N passed, N failed, N skipped``; the exit status is 0 only when nothing failed
and something passed.
"""

import argparse
import concurrent.futures
import os
import subprocess
import sys
import time

import fuzz
import plants
import sim
import suites

SUITES = ("unit", "sim", "integration", "python", "fuzz", "gates", "plants", "demo")


def unit():
    jobs = []
    for preset in ("asan", "tsan"):
        folder = suites.build(preset)
        jobs += [(program, preset) for program in suites.programs(folder)]
    # Two programs at a time: the machine of the contract has two cores.
    with concurrent.futures.ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as pool:
        for cases in pool.map(lambda job: suites.run_cmocka(*job), jobs):
            yield from cases


def integration():
    # Three at a time where they wait more than they work.
    yield from suites.run_pytest(suites.build("asan"), "asan", ["-m", "not release and not soak"],
                                 workers=3)
    yield from suites.run_pytest(suites.build("tsan"), "tsan", ["-m", "threads and not soak"])
    # By files: some have much to set up.
    yield from suites.run_pytest(suites.build("release"), "release",
                                 ["-m", "release and not alone and not soak"], workers=3,
                                 dist="loadfile")
    # Memory ceilings and floods mean nothing under a sanitizer's allocator.
    yield from suites.run_pytest(suites.build("release"), "release",
                                 ["-m", "alone and not soak"], workers=1)


def python():
    """Each folder in a process of its own: Django can be configured once in each."""
    release = suites.build("release")
    suites.build_extension(release)
    source = suites.python_environment(suites.ROOT / "client" / "python" / "src")
    for folder in sorted((suites.ROOT / "tests" / "python").iterdir()):
        if any(folder.glob("test_*.py")):
            yield from suites.run_pytest(
                release, "python", [f"tests/python/{folder.name}", "-m", "not soak"], extra=source,
                workers=1 if folder.name in suites.ALONE else 2)
    yield from python_sanitized()


def python_sanitized():
    """The extension, and libpawl in it, under the address and undefined sanitizers."""
    asan = suites.build("asan")
    suites.build_extension(asan, into=asan / "python")
    library = subprocess.run(["cc", "-print-file-name=libasan.so"], check=True,
                             capture_output=True, text=True).stdout.strip()
    extra = suites.python_environment(asan / "python")
    # An interpreter frees little at its end, so leaks are looked for by test_native_leaks.py. With
    # Python's own allocator every block would be inside one that the sanitizer takes for good.
    extra.update(LD_PRELOAD=library, PYTHONMALLOC="malloc",
                 ASAN_OPTIONS="abort_on_error=1:detect_leaks=0:allocator_may_return_null=1")
    yield from suites.run_pytest(
        asan, "asan-python", ["tests/python/binding", "-k", "not pure",
                              "-m", "not release and not soak"], extra=extra)


def gates():
    folder = suites.build("dev")
    yield suites.run_command("gates/layering",
                             ["/usr/bin/python3", "tests/support/layering.py", folder])
    yield suites.run_command("gates/layering_goes_red",
                             ["/usr/bin/python3", "tests/support/layering.py", "--self-test", folder])
    yield suites.run_command("gates/each_goes_red",
                             ["/usr/bin/python3", "tests/support/gates_go_red.py"])
    yield suites.run_command("gates/exports",
                             ["/usr/bin/python3", "tests/support/exports.py",
                              suites.build("release") / "libpawl.so"])


def demo():
    yield suites.run_command("demo/main_job", ["./dev", "demo"])


def run_suite(name):
    return {"unit": unit, "sim": sim.cases, "integration": integration, "python": python,
            "fuzz": fuzz.cases, "gates": gates, "plants": plants.sample_cases, "demo": demo}[name]()


def main():
    parser = argparse.ArgumentParser(prog="./dev test")
    parser.add_argument("--only", nargs="+", choices=SUITES, default=SUITES, metavar="SUITE")
    parser.add_argument("--verbose", action="store_true", help="print every case")
    arguments = parser.parse_args()
    counts = {suites.PASSED: 0, suites.FAILED: 0, suites.SKIPPED: 0}
    failures = []
    for name in arguments.only:
        begun = time.monotonic()
        seen = 0
        try:
            for case in run_suite(name):
                seen += 1
                counts[case.outcome] += 1
                if case.outcome == suites.FAILED:
                    failures.append(case)
                    print(f"FAILED {case.name}", flush=True)
                elif arguments.verbose or case.outcome == suites.SKIPPED:
                    print(f"{case.outcome} {case.name} {case.detail[:200]}", flush=True)
        except Exception as error:  # a suite that cannot run is a failure, not a silence
            counts[suites.FAILED] += 1
            failures.append(suites.Case(f"{name}/suite", suites.FAILED, repr(error)))
        print(f"{name}: {seen} cases in {time.monotonic() - begun:.0f} s", flush=True)
    for case in failures:
        print(f"\n--- {case.name}\n{case.detail.strip()[-3000:]}")
    print(f"\n{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 0 if counts["failed"] == 0 and counts["passed"] > 0 else 1


if __name__ == "__main__":
    sys.exit(main())

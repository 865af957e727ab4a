"""./dev test: builds with each sanitizer, runs every suite, counts single cases.

The last line is ``N passed, N failed, N skipped``; the exit status is 0 only when nothing failed
and something passed.
"""

import argparse
import concurrent.futures
import functools
import os
import subprocess
import sys
import time

import fuzz
import plants
import sim
import suites

SUITES = ("unit", "integration", "python", "plants", "demo", "gates", "sim", "fuzz")
#: Those that only compute, beside the others, whose processes mostly wait for each other.
BESIDE = ("gates", "sim", "fuzz")
NICENESS = 10


def unit():
    jobs = []
    for preset in ("asan", "tsan"):
        folder = suites.build(preset)
        jobs += [(program, preset) for program in suites.programs(folder)]
    # More at a time than the two cores of the contract: some wait for servers and threads.
    with concurrent.futures.ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        for cases in pool.map(lambda job: suites.run_cmocka(*job), jobs):
            yield from cases


def integration():
    # Three at a time where they wait more than they work.
    yield from suites.run_pytest(suites.build("asan"), "asan", ["-m", "not release and not soak"],
                                 workers=3)
    yield from suites.run_pytest(suites.build("tsan"), "tsan", ["-m", "threads and not soak"])
    # By files: some have much to set up.
    release = suites.build("release", targets=suites.STARTED)
    yield from suites.run_pytest(release, "release", ["-m", "release and not alone and not soak"],
                                 workers=3, dist="loadfile")
    # Memory ceilings and floods mean nothing under a sanitizer's allocator.
    yield from suites.run_pytest(release, "release", ["-m", "alone and not soak"], workers=1)


def python():
    """Each folder in a process of its own: Django can be configured once in each."""
    release = suites.build("release", targets=suites.STARTED)
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
    folder = suites.build("dev", targets=["pawl_core"])
    yield suites.run_command("gates/layering",
                             ["/usr/bin/python3", "tests/support/layering.py", folder])
    yield suites.run_command("gates/layering_goes_red",
                             ["/usr/bin/python3", "tests/support/layering.py", "--self-test", folder])
    yield suites.run_command("gates/each_goes_red",
                             ["/usr/bin/python3", "tests/support/gates_go_red.py"])
    yield suites.run_command("gates/exports",
                             ["/usr/bin/python3", "tests/support/exports.py",
                              suites.build("release", targets=suites.STARTED) / "libpawl.so"])


def demo():
    yield suites.run_command("demo/main_job", ["./dev", "demo"])


def cases_of(name):
    return {"unit": unit, "sim": sim.cases, "integration": integration, "python": python,
            "fuzz": fuzz.cases, "gates": gates, "plants": plants.sample_cases, "demo": demo}[name]()


def run_suite(name, verbose):
    """The cases of a suite, said as they come."""
    begun = time.monotonic()
    seen = []
    try:
        for case in cases_of(name):
            seen.append(case)
            if case.outcome == suites.FAILED:
                print(f"FAILED {case.name}", flush=True)
            elif verbose or case.outcome == suites.SKIPPED:
                print(f"{case.outcome} {case.name} {case.detail[:200]}", flush=True)
    except Exception as error:  # a suite that cannot run is a failure, not a silence
        seen.append(suites.Case(f"{name}/suite", suites.FAILED, repr(error)))
    print(f"{name}: {len(seen)} cases in {time.monotonic() - begun:.0f} s", flush=True)
    return seen


def run_suites(names, verbose):
    run = functools.partial(run_suite, verbose=verbose)
    with concurrent.futures.ProcessPoolExecutor(1, initializer=os.nice,
                                                initargs=(NICENESS,)) as pool:
        beside = pool.map(run, [name for name in names if name in BESIDE])
        for name in names:
            if name not in BESIDE:
                yield from run(name)
        for cases in beside:
            yield from cases


def main():
    parser = argparse.ArgumentParser(prog="./dev test")
    parser.add_argument("--only", nargs="+", choices=SUITES, default=SUITES, metavar="SUITE")
    parser.add_argument("--verbose", action="store_true", help="print every case")
    arguments = parser.parse_args()
    cases = list(run_suites(arguments.only, arguments.verbose))
    for case in cases:
        if case.outcome == suites.FAILED:
            print(f"\n--- {case.name}\n{case.detail.strip()[-3000:]}")
    passed, failed, skipped = (sum(case.outcome == outcome for case in cases)
                               for outcome in (suites.PASSED, suites.FAILED, suites.SKIPPED))
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())

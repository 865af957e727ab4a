#!/usr/bin/env python3
"""How much of a parser does the kept corpus of its fuzzer reach?

    tests/fuzz/coverage.py [--min PERCENT] FUZZER SOURCE...

builds FUZZER (fuzz_hot, say; the preset fuzz has coverage counters), runs each file
of tests/fuzz/corpus/<hot> once, and prints lines reached for each SOURCE and for all of them. Exits
1 when all of them together are below PERCENT (90), 2 when something could not be run. --missing
lists the lines that nothing reached. Needs clang-14 and llvm-14.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import suites  # noqa: E402


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, **options)
    if done.returncode != 0:
        sys.stderr.write(done.stdout[-4000:])
        sys.stderr.write("coverage: %s: exit %d\n" % (command[0], done.returncode))
        sys.exit(2)
    return done.stdout


def profile(folder, fuzzer, program):
    corpus = ROOT / "tests" / "fuzz" / "corpus" / fuzzer.removeprefix("fuzz_")
    if not corpus.is_dir() or not any(corpus.iterdir()):
        sys.stderr.write("coverage: %s: no corpus there\n" % corpus)
        sys.exit(2)
    raw = folder / (fuzzer + ".profraw")
    merged = folder / (fuzzer + ".profdata")
    run(program, "-runs=0", corpus, cwd=folder,
        env=dict(os.environ, LLVM_PROFILE_FILE=str(raw)))
    run("llvm-profdata-14", "merge", "-sparse", raw, "-o", merged)
    return merged


def report(program, merged, sources, least):
    text = run("llvm-cov-14", "export", "-summary-only", "-instr-profile", merged, program,
               *sources)
    files = json.loads(text)["data"][0]["files"]
    found = {pathlib.Path(f["filename"]).resolve(): f["summary"]["lines"] for f in files}
    covered = count = 0
    for source in sources:
        lines = found.get(source.resolve())
        if lines is None:
            sys.stderr.write("coverage: %s: not part of this fuzzer\n" % source)
            sys.exit(2)
        covered += lines["covered"]
        count += lines["count"]
        print("%6.1f %%  %5d of %5d lines  %s" % (100.0 * lines["covered"] / lines["count"],
                                                 lines["covered"], lines["count"],
                                                 os.path.relpath(source, ROOT)))
    percent = 100.0 * covered / count
    print("%6.1f %%  %5d of %5d lines  %s, at least %g %%" % (percent, covered, count,
                                                             program.name, least))
    return percent >= least


def show_missing(program, merged, sources):
    text = run("llvm-cov-14", "show", "-instr-profile", merged, program, *sources)
    for line in text.splitlines():
        parts = line.split("|", 2)
        if line.startswith("/") or (len(parts) == 3 and parts[1].strip() == "0"):
            print(line)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--min", type=float, default=90.0)
    parser.add_argument("--missing", action="store_true")
    parser.add_argument("fuzzer")
    parser.add_argument("sources", nargs="+", type=pathlib.Path)
    args = parser.parse_args()
    sources = [source.absolute() for source in args.sources]
    folder = suites.build("fuzz", targets=[args.fuzzer]) / "tests" / "fuzz"
    program = folder / args.fuzzer
    merged = profile(folder, args.fuzzer, program)
    good = report(program, merged, sources, args.min)
    if args.missing:
        show_missing(program, merged, sources)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

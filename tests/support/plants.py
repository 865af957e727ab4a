"""./dev plants: each planted fault must make its test fail.

A plant is ``tests/plants/NAME.patch``. Its head, before the diff, has two lines::

    Plant: what is broken, and the promise or gate that it breaks
    Must fail: unit_window:name of the test      (or integration:file.py::test, or gate:layering,
                                                  or python:FOLDER/file.py::test)

The patch is applied in a worktree of its own, the test is built there (preset dev) and run: the
plant is good when that test fails, and when the same test passes without it.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys

import suites

FOLDER = suites.ROOT / "tests" / "plants"
WORKTREE = suites.ROOT / "build" / "plants"
SAMPLE = 5
PATIENCE_S = 60  # a test that hangs because of a plant has noticed it


def head(path):
    text = path.read_text("utf-8")
    plant = re.search(r"^Plant: (.+)$", text, re.M)
    must = re.search(r"^Must fail: (\S+?):(.+)$", text, re.M)
    if not plant or not must:
        raise ValueError(f"{path.name}: needs the lines 'Plant:' and 'Must fail:'")
    return plant.group(1).strip(), must.group(1).strip(), must.group(2).strip()


def git(*arguments, cwd=suites.ROOT, check=True):
    return subprocess.run(["git", *arguments], cwd=cwd, check=check,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def prepare():
    """A worktree with what lies in the working tree now, committed or not."""
    if not (WORKTREE / ".git").exists():
        shutil.rmtree(WORKTREE, ignore_errors=True)
        git("worktree", "prune")
        git("worktree", "add", "--detach", "--force", str(WORKTREE), "HEAD")
    git("checkout", "--force", "--detach", git("rev-parse", "HEAD").stdout.decode().strip(),
        cwd=WORKTREE)
    git("clean", "-fdq", "-e", "build", cwd=WORKTREE)
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard").stdout.split(b"\0")
    for name in filter(None, (part.decode() for part in listed)):
        source, target = suites.ROOT / name, WORKTREE / name
        if not source.exists():
            target.unlink(missing_ok=True)
        elif not target.exists() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target) # of now: what was built from another version is older


def run_python(name):
    """A test of tests/python, with the extension and the daemon of the worktree."""
    folder = suites.build("dev", WORKTREE, ["pawld", "pawlctl", "pawl_client_static"])
    suites.build_extension(folder, WORKTREE)
    package = suites.python_environment(WORKTREE / "client" / "python" / "src")
    case = suites.run_command(
        name, ["/usr/bin/python3", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
               f"tests/python/{name}"], cwd=WORKTREE,
        env=suites.environment(PAWL_BUILD=str(folder), PYTHONDONTWRITEBYTECODE="1", **package))
    return case.outcome == suites.PASSED, case.detail


def run_test(kind, name):
    """True when the named test passes in the worktree."""
    if kind == "gate":
        suites.build("dev", WORKTREE, ["pawl_core"])
        case = suites.run_command(f"gate:{name}", ["/usr/bin/python3", f"tests/support/{name}.py",
                                                   WORKTREE / "build" / "dev"], cwd=WORKTREE)
        return case.outcome == suites.PASSED, case.detail
    if kind == "integration":
        suites.build("dev", WORKTREE, ["pawld", "pawlctl", "callers"])
        case = suites.run_command(
            name, ["/usr/bin/python3", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
                   f"tests/integration/{name}"], cwd=WORKTREE,
            env=suites.environment(PAWL_BUILD=str(WORKTREE / "build" / "dev"),
                                   PYTHONDONTWRITEBYTECODE="1"))
        return case.outcome == suites.PASSED, case.detail
    if kind == "python":
        return run_python(name)
    folder = suites.build("dev", WORKTREE, [kind])
    cases = suites.run_cmocka(folder / "tests" / kind, "plant", timeout_s=PATIENCE_S)
    named = [case for case in cases if case.name.endswith(f":{name}")]
    if not named:  # the program died on the way: that is a failure of the test too
        return not any(case.outcome == suites.FAILED for case in cases) and None, "not run"
    return named[0].outcome == suites.PASSED, named[0].detail


def check(path):
    plant, kind, name = head(path)
    label = f"plants/{path.stem}"
    text = path.read_text("utf-8")
    files = sorted(set(re.findall(r"^\+\+\+ b/(\S+)", text, re.M)))
    kept = {file: (WORKTREE / file).read_bytes() for file in files if (WORKTREE / file).exists()}
    done = git("apply", "--whitespace=nowarn", str(path), cwd=WORKTREE, check=False)
    if done.returncode != 0:
        return suites.Case(label, suites.FAILED, "does not apply:\n" + done.stdout.decode())
    try:
        passed, detail = run_test(kind, name)
    except subprocess.CalledProcessError as error:
        return suites.Case(label, suites.FAILED, f"does not build: {error}")
    finally:
        for file in files:
            if file in kept:
                (WORKTREE / file).write_bytes(kept[file])
            else:
                (WORKTREE / file).unlink(missing_ok=True)
    if passed is None:
        return suites.Case(label, suites.FAILED, f"no test {kind}:{name}")
    if passed and re.search(r"^\d+ skipped", detail, re.M): # it wants what this machine has not
        return suites.Case(label, suites.SKIPPED, f"{kind}:{name} is skipped here")
    if passed:
        return suites.Case(label, suites.FAILED, f"'{plant}' was not noticed by {kind}:{name}")
    return suites.Case(label, suites.PASSED, f"{plant}: {kind}:{name} failed as it must")


def unplanted(paths):
    """The same tests without the plants, once each."""
    for kind, name in sorted({head(path)[1:] for path in paths}):
        passed, detail = run_test(kind, name)
        if passed is not True:
            yield suites.Case(f"plants/unplanted {kind}:{name}", suites.FAILED,
                              f"fails (or is not there) without a plant\n{detail}")


def cases(paths):
    prepare()
    for path in paths:
        yield check(path)
    yield from unplanted(paths)


def sample_cases():
    """Five of them, another five for another commit; which ones is printed with the names."""
    paths = sorted(FOLDER.glob("*.patch"))
    if len(paths) > SAMPLE:
        seed = int(git("rev-parse", "HEAD").stdout.decode()[:8], 16)
        step = len(paths) / SAMPLE
        paths = [paths[int(seed + i * step) % len(paths)] for i in range(SAMPLE)]
    if not paths:
        yield suites.Case("plants", suites.FAILED, "no plants")
        return
    print("plants of this run: " + " ".join(path.stem for path in paths), flush=True)
    yield from cases(paths)


def main():
    parser = argparse.ArgumentParser(prog="./dev plants")
    parser.add_argument("names", nargs="*", help="of tests/plants, without .patch; default: all")
    arguments = parser.parse_args()
    paths = ([FOLDER / f"{pathlib.Path(name).stem}.patch" for name in arguments.names]
             or sorted(FOLDER.glob("*.patch")))
    failed = 0
    for case in cases(paths):
        print(f"{case.outcome:7} {case.name}: {case.detail.strip()[-600:]}", flush=True)
        failed += case.outcome == suites.FAILED
    print(f"{len(paths)} plants, {failed} not noticed or broken")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

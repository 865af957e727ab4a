"""What the test command runs, and how a single case is counted.

Shared by run.py, plants.py, fuzz.py and cover.py. A case is one cmocka test, one pytest test, one
fuzzer run or one gate; each has a name such as ``asan/unit_window:a_name`` by which a planted
fault can point at it.
"""

import dataclasses
import fcntl
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
#: Folders of tests/python whose tests want the machine for themselves.
ALONE = ("fleet",)
#: Targets: what is delivered and all test programs; and what tests/integration starts.
EVERYTHING = ("all", "tests")
STARTED = ("all", "callers")

SANITIZER_ENV = {
    "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=1:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
    "ASAN_SYMBOLIZER_PATH": "/usr/bin/llvm-symbolizer-14",
    "TSAN_SYMBOLIZER_PATH": "/usr/bin/llvm-symbolizer-14",
}


@dataclasses.dataclass
class Case:
    name: str
    outcome: str
    detail: str = ""


def environment(**extra):
    env = dict(os.environ, **SANITIZER_ENV)
    env.pop("PAWL_ADDR", None)
    env.update(extra)
    return env


def build(preset, root=ROOT, targets=EVERYTHING):
    """Configure once and build; raises CalledProcessError with the output printed.

    One at a time for each folder: suites run side by side.
    """
    folder = root / "build" / preset
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        commands = [["cmake", "--build", str(folder), "--target", *targets]]
        if not (folder / "build.ninja").exists():
            commands.insert(0, ["cmake", "--preset", preset])
        for command in commands:
            done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT)
            if done.returncode != 0:
                sys.stdout.buffer.write(done.stdout[-6000:])
                raise subprocess.CalledProcessError(done.returncode, command)
    return folder


def programs(folder, prefixes=("unit_", "fault_")):
    """The cmocka programs of a build folder."""
    found = []
    for path in sorted((folder / "tests").iterdir()):
        if path.is_file() and os.access(path, os.X_OK) and path.name.startswith(tuple(prefixes)):
            found.append(path)
    return found


def run_cmocka(program, label, timeout_s=600):
    """Run one cmocka program; a crash, a leak or a time-out is a failed case of its own."""
    with tempfile.TemporaryDirectory(prefix="pawl-cmocka-") as folder:
        env = environment(CMOCKA_MESSAGE_OUTPUT="XML", CMOCKA_XML_FILE=f"{folder}/%g.xml")
        try:
            done = subprocess.run([str(program)], cwd=folder, env=env, timeout=timeout_s,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            code, output = done.returncode, done.stdout.decode("utf-8", "replace")
        except subprocess.TimeoutExpired as late:
            output = (late.stdout or b"").decode("utf-8", "replace")
            return [Case(f"{label}/{program.name}", FAILED, f"no end after {timeout_s} s\n{output}")]
        cases = []
        for report in sorted(pathlib.Path(folder).glob("*.xml")):
            # A group that ran again appends to its file: keep what parses.
            text = report.read_text("utf-8", "replace")
            text = re.sub(r"<\?xml[^>]*\?>", "", text)
            text = re.sub(r"[^\x09\x0a\x0d\x20-\x7e]", "?", text)
            try:
                tree = ElementTree.fromstring(f"<all>{text}</all>")
            except ElementTree.ParseError as error:
                cases.append(Case(f"{label}/{program.name}", FAILED, f"report: {error}\n{output}"))
                continue
            for case in tree.iter("testcase"):
                name = f"{label}/{program.name}:{case.get('name')}"
                if case.find("skipped") is not None:
                    cases.append(Case(name, SKIPPED))
                elif case.find("failure") is not None or case.find("error") is not None:
                    bad = case.find("failure")
                    bad = case.find("error") if bad is None else bad
                    cases.append(Case(name, FAILED, (bad.text or "").strip() + "\n" + output))
                else:
                    cases.append(Case(name, PASSED))
    failed = sum(case.outcome == FAILED for case in cases)
    if not cases or (code != 0 and failed == 0):
        cases.append(Case(f"{label}/{program.name}", FAILED, f"exit {code}\n{output[-6000:]}"))
    return cases


def build_extension(folder, root=ROOT, into=None):
    """The Python package's extension over a finished build folder; see client/python/in_place.py."""
    command = ["/usr/bin/python3", "client/python/in_place.py", str(folder)]
    command += ["--into", str(into)] if into else []
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        sys.stdout.buffer.write(done.stdout[-6000:])
        raise subprocess.CalledProcessError(done.returncode, command)


def python_environment(package):
    """What the tests of the package want to know; @package is the folder that holds it."""
    return {"PYTHONPATH": str(package), "PAWL_PYTHON": str(package), "PAWL_REQUIRE_NATIVE": "1"}


def run_pytest(folder, label, arguments=(), workers=2, timeout_s=1500, extra=None,
               python="/usr/bin/python3", dist="load"):
    """Run tests/integration, or what @arguments name, against the binaries in @folder."""
    with tempfile.TemporaryDirectory(prefix="pawl-pytest-") as scratch:
        report = pathlib.Path(scratch) / "report.xml"
        command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider",
                   "-n", str(workers), "--dist", dist if workers > 1 else "no",
                   f"--junitxml={report}", *arguments]
        if not any(str(a).startswith("tests/") for a in arguments):
            command.append("tests/integration")
        env = environment(PAWL_BUILD=str(folder), PYTHONDONTWRITEBYTECODE="1", **(extra or {}))
        try:
            done = subprocess.run(command, cwd=ROOT, env=env, timeout=timeout_s,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            output = done.stdout.decode("utf-8", "replace")
            code = done.returncode
        except subprocess.TimeoutExpired as late:
            output = (late.stdout or b"").decode("utf-8", "replace")
            code = "time-out"
        cases = []
        if report.exists():
            for case in ElementTree.parse(report).iter("testcase"):
                name = f"{label}/{case.get('classname')}:{case.get('name')}"
                name = name.replace("tests.integration.", "").replace("tests.python.", "")
                bad = case.find("failure")
                bad = case.find("error") if bad is None else bad
                if bad is not None:
                    cases.append(Case(name, FAILED, bad.text or ""))
                elif case.find("skipped") is not None:
                    cases.append(Case(name, SKIPPED, case.find("skipped").get("message") or ""))
                else:
                    cases.append(Case(name, PASSED))
    if code not in (0, 5) and not any(case.outcome == FAILED for case in cases):
        cases.append(Case(f"{label}/pytest", FAILED, f"exit {code}\n{output[-6000:]}"))
    return cases


def run_command(name, command, cwd=ROOT, timeout_s=900, show=False, env=None):
    """A gate: exit status 0 or it failed."""
    try:
        done = subprocess.run([str(part) for part in command], cwd=cwd, env=env or environment(),
                              timeout=timeout_s, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except subprocess.TimeoutExpired as late:
        return Case(name, FAILED, f"no end after {timeout_s} s\n"
                    + (late.stdout or b"").decode("utf-8", "replace")[-4000:])
    output = done.stdout.decode("utf-8", "replace")
    if show and done.returncode == 0:
        print(output.rstrip())
    return Case(name, PASSED if done.returncode == 0 else FAILED, output[-6000:])

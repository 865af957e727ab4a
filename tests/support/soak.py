"""./dev soak: what takes too long for ./dev test.

    ./dev soak [MINUTES]        kills, floods and fuzzers in turns for MINUTES (30), then 10 minutes of
                                mutated tokens and 10 of simulation, a fleet under ten failovers and
                                twenty restarts and a minute without its engine, rollouts of the chart's pods, then
                                set-up and ./dev demo in a bare root, then the packages in another, then the
                                container image
    ./dev soak --only loops|tokens|sim|cluster|bare-root|package|image|arm64|newer
    ./dev soak --only kubernetes    the chart on a real Kubernetes: API server, controllers, kubelet
                                and pods; builds them from Go modules, half an hour, once
    ./dev soak --only bare-root --then "./dev test"    run more in the bare root, after the demo

Kills and mutated frames take a new seed each time and print it when they fail; PAWL_SEED repeats
it. The bare root is a fresh Debian (debootstrap --variant=minbase) with this machine's package
sources and a clone of the repository's last commit: it proves that .ci/packages names everything.
It needs root.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import sim
import suites

BARE_SUITE = "bookworm"
SEEDED = ["test_kills.py", "test_edge.py::test_thousands_of_mutated_frames_harm_nobody",
          "test_damage.py::test_every_single_flip_is_harmless_or_noticed"]
# Long forms of what ./dev test does in short.
CLUSTER = ["test_cluster_failovers.py", "test_cluster_faults.py", "test_cluster_rolling.py",
           "test_rollouts.py"]
FUZZ_SECONDS = 20  # for each fuzzer, in each round
TOKEN_SECONDS = 600
SIM_MINUTES = 10  # unless --only sim says for how long


def say(text):
    print(time.strftime("%H:%M:%S ") + text, flush=True)


# ---- loops -------------------------------------------------------------------------------------


def pytest_step(preset, tests, *options):
    """One run of @tests; prints the seed of what failed."""
    folder = suites.build(preset, targets=["pawld", "pawlctl", "callers"])
    command = ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rP", *options,
               *(f"tests/integration/{test}" for test in tests)]
    environment = suites.environment(PAWL_BUILD=str(folder), PYTHONDONTWRITEBYTECODE="1")
    done = subprocess.run(command, cwd=suites.ROOT, env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for line in done.stdout.splitlines():
        if re.search(r"PAWL_SEED|kills with|resident:|admitted|times$|keys moved|passed|failed", line):
            say(f"  {preset}: {line}")
    if done.returncode != 0:
        print(done.stdout[-6000:], flush=True)
    return done.returncode == 0


def fuzz(*arguments):
    suites.build("fuzz", targets=["tests"])
    return subprocess.run(["/usr/bin/python3", "tests/support/fuzz.py", *map(str, arguments)],
                          cwd=suites.ROOT, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode == 0


def fuzz_step():
    return fuzz(FUZZ_SECONDS)


STEPS = [
    ("kills under load", lambda: pytest_step("release", SEEDED[:1])),
    ("kills, frames and flips under the address sanitizer", lambda: pytest_step("asan", SEEDED)),
    ("floods of keys", lambda: pytest_step("release", ["test_flood.py"])),
    ("frames and flips", lambda: pytest_step("release", SEEDED[1:])),
    ("fuzzers", fuzz_step),
]


def loops(minutes):
    """All steps in turns until the time is up, each at least once."""
    end = time.monotonic() + 60 * minutes
    counts = {name: [0, 0] for name, _ in STEPS}
    rounds = 0
    while rounds == 0 or time.monotonic() < end:
        for name, step in STEPS:
            if rounds > 0 and time.monotonic() >= end:
                break
            say(name)
            counts[name][0 if step() else 1] += 1
        rounds += 1
    for name, (passed, failed) in counts.items():
        say(f"{name}: {passed} runs passed, {failed} failed")
    return sum(failed for _, failed in counts.values()) == 0


def cluster(minutes):
    """The fleet's long tests once, and again until the time is up."""
    end = time.monotonic() + 60 * minutes
    good = True
    while good:
        good = pytest_step("release", CLUSTER, "-m", "soak")
        if time.monotonic() >= end:
            break
    return good


# ---- a bare root -------------------------------------------------------------------------------


def mirror():
    """Where this machine takes Debian's main archive from."""
    listed = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)",
                             "Created-By: Packages"], capture_output=True, text=True).stdout
    found = [line.split()[0] for line in listed.splitlines() if line.endswith(f" {BARE_SUITE}")]
    return found[0] if found else "http://deb.debian.org/debian"


def copy_apt(root):
    """The package sources of this machine, with their keys, proxies and checks."""
    for name in ("sources.list", "keyrings", "auth.conf.d"):
        source = pathlib.Path("/etc/apt") / name
        if source.is_dir():
            shutil.copytree(source, root / "etc/apt" / name, dirs_exist_ok=True)
        elif source.exists():
            shutil.copy(source, root / "etc/apt" / name)
    listed = [*pathlib.Path("/etc/apt/sources.list.d").glob("*.list"),
              *pathlib.Path("/etc/apt/sources.list.d").glob("*.sources")]
    if any(listed):
        (root / "etc/apt/sources.list").unlink(missing_ok=True)
        for path in listed:
            shutil.copy(path, root / "etc/apt/sources.list.d" / path.name)
    shutil.copytree("/usr/share/keyrings", root / "usr/share/keyrings", dirs_exist_ok=True)
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True).stdout
    proxies = [line for line in dump.splitlines()
               if re.match(r"Acquire::(https?::proxy|check-)", line, re.I)]
    certificates = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
    if any("https://" in path.read_text() for path in listed) and certificates.exists():
        shutil.copy(certificates, root / "etc/apt/ca.crt")
        proxies.append('Acquire::https::CaInfo "/etc/apt/ca.crt";')
    (root / "etc/apt/apt.conf.d/90soak").write_text("\n".join(proxies) + "\n")
    for name in ("resolv.conf", "hosts"):
        shutil.copy(f"/etc/{name}", root / "etc" / name)


def run_inside(root, command):
    """Run @command in the repository inside; its mounts are gone when it ends."""
    script = f"""set -e
mount -t proc proc {root}/proc
mount --rbind /dev {root}/dev
mount -t tmpfs tmpfs {root}/tmp
exec chroot {root} /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
    TERM=dumb sh -c 'cd /srv/pawl && {command}'
"""
    begun = time.monotonic()
    done = subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    last = (done.stdout.strip().splitlines() or [""])[-1]
    say(f"bare root: {command}: exit {done.returncode} after {time.monotonic() - begun:.0f} s: {last}")
    if done.returncode != 0:
        print(done.stdout[-6000:], flush=True)
    return done.returncode == 0


def bare_root(then):
    if os.geteuid() != 0:
        say("bare root: NOT RUN, it needs root")
        return False
    if shutil.which("debootstrap") is None:
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends",
                        "debootstrap"], check=True, stdout=subprocess.DEVNULL)
    (suites.ROOT / "build").mkdir(exist_ok=True)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="pawl-bare-", dir=suites.ROOT / "build"))
    root = folder / "root"
    try:
        say(f"bare root: debootstrap --variant=minbase {BARE_SUITE} from {mirror()}")
        done = subprocess.run(["debootstrap", "--variant=minbase", BARE_SUITE, str(root), mirror()],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            print(done.stdout[-3000:], flush=True)
            say("bare root: FAILED, debootstrap")
            return False
        copy_apt(root)
        subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(suites.ROOT),
                        str(root / "srv/pawl")], check=True)
        return all([run_inside(root, command) for command in ["./dev demo", *then]])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def package():
    """The packages of ./dev package, installed, started, upgraded and purged in a bare root."""
    return all(subprocess.run(command, cwd=suites.ROOT).returncode == 0 for command in (
        ["./dev", "package"], ["/usr/bin/python3", "tests/support/package_root.py"]))


def image():
    """deploy/container/Dockerfile, built by buildah on a bare root."""
    return subprocess.run(["/usr/bin/python3", "tests/support/image_build.py"],
                          cwd=suites.ROOT).returncode == 0


def kubernetes():
    """The chart's fleet on a kubelet. Debian's parts of a node are installed as they are needed: no
    other command wants them."""
    folder = suites.build("release", targets=["pawld", "pawlctl", "callers"])
    subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "containerd",
                    "runc", "containernetworking-plugins"], stdout=subprocess.DEVNULL)
    return subprocess.run(["/usr/bin/python3", "tests/support/chart/real_cluster.py", "--node",
                           "--build", str(folder)], cwd=suites.ROOT).returncode == 0


def arm64():
    """The daemon and the unit tests for the other processor, where its compiler is installed."""
    return subprocess.run(["/usr/bin/python3", "tests/support/arm64.py"],
                          cwd=suites.ROOT).returncode == 0


# ---- current releases ----------------------------------------------------------------------------


def newer():
    """The tests of the Python package in a virtual environment with tests/python/newer.txt."""
    home = suites.ROOT / "build" / "newer"
    python = home / "bin" / "python"
    done = subprocess.run(["/usr/bin/python3", "-m", "venv", "--clear", str(home)]).returncode == 0 \
        and subprocess.run([python, "-m", "pip", "install", "--quiet", "--requirement",
                            "tests/python/newer.txt"], cwd=suites.ROOT).returncode == 0
    if not done:
        say("newer: NOT RUN, the current releases cannot be installed")
        return False
    listed = subprocess.run([python, "-m", "pip", "list", "--format", "freeze"],
                            capture_output=True, text=True).stdout.split()
    say("newer: " + ", ".join(one for one in listed if re.match(
        "django|adrf|gunicorn|gevent|uvicorn", one, re.I)))
    release = suites.build("release", targets=suites.STARTED)
    suites.build_extension(release)
    good = True
    for folder in sorted((suites.ROOT / "tests" / "python").iterdir()):
        if not any(folder.glob("test_*.py")):
            continue
        extra = suites.python_environment(suites.ROOT / "client" / "python" / "src")
        cases = suites.run_pytest(
            release, "newer", [f"tests/python/{folder.name}", "-m", "not soak"], python=python,
            workers=1 if folder.name in suites.ALONE else 2,
            extra={**extra, "PATH": f"{home / 'bin'}:{os.environ['PATH']}"})
        counts = {outcome: sum(case.outcome == outcome for case in cases)
                  for outcome in (suites.PASSED, suites.FAILED, suites.SKIPPED)}
        say(f"newer: {folder.name}: " + ", ".join(f"{n} {what}" for what, n in counts.items()))
        for case in cases:
            if case.outcome == suites.FAILED:
                print(f"FAILED {case.name}\n{case.detail[-2000:]}", flush=True)
        good = good and not counts[suites.FAILED]
    return good


def main():
    parser = argparse.ArgumentParser(prog="./dev soak")
    parser.add_argument("minutes", nargs="?", type=float, default=30)
    parser.add_argument("--only", choices=("loops", "tokens", "sim", "cluster", "bare-root",
                                           "package", "image", "arm64", "newer", "kubernetes"))
    parser.add_argument("--then", action="append", default=[], metavar="COMMAND",
                        help="run in the bare root after ./dev demo; repeatable")
    arguments = parser.parse_args()
    outcomes = {}
    if arguments.only in (None, "loops"):
        outcomes["loops"] = loops(arguments.minutes)
    if arguments.only in (None, "tokens"):
        outcomes["tokens"] = fuzz("fuzz_jwt", TOKEN_SECONDS)
    if arguments.only in (None, "sim"):
        outcomes["sim"] = sim.soak(arguments.minutes if arguments.only else SIM_MINUTES, say)
    if arguments.only in (None, "cluster"):
        outcomes["cluster"] = cluster(arguments.minutes if arguments.only else 0)
    if arguments.only in (None, "bare-root"):
        outcomes["bare root"] = bare_root(arguments.then)
    if arguments.only in (None, "package"):
        outcomes["package"] = package()
    if arguments.only in (None, "image"):
        outcomes["image"] = image()
    if arguments.only in (None, "arm64"):
        outcomes["arm64"] = arm64()
    if arguments.only in (None, "newer"):
        outcomes["newer"] = newer()
    if arguments.only == "kubernetes":
        outcomes["kubernetes"] = kubernetes()
    for name, good in outcomes.items():
        say(f"{name}: {'passed' if good else 'FAILED'}")
    return 0 if all(outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())

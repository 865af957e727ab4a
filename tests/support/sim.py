"""The simulation (tests/sim) as cases of the test command, and for as long as one likes.

A case is a range of seeds, a control (a protection taken away: its checker has to object), or a
range of seeds that was run twice and gave the same trace. Seeds go on from 1 until there were
SEEDS of them or SECONDS are over, whatever comes first.
"""

import concurrent.futures
import os
import subprocess
import time

import suites

SEEDS, SECONDS, CHUNK = 2000, 180, 25
HASHED = 20     # seeds that are run twice
SANITIZED = 10  # seeds under the address and undefined sanitizers


def run(name, program, *arguments, timeout_s=600):
    return suites.run_command(name, [program, *arguments], timeout_s=timeout_s)


def controls(program):
    """The names of the protections that can be taken away."""
    return subprocess.run([str(program), "--names"], check=True, capture_output=True,
                          text=True).stdout.split()


def chunk(program, first, until):
    """A range of seeds, or None when the time is over."""
    if time.monotonic() > until:
        return None
    return run(f"sim/seeds:{first}-{first + CHUNK - 1}", program, "--first", str(first),
               "--seeds", str(CHUNK))


def cases():
    program = suites.build("release", targets=["sim_cluster"]) / "tests" / "sim_cluster"
    sanitized = suites.build("asan", targets=["sim_cluster"]) / "tests" / "sim_cluster"
    with concurrent.futures.ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as pool:
        others = [pool.submit(run, f"sim/control:{name}", program, "--controls", "--control", name)
                  for name in controls(program)]
        others.append(pool.submit(run, f"sim/twice:1-{HASHED}", program, "--hash", "--seeds",
                                  str(HASHED)))
        others.append(pool.submit(run, f"sim/asan:1-{SANITIZED}", sanitized, "--seeds",
                                  str(SANITIZED)))
        for other in others:
            yield other.result()
        until = time.monotonic() + SECONDS
        for case in pool.map(lambda first: chunk(program, first, until),
                             range(1, SEEDS + 1, CHUNK)):
            if case is not None:
                yield case


def soak(minutes, say):
    """Seeds that nobody ran before, on all processors; prints those that fail."""
    program = suites.build("release", targets=["sim_cluster"]) / "tests" / "sim_cluster"
    first = int(os.environ.get("PAWL_SEED") or time.time() * 1000)
    running = []
    for i in range(max(1, os.cpu_count() or 1)):
        command = [str(program), "--first", str(first + i * 1_000_000_000), "--minutes",
                   str(minutes)]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    good = True
    for process in running:
        output = process.communicate()[0]
        for line in output.splitlines():
            if line.startswith("FAILED") or " seeds from " in line:
                say(f"sim: {line}")
        good = good and process.returncode == 0
    return good

"""What a test must not leave behind: processes that this one has started, and network namespaces
(those of deploy/demo/fleet.py have its id in their names). conftest.py looks after each test.
"""

import os
import pathlib
import signal
import subprocess
import time

NAMESPACES = pathlib.Path("/run/netns")
#: A process that was killed takes a moment to be gone.
SOON_S = 5


def namespaces():
    mark = f"pawl{os.getpid() % 100000:05d}"
    return {name for name in os.listdir(NAMESPACES) if name.startswith(mark)} \
        if NAMESPACES.is_dir() else set()


def processes():
    """Children that run, as (id, start): what waits to be collected does nothing any more."""
    found = set()
    for listed in pathlib.Path("/proc/self/task").glob("*/children"):
        try:
            children = listed.read_text().split()
        except OSError:  # a thread that has ended
            continue
        for child in children:
            try:
                fields = pathlib.Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] not in "ZX":
                found.add((int(child), fields[19]))
    return found


def here():
    return namespaces(), processes()


def name_of(pid):
    try:
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return f"process {pid}"
    return f"process {pid}: " + b" ".join(words).decode(errors="replace")[:200]


def since(before):
    """What has come since @before and is still here, as texts; it is ended, too."""
    end = time.monotonic() + SOON_S
    while True:
        spaces, running = (now - then for now, then in zip(here(), before))
        if not (spaces or running) or time.monotonic() > end:
            break
        time.sleep(0.02)
    said = [f"namespace {name}" for name in sorted(spaces)]
    said += [name_of(pid) for pid, _ in sorted(running)]
    for pid, _ in running:
        os.kill(pid, signal.SIGKILL)
    for name in spaces:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True)
    return said

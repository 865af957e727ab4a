"""What the tests of the handles share: waiting as a caller would, on the descriptor."""

import contextlib
import os
import select
import time

import rig

from pawl._types import Item, Rate

PATIENCE_S = rig.PATIENCE_S
#: A deadline that no working daemon misses, however busy the machine.
LONG_MS = PATIENCE_S * 1000
RATE = Rate(5, 60_000)


def item(key=b"k", *rates, **fields):
    return Item((key,), rates or (RATE,), **fields)


def wait_answers(handle, ids):
    """id -> answer of all of @ids, waiting with poll(2) for as long as the handle says."""
    wanted, found = set(ids), {}
    end = time.monotonic() + PATIENCE_S
    while wanted - set(found):
        assert time.monotonic() < end, f"no answer for {wanted - set(found)}"
        poller = select.poll()
        poller.register(handle.fileno(), select.POLLIN)
        poller.poll(handle.timeout_ms())
        for call_id, answer in handle.process():
            assert call_id not in found, "an answer came twice"
            found[call_id] = answer
    return found


def ask(handle, kind, request, deadline_ms=LONG_MS, now_ms=0):
    """Submit one call and wait for its answer."""
    call_id = getattr(handle, f"submit_{kind}")(request, deadline_ms, now_ms)
    handle.flush()
    return wait_answers(handle, [call_id])[call_id]


@contextlib.contextmanager
def child():
    """Fork; in the child the block runs and its end is the exit status, in the parent it is
    skipped: ``with child() as is_child: if is_child: ...``. Returns when the child has ended."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            yield True
            status = 0
        finally:
            os._exit(status)
    yield False
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child failed: {status}"


def sockets_of(pid):
    """The sockets that a process holds, by their inode."""
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/{pid}/fd/{name}")
            if target.startswith("socket:"):
                found.add(target)
    return found

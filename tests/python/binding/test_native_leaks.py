"""The extension keeps nothing: references, blocks and pages are the same after many calls."""

import gc
import sys
import tracemalloc

import pytest
import rig

from binding_rig import LONG_MS, PATIENCE_S, ask, item
from pawl import _types
from pawl._types import (CheckRequest, FamilyOpenRequest, HandleOptions, Item, LimitsRequest,
                         PingRequest, Rate, RefundItem, RefundRequest, ReserveRequest,
                         ResetRequest, RevokeRequest, RotateRequest, StatsRequest, Token,
                         TokenCheckRequest, UnrevokeRequest)

pytestmark = pytest.mark.release  # a sanitizer keeps freed memory for a while

CALLS = 20_000
ROUND = 100
#: Of the allocator's own making; 20,000 leaked references would be far above.
SLACK_BLOCKS = 200
SLACK_BYTES = 64 << 10
SLACK_RESIDENT = 4 << 20

TOKEN = Token(jti="t1", subject="alice", sid="s", exp_s=1 << 32)
GOOD = [
    ("check", CheckRequest((item(b"a", Rate(1 << 30, 1000)), item(b"b")), TOKEN, each=True)),
    ("check", CheckRequest((Item((b"k",), limit="unknown"),), peek=True)),
    ("token_check", TokenCheckRequest(TOKEN)),
    ("refund", RefundRequest((RefundItem(item(b"a"), (1,)),))),
    ("reset", ResetRequest(item(b"c"))),
    ("reserve", ReserveRequest((item(b"d"),), 1, 9)),
    ("rotate", RotateRequest(TOKEN, 1 << 32, next_jti="t2")),
    ("limits", LimitsRequest()),
    ("ping", PingRequest()),
]
BAD = [
    ("check", CheckRequest((item(), item(algorithm="none")))),
    ("check", CheckRequest((item(), Item(("text",), (Rate(1, 1),))))),
    ("check", CheckRequest((item(b"k", limit="l" * 65, tier="premium"),), TOKEN)),
    ("check", CheckRequest((item(cost=1 << 70),), TOKEN)),
    ("token_check", TokenCheckRequest(TOKEN._replace(jti="\ud800"))),
    ("refund", RefundRequest((RefundItem(item(), ("1",)),))),
    ("revoke", RevokeRequest("token", b"t", "bored")),
    ("unrevoke", UnrevokeRequest((("origin", 1),))),
    ("rotate", RotateRequest(TOKEN, 1, leeway_ms="1")),
    ("ping", None),
]


def rss_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.fixture
def handle(daemon):
    handle = rig.backend_class("native")(HandleOptions(daemon.unix))
    yield handle
    handle.close()


def measure(work):
    """What @work leaves behind after it has run once already: blocks, bytes, resident bytes."""
    work()
    gc.collect()
    tracemalloc.start()
    try:
        blocks, (traced, _), resident = (sys.getallocatedblocks(), tracemalloc.get_traced_memory(),
                                         rss_bytes())
        work()
        gc.collect()
        return (sys.getallocatedblocks() - blocks, tracemalloc.get_traced_memory()[0] - traced,
                rss_bytes() - resident)
    finally:
        tracemalloc.stop()


def class_references():
    """References to the classes whose instances answers are."""
    return sum(sys.getrefcount(value) for value in vars(_types).values()
               if isinstance(value, type) and issubclass(value, tuple))


def test_answers_leave_nothing_behind(handle):
    def work():
        for _ in range(CALLS // ROUND):
            left = set()
            for i in range(ROUND):
                kind, request = GOOD[i % len(GOOD)]
                left.add(getattr(handle, f"submit_{kind}")(request, LONG_MS))
            while left:
                left -= {call_id for call_id, _ in handle.process()}
    blocks, traced, resident = measure(work)
    assert blocks < SLACK_BLOCKS and traced < SLACK_BYTES and resident < SLACK_RESIDENT


def test_words_and_classes_keep_their_counts(handle):
    def work():
        for kind, request in GOOD * 30:
            ask(handle, kind, request)
    work()
    before = class_references()
    work()
    assert abs(class_references() - before) < 10


def test_big_answers_leave_nothing_behind(handle):
    ask(handle, "family_open", FamilyOpenRequest("alice", 1 << 32))

    def work():
        for _ in range(200):
            ask(handle, "stats", StatsRequest())
    blocks, traced, resident = measure(work)
    assert blocks < SLACK_BLOCKS and traced < SLACK_BYTES and resident < SLACK_RESIDENT


def test_refusals_leave_nothing_behind(handle):
    def work():
        for i in range(CALLS):
            kind, request = BAD[i % len(BAD)]
            with pytest.raises((TypeError, ValueError)):
                getattr(handle, f"submit_{kind}")(request, LONG_MS)
    blocks, traced, resident = measure(work)
    assert blocks < SLACK_BLOCKS and traced < SLACK_BYTES and resident < SLACK_RESIDENT
    assert handle.figures()["requests"] == 0


def test_handles_leave_nothing_behind(daemon):
    native = rig.backend_class("native")

    def work():
        for i in range(300):
            handle = native(HandleOptions(daemon.unix))
            handle.submit_check(CheckRequest((item(),)), LONG_MS)
            if i % 10 == 0:
                ask(handle, "ping", PingRequest())
            if i % 2:
                handle.close()
        for _ in range(300):
            with pytest.raises(ValueError):
                native(HandleOptions("ftp:nowhere", credential_id="i"))
    blocks, traced, resident = measure(work)
    assert blocks < SLACK_BLOCKS and traced < SLACK_BYTES and resident < SLACK_RESIDENT


def test_answers_nobody_takes_go_with_the_handle(daemon):
    native = rig.backend_class("native")

    def work():
        for _ in range(100):
            handle = native(HandleOptions("unix:/nowhere/pawld.sock"))
            for _ in range(20):
                handle.submit_check(CheckRequest((item(),)), PATIENCE_S * 1000)
            handle.flush()
            del handle
    blocks, traced, resident = measure(work)
    assert blocks < SLACK_BLOCKS and traced < SLACK_BYTES and resident < SLACK_RESIDENT

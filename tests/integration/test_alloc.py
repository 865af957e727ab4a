"""Memory that runs out under a whole daemon: at each allocation of its start, and while it serves.

A preloaded library (tests/support/alloc_shim.c) counts what the process asks of the allocator and
lets the n-th request fail, once or for ever. A start works or ends with a message and an exit
status; a running daemon says so, or hangs up, and goes on; and nobody is let through who would not
have been. Builds without a sanitizer only: those have allocators of their own.
"""

import ctypes
import mmap
import signal
import socket
import subprocess

import pytest

from conftest import ROOT, check_request, wait_for

pytestmark = pytest.mark.release

FOR_EVER = 1 << 62
FAR = 4_000_000_000

# libseccomp, libmicrohttpd and OpenSSL do not bear a failed allocation in their own start: what is
# tested here is pawld.
CONFIG = """\
sandbox: false
http: off
limits:
  login: {rate: 3/hour, on_error: closed}
  api: {rate: [60/minute, 1000/day]}
server: {workers: 1}
"""


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    path = tmp_path_factory.mktemp("shim") / "alloc_shim.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-o", path,
                    ROOT / "tests" / "support" / "alloc_shim.c"], check=True)
    return path


class Plan:
    """struct alloc_plan, shared with the daemon."""

    def __init__(self, path):
        path.write_bytes(bytes(32))
        self.file = open(path, "r+b")
        self.memory = mmap.mmap(self.file.fileno(), 32)
        self.words = (ctypes.c_uint64 * 4).from_buffer(self.memory)

    @property
    def calls(self):
        return self.words[0]

    @property
    def failed(self):
        return self.words[3]

    def arm(self, nth, length=1):
        """Fail the @nth call from now on."""
        self.words[1] = 0
        self.words[3] = 0
        self.words[2] = length
        self.words[1] = self.words[0] + nth

    def disarm(self):
        self.words[1] = 0
        return self.failed

    def begin(self, nth, length=1):
        """For a process that is still to be started."""
        self.words[0] = self.words[3] = 0
        self.words[2] = length
        self.words[1] = nth


class Starved:
    """A daemon under the shim, and a revoked token in its store."""

    def __init__(self, make_daemon, shim, folder, connect, wire):
        self.plan = Plan(folder / "plan")
        self.connect = connect
        self.wire = wire
        self.daemon = make_daemon(config=CONFIG, tcp=False)
        self.daemon.ctl("revoke", "token", "--jti", "gone", "--exp", FAR, check=0)
        for _ in range(3):
            self.daemon.ctl("check", "--limit", "login", "full", check=0)
        self.daemon.stop()
        self.daemon.env = {"LD_PRELOAD": str(shim), "PAWL_SHIM_ALLOC": str(folder / "plan")}

    def start(self, nth, length=1):
        """The exit status, or None when it serves."""
        self.plan.begin(nth, length)
        self.daemon.start(wait=False)
        process = self.daemon.process
        wait_for(lambda: process.poll() is not None or self.daemon.event("ready"),
                 f"the end of a start without allocation {nth}")
        return process.poll()

    def calls_of_a_start(self):
        assert self.start(0) is None
        calls = self.plan.calls
        assert self.daemon.stop() == 0
        return calls

    def assert_no_wrong_yes(self):
        """The revoked token is not valid, the full key not allowed; no answer is fine, too."""
        token = self.wire.TokenCheck(token=self.wire.Token(jti=b"gone", exp=FAR))
        item = self.wire.CheckItem(limit=b"login", key=[b"full"],
                                   on_error=self.wire.ON_ERROR_CLOSED)
        reply = ask(self, {"token_check": token})
        assert reply is None or reply.token_check.status != self.wire.TOKEN_VALID, reply
        reply = ask(self, {"check": self.wire.Check(items=[item])})
        assert reply is None or reply.check.verdict != self.wire.VERDICT_ALLOW, reply

    def assert_ended_well(self, code, nth):
        assert code is not None and code > 0, (nth, code, self.daemon.log())
        assert self.daemon.log(), f"without allocation {nth} it ended with {code} and no word"


@pytest.fixture
def starved(make_daemon, shim, tmp_path, connect, wire):
    return Starved(make_daemon, shim, tmp_path, connect, wire)


def some(count, most):
    """All numbers from 1 to @count, or @most of them: the first ones, then evenly spread."""
    if count <= most:
        return range(1, count + 1)
    step = max(1, (count - most // 2) // (most // 2))
    return sorted(set(range(1, most // 2 + 1)) | set(range(most // 2, count + 1, step)))


def fail_starts(starved, length, most):
    outcomes = {"works": 0, "ends": 0}
    for nth in some(starved.calls_of_a_start(), most):
        code = starved.start(nth, length)
        if code is None:
            starved.plan.disarm()
            starved.assert_no_wrong_yes()
            assert starved.daemon.stop() == 0, (nth, starved.daemon.log())
            outcomes["works"] += 1
        else:
            starved.assert_ended_well(code, nth)
            outcomes["ends"] += 1
    # With memory again, nothing was lost by all of this.
    assert starved.start(0) is None
    starved.daemon.ctl("token", "check", "--jti", "gone", "--exp", FAR, check=1)
    starved.daemon.ctl("check", "--limit", "login", "full", check=1)
    return outcomes


def test_a_start_without_one_allocation_works_or_says_why_not(starved):
    outcomes = fail_starts(starved, 1, 500)
    assert outcomes["ends"] > 10, outcomes


def test_a_start_that_runs_out_of_memory_says_so(starved):
    outcomes = fail_starts(starved, FOR_EVER, 250)
    assert outcomes["ends"] > 50, outcomes


@pytest.mark.soak
def test_a_start_without_any_one_allocation_works_or_says_why_not(starved):
    fail_starts(starved, 1, 1 << 30)


def requests(wire):
    """One of each kind: what is asked, and whether its answer would be a yes."""
    token = wire.Token(jti=b"gone", exp=FAR)
    item = wire.CheckItem(limit=b"login", key=[b"full"], on_error=wire.ON_ERROR_CLOSED)
    yield ({"check": wire.Check(items=[item])},
           lambda reply: reply.check.verdict == wire.VERDICT_ALLOW)
    yield ({"token_check": wire.TokenCheck(token=token)},
           lambda reply: reply.token_check.status == wire.TOKEN_VALID)
    yield ({"check": wire.Check(items=[item], token=token)},
           lambda reply: reply.check.verdict == wire.VERDICT_ALLOW)
    for fields in (
            {"check": check_request(wire, b"other")},
            {"refund": wire.Refund(items=[wire.RefundItem(limit=b"api", key=[b"k"], cost=1)])},
            {"reset": wire.Reset(limit=b"api", key=[b"k"])},
            {"revoke": wire.Revoke(scope=wire.SCOPE_TOKEN, value=b"more", exp=FAR)},
            {"family_open": wire.FamilyOpen(subject=b"ann", jti=b"first", exp=FAR)},
            {"rotate": wire.Rotate(presented=wire.Token(jti=b"x", sid=b"y"), next_jti=b"z",
                                   next_exp=FAR)},
            {"limits": wire.Limits()},
            {"stats": wire.Stats()},
            {"ping": wire.Ping()}):
        yield fields, lambda reply: False


def ask(starved, fields):
    """The answer, or None when the daemon hung up."""
    try:
        connection = starved.connect(starved.daemon.unix)
    except OSError:
        return None
    try:
        request = connection.request(**fields)
        connection.send(request)
        while True:
            reply = connection.receive()
            if reply is None or reply.id == request.id:
                return reply
    except (OSError, socket.timeout) as error:
        assert not isinstance(error, socket.timeout), "no answer and no end"
        return None
    finally:
        connection.close()


@pytest.mark.parametrize("length", [1, FOR_EVER], ids=["once", "for_ever"])
def test_a_request_without_memory_is_refused_and_the_daemon_goes_on(starved, wire, length):
    assert starved.start(0) is None
    hits = 0
    for fields, is_yes in requests(wire):
        for nth in range(1, 400):
            starved.plan.arm(nth, length)
            reply = ask(starved, fields)
            failed = starved.plan.disarm()
            assert starved.daemon.process.poll() is None, (fields, nth, starved.daemon.log()[-5:])
            assert reply is None or not is_yes(reply), (fields, nth, reply)
            assert ask(starved, {"ping": wire.Ping()}) is not None, (fields, nth)
            hits += failed > 0
            if failed == 0:
                break
        else:
            raise AssertionError(f"{fields}: no end of allocations")
    assert hits > 5
    starved.daemon.ctl("token", "check", "--jti", "gone", "--exp", FAR, check=1)
    starved.daemon.ctl("check", "--limit", "login", "full", check=1)
    assert starved.daemon.stop() == 0


def test_a_reload_without_memory_leaves_the_limits_as_they_are(starved, wire):
    def ends():
        return sum(line.get("event") in ("reloaded", "reload_refused")
                   for line in starved.daemon.log())

    assert starved.start(0) is None
    full = {"check": wire.Check(items=[wire.CheckItem(limit=b"login", key=[b"full"],
                                                      on_error=wire.ON_ERROR_CLOSED)])}
    for nth in range(1, 2000):
        before = ends()
        starved.plan.arm(nth)
        starved.daemon.process.send_signal(signal.SIGHUP)
        # Once a second at most is logged, so what failed says as well that it was begun.
        wait_for(lambda: starved.plan.failed or ends() > before,
                 f"an end of the reload without allocation {nth}")
        failed = starved.plan.disarm()
        assert starved.daemon.process.poll() is None, (nth, starved.daemon.log()[-5:])
        reply = ask(starved, full)
        assert reply.status == wire.STATUS_OK and reply.check.verdict == wire.VERDICT_DENY, reply
        if not failed:
            break
    assert nth > 10
    wait_for(lambda: starved.daemon.event("reload_refused"), "a word about it")
    assert starved.daemon.stop() == 0


def test_a_stop_without_memory_still_ends(starved):
    for length in (1, FOR_EVER):
        for nth in (1, 2, 3, 5, 8, 13, 21):
            assert starved.start(0) is None
            starved.plan.arm(nth, length)
            code = starved.daemon.stop()
            starved.plan.disarm()
            assert code in (0, 1), (nth, length, code)
    assert starved.start(0) is None
    starved.daemon.ctl("token", "check", "--jti", "gone", "--exp", FAR, check=1)

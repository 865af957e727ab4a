"""A daemon that is away, silent, restarted or no daemon at all."""

import contextlib
import os
import pathlib
import signal
import socket
import threading
import time

import pytest
import rig

from binding_rig import LONG_MS, PATIENCE_S, ask, item, wait_answers
from pawl._types import (CheckRequest, FamilyOpenRequest, PingRequest, RevokeRequest,
                         RotateRequest, StatsRequest, Token, TokenCheckRequest)

CHECK = CheckRequest((item(),))
PEEK = CheckRequest((item(),), peek=True)
#: Longer than any deadline here takes, shorter than patience.
SLACK_S = PATIENCE_S / 2


def stop(daemon):
    """SIGSTOP; a thread that was running may answer once more before it obeys."""
    os.kill(daemon.process.pid, signal.SIGSTOP)
    tasks = pathlib.Path(f"/proc/{daemon.process.pid}/task")
    rig.wait_for(lambda: all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T"
                             for task in tasks.iterdir()), "all threads stopped")


@contextlib.contextmanager
def stopped(daemon):
    """The daemon keeps its sockets and answers nobody."""
    stop(daemon)
    try:
        yield
    finally:
        os.kill(daemon.process.pid, signal.SIGCONT)


def test_nobody_there_is_undecided_at_once_and_nothing_was_charged(make_handle, tmp_path):
    handle = make_handle(f"unix:{tmp_path}/nobody.sock,unix:{tmp_path}/either.sock")
    begun = time.monotonic()
    answer = ask(handle, "check", CHECK)
    assert time.monotonic() - begun < SLACK_S
    assert (answer.outcome, answer.rates, answer.token) == ("undecided", (), None)
    assert answer.info[:3] == ("none", "connect", "none") and answer.info.text
    assert handle.figures()["connect_fails"] == 2


@pytest.mark.parametrize("kind, request_", [
    ("token_check", TokenCheckRequest(Token(jti="t"))),
    ("revoke", RevokeRequest("token", b"t")),
    ("family_open", FamilyOpenRequest("alice", 1 << 32)),
    ("rotate", RotateRequest(Token(jti="t", sid="s"), 1 << 32, next_jti="n")),
    ("stats", StatsRequest()),
    ("ping", PingRequest()),
])
def test_every_kind_says_that_nobody_is_there(make_handle, tmp_path, kind, request_):
    answer = ask(make_handle(f"unix:{tmp_path}/nobody.sock"), kind, request_)
    assert answer.info[:3] == ("none", "connect", "none")
    if kind == "token_check":
        assert (answer.token.status, answer.token.fresh) == ("undecided", False)
    if kind == "rotate":
        assert (answer.result, answer.proposed) == ("unavailable", "n")


def test_a_silent_daemon_costs_the_deadline_and_the_effect_is_unknown(make_handle, daemon):
    handle = make_handle(daemon.unix, check_deadline_ms=50)
    ask(handle, "ping", PingRequest())
    with stopped(daemon):
        begun = time.monotonic()
        answer = ask(handle, "check", CHECK, 0)
        assert 0.045 <= time.monotonic() - begun < SLACK_S
        assert (answer.outcome, answer.info[:3]) == ("undecided", ("none", "timeout", "unknown"))
        answer = ask(handle, "check", PEEK, 10)
        assert answer.info[:3] == ("none", "timeout", "none")
        answer = ask(handle, "revoke", RevokeRequest("token", b"t"), 10)
        assert (answer.info.cause, answer.info.effect) == ("timeout", "unknown")
        assert handle.figures()["timeouts"] == 3
    # Late answers are for nobody; the next requests get their own.
    assert ask(handle, "check", CHECK).info.source == "daemon"


def test_a_daemon_that_does_not_even_accept_costs_the_deadline(make_handle, daemon):
    handle = make_handle(daemon.unix)
    with stopped(daemon):
        answer = ask(handle, "check", CHECK, 30)
        assert answer.outcome == "undecided" and answer.info.cause == "timeout"


def test_deadlines_of_several_requests_pass_each_in_its_time(make_handle, daemon):
    handle = make_handle(daemon.unix)
    ask(handle, "ping", PingRequest())
    with stopped(daemon):
        late = handle.submit_check(CHECK, LONG_MS)
        soon = handle.submit_check(CHECK, 20)  # after it, and over before it
        handle.flush()
        assert wait_answers(handle, [soon])[soon].info.cause == "timeout"
        assert handle.figures()["in_flight"] == 1
    assert wait_answers(handle, [late])[late].info.source == "daemon"


def test_a_restarted_daemon_is_found_again(make_handle, daemon):
    handle = make_handle(daemon.unix)
    assert ask(handle, "check", CHECK).allowed
    fd = handle.fileno()
    daemon.restart()
    answer = ask(handle, "check", CHECK)
    assert (answer.outcome, answer.rates[0].count) == ("allow", 2)
    assert handle.fileno() == fd, "the descriptor stays the same over reconnects"
    assert handle.figures()["connects"] == 2


def test_a_killed_daemon_leaves_the_outcome_unknown_and_nothing_is_sent_twice(make_handle, daemon):
    handle = make_handle(daemon.unix)
    ask(handle, "ping", PingRequest())
    stop(daemon)
    call_id = handle.submit_check(CHECK, LONG_MS)
    handle.flush()
    daemon.kill()
    answer = wait_answers(handle, [call_id])[call_id]
    assert answer.info[:3] == ("none", "lost", "unknown")
    assert handle.figures()["lost"] == 1
    daemon.start()
    # A back-off is kept after a failed connect; a request that waits for it is served.
    rig.wait_for(lambda: ask(handle, "check", PEEK, 1000).info.source == "daemon", "found again")


def test_the_next_address_serves_when_the_first_is_gone(make_handle, make_daemon):
    first, second = make_daemon(), make_daemon()
    handle = make_handle(f"{first.unix},{second.unix}")
    assert ask(handle, "check", CHECK).rates[0].count == 1
    first.stop()
    assert ask(handle, "check", CHECK).rates[0].count == 1
    assert second.status()["keys"] == 1


class Garbage:
    """A listener that answers every connection with the same bytes."""

    def __init__(self, path, data):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.data = data
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.listener.accept()
                with peer, contextlib.suppress(OSError):
                    peer.recv(65536)
                    peer.sendall(self.data)
                    peer.recv(65536)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(PATIENCE_S)


@pytest.mark.parametrize("data, causes", [
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", ("protocol",)),
    (b"\xff\xff\xff\xff", ("protocol",)),
    (b"\0\0\0\x02\xff\xff", ("protocol",)),
    (b"\0\0\0\0", ("protocol",)),
    (b"\0\0\0\x09short", ("lost", "timeout")),
    (b"", ("lost", "timeout")),
], ids=["http", "huge", "no message", "empty frame", "cut", "nothing"])
def test_a_peer_that_speaks_something_else_is_told_and_left(make_handle, tmp_path, data, causes):
    peer = Garbage(tmp_path / "peer.sock", data)
    handle = make_handle(f"unix:{tmp_path}/peer.sock")
    try:
        answer = ask(handle, "check", CHECK, 1000)
        assert answer.outcome == "undecided" and answer.info.source == "none"
        assert answer.info.cause in causes and answer.info.effect == "unknown"
        if causes == ("protocol",):
            assert handle.figures()["protocol_errors"] == 1
    finally:
        handle.close()
        peer.close()


def test_a_handle_lives_without_ever_being_asked(make_handle, daemon):
    for _ in range(50):
        handle = make_handle(daemon.unix)
        handle.fileno()
        handle.close()
    assert daemon.status()["edge_accepted"] == 1, "only the status asked"

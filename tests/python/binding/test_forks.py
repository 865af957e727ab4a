"""Handles that were made before a fork, as under gunicorn --preload."""

import gc
import os

import pytest

from binding_rig import LONG_MS, ask, child, item, sockets_of, wait_answers
from pawl._types import CheckRequest, PingRequest

CHECK = CheckRequest((item(),))


@pytest.fixture
def handle(make_handle, daemon):
    return make_handle(daemon.unix)


def test_a_child_connects_anew_and_a_busy_parent_is_not_disturbed(handle, daemon):
    ask(handle, "ping", PingRequest())
    pending = [handle.submit_check(CHECK, LONG_MS) for _ in range(3)]
    handle.flush()  # the parent's requests are under way
    fd = handle.fileno()
    inherited = sockets_of(os.getpid())
    with child() as is_child:
        if is_child:
            answers = wait_answers(handle, [handle.submit_check(CHECK, LONG_MS)])
            (answer,) = answers.values()
            assert answer.info.source == "daemon" and answer.allowed
            assert not set(answers) & set(pending), "the parent's answers are the parent's"
            assert handle.figures()["in_flight"] == 0
            assert not inherited & sockets_of(os.getpid()), "its copies are closed"
    assert handle.fileno() == fd
    answers = wait_answers(handle, pending)
    assert sorted(answer.rates[0].count for answer in answers.values()) in (
        [1, 2, 3], [1, 2, 4], [1, 3, 4], [2, 3, 4])
    assert ask(handle, "check", CHECK).rates[0].count == 5
    assert handle.figures()["connects"] == 1


def test_a_child_that_only_closes_leaves_the_parents_connection_alone(handle):
    ask(handle, "ping", PingRequest())
    pending = handle.submit_check(CHECK, LONG_MS)
    with child() as is_child:
        if is_child:
            handle.close()
    assert wait_answers(handle, [pending])[pending].allowed
    assert handle.figures()["connects"] == 1


def test_a_child_that_forgets_the_handle_leaves_it_alone(make_handle, daemon):
    handle = make_handle(daemon.unix)
    ask(handle, "ping", PingRequest())
    with child() as is_child:
        if is_child:
            del handle
            gc.collect()
    assert ask(handle, "check", CHECK).allowed
    assert handle.figures()["connects"] == 1


@pytest.mark.parametrize("first", ["fileno", "timeout_ms", "process", "flush", "figures"])
def test_any_first_call_of_a_child_notices_the_fork(handle, first):
    ask(handle, "ping", PingRequest())
    handle.submit_check(CHECK, LONG_MS)
    with child() as is_child:
        if is_child:
            value = getattr(handle, first)()
            if first == "timeout_ms":
                assert value == -1, "nothing of the child's own is pending"
            if first == "process":
                assert value == []
            if first == "figures":
                assert value["in_flight"] == 0
            assert ask(handle, "check", CHECK).allowed


def test_children_of_children_have_their_own(handle):
    ask(handle, "ping", PingRequest())
    with child() as is_child:
        if is_child:
            ask(handle, "check", CHECK)
            with child() as is_grandchild:
                if is_grandchild:
                    assert ask(handle, "check", CHECK).rates[0].count == 2
            assert ask(handle, "check", CHECK).rates[0].count == 3
    assert ask(handle, "check", CHECK).rates[0].count == 4


def test_many_children_at_once_are_each_answered(handle):
    ask(handle, "ping", PingRequest())
    pids = []
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            good = False
            try:
                counts = [ask(handle, "check", CHECK).info.source for _ in range(5)]
                good = counts == ["daemon"] * 5
            finally:
                os._exit(0 if good else 1)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 8
    assert ask(handle, "check", CheckRequest((item(),), peek=True)).rates[0].count == 5

"""The lives of requests and connections of the pure client, against a pawld that misbehaves."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import rig

import pawl._types as types
from pawl._pure import Handle, _addresses, _engine
from pure_rig import PATIENCE_S, Fake, ask, frame, wait

ITEM = types.Item((b"k",), (types.Rate(5, 60_000),))
CHECK = types.CheckRequest((ITEM,))
PEEK = types.CheckRequest((ITEM,), peek=True)
LONG_MS = PATIENCE_S * 1000


@pytest.fixture
def make():
    """A factory of handles, closed when the test ends."""
    made = []

    def make_one(addresses, **options):
        made.append(Handle(types.HandleOptions(addresses, **options)))
        return made[-1]

    yield make_one
    for handle in made:
        handle.close()


def turn_until(handle, condition, what, patience_s=PATIENCE_S):
    answers = []

    def met():
        answers.extend(handle.process())
        return condition()
    rig.wait_for(met, what, patience_s)
    return answers


# ---- bytes -------------------------------------------------------------------------------------


def test_an_answer_that_comes_byte_by_byte_is_put_together(make_fake, make):
    def drip(fake, peer, request):
        for byte in frame(fake.reply(request).SerializeToString()):
            peer.send_bytes(bytes((byte,)))
    assert ask(make(make_fake(drip).address), CHECK).outcome == "allow"


def test_many_answers_in_one_read_are_each_told_once(make_fake, make):
    kept = []

    def hold(fake, peer, request):
        kept.append(fake.reply(request))
        if len(kept) == 50:
            peer.send_bytes(b"".join(frame(one.SerializeToString()) for one in reversed(kept)))
    handle = make(make_fake(hold).address)
    ids = [handle.submit_check(CHECK, LONG_MS) for _ in range(50)]
    got = turn_until(handle, lambda: not handle.figures()["in_flight"], "all answers")
    assert sorted(call_id for call_id, _ in got) == ids


@pytest.mark.parametrize("garbage", [
    b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\0", b"\xff\xff\xff\xff",
    (1048577).to_bytes(4, "big"), frame(b"\xff\xff\xff"), frame(b"\x08\x05\x0f")])
def test_what_is_not_the_protocol_closes_the_connection_and_says_so(make_fake, make, garbage):
    fake = make_fake(lambda fake, peer, request: peer.send_bytes(garbage))
    handle = make(fake.address)
    info = ask(handle, CHECK).info
    assert (info.source, info.cause, info.effect) == ("none", "protocol", "unknown")
    assert fake.address in info.text and "protocol" in info.text
    rig.wait_for(lambda: fake.open == 0, "the connection closed")
    fake.on_request = Fake.allow
    assert ask(handle, CHECK).outcome == "allow"
    assert handle.figures()["protocol_errors"] == 1


def test_a_frame_over_the_cap_is_refused_by_its_header_alone(make_fake, make):
    def announce(fake, peer, request):  # and sends no byte of it
        peer.send_bytes((1 << 31).to_bytes(4, "big"))
    assert ask(make(make_fake(announce).address), CHECK, 5000).info.cause == "protocol"


def test_the_answer_to_another_question_is_none(make_fake, make):
    def other(fake, peer, request):
        peer.send(fake.wire.Reply(id=request.id, status=1, ping=fake.wire.PingReply()))
    info = ask(make(make_fake(other).address), PEEK).info
    assert (info.cause, info.effect) == ("protocol", "none")  # a peek changes nothing


def test_answers_nobody_waits_for_are_dropped(make_fake, make):
    def chatter(fake, peer, request):
        stranger = fake.reply(request)
        stranger.id += 1000
        peer.send(stranger)
        peer.send(fake.wire.Reply(view=fake.wire.ViewReply(view=5)))
        peer.send(fake.reply(request))
        peer.send(fake.reply(request))
    handle = make(make_fake(chatter).address)
    assert [ask(handle, CHECK).outcome for _ in range(3)] == ["allow"] * 3


def test_a_reply_as_big_as_any_is_read(make_fake, make):
    def tell(fake, peer, request):
        reply = fake.reply(request)
        for number in range(1800):
            reply.stats.stats.add(name=b"n%d" % number, text=b"x" * 500)
        assert 900_000 < reply.ByteSize() < 1048576
        peer.send(reply)
    assert len(ask(make(make_fake(tell).address), types.StatsRequest()).figures) == 1800


def test_big_requests_leave_piece_by_piece_and_whole(make_fake, make):
    fake = make_fake()
    item = types.Item(tuple(bytes((n,)) * 1024 for n in range(8)), limit="l")
    handle = make(fake.address)
    ids = [handle.submit_check(types.CheckRequest((item,) * 7), LONG_MS) for _ in range(60)]
    got = turn_until(handle, lambda: not handle.figures()["in_flight"], "all answers")
    assert [call_id for call_id, _ in got] == ids
    assert len(fake.seen) == 60 and all(tuple(one.check.items[6].key) == item.key
                                        for one in fake.seen)


# ---- never twice -------------------------------------------------------------------------------


def test_a_request_of_which_a_byte_has_left_is_never_sent_again(make_fake, make):
    first = make_fake(lambda fake, peer, request: peer.close())
    second = make_fake()
    handle = make(f"{first.address},{second.address}")
    info = ask(handle, CHECK, 5000).info
    assert (info.source, info.cause, info.effect) == ("none", "lost", "unknown")
    assert len(first.seen) == 1 and not second.seen and not second.hellos
    assert handle.figures()["lost"] == 1


def test_a_lost_peek_has_no_effect_and_is_not_sent_again_either(make_fake, make):
    fake = make_fake(lambda fake, peer, request: peer.close())
    info = ask(make(fake.address), PEEK).info
    assert (info.cause, info.effect, len(fake.seen)) == ("lost", "none", 1)


def test_what_has_not_left_goes_to_the_next_address(make_fake, make):
    fake = make_fake()
    handle = make(f"unix:@pawl-nobody-{os.getpid()},tcp:127.0.0.1:1,{fake.address}")
    assert ask(handle, CHECK).outcome == "allow"
    assert handle.figures()["connect_fails"] == 2


def test_a_connection_that_was_closed_while_idle_loses_nothing(make_fake, make):
    fake = make_fake()
    handle = make(fake.address)
    for _ in range(3):
        assert ask(handle, CHECK).outcome == "allow"
        fake.peers[-1].socket.shutdown(socket.SHUT_RDWR)
        rig.wait_for(lambda: fake.open == 0, "closed")
    assert handle.figures()["lost"] == 0 and len(fake.seen) == 3


def test_no_address_that_answers_is_told_with_the_address(make):
    answer = ask(make(f"unix:@pawl-nobody-{os.getpid()}"), CHECK)
    assert answer.outcome == "undecided"
    assert (answer.info.source, answer.info.cause, answer.info.effect) == ("none", "connect",
                                                                           "none")
    assert "pawl-nobody" in answer.info.text and "refused" in answer.info.text.lower()


# ---- deadlines ---------------------------------------------------------------------------------


def test_a_silent_daemon_costs_the_deadline_and_the_effect_is_unknown(make_fake, make):
    handle = make(make_fake(Fake.ignore).address)
    begun = time.monotonic()
    info = ask(handle, CHECK, deadline_ms=50).info
    assert (info.source, info.cause, info.effect) == ("none", "timeout", "unknown")
    assert 0.05 <= time.monotonic() - begun < PATIENCE_S
    assert ask(handle, PEEK, 50).info.effect == "none"


def test_an_answer_after_the_deadline_is_no_answer_to_the_next_request(make_fake, make):
    kept = []

    def late(fake, peer, request):
        if len(fake.seen) == 1:
            kept.append(fake.reply(request))
            kept[0].check.verdict = 2
        else:
            peer.send(kept[0])
            peer.send(fake.reply(request))
    handle = make(make_fake(late).address)
    assert ask(handle, CHECK, deadline_ms=30).info.cause == "timeout"
    assert ask(handle, CHECK).outcome == "allow"


def test_connecting_is_inside_the_deadline(make):
    listener = socket.socket(socket.AF_UNIX)  # accepts nobody, and its backlog is full
    name = f"pawl-full-{os.getpid()}"
    listener.bind("\0" + name)
    listener.listen(0)
    stuffing = []
    while True:
        one = socket.socket(socket.AF_UNIX)
        one.setblocking(False)
        stuffing.append(one)
        if one.connect_ex("\0" + name) != 0:
            break
    handle = make(f"unix:@{name}")
    info = ask(handle, CHECK, deadline_ms=50).info
    assert (info.cause, info.effect) == ("timeout", "none")
    for one in (*stuffing, listener):
        one.close()


def test_the_budget_that_travels_is_what_is_left(make_fake, make):
    fake = make_fake()
    handle = make(fake.address)
    call_id = handle.submit_check(CHECK, 60_000)
    time.sleep(0.02)
    wait(handle, call_id)
    assert 60_000 - PATIENCE_S * 1000 < fake.seen[0].deadline_ms <= 59_981
    ask(handle, CHECK, deadline_ms=0)
    assert 1 <= fake.seen[1].deadline_ms <= 20
    ask(handle, types.PingRequest(), 0)
    assert 900 < fake.seen[2].deadline_ms <= 1000


def test_who_is_silent_too_often_is_left_for_another(make_fake, make):
    """A machine that is gone closes nothing: its connection would be kept for a quarter hour."""
    silent, other = make_fake(Fake.ignore), make_fake()
    handle = make(f"{silent.address},{other.address}")
    causes = [ask(handle, CHECK, deadline_ms=10).info.cause for _ in range(_engine.SILENT_MAX)]
    assert causes == ["timeout"] * _engine.SILENT_MAX
    assert ask(handle, CHECK, 5000).outcome == "allow" and len(other.seen) == 1


# ---- cancel, ceilings, end -----------------------------------------------------------------------


def test_a_canceled_request_is_told_once_and_its_answer_dropped(make_fake, make):
    handle = make(make_fake().address)
    queued = handle.submit_check(CHECK, LONG_MS)
    assert handle.cancel(queued) and not handle.cancel(queued)
    info = wait(handle, queued).info
    assert (info.cause, info.effect) == ("canceled", "none")
    sent = handle.submit_check(CHECK, LONG_MS)
    turn_until(handle, lambda: handle.figures()["connects"] == 1, "sent")
    handle.cancel(sent)
    assert [ask(handle, CHECK).outcome, handle.figures()["in_flight"]] == ["allow", 0]
    assert not handle.cancel(sent) and not handle.cancel(12345)


def test_too_many_in_flight_are_refused_at_once(make_fake, make):
    handle = make(make_fake(Fake.ignore).address, in_flight_max=3)
    ids = [handle.submit_check(CHECK, LONG_MS) for _ in range(3)]
    with pytest.raises(BufferError, match="3 requests"):
        handle.submit_check(CHECK)
    handle.cancel(ids[0])
    with pytest.raises(BufferError):  # until the caller has taken the answer
        handle.submit_check(CHECK)
    handle.process()
    handle.submit_check(CHECK)


def test_bytes_in_flight_have_a_ceiling(make_fake, make):
    handle = make(f"unix:@pawl-nobody-{os.getpid()}", in_flight_max=4096)
    item = types.Item((b"x" * 1024,) * 8, limit="l")
    with pytest.raises(BufferError, match="bytes"):
        for _ in range(200):
            handle.submit_check(types.CheckRequest((item,) * 7))


def test_no_more_is_sent_than_the_daemon_takes(make_fake, make):
    kept = []

    def welcome(fake, peer, request):
        peer.send(fake.wire.Reply(id=request.id, status=1, ping=fake.wire.PingReply(),
                                  hello=fake.wire.HelloReply(version=1, in_flight_max=2)))

    fake = make_fake()
    fake.on_hello = welcome
    handle = make(fake.address)
    ask(handle, CHECK)
    fake.on_request = lambda fake, peer, request: kept.append((peer, request))
    for _ in range(5):
        handle.submit_check(CHECK, LONG_MS)
    turn_until(handle, lambda: len(kept) == 2, "two sent")
    for _ in range(20):
        handle.process()
    assert len(kept) == 2
    fake.on_request = Fake.allow
    for peer, request in kept:
        peer.send(fake.reply(request))
    turn_until(handle, lambda: not handle.figures()["in_flight"], "all answers")


def test_a_closed_handle_says_so(make_fake, make):
    fake = make_fake(Fake.ignore)
    handle = make(fake.address)
    handle.submit_check(CHECK)
    turn_until(handle, lambda: fake.seen, "sent")
    handle.close()
    handle.close()
    rig.wait_for(lambda: fake.open == 0, "the connection closed")
    for method in (handle.fileno, handle.timeout_ms, handle.process, handle.flush, handle.figures,
                   handle.resolve, lambda: handle.submit_check(CHECK), lambda: handle.cancel(1)):
        with pytest.raises(ValueError, match="closed"):
            method()


def test_a_handle_that_is_forgotten_closes_its_connection(make_fake):
    fake = make_fake()
    handle = Handle(types.HandleOptions(fake.address))
    ask(handle, CHECK)
    del handle
    rig.wait_for(lambda: fake.open == 0, "the connection closed")


def test_a_thread_that_enters_while_another_is_inside_is_told(make_fake, make, monkeypatch):
    handle = make(make_fake().address)
    inside, done = threading.Event(), threading.Event()

    def look_up(addresses, before):
        inside.set()
        assert done.wait(PATIENCE_S)
        return before
    monkeypatch.setattr("pawl._pure.look_up", look_up)
    thread = threading.Thread(target=handle.resolve)
    thread.start()
    assert inside.wait(PATIENCE_S)
    for method in (handle.process, handle.flush, handle.fileno, handle.timeout_ms, handle.resolve,
                   handle.close, lambda: handle.cancel(1), lambda: handle.submit_check(CHECK)):
        with pytest.raises(RuntimeError, match="in use"):
            method()
    assert handle.figures()["in_flight"] == 0
    done.set()
    thread.join(PATIENCE_S)
    assert ask(handle, CHECK).outcome == "allow"
    with pytest.raises(ValueError):
        handle.submit_check(CHECK, -1)
    got = []
    thread = threading.Thread(target=lambda: got.append(handle.process()))
    thread.start()
    thread.join(PATIENCE_S)
    assert got == [[]]  # an error lets go of it, too


def test_the_descriptor_stays_the_same_over_reconnects(make_fake, make):
    fake = make_fake()
    handle = make(fake.address)
    number = handle.fileno()
    for _ in range(3):
        ask(handle, CHECK)
        fake.peers[-1].close()
        turn_until(handle, lambda: fake.open == 0, "closed")
        assert handle.fileno() == number
    assert handle.figures()["connects"] == 3 and handle.timeout_ms() == -1


# ---- goaway --------------------------------------------------------------------------------------


def test_a_goaway_moves_what_was_not_begun_and_lets_the_rest_finish(make_fake, make):
    held = []

    def accept_the_first_only(fake, peer, request):
        if peer is not fake.peers[0]:
            peer.send(fake.reply(request))
            return
        held.append(request)
        if len(held) == 1:
            return
        if len(held) == 3:
            peer.goaway(held[0].id)
    fake = make_fake(accept_the_first_only)
    handle = make(fake.address)
    ids = [handle.submit_check(CHECK, LONG_MS) for _ in range(3)]
    got = turn_until(handle, lambda: len(fake.seen) == 5, "moved", 10)
    got += turn_until(handle, lambda: handle.figures()["in_flight"] == 1, "the moved answered")
    assert [call_id for call_id, _ in got] == ids[1:]
    assert ask(handle, CHECK).outcome == "allow" and len(fake.peers) == 2  # while the first drains
    fake.peers[0].send(fake.reply(held[0]))
    got = turn_until(handle, lambda: not handle.figures()["in_flight"], "the first answered")
    assert [(call_id, answer.outcome) for call_id, answer in got] == [(ids[0], "allow")]
    rig.wait_for(lambda: fake.open == 1, "the drained one closed")
    figures = handle.figures()
    assert (figures["moved"], figures["goaways"], figures["lost"]) == (2, 1, 0)


def test_a_drain_that_says_it_twice_moves_only_what_the_second_says(make_fake, make):
    def drain(fake, peer, request):
        if peer is not fake.peers[0]:
            peer.send(fake.reply(request))
        elif len(fake.seen) == 1:
            peer.goaway(2**64 - 1)
    fake = make_fake(drain)
    handle = make(fake.address)
    call_id = handle.submit_check(CHECK, LONG_MS)
    turn_until(handle, lambda: handle.figures()["goaways"] == 1, "the first goaway")
    assert ask(handle, CHECK).outcome == "allow"  # elsewhere
    assert len(fake.seen) == 2 and handle.figures()["in_flight"] == 1
    fake.peers[0].goaway(0)
    assert wait(handle, call_id).outcome == "allow"
    assert len(fake.seen) == 3 and handle.figures()["moved"] == 1


def test_who_is_turned_away_twice_is_told_why(make_fake, make):
    fake = make_fake()
    handle = make(fake.address)
    fake.on_hello = lambda fake, peer, request: (peer.goaway(0, b"as told"), peer.close())
    info = ask(handle, CHECK).info
    assert (info.source, info.cause, info.effect) == ("none", "connect", "none")
    assert info.text.endswith("as told") and len(fake.hellos) == 2
    assert ask(handle, CHECK).info.cause == "connect" and len(fake.hellos) == 3
    fake.on_hello = Fake.welcome
    assert ask(handle, CHECK).outcome == "allow" and len(fake.hellos) == 4


def test_who_is_turned_away_by_a_daemon_that_is_replaced_asks_the_next_one(make_fake, make):
    fake = make_fake()
    handle = make(fake.address)

    def first_one(fake, peer, request):
        fake.on_hello = Fake.welcome
        peer.goaway(0)
        peer.close()
    fake.on_hello = first_one
    assert ask(handle, CHECK).outcome == "allow" and len(fake.hellos) == 2


def test_a_goaway_after_the_hello_alone_moves_all(make_fake, make):
    """The hello was accepted, what came after was not: the ids on the wire say which is which."""
    fake = make_fake()
    handle = make(fake.address)

    def refuse_first(fake, peer, request):
        if len(fake.peers) == 1:
            peer.goaway(fake.hellos[0].id)
            peer.close()
        else:
            Fake.welcome(fake, peer, request)
    fake.on_hello = refuse_first
    assert [wait(handle, handle.submit_check(CHECK, LONG_MS)).outcome for _ in range(2)] == [
        "allow"] * 2
    assert handle.figures()["lost"] == 0


def test_ids_rise_on_each_connection(make_fake, make):
    fake = make_fake(lambda fake, peer, request: len(fake.seen) == 20 and [
        peer.send(fake.reply(one)) for one in fake.seen])
    handle = make(fake.address)
    for _ in range(20):
        handle.submit_check(CHECK, LONG_MS)
    turn_until(handle, lambda: not handle.figures()["in_flight"], "answers")
    numbers = [fake.hellos[0].id] + [one.id for one in fake.seen]
    assert numbers == sorted(set(numbers)) and numbers[0] > 0


# ---- reconnecting --------------------------------------------------------------------------------


def test_a_place_that_fails_waits_longer_each_time_and_not_always_the_same():
    place = _addresses.Place(_addresses.parse("tcp:127.0.0.1:1")[0], socket.AF_INET,
                             ("127.0.0.1", 1))
    waits = []
    for _ in range(10):
        place.avoid_ns = 0
        place.failed(0)
        waits.append(place.avoid_ns / 1e6)
    for number, expected in enumerate((10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000)):
        assert expected * 0.75 <= waits[number] <= expected * 1.25
    assert len(set(waits[-3:])) == 3


def test_a_dead_place_comes_last_for_a_while_and_is_tried_when_it_is_the_only_one(make_fake, make):
    fake = make_fake()
    handle = make(f"unix:@pawl-nobody-{os.getpid()},{fake.address}")
    ask(handle, CHECK)
    handle._places[0].avoid_ns = _engine.NEVER_NS
    for _ in range(3):
        fake.peers[-1].close()
        turn_until(handle, lambda: fake.open == 0, "closed")
        assert ask(handle, CHECK).outcome == "allow"
    assert handle.figures()["connect_fails"] == 1
    alone = make(f"unix:@pawl-nobody-{os.getpid()}")
    assert [ask(alone, CHECK).info.cause for _ in range(3)] == ["connect"] * 3
    assert alone.figures()["connect_fails"] == 3


def test_a_restarted_daemon_is_found_again(daemon, make):
    handle = make(daemon.unix)
    assert ask(handle, CHECK).outcome == "allow"
    daemon.restart()
    assert ask(handle, CHECK).outcome == "allow"
    daemon.kill()
    assert ask(handle, CHECK).info.cause in ("connect", "lost")
    daemon.start()
    assert ask(handle, CHECK).outcome == "allow"


def test_a_stopped_daemon_costs_the_deadline_and_is_heard_again(daemon, make):
    handle = make(daemon.unix)
    ask(handle, CHECK)
    daemon.process.send_signal(signal.SIGSTOP)
    tasks = pathlib.Path(f"/proc/{daemon.process.pid}/task")
    rig.wait_for(lambda: all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T"
                             for task in tasks.iterdir()), "all threads stopped")
    assert ask(handle, CHECK, deadline_ms=30).info.cause == "timeout"
    daemon.process.send_signal(signal.SIGCONT)
    assert ask(handle, CHECK).info.source == "daemon"


def test_descriptors_that_somebody_else_closed_are_made_anew(make_fake, make):
    """Programs that become daemons close all there are."""
    fake = make_fake()
    handle = make(fake.address)
    for _ in range(3):
        assert ask(handle, CHECK).outcome == "allow"
        os.close(handle._active.fileno())
    assert handle.figures()["connects"] == 3 and handle.figures()["lost"] == 0


# ---- fork ----------------------------------------------------------------------------------------


def in_child(work):
    """Run work() in a forked child; its exit code."""
    pid = os.fork()
    if pid == 0:
        try:
            code = work() or 0
        except BaseException:  # noqa: B902  the child may not come back into pytest
            code = 99
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_child_leaves_the_parents_connection_alone(make_fake, make):
    kept = []
    fake = make_fake()
    handle = make(fake.address)
    ask(handle, CHECK)
    fake.on_request = lambda fake, peer, request: kept.append((peer, request))
    pending = handle.submit_check(CHECK, LONG_MS)
    number = handle.fileno()
    turn_until(handle, lambda: len(kept) == 1, "sent")

    def child():
        if handle.timeout_ms() != -1 or handle.process() or handle.cancel(pending):
            return 1  # the parent's request is not the child's
        fake_id = handle.submit_check(CHECK, LONG_MS)
        handle.flush()
        handle.process()
        return 0 if fake_id != pending else 2
    assert in_child(child) == 0
    rig.wait_for(lambda: len(kept) == 2, "the child's request")
    assert kept[1][0] is not kept[0][0] and len(fake.hellos) == 2
    kept[0][0].send(fake.reply(kept[0][1]))
    assert wait(handle, pending).outcome == "allow" and handle.fileno() == number
    assert handle.figures()["lost"] == 0


def test_a_child_that_never_calls_disturbs_nobody(make_fake, make):
    handle = make(make_fake().address)
    ask(handle, CHECK)
    assert in_child(lambda: None) == 0
    assert ask(handle, CHECK).outcome == "allow" and handle.figures()["connects"] == 1


def test_a_child_of_a_handle_that_is_not_connected_connects_by_itself(daemon, make):
    handle = make(daemon.unix)
    assert in_child(lambda: ask(handle, CHECK).outcome != "allow") == 0
    assert ask(handle, CHECK).outcome == "allow"


# ---- hello, options, environment -----------------------------------------------------------------


def test_the_hello_says_who_asks(make_fake, make):
    fake = make_fake()
    ask(make(fake.address, name="worker 7", namespace="shop"), CHECK)
    hello = fake.hellos[0]
    assert (hello.hello.client, hello.hello.namespace) == (b"worker 7", b"shop")
    assert (hello.hello.version_min, hello.hello.version_max) == (1, 1)
    assert hello.WhichOneof("body") == "ping" and not hello.hello.credential


def test_a_daemon_of_another_version_is_told_as_protocol(make_fake, make):
    fake = make_fake(Fake.ignore)
    fake.on_hello = lambda fake, peer, request: peer.send(
        fake.wire.Reply(id=request.id, status=6, hello=fake.wire.HelloReply(version=9)))
    assert ask(make(fake.address), CHECK).info.cause == "protocol"


def test_a_refused_credential_is_told_by_that_name(make_fake, make):
    fake = make_fake(Fake.ignore)
    fake.on_hello = lambda fake, peer, request: peer.send(
        fake.wire.Reply(id=request.id, status=3, error=b"no"))
    handle = make(fake.address, credential_id="api", credential=b"x" * 16)
    info = ask(handle, CHECK).info
    assert info.cause == "not_permitted" and "refused the credential" in info.text
    assert (fake.hellos[0].hello.credential_id, fake.hellos[0].hello.credential) == (b"api",
                                                                                     b"x" * 16)


@pytest.mark.parametrize("address, insecure, told", [
    ("unix:/run/x.sock", False, True), ("tcp:127.0.0.1:1", False, True),
    ("tcp:127.9.9.9:1", False, True), ("tcp:[::1]:1", False, True),
    ("tcp:10.0.0.1:1", False, False), ("tcp:[2001:db8::1]:1", False, False),
    ("tcp:10.0.0.1:1", True, True), ("tls:10.0.0.1:1", False, True)])
def test_a_credential_does_not_go_in_clear_to_another_machine(address, insecure, told):
    place, = _addresses.look_up(_addresses.parse(address), [])
    assert place.may_be_told(insecure) is told


@pytest.mark.parametrize("statuses, cause, effect", [
    (2, "invalid", "none"), (3, "not_permitted", "none"), (4, "unavailable", "unknown"),
    (5, "timeout", "none"), (6, "unsupported", "none"), (7, "full", "none"),
    (8, "not_found", "none"), (9, "frozen", "none"), (0, "unsupported", "none"),
    (77, "unavailable", "unknown")])
def test_a_refusal_by_the_daemon_says_what_and_whether_it_had_an_effect(make_fake, make, statuses,
                                                                        cause, effect):
    def refuse(fake, peer, request):
        peer.send(fake.wire.Reply(id=request.id, status=statuses, error=b"as told"))
    handle = make(make_fake(refuse).address)
    info = ask(handle, types.RevokeRequest("token", b"j")).info
    assert info == ("daemon", cause, effect, "as told")
    assert ask(handle, CHECK).info == ("daemon", cause, "none", "as told")  # nothing was charged


def test_an_owner_behind_the_daemon_that_fell_silent_may_have_counted(make_fake, make):
    def answer(fake, peer, request):
        if request.HasField("refund"):
            peer.send(fake.wire.Reply(id=request.id, status=1, effect_unknown=True,
                                      refund=fake.wire.RefundReply(refunded=[0])))
        else:
            peer.send(fake.wire.Reply(id=request.id, status=4, effect_unknown=True, error=b"told"))
    handle = make(make_fake(answer).address)
    assert ask(handle, CHECK).info == ("daemon", "unavailable", "unknown", "told")
    assert ask(handle, PEEK).info == ("daemon", "unavailable", "none", "told")
    refund = types.RefundRequest((types.RefundItem(CHECK.items[0]),))
    assert ask(handle, refund).info == ("daemon", "ok", "unknown", "")


@pytest.mark.parametrize("options, words", [
    (dict(addresses="http:x"), "address 1: address \"http:x\": unknown kind"),
    (dict(addresses="tcp:a:1,"), "address 2: address \"\": empty"),
    (dict(addresses="unix:"), "no path"), (dict(addresses="unix:@"), "no name"),
    (dict(addresses="unix:/" + "x" * 107), "107 bytes"),
    (dict(addresses="tcp:localhost"), "no port"), (dict(addresses="tcp::1"), "no host"),
    (dict(addresses="tcp:fe80::1:7401"), "stands in brackets"),
    (dict(addresses="tcp:[::1:7401"), "brackets"),
    (dict(addresses="tcp:[localhost]:1"), "leave them out"),
    (dict(addresses="tcp:a b:1"), "no host name or number"),
    (dict(addresses="tcp:a:0"), "1 to 65535"), (dict(addresses="tcp:a:65536"), "1 to 65535"),
    (dict(addresses="unix:/a\n"), "control character"),
    (dict(addresses="tcp:" + "a" * 254 + ":1"), "253 bytes"),
    (dict(addresses=",".join(["unix:/a"] * 9)), "at most 8"),
    (dict(namespace="n" * 65), "namespace"), (dict(in_flight_max=5000), "in_flight_max"),
    (dict(check_deadline_ms=-1), "check_deadline_ms"),
    (dict(credential=b"x" * 16), "needs credential_id"),
    (dict(credential_id="a", credential=b"short"), "16 to 512"),
    (dict(credential_id="a", credential_file="/nowhere/x"), "/nowhere/x"),
    (dict(credential_id="a" * 129, credential=b"x" * 16), "128 bytes"),
    (dict(name="a\0b"), "name: a NUL"), (dict(name="\udcff"), "a lone surrogate"),
    (dict(addresses="tls:a:1", tls_certificate="/x"), "go together"),
    (dict(addresses="tls:a:1", tls_ca="/nowhere/ca.pem"), "/nowhere/ca.pem"),
])
def test_a_wrong_option_says_which_and_why(options, words):
    with pytest.raises(ValueError) as caught:
        Handle(types.HandleOptions(**{"addresses": "unix:/x", **options}))
    assert words in str(caught.value)


def test_the_environment_says_what_the_options_do_not(make_fake, make, monkeypatch, tmp_path):
    fake = make_fake()
    (tmp_path / "secret").write_bytes(b"a secret of some length\r\nanother line\n")
    monkeypatch.setenv("PAWL_ADDR", fake.address)
    monkeypatch.setenv("PAWL_CREDENTIAL_ID", "api")
    monkeypatch.setenv("PAWL_CREDENTIAL_FILE", str(tmp_path / "secret"))
    ask(make(""), CHECK)
    assert fake.hellos[0].hello.credential == b"a secret of some length"
    ask(make(fake.address, credential=b"of the options x"), CHECK)
    assert fake.hellos[1].hello.credential == b"of the options x"


def test_the_default_addresses_are_those_of_a_daemon_without_settings(monkeypatch):
    machine = "unix:/run/pawl/pawld.sock,tcp:127.0.0.1:7401"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/a")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    assert _addresses.default_addresses() == f"unix:/run/user/1/pawl/pawld.sock,{machine}"
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    assert _addresses.default_addresses() == (
        f"unix:/home/a/.local/state/pawl/pawld.sock,{machine}")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert _addresses.default_addresses() == f"unix:/state/pawl/pawld.sock,{machine}"
    monkeypatch.setenv("XDG_STATE_HOME", "/a,b")
    assert _addresses.default_addresses() == machine
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert _addresses.default_addresses() == machine


def test_a_name_is_looked_up_again_and_keeps_what_it_had_when_it_is_gone(make, monkeypatch):
    handle = make("tcp:localhost:7401,tcp:no-such-host.invalid:1")
    assert handle._places and all(place.address.host == "localhost" for place in handle._places)
    before = [place.where for place in handle._places]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: (_ for _ in ()).throw(OSError()))
    with pytest.raises(OSError, match="no-such-host.invalid:1: the host name has no address"):
        handle.resolve()
    assert [place.where for place in handle._places] == before


# ---- gevent --------------------------------------------------------------------------------------

GEVENT = """
from gevent import monkey; monkey.patch_all()
import gevent, select, sys, threading
from pawl._types import *
from pawl._pure import Handle

def ask():
    handle = Handle(HandleOptions(sys.argv[1]))
    poller = select.poll()
    poller.register(handle.fileno(), select.POLLIN)
    for _ in range(20):
        call = handle.submit_check(CheckRequest((Item((b"g",), (Rate(1000, 60000),)),)), 60000)
        handle.flush()
        done = []
        while not done:
            done = handle.process()
            done or poller.poll(handle.timeout_ms())
        assert done[0][1].outcome == "allow", done
    handle.close()

gevent.joinall([gevent.spawn(ask) for _ in range(8)], raise_error=True)
print("done")
"""


def test_greenlets_of_a_patched_process_wait_without_blocking_each_other(daemon):
    pytest.importorskip("gevent")
    done = subprocess.run([sys.executable, "-c", GEVENT, daemon.unix], capture_output=True,
                          text=True, timeout=PATIENCE_S)
    assert done.stdout == "done\n", done.stderr

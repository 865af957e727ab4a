"""What a handle refuses, and how it says so: nothing is sent, nothing is lost, later calls work."""

import pytest

from binding_rig import LONG_MS, RATE, ask, item, wait_answers
from pawl._types import (CancelRequest, CheckRequest, CommitRequest, FactName, FamilyEndRequest,
                         FamilyOpenRequest, Item, PingRequest, Rate, RefundItem,
                         RefundRequest, ReserveRequest, ResetRequest, RevokeRequest,
                         RotateRequest, Token, TokenCheckRequest, UnrevokeRequest)

CHECK = CheckRequest((item(),))
NOWHERE = "unix:/nowhere/pawld.sock"


@pytest.mark.parametrize("options, text", [
    ({"addresses": "ftp:host"}, "address"),
    ({"addresses": "unix:"}, "address"),
    ({"addresses": "tcp:127.0.0.1"}, "address"),
    ({"addresses": ",".join(["unix:/a"] * 9)}, "addresses"),
    ({"addresses": NOWHERE, "namespace": "n" * 65}, "n(amespace|s)"),
    ({"addresses": NOWHERE, "in_flight_max": 4097}, "in_flight_max"),
    ({"addresses": NOWHERE, "check_deadline_ms": -1}, "check_deadline_ms"),
    ({"addresses": NOWHERE, "durable_deadline_ms": 1 << 32}, "durable_deadline_ms"),
    ({"addresses": NOWHERE, "credential": b"a secret of some length"}, "credential"),
    ({"addresses": NOWHERE, "credential_id": "api", "credential": b"short"}, "credential"),
    ({"addresses": NOWHERE, "credential_id": "api", "credential_file": "/nowhere"}, "/nowhere"),
    ({"addresses": "tls:localhost:1", "tls_ca": "/nowhere/ca.pem"}, "/nowhere/ca.pem"),
])
def test_a_wrong_option_is_named(make_handle, options, text):
    with pytest.raises(ValueError, match=text):
        make_handle(**options)


TOKEN = Token(jti="t")
ROTATE = RotateRequest(Token(jti="t", sid="s"), 1)


@pytest.mark.parametrize("kind, request_, text", [
    ("check", CheckRequest(()), "item"),
    ("check", CheckRequest((item(),) * 65), "64"),
    ("check", CheckRequest((item(), Item((), (RATE,)))), "key"),
    ("check", CheckRequest((item(), Item((b"k",) * 9, (RATE,)))), "1.*1 to 8"),
    ("check", CheckRequest((item(), item(b"k" * 1025))), "1.*1024"),
    ("check", CheckRequest((Item((b"k",)),)), "limit or (give )?rates"),
    ("check", CheckRequest((item(b"k", *[Rate(1, ms) for ms in range(1, 10)]),)), "rates|8"),
    ("check", CheckRequest((item(b"k", Rate(1, 0)),)), "rates"),
    ("check", CheckRequest((item(b"k", Rate(1, 45 * 86_400_000 + 1)),)), "rates"),
    ("check", CheckRequest((item(b"k", Rate(1 << 40, 1)),)), "rates"),
    ("check", CheckRequest((item(b"k", Rate(-1, 1)),)), "rates"),
    ("check", CheckRequest((item(cost=1 << 40),)), "cost"),
    ("check", CheckRequest((item(cost=-1),)), "cost"),
    ("check", CheckRequest((item(cost=0),)), "at least 1"),
    ("refund", RefundRequest((RefundItem(item(cost=0)),)), "at least 1"),
    ("check", CheckRequest((item(precision=1),)), "precision"),
    ("check", CheckRequest((item(precision=4097),)), "precision"),
    ("check", CheckRequest((item(algorithm="calendar"),)), "algorithm"),
    ("check", CheckRequest((item(algorithm="gcra\0"),)), "algorithm"),
    ("check", CheckRequest((item(algorithm="gcra", burst=1 << 40),)), "burst|rates"),
    ("check", CheckRequest((Item((b"k",), limit="l" * 65),)), "limit"),
    ("check", CheckRequest((Item((b"k",), limit="l", tier="t" * 65),)), "tier"),
    ("check", CHECK._replace(namespace="n" * 65), "n(amespace|s)"),
    ("token_check", TokenCheckRequest(Token(exp_s=-1)), "exp_s|number"),
    ("refund", RefundRequest(()), "1 to 64"),
    ("refund", RefundRequest((RefundItem(item(), (1,) * 9),)), "charges"),
    ("refund", RefundRequest((RefundItem(item(), (1 << 64,)),)), "charges|number"),
    ("reserve", ReserveRequest(()), "1 to 64"),
    ("reserve", ReserveRequest((item(),), 1 << 40), "min|2\\^40"),
    ("commit", CommitRequest(b"", 1), "16 bytes"),
    ("cancel_lease", CancelRequest(b"x" * 15), "16 bytes"),
    ("reset", ResetRequest(Item((), (RATE,))), "1 to 8|key"),
    ("revoke", RevokeRequest("", b"x"), "scope"),
    ("revoke", RevokeRequest("tokens", b"x"), "tokens"),
    ("revoke", RevokeRequest("token", b"x", "bored"), "bored"),
    ("revoke", RevokeRequest("token", b"x", level="steel"), "steel"),
    ("revoke", RevokeRequest("token", b""), "value|scope"),
    ("revoke", RevokeRequest("opaque", b"x", hashed=True), "SHA-256|32"),
    ("unrevoke", UnrevokeRequest(()), "1 to 64"),
    ("unrevoke", UnrevokeRequest((FactName(b"x" * 17, 1),)), "16 bytes"),
    ("family_open", FamilyOpenRequest("a", 1, level="steel"), "steel"),
    ("family_end", FamilyEndRequest(""), "sid"),
    ("rotate", ROTATE._replace(level="steel"), "steel"),
])
def test_a_request_that_is_wrong_is_refused_before_anything_is_sent(make_handle, daemon, kind,
                                                                    request_, text):
    handle = make_handle(daemon.unix)
    with pytest.raises(ValueError, match=text):
        getattr(handle, f"submit_{kind}")(request_, LONG_MS)
    figures = handle.figures()
    assert (figures["in_flight"], figures["connects"], handle.timeout_ms()) == (0, 0, -1)
    assert ask(handle, "check", CHECK).rates[0].count == 1


@pytest.mark.parametrize("times", [{"deadline_ms": -1}, {"deadline_ms": 1 << 32},
                                   {"now_ms": -1}, {"now_ms": 1 << 64}])
def test_a_time_out_of_range_is_refused(make_handle, times):
    handle = make_handle(NOWHERE)
    with pytest.raises(ValueError, match=next(iter(times))):
        handle.submit_check(CHECK, **times)


def test_a_request_over_the_cap_of_the_protocol_is_refused(make_handle, daemon):
    handle = make_handle(daemon.unix)
    parts = (b"k" * 1024,) * 8
    huge = CheckRequest(tuple(Item(parts, (RATE,)) for _ in range(64)))
    with pytest.raises(ValueError, match="too big"):
        handle.submit_check(huge, LONG_MS)
    with pytest.raises(ValueError, match="too big"):
        handle.submit_token_check(TokenCheckRequest(Token(raw=b"x" * (1 << 20))), LONG_MS)
    assert ask(handle, "check", CHECK).allowed


def test_too_many_in_flight_are_refused_and_the_others_are_answered(make_handle, daemon):
    handle = make_handle(daemon.unix, in_flight_max=3)
    ids = [handle.submit_check(CHECK, LONG_MS) for _ in range(3)]
    for _ in range(2):
        with pytest.raises(BufferError):
            handle.submit_ping(PingRequest(), LONG_MS)
    answers = wait_answers(handle, ids)
    assert sorted(answer.rates[0].count for answer in answers.values()) == [1, 2, 3]
    assert ask(handle, "ping", PingRequest()).info.cause == "ok"
    assert handle.figures()["in_flight_max"] == 3


def test_a_closed_handle_says_so(make_handle, daemon):
    handle = make_handle(daemon.unix)
    call_id = handle.submit_check(CHECK, LONG_MS)
    handle.close()
    handle.close()
    for use in (lambda: handle.submit_check(CHECK), handle.fileno, handle.timeout_ms,
                handle.process, handle.flush, lambda: handle.cancel(call_id), handle.resolve,
                handle.figures):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_a_canceled_request_is_told_once_and_by_the_next_process(make_handle, daemon):
    handle = make_handle(daemon.unix)
    kept, given_up = (handle.submit_check(CHECK, LONG_MS) for _ in range(2))
    assert handle.cancel(given_up) is True
    assert handle.cancel(given_up) is False
    assert handle.cancel(1 << 50) is False
    answers = wait_answers(handle, [kept, given_up])
    assert answers[given_up].info == ("none", "canceled", "none", "canceled")
    assert answers[kept].rates[0].count == 1
    assert handle.cancel(kept) is False


def test_a_sent_request_that_is_canceled_may_have_been_charged(make_handle, daemon):
    handle = make_handle(daemon.unix)
    ask(handle, "ping", PingRequest())
    call_id = handle.submit_check(CHECK, LONG_MS)
    handle.flush()
    assert handle.cancel(call_id)
    answer = wait_answers(handle, [call_id])[call_id]
    assert (answer.info.cause, answer.info.effect) == ("canceled", "unknown")
    # The answer that comes all the same is for nobody, and the connection serves on.
    assert ask(handle, "check", CHECK).rates[0].count == 2
    assert handle.figures()["connects"] == 1


def test_what_the_daemon_refuses_to_read_is_an_answer(make_handle, daemon):
    handle = make_handle(daemon.unix)
    same_twice = CheckRequest((item(), item()))
    answer = ask(handle, "check", same_twice)
    assert (answer.outcome, answer.info.cause) == ("undecided", "invalid")
    assert answer.info.source == "daemon" and answer.info.text


def test_a_connection_without_the_role_says_so(make_handle, daemon):
    handle = make_handle(daemon.tcp_uri)
    answer = ask(handle, "revoke", RevokeRequest("token", b"t"))
    assert (answer.info.cause, answer.info.effect) == ("not_permitted", "none")
    assert answer.acknowledged == "" and answer.id == FactName(b"", 0)
    assert ask(handle, "reset", ResetRequest(item())).info.cause == "not_permitted"
    presented = Token(jti="t", sid="s", subject="a", exp_s=1)
    assert ask(handle, "rotate", RotateRequest(presented, 2)).result == "denied"


def test_options_have_to_be_given(make_handle):
    with pytest.raises(TypeError):
        type(make_handle(NOWHERE))()

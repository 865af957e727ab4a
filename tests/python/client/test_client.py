"""The blocking client: what its calls answer, in threads, over forks and outages."""

import collections
import os
import signal
import threading
import time

import pytest

import pawl
import rig
from pawl import errors
from rig import stop

LATER = int(time.time()) + 3600


def test_a_check_allows_up_to_the_rate_and_says_when_to_come_again(client):
    answers = [client.check("anna", "3/minute") for _ in range(4)]
    assert [answer.outcome for answer in answers] == ["allow"] * 3 + ["deny"]
    assert [answer.allowed for answer in answers] == [True] * 3 + [False]
    assert 0 < answers[-1].retry_after_ms <= 60_001
    assert (answers[0].info.source, answers[0].info.effect) == ("daemon", "done")
    assert answers[0].rates[0].remaining == 2


def test_a_key_is_text_bytes_or_parts(client):
    client.check("a", "1/m")
    assert not client.check(b"a", "1/m").allowed
    assert not client.check(("a",), "1/m").allowed
    assert client.check(("a_b", "c"), "1/m").allowed
    assert client.check(("a", "b_c"), "1/m").allowed


def test_cost_peek_refund_and_reset(client):
    first = client.check("a", "10/m", cost=7)
    assert not client.check("a", "10/m", cost=4).allowed
    assert client.check("a", "10/m", cost=3, peek=True).allowed
    assert client.refund(pawl.item("a", "10/m", cost=7), first.rates) == 7
    assert client.check("a", "10/m", cost=10).allowed
    assert client.reset("a", "10/m") == 1
    assert client.check("a", "10/m", cost=10).allowed


def test_all_or_none_and_each_for_itself(client):
    items = [pawl.item("full", "0/m"), pawl.item("room", "1/m")]
    assert not client.check_many(items).allowed
    assert client.check("room", "1/m", peek=True).allowed, "atomic charges nothing"
    answer = client.check_many(items, mode="each")
    assert [row.allowed for row in answer.rates] == [False, True]
    assert not client.check("room", "1/m", peek=True).allowed


def test_a_reservation_is_committed_or_canceled(client):
    one = pawl.item("a", "100/m")
    held = client.reserve([one], min=10, max=60)
    assert (held.outcome, held.granted) == ("allow", 60)
    assert client.commit(held.lease, 20) == 40
    with pytest.raises(errors.NotFound):
        client.commit(held.lease, 20)
    again = client.reserve([one], max=1000, min=1)
    assert again.granted == 80
    assert client.cancel(again.lease) == 80


def test_tokens_are_revoked_alone_by_family_and_by_subject(client):
    assert client.token_check(pawl.Token(jti="a", exp_s=LATER)).token.status == "valid"
    done = client.revoke("token", "a", exp_s=LATER, reason="logout", actor="me")
    assert done.acknowledged == "durable"
    verdict = client.token_check(pawl.Token(jti="a", exp_s=LATER)).token
    assert (verdict.status, verdict.reason, verdict.scope) == ("revoked", "logout", "token")
    assert client.unrevoke([done.id]).canceled == 1
    assert client.token_check(pawl.Token(jti="a", exp_s=LATER)).token.status == "valid"
    family = client.family_open("user 1", LATER)
    mine = pawl.Token(jti="b", sid=family.sid, exp_s=LATER)
    assert client.token_check(mine).token.status == "valid"
    client.family_end(family.sid)
    assert client.token_check(mine).token.status == "revoked"
    old = pawl.Token(jti="c", subject="user 2", iat_s=int(time.time()) - 60, exp_s=LATER)
    assert client.token_check(old).token.status == "valid"
    client.revoke("subject", "user 2")
    assert client.token_check(old).token.scope == "subject"


def test_an_opaque_token_is_known_by_its_hash(client):
    client.revoke("opaque", "a secret key", exp_s=LATER)
    assert client.token_check(pawl.Token(opaque=b"a secret key")).token.status == "revoked"
    assert client.token_check(pawl.Token(opaque=b"another key")).token.status == "valid"


def test_a_rotation_has_one_winner_and_a_retry_the_same_answer(client):
    family = client.family_open("u", LATER)
    first = pawl.Token(jti=family.jti, sid=family.sid, subject="u")
    won = client.rotate(first, LATER, next_jti="n1")
    again = client.rotate(first, LATER, next_jti="n1")
    other = client.rotate(first, LATER, next_jti="n2")
    assert [one.result for one in (won, again, other)] == ["rotated", "rotated", "grace"]
    assert {one.successor for one in (won, again, other)} == {"n1"}
    second = pawl.Token(jti="n1", sid=family.sid, subject="u")
    assert client.rotate(second, LATER).result == "rotated"
    assert client.rotate(first, LATER).result == "reuse"


def test_a_token_and_limits_in_one_request(client):
    item = pawl.item("a", "1/m")
    good = pawl.Token(jti="t", exp_s=LATER)
    answer = client.check_many([item], token=good)
    assert answer.allowed and answer.token.status == "valid"
    client.revoke("token", "t", exp_s=LATER)
    answer = client.check_many([pawl.item("b", "1/m")], token=good)
    assert not answer.allowed and answer.token.status == "revoked"


def test_the_daemons_figures_and_limits(make_daemon, make_client):
    daemon = make_daemon(config="limits:\n" + "".join(
        f"  l{n:03}: {{rate: 5/minute}}\n" for n in range(150)))
    client = make_client(daemon.unix)
    assert client.stats()["version"] and client.stats("members") == {"members": 1}
    found = client.limits()
    assert [one.name for one in found] == [f"l{n:03}" for n in range(150)]
    assert found[0].rates == (pawl.Rate(5, 60_000),)
    client.ping()


@pytest.mark.parametrize("wrong, why", [
    (lambda c: c.check("a", "5/x"), "no period"),
    (lambda c: c.check("a"), "neither rates nor"),
    (lambda c: c.check("a", "5/m", cost=0), "at least 1"),
    (lambda c: c.check("a", "5/m", on_error="maybe"), "'open', 'closed' or 'local'"),
    (lambda c: c.check_many([pawl.item("a", "1/m")], mode="both"), "'atomic' or 'each'"),
    (lambda c: c.check("a" * 5000, "5/m"), ""),
    (lambda c: c.check_many([pawl.item(str(n), "1/m") for n in range(65)]), ""),
    (lambda c: c.check((), "5/m"), ""),
])
def test_wrong_arguments_are_value_errors_and_the_client_goes_on(client, wrong, why):
    with pytest.raises(ValueError, match=why):
        wrong(client)
    assert client.check("a", "5/m").allowed


def test_options_that_are_wrong_are_said_when_the_client_is_made(make_client):
    for options in ({"addresses": "http://x"},
                    {"addresses": "tls:127.0.0.1:1", "tls_ca": "/nowhere.pem"}):
        with pytest.raises(ValueError):
            make_client(**options)
    with pytest.raises(ValueError, match="auto"):
        pawl.Client(backend="cobol")


def test_threads_share_a_client_and_the_limit_is_exact(client):
    admitted = []

    def work():
        for _ in range(40):
            if client.check("a", "100/hour").allowed:
                admitted.append(1)
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(admitted) == 100
    assert 1 <= client.figures()["connections"] <= 8


def test_a_child_of_a_fork_has_connections_of_its_own(client, daemon):
    client.check("a", "10/hour")
    pids = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            good = client.check("a", "10/hour").allowed and client.check("a", "10/hour").allowed
            os._exit(0 if good else 1)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 4
    assert client.check("a", "10/hour").allowed
    assert not client.check("a", "10/hour").allowed
    assert client.figures()["connects"] == 1, "the parent was not disturbed"


def test_a_fork_while_a_thread_waits_does_not_hang_the_child(client, daemon):
    client.check("a", "10/hour")
    stop(daemon)
    waiting = threading.Thread(target=client.check, args=("a", "10/hour"))
    waiting.start()
    try:
        rig.wait_for(lambda: client.figures()["connections"] == 0, "the thread waits")
        pid = os.fork()
        if pid == 0:
            answer = client.check("a", "10/hour", deadline_ms=50)
            os._exit(0 if answer.info.source == "fallback" else 1)
        assert os.waitpid(pid, 0)[1] == 0
    finally:
        os.kill(daemon.process.pid, signal.SIGCONT)
        waiting.join()


def test_without_a_daemon_the_policy_answers_and_nothing_raises(make_client, tmp_path):
    client = make_client(f"unix:{tmp_path}/nobody.sock", expected_workers=4)
    outcomes = collections.Counter(client.check("a", "100/minute").outcome for _ in range(100))
    assert outcomes == {"allow": 25, "deny": 75}
    assert client.check("a", "1/m", on_error="closed").outcome == "deny"
    assert client.check("a", "1/m", on_error="open").outcome == "allow"
    assert client.token_check(pawl.Token(jti="a")).token.status == "undecided"
    assert client.rotate(pawl.Token(jti="a", sid="b"), LATER).result == "unavailable"
    assert client.reserve([pawl.item("a", "1/m")]).outcome == "undecided"
    answer = client.check_many([pawl.item("a", "1/m", on_error="open")],
                               token=pawl.Token(jti="a"))
    assert answer.outcome == "undecided", "no policy makes a token good"
    for write in (lambda: client.revoke("token", "a"), lambda: client.family_open("u", LATER),
                  lambda: client.family_end("s"), client.ping, client.stats,
                  lambda: client.refund(pawl.item("a", "1/m"))):
        with pytest.raises(errors.Unavailable) as error:
            write()
        assert error.value.effect == "none" and str(error.value)


def test_the_breaker_says_when_the_daemon_is_away_and_back(make_client, make_daemon):
    daemon = make_daemon()
    seen = []
    client = make_client(daemon.unix, on_transition=seen.append)
    assert client.check("a", "100/h").info.source == "daemon"
    daemon.kill()
    rig.wait_for(lambda: client.check("a", "100/h", on_error="open").info.cause == "breaker",
                 "the breaker opens")
    assert client.is_away and seen == [True]
    daemon.start()
    rig.wait_for(lambda: client.check("a", "100/h", on_error="open").info.source == "daemon",
                 "the daemon is asked again")
    assert not client.is_away and seen == [True, False]


def test_a_stopped_daemon_costs_the_deadline_and_then_nothing(make_client, daemon):
    client = make_client(daemon.unix, check_deadline_ms=20)
    rig.wait_for(lambda: client.check("a", "100/h").info.source == "daemon", "connected")
    stop(daemon)
    try:
        causes = [client.check("a", "100/h").info.cause for _ in range(10)]
    finally:
        os.kill(daemon.process.pid, signal.SIGCONT)
    assert causes[:5] == ["timeout"] * 5 and "breaker" in causes
    rig.wait_for(lambda: client.check("a", "100/h").info.source == "daemon", "asked again")


def test_a_greenlet_or_thread_that_is_killed_while_waiting_spoils_nothing(client, daemon):
    """An exception out of the wait, as gevent and signal handlers raise."""
    class Killed(BaseException):
        pass

    def handler(*_):
        raise Killed
    before = signal.signal(signal.SIGALRM, handler)
    client.check("a", "100/h")
    stop(daemon)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Killed):
            client.check("a", "100/h")
    finally:
        os.kill(daemon.process.pid, signal.SIGCONT)
        signal.signal(signal.SIGALRM, before)
    answer = client.check("b", "100/h")
    assert (answer.info.source, answer.rates[0].count) == ("daemon", 1)


def test_what_the_daemon_said_of_a_limit_is_its_policy_when_it_is_away(make_daemon, make_client):
    daemon = make_daemon(config="limits:\n  login: {rate: 3/hour, on_error: closed}\n")
    client = make_client(daemon.unix)
    assert client.check("a", limit="login", on_error="open").allowed
    daemon.kill()
    assert client.check("a", limit="login", on_error="open").outcome == "deny"


def test_what_a_page_of_errors_shows_of_a_request_holds_no_secret():
    from pawl import _types
    secret = b"nobody may read this"
    held = (_types.HandleOptions("unix:/x", credential=secret),
            _types.Token(issuer="shop", opaque=secret, signed_text=secret, raw=secret),
            _types.RevokeRequest("opaque", secret),
            _types.FamilyOpenRequest("7", 1, opaque=secret, binding=secret),
            _types.RotateRequest(_types.Token(opaque=secret), 1, next_opaque=secret,
                                 next_seed=secret, binding=secret),
            _types.RotateAnswer(_types.Info("daemon", "ok", "done"), "rotated",
                                successor_seed=secret),
            _types.CheckRequest((), _types.Token(raw=secret)))
    for one in held:
        assert "nobody" not in repr(one) and type(one).__name__ in repr(one)
    assert "issuer='shop'" in repr(held[1]) and "credential=..." in repr(held[0])
    assert repr(_types.Token(jti="a")).startswith("Token(issuer='', jti='a'")

"""Every kind of call, through the handle of each backend, against a real pawld."""

import hashlib
import time

import pytest

from binding_rig import LONG_MS, ask, item, wait_answers
from pawl._types import (CancelRequest, CheckRequest, Claims, CommitRequest, FactName,
                         FamilyEndRequest, FamilyOpenRequest, Info, Item, LimitsRequest,
                         PingRequest, Rate, RefundItem, RefundRequest, ReserveRequest,
                         ResetRequest, RevokeRequest, RotateRequest, StatsRequest, Token,
                         TokenCheckRequest, UnrevokeRequest)

READ = Info("daemon", "ok", "none", "")
DONE = Info("daemon", "ok", "done", "")
LIMITS = """
limits:
  login: {rate: 5/minute, on_error: closed}
  api: {rate: [60/minute, 1000/day], precision: 32, count_denied: true}
  api.premium: {rate: 600/minute}
  flow: {rate: 10/second, algorithm: gcra, shadow: true}
"""


@pytest.fixture
def handle(make_handle, daemon):
    return make_handle(daemon.unix)


def soon(seconds=600):
    return int(time.time()) + seconds


# ---- limits ----------------------------------------------------------------------------------


def test_a_ping_is_answered(handle):
    assert ask(handle, "ping", PingRequest()) == (READ,)


def test_a_check_charges_until_the_limit_and_then_denies(handle):
    for count in range(1, 6):
        answer = ask(handle, "check", CheckRequest((item(),)))
        assert (answer.outcome, answer.allowed, answer.info) == ("allow", True, DONE)
        (rate,) = answer.rates
        assert (rate.item, rate.rate_index, rate.window_ms, rate.limit) == (0, 0, 60_000, 5)
        assert (rate.count, rate.remaining, rate.allowed) == (count, 5 - count, True)
        assert rate.charge != 0 and rate.retry_after_ms == 0 and rate.on_error == ""
    answer = ask(handle, "check", CheckRequest((item(),)))
    assert (answer.outcome, answer.allowed, answer.info.effect) == ("deny", False, "none")
    (rate,) = answer.rates
    assert (rate.count, rate.remaining, rate.allowed, rate.charge) == (5, 0, False, 0)
    assert 0 < rate.retry_after_ms <= 60_001
    assert answer.retry_after_ms == rate.retry_after_ms
    assert (answer.never, answer.token) == (False, None)


def test_a_peek_charges_nothing(handle):
    ask(handle, "check", CheckRequest((item(),)))
    for _ in range(3):
        answer = ask(handle, "check", CheckRequest((item(),), peek=True))
        assert (answer.outcome, answer.rates[0].count, answer.info) == ("allow", 1, READ)


def test_all_or_none_is_charged_unless_each_is_for_itself(handle):
    first, second = item(b"a", Rate(1, 60_000)), item(b"b", Rate(9, 60_000))
    assert ask(handle, "check", CheckRequest((first,))).allowed
    answer = ask(handle, "check", CheckRequest((first, second)))
    assert [rate.allowed for rate in answer.rates] == [False, True]
    assert ask(handle, "check", CheckRequest((second,), peek=True)).rates[0].count == 0
    answer = ask(handle, "check", CheckRequest((first, second), each=True))
    assert answer.outcome == "deny"
    assert ask(handle, "check", CheckRequest((second,), peek=True)).rates[0].count == 1


def test_costs_several_rates_and_parts_of_keys_arrive(handle):
    both = Item((b"a_b", b"c"), (Rate(10, 1_000), Rate(100, 60_000)), cost=7)
    answer = ask(handle, "check", CheckRequest((both,)))
    assert [(rate.rate_index, rate.count) for rate in answer.rates] == [(0, 7), (1, 7)]
    other = both._replace(key=(b"a", b"b_c"))
    assert ask(handle, "check", CheckRequest((other,))).allowed
    answer = ask(handle, "check", CheckRequest((both._replace(cost=11),)))
    assert answer.never and answer.rates[0].never and not answer.rates[1].never


def test_keys_may_be_any_bytes(handle):
    keys = [b"", b"\0", b"\0\0", bytes(range(256)), b"k" * 1024]
    for key in keys:
        assert ask(handle, "check", CheckRequest((item(key),))).rates[0].count == 1


def test_algorithms_of_inline_rates_arrive(handle):
    slots = item(b"slots", Rate(2, 60_000), algorithm="concurrency")
    first = ask(handle, "check", CheckRequest((slots,)))
    assert first.allowed and ask(handle, "check", CheckRequest((slots,))).allowed
    assert not ask(handle, "check", CheckRequest((slots,))).allowed
    back = RefundItem(slots, (first.rates[0].charge,))
    assert ask(handle, "refund", RefundRequest((back,))).refunded == (1,)
    assert ask(handle, "check", CheckRequest((slots,))).allowed
    flow = item(b"flow", Rate(60, 3_600_000), algorithm="gcra", burst=3)
    for wanted in ("allow", "allow", "allow", "deny"):
        assert ask(handle, "check", CheckRequest((flow,))).outcome == wanted


def test_named_limits_tiers_and_the_daemons_policy_arrive(make_handle, make_daemon):
    handle = make_handle(make_daemon(config=LIMITS).unix)
    answer = ask(handle, "check", CheckRequest((Item((b"u",), limit="login"),)))
    assert (answer.rates[0].limit, answer.rates[0].on_error) == (5, "closed")
    answer = ask(handle, "check", CheckRequest((Item((b"u",), limit="api", tier="premium"),)))
    assert [rate.limit for rate in answer.rates] == [600]
    # Rates beside a name are for the caller's own fallback; the daemon has its own.
    answer = ask(handle, "check", CheckRequest((Item((b"v",), (Rate(1, 1000),), "api"),)))
    assert [rate.limit for rate in answer.rates] == [60, 1000]
    answer = ask(handle, "check", CheckRequest((Item((b"u",), limit="nobody"),)))
    assert (answer.outcome, answer.info.cause) == ("undecided", "not_found")
    assert "nobody" in answer.info.text


def test_limits_are_listed(make_handle, make_daemon):
    handle = make_handle(make_daemon(config=LIMITS).unix)
    answer = ask(handle, "limits", LimitsRequest())
    assert (answer.info, answer.more) == (READ, False)
    listed = {limit.name: limit for limit in answer.limits}
    assert sorted(listed) == ["api", "api.premium", "flow", "login"]
    assert listed["api"].rates == (Rate(60, 60_000), Rate(1000, 86_400_000))
    assert (listed["api"].precision, listed["api"].count_denied) == (32, True)
    assert (listed["login"].on_error, listed["login"].algorithm) == ("closed", "sliding")
    assert (listed["flow"].shadow, listed["flow"].algorithm) == (True, "gcra")
    assert listed["login"].namespace == "default" and listed["login"].when_full == "overflow"
    (only,) = ask(handle, "limits", LimitsRequest("login")).limits
    assert only == listed["login"]
    after = ask(handle, "limits", LimitsRequest(after="flow")).limits
    assert [limit.name for limit in after] == ["login"]
    assert ask(handle, "limits", LimitsRequest("nobody")).info.cause == "not_found"


def test_a_refund_gives_back_and_a_reset_forgets(handle):
    charge = ask(handle, "check", CheckRequest((item(),))).rates[0].charge
    ask(handle, "check", CheckRequest((item(),)))
    answer = ask(handle, "refund", RefundRequest((RefundItem(item(), (charge,)),
                                                  RefundItem(item(b"other")))))
    assert (answer.info, answer.refunded) == (DONE, (1, 0))
    assert ask(handle, "check", CheckRequest((item(),), peek=True)).rates[0].count == 1
    assert ask(handle, "reset", ResetRequest(item())) == (DONE, 1)
    assert ask(handle, "check", CheckRequest((item(),), peek=True)).rates[0].count == 0


def test_a_reservation_is_committed_or_canceled_once(handle):
    wanted = item(b"k", Rate(10, 60_000))
    answer = ask(handle, "reserve", ReserveRequest((wanted,), 2, 30, 5_000))
    assert (answer.outcome, answer.granted, answer.lease_ms) == ("allow", 10, 5_000)
    assert len(answer.lease) == 16 and answer.info == DONE
    assert ask(handle, "commit", CommitRequest(answer.lease, 4)) == (DONE, 6)
    again = ask(handle, "cancel_lease", CancelRequest(answer.lease))
    assert (again.info.cause, again.refunded) == ("not_found", 0)
    answer = ask(handle, "reserve", ReserveRequest((wanted,), 6))
    assert (answer.granted, len(answer.rates)) == (6, 1)
    assert ask(handle, "cancel_lease", CancelRequest(answer.lease)) == (DONE, 6)
    answer = ask(handle, "reserve", ReserveRequest((wanted,), 7))
    assert (answer.outcome, answer.granted, answer.lease) == ("deny", 0, b"")
    assert 0 < answer.retry_after_ms <= 60_001 and not answer.never
    assert ask(handle, "reserve", ReserveRequest((wanted,), 11)).never


def test_namespaces_are_apart(make_handle, daemon):
    handle = make_handle(daemon.unix, namespace="shop")
    request = CheckRequest((item(),))
    assert ask(handle, "check", request).rates[0].count == 1
    assert ask(handle, "check", request._replace(namespace="shop")).rates[0].count == 2
    assert ask(handle, "check", request._replace(namespace="other")).rates[0].count == 1
    assert ask(make_handle(daemon.unix), "check", request).rates[0].count == 1


def test_the_time_of_a_request_is_that_of_a_test_clock(make_handle, make_daemon):
    handle = make_handle(make_daemon("--test-clock").unix)
    request = CheckRequest((item(b"k", Rate(1, 1000)),))
    assert ask(handle, "check", request, now_ms=1_000_000).allowed
    assert not ask(handle, "check", request, now_ms=1_000_999).allowed
    assert ask(handle, "check", request, now_ms=1_001_001).allowed


# ---- tokens ----------------------------------------------------------------------------------


def test_one_check_carries_a_token_and_limits(handle):
    token = Token(jti="t1", subject="alice", iat_s=soon(-10), exp_s=soon())
    answer = ask(handle, "check", CheckRequest((item(),), token))
    assert (answer.outcome, answer.token.status, answer.token.fresh) == ("allow", "valid", True)
    assert ask(handle, "revoke", RevokeRequest("token", b"t1", exp_s=soon())).info == DONE
    answer = ask(handle, "check", CheckRequest((item(),), token))
    assert (answer.outcome, answer.token.status) == ("deny", "revoked")
    assert ask(handle, "check", CheckRequest((item(),), peek=True)).rates[0].count == 1


def test_a_revocation_says_its_level_and_its_id_and_can_be_canceled(handle):
    request = RevokeRequest("token", b"t1", "password_change", exp_s=soon(), actor="me",
                            level="memory")
    answer = ask(handle, "revoke", request)
    assert (answer.info, answer.asked, len(answer.id.origin)) == (DONE, "memory", 16)
    assert answer.acknowledged in ("memory", "durable") and answer.until_s >= soon(590)
    verdict = ask(handle, "token_check", TokenCheckRequest(Token(jti="t1"))).token
    assert (verdict.status, verdict.reason, verdict.scope) == (
        "revoked", "password_change", "token")
    canceled = ask(handle, "unrevoke", UnrevokeRequest((answer.id,), "me"))
    assert (canceled.info, canceled.canceled, canceled.acknowledged) == (DONE, 1, "durable")
    assert isinstance(canceled.id, FactName)
    verdict = ask(handle, "token_check", TokenCheckRequest(Token(jti="t1"))).token
    assert verdict.status == "valid"


@pytest.mark.parametrize("scope, value, token", [
    ("subject", b"alice", Token(jti="t", subject="alice", iat_s=1)),
    ("client", b"app", Token(jti="t", client="app", iat_s=1)),
    ("key", b"k1", Token(jti="t", key="k1", iat_s=1)),
    ("family", b"sid-1", Token(jti="t", sid="sid-1", iat_s=1)),
    ("namespace", b"", Token(jti="t", iat_s=1)),
    ("opaque", b"a raw token", Token(opaque=b"a raw token")),
    ("signed", b"header.payload", Token(signed_text=b"header.payload", iat_s=1)),
])
def test_every_scope_of_a_revocation_hits(handle, scope, value, token):
    before = ask(handle, "token_check", TokenCheckRequest(token))
    assert (before.info, before.token.status) == (READ, "valid")
    assert ask(handle, "revoke", RevokeRequest(scope, value)).info == DONE
    verdict = ask(handle, "token_check", TokenCheckRequest(token)).token
    assert (verdict.status, verdict.scope) == ("revoked", scope)


def test_an_opaque_token_may_be_named_by_its_hash(handle):
    digest = hashlib.sha256(b"secret").digest()
    assert ask(handle, "revoke", RevokeRequest("opaque", digest, hashed=True)).info == DONE
    verdict = ask(handle, "token_check", TokenCheckRequest(Token(opaque=b"secret"))).token
    assert verdict.status == "revoked"


def test_a_raw_token_that_nobody_can_verify_is_undecided_with_a_word(handle):
    verdict = ask(handle, "token_check", TokenCheckRequest(Token(raw=b"a.b.c"))).token
    assert (verdict.status, verdict.claims) == ("undecided", None)
    assert verdict.detail


def test_claims_of_a_token_that_pawld_verified_come_back(make_handle, make_daemon, tmp_path):
    jwt = pytest.importorskip("jwt")
    secret = tmp_path / "h1.secret"
    secret.write_text("a secret of thirty-two bytes, or more")
    secret.chmod(0o600)
    daemon = make_daemon(config=f"""
jwt:
  issuers:
    - issuer: https://auth.example
      audience: api
      keys: [{{kid: h1, alg: HS256, secret_file: {secret}}}]
""")
    handle = make_handle(daemon.unix)
    claims = {"iss": "https://auth.example", "aud": "api", "sub": "alice", "jti": "j1",
              "iat": soon(-5), "exp": soon()}
    raw = jwt.encode(claims, secret.read_text(), "HS256", headers={"kid": "h1"}).encode()
    verdict = ask(handle, "token_check", TokenCheckRequest(Token(raw=raw))).token
    assert verdict.status == "valid", verdict
    assert verdict.claims == Claims("https://auth.example", "j1", "alice", "", "h1", "",
                                    claims["iat"], claims["exp"])
    answer = ask(handle, "revoke", RevokeRequest("jwt", raw))
    assert answer.info == DONE
    answer = ask(handle, "check", CheckRequest((item(),), Token(raw=raw)))
    assert (answer.outcome, answer.token.status) == ("deny", "revoked")


def test_a_family_opens_rotates_and_ends(handle):
    opened = ask(handle, "family_open", FamilyOpenRequest("alice", soon(), client="app"))
    assert opened.info == DONE and opened.acknowledged == "durable"
    assert len(opened.sid) == 36 and len(opened.jti) == 22 and opened.exp_s > soon(500)
    presented = Token(subject="alice", client="app", jti=opened.jti, sid=opened.sid,
                      iat_s=soon(-1), exp_s=opened.exp_s)
    rotated = ask(handle, "rotate", RotateRequest(presented, soon(), next_jti="second"))
    assert (rotated.info, rotated.result, rotated.generation) == (DONE, "rotated", 1)
    assert (rotated.successor, rotated.proposed, rotated.subject) == ("second", "second", "alice")
    again = ask(handle, "rotate", RotateRequest(presented, soon(), next_jti="third"))
    assert (again.result, again.successor) == ("grace", "second")
    second = presented._replace(jti="second")
    assert ask(handle, "rotate", RotateRequest(second, soon(), next_jti="third")).result == "rotated"
    reuse = ask(handle, "rotate", RotateRequest(presented, soon()))
    assert reuse.result == "reuse" and len(reuse.proposed) == 22
    ended = ask(handle, "family_end", FamilyEndRequest(opened.sid, reason="logout", exp_s=soon()))
    assert (ended.info, ended.acknowledged) == (DONE, "durable")
    after = ask(handle, "rotate", RotateRequest(second._replace(jti="third"), soon()))
    assert after.result == "revoked"


def test_an_opaque_refresh_token_rotates_with_its_seed(handle):
    opened = ask(handle, "family_open", FamilyOpenRequest("bob", soon(), opaque=b"first"))
    assert opened.info == DONE
    request = RotateRequest(Token(subject="bob", opaque=b"first", sid=opened.sid, exp_s=soon()),
                            soon(), next_opaque=b"second", next_seed=b"s" * 16)
    rotated = ask(handle, "rotate", request)
    assert rotated.result == "rotated"
    assert rotated.successor_sha256 == hashlib.sha256(b"second").digest()
    again = ask(handle, "rotate", request._replace(next_opaque=b"third", next_seed=b"t" * 16))
    assert (again.result, again.successor_seed) == ("grace", b"s" * 16)


def test_generation_leeway_and_adoption_arrive(make_handle, make_daemon):
    handle = make_handle(make_daemon("--set", "rotation.adopt_before=2100-01-01T00:00:00Z").unix)
    presented = Token(subject="carol", jti="old", sid="from-before", iat_s=soon(-60), exp_s=soon())
    unknown = ask(handle, "rotate", RotateRequest(presented, soon(), generation=0, leeway_ms=0))
    assert unknown.result == "unknown"
    adopted = ask(handle, "rotate", RotateRequest(presented, soon(), next_jti="new", adopt=True,
                                                  verified=True))
    assert (adopted.result, adopted.successor) == ("adopted", "new")


# ---- figures, batches ------------------------------------------------------------------------


def test_figures_of_the_daemon_come_with_their_types(handle):
    answer = ask(handle, "stats", StatsRequest())
    assert answer.info == READ
    assert answer.figures["frozen"] is False
    assert isinstance(answer.figures["version"], str) and isinstance(answer.figures["keys"], int)
    only = ask(handle, "stats", StatsRequest("limiter_")).figures
    assert only and all(name.startswith("limiter_") for name in only)


def test_a_batch_is_answered_each_once_and_counted(handle, daemon):
    requests = [CheckRequest((item(b"%d" % i),)) for i in range(200)]
    ids = [handle.submit_check(request, LONG_MS) for request in requests]
    assert len(set(ids)) == 200
    handle.flush()
    answers = wait_answers(handle, ids)
    assert all(answer.allowed for answer in answers.values())
    assert handle.process() == [] and handle.timeout_ms() == -1
    figures = handle.figures()
    assert (figures["requests"], figures["answers"], figures["in_flight"]) == (200, 200, 0)
    assert figures["connects"] == 1


def test_nothing_is_pending_before_the_first_request(handle):
    assert handle.timeout_ms() == -1
    assert handle.process() == []
    assert handle.fileno() >= 0 and handle.fileno() == handle.fileno()


def test_a_submit_waits_for_the_flush_or_the_next_process(handle):
    handle.submit_check(CheckRequest((item(),)), LONG_MS)
    assert handle.timeout_ms() == 0


def test_tcp_is_as_good_as_a_unix_socket(make_handle, daemon):
    handle = make_handle(f"unix:/nowhere/pawld.sock,{daemon.tcp_uri}")
    assert ask(handle, "check", CheckRequest((item(),))).allowed
    assert handle.figures()["connect_fails"] == 1


def test_the_address_comes_from_the_environment(make_handle, daemon, monkeypatch):
    monkeypatch.setenv("PAWL_ADDR", daemon.unix)
    assert ask(make_handle(), "check", CheckRequest((item(),))).allowed

"""Revocations through the daemon: every scope, cutoffs, un-revoke, and what survives a kill -9."""

import time

import pytest

NOW = 1_800_000_000  # a fixed civil time, for the test clock


def test_log_out_everywhere_right_after_a_log_in_reaches_it_however_often(make_daemon):
    """A login after a cutoff is born ahead of the clock: the next cutoff has to reach it too."""
    pawld = make_daemon("--test-clock")
    now = 1_800_000_000_000
    sids = []
    for number in range(12):  # the clock stands still
        sub = f"user {number % 3}"
        sid = pawld.ctl("--now", now, "family", "open", "--sub", sub, "--jti", f"r{number}",
                        "--exp", now // 1000 + 3600, check=0).json["sid"]
        pawld.ctl("--now", now, "token", "check", "--jti", "a", "--sub", sub, "--sid", sid,
                  "--iat", now // 1000, "--exp", now // 1000 + 3600, check=0)
        pawld.ctl("--now", now, "revoke", "subject", "--sub", sub, check=0)
        sids.append((sub, sid))
    for sub, sid in sids:
        verdict = pawld.ctl("--now", now, "token", "check", "--jti", "a", "--sub", sub, "--sid",
                            sid, "--iat", now // 1000, "--exp", now // 1000 + 3600, check=1)
        assert verdict.json["status"] == "revoked"


def test_a_restart_between_log_in_and_log_out_everywhere_changes_nothing(make_daemon):
    pawld = make_daemon("--test-clock")
    now = 1_800_000_000_000
    pawld.ctl("--now", now, "revoke", "subject", "--sub", "somebody", check=0)
    sid = pawld.ctl("--now", now, "family", "open", "--sub", "anna", "--jti", "r", "--exp",
                    now // 1000 + 3600, check=0).json["sid"]
    pawld.restart()
    pawld.ctl("--now", now, "revoke", "subject", "--sub", "anna", check=0)
    pawld.ctl("--now", now, "token", "check", "--jti", "a", "--sub", "anna", "--sid", sid, "--iat",
              now // 1000, "--exp", now // 1000 + 3600, check=1)


def at(pawld, seconds, *arguments, **options):
    return pawld.ctl("--now", int(seconds * 1000), *arguments, **options)


@pytest.fixture
def clocked(make_daemon):
    return make_daemon("--test-clock")


def later():
    return int(time.time()) + 3600


def test_a_revoked_token_is_refused_and_another_is_not(pawld):
    exp = later()
    pawld.ctl("token", "check", "--jti", "a", "--exp", exp, check=0)
    answer = pawld.ctl("revoke", "token", "--jti", "a", "--exp", exp, check=0).json
    assert answer["acknowledged"] == "durable" and answer["asked"] == "durable"
    assert answer["until"] == exp + 3600
    refused = pawld.ctl("token", "check", "--jti", "a", "--exp", exp, check=1).json
    assert (refused["status"], refused["reason"], refused["fresh"]) == ("revoked", "logout", True)
    pawld.ctl("token", "check", "--jti", "b", "--exp", exp, check=0)


def test_the_issuer_is_part_of_a_token_s_identity(pawld):
    exp = later()
    pawld.ctl("revoke", "token", "--jti", "a", "--exp", exp, "--iss", "one", check=0)
    pawld.ctl("token", "check", "--jti", "a", "--exp", exp, "--iss", "two", check=0)
    pawld.ctl("token", "check", "--jti", "a", "--exp", exp, "--iss", "one", check=1)


def test_namespaces_are_tenants(pawld):
    exp = later()
    pawld.ctl("--ns", "a", "revoke", "token", "--jti", "j", "--exp", exp, check=0)
    pawld.ctl("--ns", "b", "token", "check", "--jti", "j", "--exp", exp, check=0)


@pytest.mark.parametrize("revoke, token", [
    (["subject", "--sub", "anna"], ["--sub", "anna"]),
    (["client", "--client", "app"], ["--client", "app"]),
    (["key", "--kid", "k1"], ["--kid", "k1"]),
    (["namespace"], []),
])
def test_cutoff_scopes_hit_older_tokens(clocked, revoke, token):
    arguments = ["token", "check", "--jti", "j", "--exp", NOW + 900, *token]
    at(clocked, NOW, *arguments, "--iat", NOW - 10, check=0)
    at(clocked, NOW, "revoke", *revoke, check=0)
    at(clocked, NOW, *arguments, "--iat", NOW - 10, check=1)
    at(clocked, NOW, *arguments, "--iat", NOW, check=1)  # issued in the same second
    at(clocked, NOW, *arguments, check=1)                # no iat: hit by every cutoff


@pytest.mark.parametrize("revoke, token", [
    (["subject", "--sub", "anna"], ["--sub", "anna"]),
    (["client", "--client", "app"], ["--client", "app"]),
    (["namespace"], []),
])
def test_tokens_issued_after_a_cutoff_are_spared(clocked, revoke, token):
    at(clocked, NOW, "revoke", *revoke, check=0)
    at(clocked, NOW + 5, "token", "check", "--jti", "j", "--exp", NOW + 900, *token,
       "--iat", NOW + 4, check=0)


def test_a_stolen_signing_key_is_refused_whatever_the_date(clocked):
    at(clocked, NOW, "revoke", "key", "--kid", "k1", check=0)
    at(clocked, NOW + 5, "token", "check", "--jti", "j", "--exp", NOW + 900, "--kid", "k1",
       "--iat", NOW + 4, check=1)


def test_log_out_everywhere_spares_an_immediate_new_login(clocked):
    old = at(clocked, NOW, "family", "open", "--sub", "anna", "--jti", "r1", "--exp", NOW + 900,
             check=0).json["sid"]
    at(clocked, NOW + 0.2, "revoke", "subject", "--sub", "anna", check=0)
    new = at(clocked, NOW + 0.2, "family", "open", "--sub", "anna", "--jti", "r2",
             "--exp", NOW + 900, check=0).json["sid"]
    token = ["token", "check", "--sub", "anna", "--iat", NOW, "--exp", NOW + 900]
    at(clocked, NOW + 0.3, *token, "--jti", "a1", "--sid", old, check=1)
    at(clocked, NOW + 0.3, *token, "--jti", "a2", "--sid", new, check=0)


def test_a_forged_birth_time_spares_nobody(clocked):
    at(clocked, NOW, "revoke", "subject", "--sub", "anna", check=0)
    sid = at(clocked, NOW + 1, "family", "open", "--sub", "anna", "--jti", "r", "--exp", NOW + 900,
             check=0).json["sid"]
    forged = sid[:-1] + ("0" if sid[-1] != "0" else "1")
    token = ["token", "check", "--jti", "a", "--sub", "anna", "--iat", NOW, "--exp", NOW + 900]
    at(clocked, NOW + 1, *token, "--sid", sid, check=0)
    at(clocked, NOW + 1, *token, "--sid", forged, check=1)


def test_opaque_tokens_travel_as_a_hash(pawld):
    pawld.ctl("revoke", "opaque", stdin="secret-token\n", check=0)
    database = (pawld.data_dir / "pawl.db").read_bytes()
    wal = pawld.data_dir / "pawl.db-wal"
    database += wal.read_bytes() if wal.exists() else b""
    assert b"secret-token" not in database


def test_unrevoke_takes_back_the_named_fact_only(pawld):
    exp = later()
    one = pawld.ctl("revoke", "token", "--jti", "a", "--exp", exp, check=0).json["id"]
    two = pawld.ctl("revoke", "token", "--jti", "a", "--exp", exp, check=0).json["id"]
    pawld.ctl("unrevoke", one, check=0)
    pawld.ctl("token", "check", "--jti", "a", "--exp", exp, check=1)
    pawld.ctl("unrevoke", two, check=0)
    pawld.ctl("token", "check", "--jti", "a", "--exp", exp, check=0)
    pawld.restart()
    pawld.ctl("token", "check", "--jti", "a", "--exp", exp, check=0)


def test_unrevoke_leaves_cutoffs_alone(clocked):
    fact = at(clocked, NOW, "revoke", "subject", "--sub", "anna", check=0).json["id"]
    at(clocked, NOW, "unrevoke", fact)
    at(clocked, NOW, "token", "check", "--jti", "a", "--sub", "anna", "--iat", NOW - 5,
       "--exp", NOW + 900, check=1)


def test_expired_and_impossible_tokens(clocked):
    expired = at(clocked, NOW, "token", "check", "--jti", "a", "--exp", NOW - 60, check=1).json
    assert expired["status"] == "expired"
    long = at(clocked, NOW, "token", "check", "--jti", "a", "--iat", NOW, "--exp",
              NOW + 31 * 86400, check=1).json
    assert (long["status"], long["reason"]) == ("invalid", "lifetime")


def test_an_admission_charges_only_with_a_good_token(pawld, connect, wire):
    exp = later()
    pawld.ctl("revoke", "token", "--jti", "bad", "--exp", exp, check=0)
    connection = connect(pawld.unix)

    def admit(jti):
        item = wire.CheckItem(key=[b"k"], on_error=wire.ON_ERROR_CLOSED,
                              rates=[wire.Rate(count=2, window_ms=60000)])
        return connection.call(check=wire.Check(items=[item], token=wire.Token(jti=jti, exp=exp)))

    refused = admit(b"bad").check
    assert (refused.verdict, refused.token.status) == (wire.VERDICT_DENY, wire.TOKEN_REVOKED)
    assert refused.results[0].count == 0 and refused.results[0].charge == 0
    assert [admit(b"good").check.verdict for _ in range(3)] == [
        wire.VERDICT_ALLOW, wire.VERDICT_ALLOW, wire.VERDICT_DENY]


def test_a_request_without_a_token_is_never_judged_by_the_one_before(make_daemon, connect, wire):
    pawld = make_daemon("--set", "server.workers=1")
    one, other = connect(pawld.unix), connect(pawld.unix)
    exp = later()
    good = wire.Token(jti=b"good", exp=exp)
    assert one.call(token_check=wire.TokenCheck(token=good)).token_check.status == wire.TOKEN_VALID
    assert other.call(token_check=wire.TokenCheck()).status == wire.STATUS_INVALID
    raw = one.call(token_check=wire.TokenCheck(token=wire.Token(raw=b"a.b.c"))).token_check
    assert (raw.status, raw.detail) == (wire.TOKEN_UNDECIDED, b"no_keys")
    check = other.call(check=wire.Check(items=[wire.CheckItem(
        key=[b"k"], on_error=wire.ON_ERROR_CLOSED, rates=[wire.Rate(count=9, window_ms=60000)])]))
    assert check.check.verdict == wire.VERDICT_ALLOW


def test_revocations_survive_kill_9_and_a_restart(pawld):
    exp = later()
    for scope in (["token", "--jti", "t", "--exp", exp], ["subject", "--sub", "s"],
                  ["client", "--client", "c"], ["key", "--kid", "k"], ["family", "--sid", "f"]):
        pawld.ctl("revoke", *scope, check=0)
    asks = [["--jti", "t"], ["--jti", "x", "--sub", "s"], ["--jti", "x", "--client", "c"],
            ["--jti", "x", "--kid", "k"], ["--jti", "x", "--sid", "f"]]
    for end in (pawld.kill, pawld.stop):
        end()
        pawld.start()
        for ask in asks:
            answer = pawld.ctl("token", "check", *ask, "--exp", exp, check=1).json
            assert answer["status"] == "revoked", (ask, answer)
        pawld.ctl("token", "check", "--jti", "x", "--exp", exp, "--iat", exp - 3600, check=0)


def test_less_than_the_level_asked_is_said(pawld):
    result = pawld.ctl("revoke", "token", "--jti", "a", "--exp", later(), "--ack", "quorum")
    assert result.code == 3
    assert (result.json["acknowledged"], result.json["asked"]) == ("durable", "quorum")

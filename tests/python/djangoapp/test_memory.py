"""What projects test with: the memory client, the clock, the pytest fixtures."""

import subprocess
import sys

import pytest

import pawl
from pawl import errors, testing
from pawl.django import conf


def test_the_memory_client_admits_exactly_the_rate_and_room_opens_with_the_window(pawl_memory,
                                                                                  pawl_clock):
    verdicts = [pawl_memory.check("alice", "3/minute").allowed for _ in range(5)]
    assert verdicts == [True, True, True, False, False]
    pawl_clock.advance(59.999)
    refused = pawl_memory.check("alice", "3/minute")
    assert not refused.allowed and refused.retry_after_ms == 1
    pawl_clock.advance(0.001)
    assert pawl_memory.check("alice", "3/minute").allowed


def test_a_refund_gives_the_charge_back_and_a_reset_forgets_the_key(pawl_memory):
    one = pawl.item("alice", "2/minute")
    first = pawl_memory.check_many([one])
    pawl_memory.check_many([one])
    assert pawl_memory.refund(one, first.rates) == 1
    assert pawl_memory.check_many([one]).allowed
    assert not pawl_memory.check_many([one]).allowed
    assert pawl_memory.reset("alice", "2/minute") == 1
    assert pawl_memory.check_many([one]).allowed


def test_all_or_nothing_charges_nothing_and_each_for_itself_charges_the_rest(pawl_memory):
    pair = [pawl.item("a", "1/minute"), pawl.item("b", "2/minute")]
    assert pawl_memory.check_many(pair).allowed
    assert not pawl_memory.check_many(pair).allowed
    assert pawl_memory.check("b", "2/minute", peek=True).rates[0].count == 1
    assert not pawl_memory.check_many(pair, mode="each").allowed
    assert pawl_memory.check("b", "2/minute", peek=True).rates[0].count == 2


def test_a_named_limit_is_the_one_given_and_an_unknown_one_is_an_error(pawl_clock):
    memory = testing.MemoryClient(pawl_clock, {"api": "1/minute", "api.premium": "2/minute"})
    assert memory.check("k", limit="api").allowed
    assert not memory.check("k", limit="api").allowed
    assert memory.check("k", limit="api", tier="premium").rates[0].limit == 2
    with pytest.raises(errors.NotFound, match="'other'"):
        memory.check("k", limit="other")


def test_an_outage_follows_the_policy_and_raises_for_writes(pawl_memory):
    pawl_memory.away = True
    assert pawl_memory.is_away
    assert pawl_memory.check("a", "1/minute", on_error="open").allowed
    assert not pawl_memory.check("a", "1/minute", on_error="closed").allowed
    assert [pawl_memory.check("a", "1/minute").allowed for _ in range(2)] == [True, False]
    assert pawl_memory.token_check(pawl.Token(jti="j")).token.status == "undecided"
    assert pawl_memory.rotate(pawl.Token(jti="j"), 9).result == "unavailable"
    with pytest.raises(errors.Unavailable):
        pawl_memory.revoke("token", "j")
    pawl_memory.away = False
    assert pawl_memory.check("a", "1/minute").info.source == "daemon"


@pytest.mark.parametrize("scope, value, hit, spared", [
    ("token", "j1", pawl.Token(jti="j1"), pawl.Token(jti="j2")),
    ("family", "s1", pawl.Token(jti="x", sid="s1"), pawl.Token(jti="x", sid="s2")),
    ("subject", "7", pawl.Token(subject="7", iat_s=1), pawl.Token(subject="8", iat_s=1)),
    ("client", "app", pawl.Token(client="app", iat_s=1), pawl.Token(client="web", iat_s=1)),
    ("opaque", "secret", pawl.Token(opaque=b"secret"), pawl.Token(opaque=b"other")),
    ("namespace", "", pawl.Token(jti="old", iat_s=1), pawl.Token(jti="new", iat_s=2**33)),
])
def test_a_revocation_hits_its_scope_and_nothing_else(pawl_memory, scope, value, hit, spared):
    fact = pawl_memory.revoke(scope, value, reason="logout")
    verdict = pawl_memory.token_check(hit).token
    assert (verdict.status, verdict.reason, verdict.scope) == ("revoked", "logout", scope)
    assert pawl_memory.token_check(spared).token.status == "valid"
    undone = pawl_memory.unrevoke([fact.id]).canceled
    assert undone == (1 if scope in ("token", "opaque") else 0)


def test_a_login_after_the_cutoff_is_spared(pawl_memory):
    before = pawl_memory.family_open("7", 2**33)
    pawl_memory.revoke("subject", "7")
    after = pawl_memory.family_open("7", 2**33)
    statuses = [pawl_memory.token_check(pawl.Token(jti=login.jti, sid=login.sid, subject="7",
                                                   iat_s=1)).token.status
                for login in (before, after)]
    assert statuses == ["revoked", "valid"]


def test_rotation_has_one_head_a_grace_and_finds_the_thief(pawl_memory, pawl_clock):
    login = pawl_memory.family_open("7", 2**33)
    token = pawl.Token(jti=login.jti, sid=login.sid, subject="7")
    first = pawl_memory.rotate(token, 2**33)
    assert first.result == "rotated" and first.generation == 1
    retry = pawl_memory.rotate(token, 2**33)
    assert (retry.result, retry.successor) == ("grace", first.successor)
    pawl_clock.advance(11)
    assert pawl_memory.rotate(token, 2**33).result == "reuse"
    current = token._replace(jti=first.successor)
    assert pawl_memory.rotate(current, 2**33).result == "revoked"
    assert pawl_memory.rotate(pawl.Token(jti="stranger"), 2**33).result == "unknown"
    assert pawl_memory.rotate(pawl.Token(jti="old"), 2**33, adopt=True).result == "adopted"


def test_the_memory_decorates_a_function_too():
    @testing.override_pawl(MODE="atomic")
    def inside():
        return conf.settings.MODE, conf.get_client().backend

    assert inside() == inside() == ("atomic", "memory")


def test_settings_may_change_under_the_memory(pawl_memory):
    from django.test import override_settings

    with override_settings(PAWL={"MODE": "atomic"}):
        assert conf.get_client() is pawl_memory


def test_a_project_without_django_has_the_fixtures_of_the_plugin(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "def test_it(pawl_memory, pawl_clock):\n"
        "    assert pawl_memory.check('a', '1/m').allowed\n"
        "    assert not pawl_memory.check('a', '1/m').allowed\n"
        "    pawl_clock.advance(60)\n"
        "    assert pawl_memory.check('a', '1/m').allowed\n\n\n"
        "def test_real(pawl_daemon):\n"
        "    client = pawl_daemon.client()\n"
        "    assert client.check('a', '1/m').allowed\n"
        "    pawl_daemon.kill()\n"
        "    pawl_daemon.start()\n"
        "    assert client.token_check.__name__\n")
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p",
                           "pawl.pytest_plugin", "-p", "no:django", str(tmp_path)],
                          capture_output=True, text=True, cwd=tmp_path)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_the_clients_of_django_are_the_memory_and_come_back():
    with testing.override_pawl(MODE="atomic") as memory:
        assert conf.get_client() is memory
        assert conf.settings.MODE == "atomic"
    assert conf._makers["blocking"] is pawl.Client
    assert conf.settings.MODE == "compat"


def test_the_async_client_of_django_shares_the_memory(pawl_memory):
    import asyncio

    client = conf.get_async_client()
    assert asyncio.run(client.check("alice", "1/minute")).allowed
    assert not pawl_memory.check("alice", "1/minute").allowed


def test_the_clock_does_not_go_back(pawl_clock):
    with pytest.raises(ValueError, match="back"):
        pawl_clock.advance(-1)


def test_a_real_daemon_counts_on_the_clock_of_the_test(pawl_daemon, pawl_clock):
    client = conf.get_client()
    assert [client.check("alice", "2/minute").allowed for _ in range(3)] == [True, True, False]
    pawl_clock.advance(60)
    answer = client.check("alice", "2/minute")
    assert answer.allowed and answer.info.source == "daemon"
    assert client.stats("version")


def test_the_plugin_and_the_package_import_no_django():
    code = ("import sys, pawl, pawl.testing, pawl.pytest_plugin;"
            "sys.exit(any(name.split('.')[0] == 'django' for name in sys.modules))")
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

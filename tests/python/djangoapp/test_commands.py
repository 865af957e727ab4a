"""Management commands: what they say, what they ask before, and their exit codes."""

import io
import json
import os
import pty
import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

import pawl
from pawl.django import conf
from pawl.testing import override_daemon, override_pawl


def run(*arguments, **options):
    """The command's exit code and what it printed; with --json parsed."""
    out = io.StringIO()
    code = 0
    try:
        call_command(*arguments, stdout=out, **options)
    except SystemExit as end:
        code = end.code
    text = out.getvalue()
    return code, json.loads(text) if "--json" in arguments else text


def failed(*arguments, **options):
    """The exit code and the message of a command that gives up."""
    with pytest.raises(CommandError) as caught:
        call_command(*arguments, stdout=io.StringIO(), **options)
    return caught.value.returncode, str(caught.value)


@pytest.fixture
def nobody(tmp_path):
    """Settings under which nobody answers."""
    with override_settings(PAWL={"ADDR": f"unix:{tmp_path}/nobody.sock"}):
        yield


def test_status_tells_client_address_and_figures(pawl_daemon):
    code, data = run("pawl_status", "--json")
    assert code == 0 and data["reachable"] and data["round_trip_ms"] > 0
    assert data["backend"] in ("native", "pure") and data["addresses"] == pawl_daemon.address
    assert data["daemon"]["version"] and data["daemon"]["frozen"] is False
    assert data["breaker"]["open"] is False
    code, text = run("pawl_status")
    assert code == 0 and "answers in" in text and "version" in text


def test_status_without_a_daemon_is_three_and_says_so(nobody):
    code, text = run("pawl_status")
    assert code == 3 and "DOES NOT ANSWER" in text and "PAWL_ADDR" in text
    code, data = run("pawl_status", "--json")
    assert code == 3 and data["reachable"] is False and data["error"]


@pytest.mark.parametrize("wrong, said", [({"NOPE": 1}, "NOPE"), ({"ADDR": "ftp:x"}, "ftp"),
                                         ({"TLS": {"CA": "/no/such"}, "ADDR": "tls:h:1"}, "such")])
def test_settings_that_are_wrong_are_said_and_are_two(wrong, said):
    with override_settings(PAWL=wrong):
        code, text = failed("pawl_status")
    assert code == 2 and said in text


def test_status_says_when_limits_are_off(pawl_memory):
    with override_pawl(pawl_memory, ENABLED=False):
        assert "off" in run("pawl_status")[1]
    with override_pawl(pawl_memory, ENFORCE=False):
        assert "log only" in run("pawl_status")[1]


def test_show_tells_what_is_used_and_uses_nothing(client, pawl_daemon):
    client.get("/shares/")
    for _ in range(2):
        code, data = run("pawl_show", "anon", "127.0.0.1", "--json")
        assert code == 0 and data["key"] == "throttle_anon_127.0.0.1"
        (rate,) = data["rates"]
        assert (rate["rate"], rate["count"], rate["remaining"]) == ("3/m", 1, 2)
    for _ in range(3):
        client.get("/shares/")
    code, text = run("pawl_show", "anon", "127.0.0.1")
    assert code == 1 and "deny" in text and "3/m" in text


def test_a_reset_lets_go_on(client, pawl_daemon):
    for _ in range(4):
        last = client.get("/shares/").status_code
    assert last == 429
    code, data = run("pawl_reset", "anon", "127.0.0.1", "--json")
    assert code == 0 and data["records"] == 1
    assert client.get("/shares/").status_code == 200
    assert run("pawl_reset", "anon", "10.9.9.9")[0] == 1


def test_a_scope_without_a_rate_needs_one(client, pawl_daemon):
    assert failed("pawl_show", "limited", "127.0.0.1")[0] == 2
    client.get("/limited/")
    code, data = run("pawl_show", "limited", "127.0.0.1", "--rate", "2/minute", "--json")
    assert code == 0 and data["rates"][0]["count"] == 1
    assert failed("pawl_show", "anon", "x", "--rate", "often")[0] == 2
    assert failed("pawl_show", "anon")[0] == 2


def test_who_tried_too_often_to_log_in_can_be_let_in_again(pawl_daemon):
    from django.test import RequestFactory

    from pawl.django.logins import TooManyAttempts, failed_login_limit

    request = RequestFactory().post("/", REMOTE_ADDR="2001:db8::1")

    def attempt():
        with failed_login_limit(request, "Alice ") as tried:
            tried.failed()

    for _ in range(5):
        attempt()
    with pytest.raises(TooManyAttempts):
        attempt()
    assert run("pawl_show", "failed_login", "--login", "alice")[0] == 1
    assert run("pawl_reset", "failed_login", "--login", "ALICE", "--json")[1]["records"] == 2
    code, data = run("pawl_reset", "failed_login", "--login-address", "2001:db8::2", "--json")
    assert code == 0 and data["key"] == "throttle_failed_login_address:2001:db8::/64"
    attempt()


def test_keys_are_found_under_prefix_and_hash_and_limits_by_name(client, make_daemon):
    daemon = make_daemon(config="limits: {api: {rate: 2/minute}}\n")
    with override_settings(PAWL={"ADDR": daemon.unix, "KEY_PREFIX": "shop:", "HASH_KEYS": True,
                                 "DEADLINE_MS": 10_000}):
        client.get("/shares/")
        code, data = run("pawl_show", "anon", "127.0.0.1", "--json")
        assert code == 0 and data["rates"][0]["count"] == 1
    with override_settings(PAWL={"ADDR": daemon.unix, "DEADLINE_MS": 10_000}):
        daemon.ctl("check", "api=7", check=0)
        code, data = run("pawl_show", "api", "7", "--limit", "api", "--json")
        assert code == 0 and data["rates"][0]["count"] == 1
        assert run("pawl_reset", "api", "7", "--limit", "api", "--json")[1]["records"] == 1
        code, text = failed("pawl_show", "api", "7", "--limit", "other")
        assert code == 3 or "other" in text


@pytest.mark.django_db
def test_a_user_is_named_by_name(client, pawl_daemon, django_user_model):
    user = django_user_model.objects.create_user("alice")
    client.force_login(user)
    client.get("/several/")
    code, data = run("pawl_show", "several", "--user", "alice", "--rate", "2/minute, 10/hour",
                     "--json")
    assert code == 0 and [rate["count"] for rate in data["rates"]] == [1, 1]
    assert "no user" in failed("pawl_show", "user", "--user", "nobody")[1]


@pytest.mark.parametrize("arguments", [
    ("pawl_show", "anon", "x"), ("pawl_reset", "anon", "x"), ("pawl_revoke", "--jti", "j")])
def test_without_a_daemon_each_says_so_with_three(nobody, arguments):
    code, text = failed(*arguments)
    assert code == 3 and "does not answer" in text or "pawl_status" in text


@pytest.mark.django_db
@pytest.mark.parametrize("arguments, token", [
    (("--jti", "j1"), pawl.Token(jti="j1")),
    (("--sid", "s1"), pawl.Token(jti="j", sid="s1")),
    (("--subject", "77"), pawl.Token(subject="77", iat_s=1)),
    (("--client", "app", "--yes"), pawl.Token(jti="j", client="app", iat_s=1)),
    (("--kid", "k1", "--yes"), pawl.Token(jti="j", key="k1", iat_s=1)),
    (("--everything", "--yes"), pawl.Token(jti="any", iat_s=1)),
])
def test_what_is_revoked_is_refused(pawl_daemon, events, arguments, token):
    code, data = run("pawl_revoke", "--json", *arguments)
    assert code == 0 and data["acknowledged"] == data["asked"] and ":" in data["id"]
    verdict = conf.get_client().token_check(token).token
    assert (verdict.status, verdict.scope) == ("revoked", data["scope"])
    assert events("revoked")[0]["scope"] == data["scope"]


@pytest.mark.django_db
def test_a_user_is_revoked_by_name(pawl_daemon, django_user_model):
    user = django_user_model.objects.create_user("alice")
    assert run("pawl_revoke", "--user", "alice", "--reason", "logout")[0] == 0
    verdict = conf.get_client().token_check(pawl.Token(subject=str(user.pk), iat_s=1)).token
    assert (verdict.status, verdict.reason) == ("revoked", "logout")


def test_an_opaque_token_comes_by_standard_input_and_is_not_shown(pawl_daemon, monkeypatch, events):
    class Input:
        buffer = io.BytesIO(b"a-raw-token\n")
    monkeypatch.setattr(sys, "stdin", Input)
    code, text = run("pawl_revoke", "--opaque")
    assert code == 0 and "a-raw-token" not in text
    assert "a-raw-token" not in str(events())
    verdict = conf.get_client().token_check(pawl.Token(opaque=b"a-raw-token")).token
    assert verdict.status == "revoked"
    Input.buffer = io.BytesIO(b"")
    assert failed("pawl_revoke", "--opaque")[0] == 2


def test_a_cutoff_spares_what_came_after_it(pawl_daemon):
    run("pawl_revoke", "--subject", "7", "--before", "2020-01-01T00:00:00+00:00")
    client = conf.get_client()
    found = [client.token_check(pawl.Token(subject="7", iat_s=when)).token.status
             for when in (1_500_000_000, 1_700_000_000)]
    assert found == ["revoked", "valid"]
    assert failed("pawl_revoke", "--jti", "j", "--before", "2020-01-01")[0] == 2
    assert failed("pawl_revoke", "--subject", "7", "--before", "yesterday")[0] == 2


def test_what_is_dangerous_asks_and_without_anybody_to_ask_does_nothing(pawl_memory, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("everything\n"))
    code, text = failed("pawl_revoke", "--everything")
    assert code == 2 and "--yes" in text and not pawl_memory._facts


@pytest.mark.parametrize("typed, code", [("everything", 0), ("yes", 1)])
def test_at_a_terminal_the_word_has_to_be_typed(pawl_daemon, typed, code):
    ours, theirs = pty.openpty()
    environment = dict(os.environ, DJANGO_SETTINGS_MODULE="djangoapp_settings",
                       PAWL_ADDR=pawl_daemon.address,
                       PYTHONPATH=os.pathsep.join([os.path.dirname(__file__), *sys.path]))
    process = subprocess.Popen([sys.executable, "-m", "django", "pawl_revoke", "--everything"],
                               stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=environment)
    os.write(ours, typed.encode() + b"\n")
    out, error = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == code, (out, error)
    assert (b"revoked" in out) == (code == 0)


def test_who_may_not_revoke_is_told_why(make_daemon):
    daemon = make_daemon("--test-clock")

    class Reached:  # what override_daemon wants to know: TCP grants check and read only
        address = daemon.tcp_uri
        clock = None
    with override_daemon(Reached):
        code, text = failed("pawl_revoke", "--jti", "j")
    assert code == 2 and "role" in text


def test_limits_lists_every_route_with_what_limits_it():
    code, data = run("pawl_limits", "--json")
    rows = {row["route"]: row for row in data["routes"]}
    assert code == 0 and rows["plain/"]["by"] == ""
    assert (rows["limited/"]["scope"], rows["limited/"]["rate"]) == ("limited", "2/minute")
    assert rows["nested/limited/"]["by"] == "@ratelimit by ip"
    assert rows["unsafe/"]["by"].endswith("DELETE,PATCH,POST,PUT")
    assert rows["dynamic/"]["rate"] == "(by request)"
    for route in ("method/", "dispatched/", "whole/"):
        assert rows[route]["rate"] == "1/minute", route
    assert rows["throttled/"]["by"].endswith("AnonRateThrottle")
    assert (rows["throttled/"]["scope"], rows["throttled/"]["rate"]) == ("anon", "3/minute")
    assert rows["ours/"]["by"] == "pawl.drf.stock.AnonRateThrottle"
    assert rows["ours/"]["rate"] == "3/minute"
    assert rows["ours-scoped/"]["scope"] == "burst, user"
    assert rows["ours-scoped/"]["rate"] == "2/s; 5/minute"
    assert rows["scoped/"]["scope"] == "burst" and rows["scoped/"]["rate"] == "2/s"


def test_limits_can_show_what_has_none():
    assert "limited/" not in run("pawl_limits", "--unlimited")[1]
    assert "plain/" not in run("pawl_limits", "--limited")[1]

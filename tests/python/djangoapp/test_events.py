"""The security log: what it tells, what it never tells, and how it stays bounded."""

import json
import logging
import subprocess
import sys

import pytest
import rig
from django.core.exceptions import ImproperlyConfigured
from django.test import RequestFactory, override_settings

from pawl.django import conf, events as log, records, requests, signals
from pawl.testing import override_pawl

SECRET = "eyJhbGciOi.a-raw-token.sig"


@pytest.fixture
def heard():
    """heard(signal): the arguments it was sent with, in order."""
    lists = []

    def listen(signal):
        calls = []

        def receiver(sender, **arguments):
            arguments.pop("signal")
            calls.append(arguments)
        signal.connect(receiver, weak=False)
        lists.append((signal, receiver))
        return calls

    yield listen
    for signal, receiver in lists:
        signal.disconnect(receiver)


@pytest.fixture
def request_():
    return RequestFactory().get("/reset/" + SECRET, REMOTE_ADDR="192.0.2.77")


def test_a_mask_is_the_same_for_the_same_and_needs_the_key():
    assert log.mask("alice") == log.mask("alice") != log.mask("bob")
    assert log.mask(7) == log.mask("7") and log.mask("") == log.mask(None) == ""
    with override_settings(SECRET_KEY="another"):
        other = log.mask("alice")
    with override_pawl(MASK_KEY="a key of the log"):
        third = log.mask("alice")
        with override_settings(SECRET_KEY="another"):
            assert log.mask("alice") == third
    assert len({log.mask("alice"), other, third}) == 3


@pytest.mark.django_db
def test_log_ins_and_log_outs_are_told(client, events, django_user_model):
    from django.contrib.auth import authenticate

    django_user_model.objects.create_user("alice", password="right")
    request = RequestFactory().post("/login/", REMOTE_ADDR="192.0.2.77")
    assert authenticate(request, username="alice", password="wrong") is None
    assert client.login(username="alice", password="right")
    client.logout()
    failed, = events("login_failed")
    succeeded, = events("login_succeeded")
    assert failed["name"] == succeeded["name"] == log.mask("alice")
    assert failed["address"] == log.mask("192.0.2.77") and failed["level"] == "WARNING"
    assert events("logged_out")[0]["user"] == succeeded["user"]


def test_no_record_holds_a_name_an_address_a_token_or_a_path(request_, caplog):
    caplog.set_level("INFO", "pawl.security")
    log.throttled(request_, "login", "192.0.2.77", "5/m")
    log.token_refused(request_, "access", "revoked", subject="alice", jti="jti-1", sid="sid-1")
    log.reuse_detected(request_, "alice", "sid-1")
    log.revoked("opaque", SECRET.encode(), actor="root", reason="logout", request=request_)
    log.login_failed(request_, "alice")
    log.request_failed(request_, 500)
    assert len(caplog.records) == 6
    for record in caplog.records:
        for text in (record.getMessage(), log.JsonFormatter().format(record)):
            for secret in ("192.0.2.77", "alice", "jti-1", "sid-1", "root", SECRET, "/reset/"):
                assert secret not in text, text


def test_the_formatter_writes_one_json_object_a_line(request_, caplog):
    caplog.set_level("INFO", "pawl.security")
    log.throttled(request_, 'odd "scope"\n', "k", "5/m", retry_after_s=3)
    text = log.JsonFormatter().format(caplog.records[-1])
    line = json.loads(text)
    assert "\n" not in text
    assert (line["event"], line["level"], line["logger"]) == ("throttled", "warning",
                                                              "pawl.security")
    assert line["scope"] == 'odd "scope"\n' and line["retry_after_s"] == 3
    assert line["time"].endswith("+00:00") and line["method"] == "GET"
    other = logging.LogRecord("app", logging.ERROR, "", 1, "hello %s", ("you",), None)
    assert json.loads(log.JsonFormatter().format(other))["message"] == "hello you"


def test_a_request_id_is_told_only_where_it_is_one(events):
    for given, told in (("req-1", "req-1"), ("a b\nc", None), ("x" * 65, None)):
        request = RequestFactory().get("/", HTTP_X_REQUEST_ID=given)
        log.permission_denied(request)
        assert events("permission_denied")[-1].get("request_id") == told


def test_repeats_are_counted_and_not_repeated(request_, events, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(records.time, "monotonic", lambda: clock[0])
    with override_pawl(LOG_REPEAT_S=60):
        for _ in range(5):
            log.throttled(request_, "login", "a")
        log.throttled(request_, "login", "b")
        assert len(events("throttled")) == 2
        clock[0] += 60
        log.throttled(request_, "login", "a")
    last = events("throttled")[-1]
    assert len(events("throttled")) == 3 and last["repeated"] == 4


def test_a_flood_of_identities_is_bounded_and_its_count_is_not_lost(events, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(records.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(records.Repeats, "KEYS_MAX", 8)
    with override_pawl(LOG_REPEAT_S=60):
        for number in range(100):
            log.throttled(None, "login", f"user{number}")
        assert len(events("throttled")) == 9 and len(log._repeats._seen) == 9
        assert not events("repeats")
        clock[0] += 60
        log.throttled(None, "login", "one more")
    owed, = events("repeats")
    assert owed == {"event": "repeats", "level": "WARNING", "of": "throttled", "about": ["*"],
                    "repeated": 91}
    assert len(events("throttled")) == 10


def test_counts_are_told_at_the_end_of_the_process():
    code = ("import logging, sys, django\n"
            "from django.conf import settings\n"
            "settings.configure(SECRET_KEY='k', INSTALLED_APPS=['pawl.django'])\n"
            "django.setup()\n"
            "logging.basicConfig(stream=sys.stdout, format='%(message)s')\n"
            "from pawl.django import events\n"
            "for _ in range(5): events.throttled(None, 'login', 'a')\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and lines[1].startswith('repeats of="throttled"'), done
    assert lines[1].endswith("repeated=4")


def test_what_a_receiver_raises_reaches_nobody(request_, events):
    def receiver(**_):
        raise RuntimeError("of the receiver")

    signals.limited.connect(receiver, weak=False)
    try:
        log.throttled(request_, "login", "a")
    finally:
        signals.limited.disconnect(receiver)
    assert events("throttled")


def test_a_log_that_cannot_be_written_stops_no_request(request_, monkeypatch, caplog):
    monkeypatch.setattr(log, "_context", lambda request: 1 / 0)
    log.permission_denied(request_)
    assert "could not be logged" in caplog.text
    monkeypatch.setattr(log, "client_address", lambda request: 1 / 0)
    log.request_refused(request_, 400)
    log.login_failed(request_, "alice")
    assert "request_refused could not be told" in caplog.text


def test_the_signals_carry_what_they_promise(request_, heard):
    limited, revoked = heard(signals.limited), heard(signals.revoked)
    reuse, error = heard(signals.reuse_detected), heard(signals.backend_error)
    log.throttled(request_, "login", "k", "5/m", enforced=False)
    log.revoked("subject", "7", reason="password_change", actor="root")
    log.reuse_detected(request_, "7", "s")
    log.backend_error("timeout", "too late")
    assert limited == [{"request": request_, "scope": "login", "ident": "k", "rate": "5/m",
                        "enforced": False}]
    assert revoked == [{"scope": "subject", "value_masked": log.mask("7"),
                        "reason": "password_change", "actor": "root"}]
    assert reuse == [{"request": request_, "subject": "7", "sid": "s"}]
    assert error == [{"cause": "timeout", "text": "too late"}]


def test_a_daemon_that_goes_and_comes_is_one_line_each(make_daemon, events, heard):
    away, back = heard(signals.backend_away), heard(signals.backend_back)
    daemon = make_daemon(tcp=False)
    with override_settings(PAWL={"ADDR": daemon.unix, "LOG_REPEAT_S": 0}):
        client = conf.get_client()
        daemon.kill()
        for _ in range(20):
            client.check("k", "5/m", on_error="open")
        assert len(events("backend_away")) == len(away) == 1 and not events("backend_back")
        daemon.start()
        rig.wait_for(lambda: client.check("k", "5/m").info.source == "daemon", "the daemon back")
    assert len(events("backend_back")) == len(back) == 1


# ---- the middleware -----------------------------------------------------------------------------


def test_refusals_and_failures_are_told_by_route_and_status(client, events):
    client.raise_request_exception = False
    client.get("/denied/" + SECRET + "/")
    client.get("/nowhere/")
    client.get("/broken/")
    client.get("/plain/")
    denied, = events("permission_denied")
    assert denied["route"] == "denied/<str:secret>/" and denied["status"] == 403
    assert [line["status"] for line in events("request_refused")] == [404]
    failed, = events("request_failed")
    assert (failed["status"], failed["route"], failed["level"]) == (500, "broken/", "ERROR")


def test_a_throttled_call_is_told_once(client, events, pawl_memory):
    for _ in range(3):
        client.get("/limited/")
    assert len(events("throttled")) == 1 and not events("request_refused")
    line, = events("throttled")
    assert (line["scope"], line["rate"], line["retry_after_s"]) == ("limited", "2/m", 60)
    assert line["route"] == "limited/"


@pytest.mark.django_db
def test_who_was_denied_is_told_masked_and_no_query_is_made_for_it(
        client, events, django_user_model, django_assert_num_queries):
    user = django_user_model.objects.create_user("alice")
    client.force_login(user)
    with django_assert_num_queries(0):
        client.get("/denied/x/")
    assert "user" not in events("permission_denied")[0]
    request = RequestFactory().get("/")
    request.user = user
    log.permission_denied(request)
    assert events("permission_denied")[1]["user"] == log.mask(user.pk)


# ---- addresses ----------------------------------------------------------------------------------


@pytest.mark.parametrize("trusted, remote, forwarded, address", [
    (None, "192.0.2.1", "9.9.9.9", "192.0.2.1"),
    (0, "192.0.2.1", "9.9.9.9", "192.0.2.1"),
    (1, "10.0.0.1", "9.9.9.9, 192.0.2.1", "192.0.2.1"),
    (2, "10.0.0.1", "9.9.9.9, 192.0.2.1, 10.0.0.2", "192.0.2.1"),
    (3, "10.0.0.1", "192.0.2.1", "192.0.2.1"),
    (1, "10.0.0.1", None, "10.0.0.1"),
    (["10.0.0.0/8"], "10.0.0.1", "9.9.9.9, 192.0.2.1, 10.0.0.2", "192.0.2.1"),
    (["10.0.0.0/8"], "192.0.2.1", "9.9.9.9", "192.0.2.1"),
    (["10.0.0.0/8"], "10.0.0.1", "nonsense, 10.0.0.2", "10.0.0.2"),
    (["10.0.0.0/8"], "", "9.9.9.9, 192.0.2.1", "192.0.2.1"),
    (["fd00::/8"], "fd00::1", "2001:db8::1", "2001:db8::1"),
])
def test_the_address_is_the_one_that_our_own_proxies_wrote(trusted, remote, forwarded, address):
    request = RequestFactory().get("/", REMOTE_ADDR=remote)
    if forwarded is not None:
        request.META["HTTP_X_FORWARDED_FOR"] = forwarded
    with override_settings(REST_FRAMEWORK={}), override_pawl(TRUSTED_PROXIES=trusted):
        assert requests.client_address(request) == address


@pytest.mark.parametrize("address, customer", [
    ("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("192.0.2.1:8080", "192.0.2.1"),
    ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"), ("[2001:db8:1:2::4]:80", "2001:db8:1:2::/64"),
    ("fe80::1%eth0", "fe80::/64"), ("unknown", "unknown"), ("x" * 99, "x" * 64),
])
def test_a_customer_is_an_ipv4_address_or_an_ipv6_network(address, customer):
    assert requests.customer(address) == customer


def test_prefixes_can_be_set():
    with override_pawl(IPV6_PREFIX=56, IPV4_PREFIX=24):
        assert requests.customer("2001:db8:1:2ff::1") == "2001:db8:1:200::/56"
        assert requests.customer("192.0.2.9") == "192.0.2.0/24"


# ---- settings -----------------------------------------------------------------------------------


def test_settings_that_are_wrong_say_all_of_it_at_once():
    with override_settings(PAWL={"NOPE": 1, "DEADLINE_MS": 0}):
        with pytest.raises(ImproperlyConfigured, match="NOPE.*; .*DEADLINE_MS"):
            conf.settings.ENABLED


def test_the_readme_has_the_table_of_settings():
    text = (rig.ROOT / "client" / "python" / "README.md").read_text("utf-8")
    assert conf.reference() in text, "print(pawl.django.conf.reference()) into the README"

"""What is seen: the security log, metrics, and errors that tell nothing of the inside."""

import io
import json
import logging
import re
import urllib.request

import pytest
from conftest import EXAMPLE, PASSWORD
from django.test import Client
from pawl.django.events import JsonFormatter

import rig

# ---- the security log ---------------------------------------------------------------------------


def test_log_ins_are_logged_whether_they_succeed_or_fail(api, events):
    api.person()
    api.login()
    api.login(password="wrong")
    api.browser()
    assert len(events("login_succeeded")) == 2
    assert len(events("login_failed")) == 1


def test_refusals_are_logged_by_kind(api, events):
    access = api.bearer()
    api.ask("POST", "/products/", {"name": "x", "price_cents": 1}, access)
    assert [one["route"] for one in events("permission_denied")] == ["^products/$"]
    for _ in range(6):
        api.login("nobody", "wrong")
    assert {one["scope"] for one in events("throttled")} <= {"login_name", "login_address"}
    assert events("throttled")[0]["rate"] == "5/m"
    api.ask("GET", "/nowhere/")
    assert events("request_refused")[-1]["status"] == 404
    api.me("x.y.z")
    assert events("token_refused")


def test_suspicious_input_is_logged(api, events):
    access = api.bearer()
    made = api.document(access, body="<script>x</script>")
    api.document(access, body="1 < 2 & <b>so on</b>")
    api.ask("PUT", f"/documents/{made['id']}/file/", bearer=access, upload=("a.pdf", b"MZ"))
    api.ask("POST", "/documents/", b"[" * 40 + b"]" * 40, access)
    api.ask("POST", "/documents/", b"a" * 1_100_000, access)
    assert [one["what"] for one in events("suspicious_input")] == [
        "html", "file_type", "body_too_deep", "body_too_long"]


def test_a_revocation_and_an_error_of_ours_are_logged(api, events, monkeypatch):
    api.person()
    pair = api.login().json()
    api.ask("POST", "/auth/logout/", {"refresh": pair["refresh"]})
    assert [one["scope"] for one in events("revoked")] == ["family"]
    broken(monkeypatch)
    api.me(api.access())
    assert [one["status"] for one in events("request_failed")] == [500]


def test_log_lines_are_json_and_name_nobody(api, caplog):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("pawl.security")
    logger.addHandler(handler)
    logger.setLevel("INFO")
    try:
        api.person()
        access = api.access()
        api.ask("GET", "/nowhere/anna/", bearer=access)
        api.login(password="wrong", address="198.51.100.7")
        api.ask("POST", "/auth/logout-everywhere/", {}, access)
    finally:
        logger.removeHandler(handler)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {"login_succeeded", "request_refused", "login_failed", "revoked"} <= {
        line["event"] for line in lines}
    assert all(line["time"] and line["level"] for line in lines)
    for word in ("anna", "198.51.100", "203.0.113", "example.org", access, PASSWORD):
        assert word not in stream.getvalue()


# ---- metrics ------------------------------------------------------------------------------------


def figure(text, name):
    return sum(float(value) for value in
               re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))


def test_metrics_count_limits_and_revocations(make_daemon, db, settings):
    from conftest import Api

    daemon = make_daemon("--http", "127.0.0.1:0", config=(EXAMPLE / "pawld.yaml").read_text())
    port = rig.wait_for(lambda: daemon.event("http_listening"), "http listening")["port"]
    settings.PAWL = {**settings.PAWL, "ADDR": daemon.unix}
    settings.ONE_TIME_LIMIT = "one_time_code"
    api = Api(daemon, settings)
    access, _ = api.with_factor(api.bearer())
    for _ in range(6):
        api.login("nobody", "wrong")
    api.ask("POST", "/auth/logout-everywhere/", {}, access)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    assert figure(text, "pawl_limit_denied_total") == 2  # by name and by address
    assert re.search(r'^pawl_limit_allowed_total{[^}]*limit="one_time_code"[^}]*} 1$', text, re.M)
    assert figure(text, "pawl_revocations") == 1


# ---- errors -------------------------------------------------------------------------------------


def broken(monkeypatch):
    from accounts.views import MeView

    def fail(self):
        raise RuntimeError("SELECT secret FROM table at /srv/app/views.py")
    monkeypatch.setattr(MeView, "get_object", fail)


def errors_of(api):
    """One answer of each origin of errors, by a name."""
    access = api.bearer()
    strict = Client(raise_request_exception=False, enforce_csrf_checks=True)
    return {
        "invalid": api.ask("POST", "/documents/", {}, access),
        "parse_error": api.ask("POST", "/documents/", b"{", access),
        "unsupported_media_type": api.ask("POST", "/documents/", b"x", access,
                                          content_type="text/xml"),
        "not_authenticated": api.ask("GET", "/me/"),
        "permission_denied": api.ask("POST", "/products/", {}, access),
        "not_found": api.ask("GET", "/nowhere/"),
        "method_not_allowed": api.ask("GET", "/contact/"),
        "bad_request": api.ask("POST", "/webhooks/incoming/", b"{"),
        "csrf_failed": strict.post("/auth/session/", {}),
        "invalid_client": api.oauth("token", {"grant_type": "client_credentials"}, "nobody"),
        "unsupported_grant_type": api.oauth("token", {"grant_type": "x"}, client=None),
    }


def test_every_error_has_one_shape_with_a_code_and_the_requests_id(api):
    for code, answer in errors_of(api).items():
        body = json.loads(answer.content)
        assert body["code"] == code, answer.content
        assert body["detail"] and isinstance(body["detail"], str)
        assert body["request_id"] == answer["X-Request-ID"]
        assert answer["Content-Type"].startswith("application/json")


def test_oauth_errors_keep_their_own_words_beside(api):
    body = api.oauth("token", {"grant_type": "x"}, client=None).json()
    assert body["error"] == body["code"] == "unsupported_grant_type"


def test_an_error_of_ours_tells_nothing_of_the_inside(api, monkeypatch, caplog):
    access = api.bearer()
    broken(monkeypatch)
    answer = api.me(access)
    assert (answer.status_code, answer.json()["code"]) == (500, "error")
    assert set(answer.json()) == {"code", "detail", "request_id"}
    assert not any(word in answer.content.decode() for word in ("SELECT", "/srv", "Traceback"))
    traced = [record for record in caplog.records if record.name == "example.errors"]
    assert answer.json()["request_id"] in traced[0].getMessage() and traced[0].exc_info


def test_a_plain_view_that_fails_tells_nothing_either(api, monkeypatch):
    from security import requests as module

    def fail(*arguments, **options):
        raise RuntimeError("SELECT secret")
    monkeypatch.setattr(module, "JsonResponse", fail)
    answer = api.ask("GET", "/healthz")
    assert (answer.status_code, answer.json()["code"]) == (500, "error")
    assert "SELECT" not in answer.content.decode()


@pytest.mark.parametrize("given, kept", [
    ("trace-0123456789", True), ("x", False), ("a" * 65, False), ("x\" onload=", False)])
def test_a_sane_request_id_of_the_caller_is_kept(api, given, kept):
    answer = api.ask("GET", "/me/", HTTP_X_REQUEST_ID=given)
    assert (answer["X-Request-ID"] == given) is kept
    assert answer.json()["request_id"] == answer["X-Request-ID"]

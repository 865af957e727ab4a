"""CORS, CSRF, HTTPS: in development here, in production in a process of its own."""

import json
import os
import subprocess
import sys

import pytest
from conftest import EXAMPLE

import rig


def preflight(api, origin, path="/me/", method="GET"):
    return api.ask("OPTIONS", path, HTTP_ORIGIN=origin, HTTP_ACCESS_CONTROL_REQUEST_METHOD=method,
                   HTTP_ACCESS_CONTROL_REQUEST_HEADERS="authorization")


@pytest.mark.parametrize("origin, allowed", [
    ("http://localhost:3000", True), ("http://127.0.0.1:8123", True),
    ("http://localhost:3001", False), ("https://evil.example", False),
    ("http://127.0.0.1:8123.evil.example", False), ("null", False)])
def test_listed_and_matching_origins_are_allowed_and_no_others(api, origin, allowed):
    answer = preflight(api, origin)
    assert answer.get("Access-Control-Allow-Origin") == (origin if allowed else None)


def test_a_preflight_is_kept_for_a_day_and_says_what_may_be_sent(api):
    answer = preflight(api, "http://localhost:3000")
    assert answer["Access-Control-Max-Age"] == "86400"
    assert answer["Access-Control-Allow-Credentials"] == "true"
    assert "PATCH" in answer["Access-Control-Allow-Methods"]
    assert {"authorization", "x-csrftoken"} <= set(
        answer["Access-Control-Allow-Headers"].split(", "))


def test_scripts_may_read_the_request_id_and_the_rate_headers(api):
    answer = api.ask("GET", "/me/", bearer=api.bearer(), HTTP_ORIGIN="http://localhost:3000")
    exposed = {name.strip().lower() for name in
               answer["Access-Control-Expose-Headers"].split(",")}
    assert {"x-request-id", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset",
            "ratelimit", "ratelimit-policy"} <= exposed
    for n in range(6):
        refused = api.login("nobody", "x", HTTP_ORIGIN="http://localhost:3000")
    assert refused.status_code == 429
    assert "Retry-After" in refused["Access-Control-Expose-Headers"]


def test_one_path_is_open_to_pages_of_any_origin(api):
    anywhere = "https://anywhere.example"
    assert preflight(api, anywhere, "/webhooks/incoming/", "POST")[
        "Access-Control-Allow-Origin"] == anywhere
    assert not preflight(api, anywhere, "/documents/").has_header("Access-Control-Allow-Origin")


def test_every_answer_has_the_headers_that_browsers_heed(api):
    answer = api.ask("GET", "/products/")
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["Referrer-Policy"] == "same-origin"


# ---- production ---------------------------------------------------------------------------------

SECRETS = {"EXAMPLE_SECRET_KEY": "k" * 30 + "0123456789abcdefghijklmnopqrstuvwxyz",
           "EXAMPLE_FIELD_KEYS": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
           "EXAMPLE_DIGEST_KEY": "another"}


def production(tmp_path, *command, **env):
    inherited = {name: value for name, value in os.environ.items()
                 if not name.startswith("EXAMPLE_")}
    return subprocess.run(
        [sys.executable, *command], cwd=EXAMPLE, text=True, timeout=rig.PATIENCE_S,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={
            **inherited, "EXAMPLE_PRODUCTION": "1", "EXAMPLE_DATA": str(tmp_path),
            "EXAMPLE_HOSTS": "api.example", "EXAMPLE_PROXIES": "1",
            "DJANGO_SETTINGS_MODULE": "project.settings", **env})


def test_the_production_settings_pass_djangos_own_check(tmp_path):
    done = production(tmp_path, "manage.py", "check", "--deploy", "--fail-level", "INFO", **SECRETS)
    assert done.returncode == 0, done.stdout
    assert "no issues (0 silenced)" in done.stdout


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_production_has_no_default_secret(tmp_path, missing):
    given = {name: value for name, value in SECRETS.items() if name != missing}
    done = production(tmp_path, "manage.py", "check", **given)
    assert done.returncode != 0
    assert f"{missing} is not set" in done.stdout


def test_accounts_with_a_known_password_are_not_made_in_production(tmp_path):
    done = production(tmp_path, "manage.py", "example_data", **SECRETS)
    assert done.returncode != 0 and "not for production" in done.stdout


BROWSE = """
import json, django
django.setup()
from django.conf import settings
from django.test import Client
client = Client(HTTP_HOST="api.example", raise_request_exception=False)
https = {"HTTP_X_FORWARDED_PROTO": "https"}
plain = client.get("/healthz/x")
page = client.get("/auth/session/", **https)
def allowed(origin, path="/me/"):
    return client.options(path, HTTP_ORIGIN=origin, HTTP_ACCESS_CONTROL_REQUEST_METHOD="GET",
                          **https).get("Access-Control-Allow-Origin")
print(json.dumps({
    "plain": [plain.status_code, plain["Location"]],
    "health": client.get("/healthz").status_code,
    "hsts": page["Strict-Transport-Security"],
    "cookies": {name: [one["secure"], one["samesite"]] for name, one in page.cookies.items()},
    "session": [settings.SESSION_COOKIE_SECURE, settings.SESSION_COOKIE_HTTPONLY],
    "host": Client(HTTP_HOST="evil.example", raise_request_exception=False).get(
        "/healthz", **https).json()["code"],
    "cors": [allowed("http://localhost:3000"), allowed("https://app.example"),
             allowed("https://eu.app.example"), allowed("https://eu.app.example.evil"),
             allowed("https://anywhere.example", "/webhooks/incoming/")],
}))
"""


def test_production_is_https_with_hsts_and_secure_cookies_and_closed_cors(tmp_path):
    done = production(tmp_path, "-c", BROWSE, **SECRETS)
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["plain"] == [301, "https://api.example/healthz/x"]
    assert seen["health"] == 200
    assert seen["hsts"] == "max-age=31536000; includeSubDomains; preload"
    assert seen["cookies"] == {"__Host-csrftoken": [True, "Lax"]}
    assert seen["session"] == [True, True]
    assert seen["host"] == "bad_request"
    assert seen["cors"] == [None] * 4 + ["https://anywhere.example"]


def test_production_opens_cors_for_what_the_environment_lists(tmp_path):
    done = production(tmp_path, "-c", BROWSE, **SECRETS, EXAMPLE_ORIGINS="https://app.example",
                      EXAMPLE_ORIGIN_PATTERNS=r"^https://[a-z]+\.app\.example$")
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["cors"] == [None, "https://app.example", "https://eu.app.example", None,
                            "https://anywhere.example"]

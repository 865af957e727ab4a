"""/v1/ext_authz/: a check as Envoy's ext_authz filter asks it over HTTP.

Envoy is not in Debian, so its questions are written here as its HTTP client for ext_authz makes
them: method, Host, path and query of the client's own request, ``path_prefix`` before the path, a
Content-Length of 0, Authorization, and what ``allowed_headers`` lets through. The path_prefix and
the settings are those of deploy/gateways/envoy/envoy.yaml.
"""

import re

import pytest

import web
from conftest import ROOT
from web import ask, bearer, mint

CONFIG = """
http_hosts: [shop.example]
limits:
  api: {{rate: 3/minute}}
  api.premium: {{rate: 100/minute}}
jwt:
  issuers:
    - issuer: https://auth.example
      audience: api
      keys:
        - {{kid: h1, alg: HS256, secret_file: {folder}/h1.secret}}
"""
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"]


SHOWN = (ROOT / "deploy" / "gateways" / "envoy" / "envoy.yaml").read_text()
PREFIX = re.search(r'path_prefix: "(.+)"', SHOWN).group(1)


@pytest.fixture
def daemon(make_daemon, tmp_path):
    return web.with_http(make_daemon, tmp_path, config=CONFIG)


def envoy(daemon, path, method="GET", before=None, address="192.0.2.1", **headers):
    """The question that Envoy asks about a client's request."""
    sent = {"Host": "shop.example", "Content-Length": "0", "X-Forwarded-For": address}
    sent.update((name.replace("_", "-"), value) for name, value in headers.items())
    return ask(daemon.http, (PREFIX if before is None else before) + path, method=method,
               headers=sent)


def test_every_method_of_the_client_is_one_question(daemon):
    for number, method in enumerate(METHODS):
        address = f"192.0.2.{number + 10}"
        codes = [envoy(daemon, "/orders/7", method, address=address).code for _ in range(4)]
        assert codes == [200, 200, 200, 429], method


def test_a_denial_reaches_the_client_with_its_retry_after(daemon):
    answers = [envoy(daemon, "/") for _ in range(4)]
    assert [answer.code for answer in answers] == [200, 200, 200, 429]
    assert 0 < int(answers[3].headers["Retry-After"]) <= 60
    assert answers[0].headers["RateLimit"]


@pytest.mark.parametrize("path", [
    "/?tier=premium", "/?peek=1", "/?limit=other", "/?on_error=open&undecided=allow", "/%3Fpeek=1",
    "/a&tier=premium", "/peek=1", "/../peek=1/", "//peek=1", "/x?y#z", "/%2e%2e/%zz",
    pytest.param("/" + "a" * 8000, id="long")])
def test_what_the_client_wrote_decides_nothing(daemon, path):
    """Neither its path nor its query: the fourth request is too fast, however it is spelled."""
    codes = [envoy(daemon, path).code for _ in range(3)] + [envoy(daemon, "/").code]
    assert codes == [200, 200, 200, 429]


def test_a_body_would_be_the_clients_and_is_refused(daemon):
    answer = ask(daemon.http, PREFIX + "/", form={"tier": "premium"},
                 headers={"Host": "shop.example", "X-Forwarded-For": "192.0.2.1"})
    assert answer.code == 400 and "with_request_body" in answer.json["error_description"]


def test_the_hosts_of_the_clients_are_named_in_the_settings(daemon):
    assert envoy(daemon, "/").code == 200
    assert envoy(daemon, "/", Host="elsewhere.example").code == 421


def test_names_that_were_not_found_out_are_taken_off_the_request(daemon):
    def removed(answer):
        return set(answer.headers["X-Envoy-Auth-Headers-To-Remove"].split(","))

    found = envoy(daemon, "/", **bearer(mint(sid="s-1", client_id="app")))
    told = {name for name in found.headers if name.startswith("X-Pawl-")}
    assert found.code == 200 and found.headers["X-Pawl-Subject"] == "alice"
    assert {"X-Pawl-Subject", "X-Pawl-Client", "X-Pawl-Issuer", "X-Pawl-Token-Id", "X-Pawl-Session",
            "X-Pawl-Expires"} <= told
    assert not told & removed(found)
    nobody = envoy(daemon, "/", X_Pawl_Subject="root")
    assert nobody.code == 200
    assert told <= removed(nobody) | {n for n in nobody.headers if n.startswith("X-Pawl-")}
    assert "X-Pawl-Subject" in removed(nobody)


def test_a_log_out_is_seen_by_the_next_request(daemon):
    token = mint(jti="gone")
    assert envoy(daemon, "/a", **bearer(token)).code == 200
    daemon.ctl("revoke", "jwt", stdin=token, check=0)
    refused = envoy(daemon, "/a", **bearer(token))
    assert refused.code == 401 and refused.headers["X-Pawl-Reason"] == "token_revoked"
    assert "X-Envoy-Auth-Headers-To-Remove" not in refused.headers


def test_a_slip_in_the_prefix_leaves_no_limit_out(daemon):
    for before in ("/v1/ext_authz/limt=api/", "/v1/ext_authz/", "/v1/ext_authz//", "/v1/ext_authz"):
        assert envoy(daemon, "/orders", before=before).code in (400, 404), before
    assert envoy(daemon, "/orders", before="/v1/ext%5fauthz/limit=api/").code == 404
    assert ask(daemon.http, "/v1/ext_authz", headers={"Host": "shop.example"}).code == 404


def test_the_configuration_that_is_shown_is_closed_without_pawld():
    assert "failure_mode_allow: false" in SHOWN
    assert "status_on_error: {code: ServiceUnavailable}" in SHOWN
    assert PREFIX.endswith("/"), "else a path that begins otherwise would go on with a parameter"

"""OpenID Connect: the id_token names the access token that is handed out, and is revocable."""

import base64
import hashlib
import json
import signal

import pytest
from django.conf import settings
from django.test import override_settings
from jwcrypto import jwk

KEY = jwk.JWK.generate(kty="RSA", size=2048).export_to_pem(private_key=True, password=None)
SCOPES = {"openid": "openid", "products:read": "read", "products:write": "write"}


@pytest.fixture
def openid(server):
    with override_settings(OAUTH2_PROVIDER={
            **settings.OAUTH2_PROVIDER, "OIDC_ENABLED": True, "SCOPES": SCOPES,
            "OIDC_RSA_PRIVATE_KEY": KEY.decode(), "OIDC_ISS_ENDPOINT": "http://testserver/o"}):
        server.application.algorithm = "RS256"
        server.application.client_secret = "web-secret"  # saved hashed in later releases
        server.application.save()
        yield server


def claims(id_token):
    part = id_token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def at_hash(access_token):
    half = hashlib.sha256(access_token.encode()).digest()[:16]
    return base64.urlsafe_b64encode(half).decode().rstrip("=")


def test_the_id_token_has_the_hash_of_the_access_token_that_is_handed_out(openid):
    tokens = openid.log_in(scope="openid products:read")
    assert claims(tokens["id_token"])["at_hash"] == at_hash(tokens["access_token"])
    refreshed = openid.refreshed(tokens["refresh_token"])
    if "id_token" in refreshed:
        assert claims(refreshed["id_token"])["at_hash"] == at_hash(refreshed["access_token"])


def test_an_id_token_that_is_used_as_a_bearer_token_is_revocable(openid):
    tokens = openid.log_in(scope="openid products:read")
    assert openid.get("/who/", tokens["id_token"]).status_code == 200
    openid.daemon.ctl("revoke", "subject", "--sub", openid.user.pk, check=0)
    assert openid.get("/who/", tokens["id_token"]).status_code == 401


def test_without_a_daemon_it_is_503(openid, use_daemon):
    tokens = openid.log_in(scope="openid products:read")
    use_daemon(openid.daemon.unix, DEADLINE_MS=50)
    openid.daemon.stop(signal.SIGKILL)
    assert openid.get("/who/", tokens["id_token"]).status_code == 503


def part(content):
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


RS256 = part(b'{"alg":"RS256"}')


@pytest.mark.parametrize("text", [
    "ey.e30.e30", "eyJ9.e30.e30", f"{RS256}.e30.e30", f"{RS256}.W10.e30", f"{RS256}.NQ.e30",
    part(b'{"alg":1}') + ".e30.e30", part(b'{"alg":"none"}') + ".e30.", f"{RS256}.e30.e30.e30.e30",
    part(b'{"alg":"RS256","x":' + b"[" * 4000 + b"]" * 4000 + b"}") + ".e30.e30",
    f"{RS256}." + part(b'{"aud":"web","x":' + b"[" * 3000 + b"]" * 3000 + b"}") + ".e30",
    f"{RS256}." + part(b'{"aud":{"a":1}}') + ".e30", f"{RS256}." + part(b'{"aud":5}') + ".e30",
])
def test_what_only_looks_like_an_id_token_is_401(openid, text):
    assert openid.get("/who/", text).status_code == 401

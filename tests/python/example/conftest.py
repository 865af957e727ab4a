"""The example API in this process, and a pawld for each test."""

import json
import os
import pathlib
import sys
import tempfile

import pytest

import rig

rig.use_package()
HERE = pathlib.Path(__file__).parent
EXAMPLE = rig.ROOT / "deploy" / "example-drf"
for _folder in (HERE, EXAMPLE):
    sys.path.insert(0, str(_folder))

_data = tempfile.TemporaryDirectory(prefix="pawl-example-")
os.environ.update(EXAMPLE_DATA=_data.name, EXAMPLE_DEADLINE_MS="10000", EXAMPLE_PROXIES="1",
                  DJANGO_SETTINGS_MODULE="example_settings")

import django  # noqa: E402

django.setup()
# Workers of pytest-xdist inherit the environment, and look for the settings before this file.
for _name in ("DJANGO_SETTINGS_MODULE", "EXAMPLE_DATA"):
    del os.environ[_name]

from django.test import Client  # noqa: E402
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart  # noqa: E402

PASSWORD = "correct horse battery"


@pytest.fixture
def api(daemon, db, settings):
    """The API, asked as its clients do."""
    settings.PAWL = {**settings.PAWL, "ADDR": daemon.unix}
    return Api(daemon, settings)


@pytest.fixture
def events(caplog):
    """events("throttled"): the fields of those lines of the security log, in order."""
    caplog.set_level("INFO", "pawl.security")

    def found(name):
        return [record.fields for record in caplog.records
                if getattr(record, "event", None) == name]
    found.records = caplog.records
    return found


class Api:
    def __init__(self, daemon, settings):
        self.daemon = daemon
        self.settings = settings

    # ---- people ---------------------------------------------------------------------------------

    def person(self, name="anna", **fields):
        from accounts.models import User

        return User.objects.create_user(name, f"{name}@example.org", PASSWORD, **fields)

    def role(self, user, *names):
        from django.contrib.auth.models import Group

        user.groups.add(*(Group.objects.get_or_create(name=name)[0] for name in names))
        return user

    def login(self, name="anna", password=PASSWORD, **more):
        return self.ask("POST", "/auth/login/", {"username": name, "password": password}, **more)

    def bearer(self, name="anna", **fields):
        """The access token of a log-in of a new person."""
        self.person(name, **fields)
        return self.access(name)

    def access(self, name="anna"):
        answer = self.login(name)
        assert answer.status_code == 200, answer.content
        return answer.json()["access"]

    def with_factor(self, access):
        """(access token that has shown a code, the secret)."""
        import pyotp

        made = self.ask("POST", "/auth/second-factor/", {}, access)
        assert made.status_code == 201, made.content
        secret = made.json()["secret"]
        answer = self.ask("POST", "/auth/second-factor/verify/",
                          {"code": pyotp.TOTP(secret).now()}, access)
        assert answer.status_code == 200, answer.content
        return answer.json()["access"], secret

    def service_token(self, user, scope="read", days=1):
        """(row, token)"""
        import datetime

        from accounts.models import ServiceToken

        return ServiceToken.issue(user, datetime.timedelta(days=days), name="script", scope=scope)

    def application(self, name="warehouse", grant="client-credentials", kind="confidential"):
        from oauth2_provider.models import Application

        return Application.objects.create(
            client_id=name, client_secret=f"{name} secret", client_type=kind, name=name,
            authorization_grant_type=grant, skip_authorization=True,
            redirect_uris="https://app.example/back")

    # ---- asking ---------------------------------------------------------------------------------

    def ask(self, method, path, body=None, bearer="", address="203.0.113.1", client=None, **extra):
        """@extra: headers as Django's test client has them, and ``upload``: (name, bytes)."""
        if bearer:
            extra["HTTP_AUTHORIZATION"] = f"Bearer {bearer}"
        upload = extra.pop("upload", None)
        if upload is not None:
            from django.core.files.uploadedfile import SimpleUploadedFile

            data = encode_multipart(BOUNDARY, {"file": SimpleUploadedFile(*upload)})
            kind = MULTIPART_CONTENT
        else:
            data = body if isinstance(body, bytes) else (
                b"" if body is None else json.dumps(body).encode())
            kind = extra.pop("content_type", "application/json")
        client = client or Client(raise_request_exception=False)
        return client.generic(method, path, data, kind, HTTP_X_FORWARDED_FOR=address, **extra)

    def status(self, *arguments, **options):
        return self.ask(*arguments, **options).status_code

    def me(self, access):
        return self.ask("GET", "/me/", bearer=access)

    def refresh(self, token):
        return self.ask("POST", "/auth/refresh/", {"refresh": token})

    def document(self, access, **fields):
        made = self.ask("POST", "/documents/", {"title": "Notes", **fields}, access)
        assert made.status_code == 201, made.content
        return made.json()

    def browser(self, name="anna", address="203.0.113.1", strict=False):
        """A browser with a session of @name."""
        client = Client(raise_request_exception=False, enforce_csrf_checks=strict)
        page = client.get("/auth/session/")
        answer = client.post("/auth/session/", {
            "username": name, "password": PASSWORD,
            "csrfmiddlewaretoken": page.cookies["csrftoken"].value},
            HTTP_X_FORWARDED_FOR=address)
        assert answer.status_code == 302, answer.content
        return client

    # ---- OAuth2 ---------------------------------------------------------------------------------

    def oauth(self, path, form, client="warehouse", **extra):
        """A form of a confidential client, by HTTP Basic."""
        import base64

        if client:
            text = base64.b64encode(f"{client}:{client} secret".encode()).decode()
            extra["HTTP_AUTHORIZATION"] = f"Basic {text}"
        return Client(raise_request_exception=False).post(f"/oauth/{path}/", form, **extra)

    def client_token(self, scope, client="warehouse"):
        answer = self.oauth("token", {"grant_type": "client_credentials", "scope": scope}, client)
        assert answer.status_code == 200, answer.content
        return answer.json()["access_token"]

    def code(self, browser, scope="read", challenge=True, client="phone"):
        """(answer of the authorization endpoint, PKCE verifier)"""
        import base64
        import hashlib
        import secrets

        verifier = secrets.token_urlsafe(48)
        digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        asked = {"response_type": "code", "client_id": client, "scope": scope,
                 "redirect_uri": "https://app.example/back"}
        if challenge:
            asked.update(code_challenge=digest.decode().rstrip("="), code_challenge_method="S256")
        return browser.get("/oauth/authorize/", asked), verifier

    def redeem(self, answer, verifier, client="phone"):
        import urllib.parse

        query = urllib.parse.parse_qs(urllib.parse.urlparse(answer["Location"]).query)
        return self.oauth("token", {
            "grant_type": "authorization_code", "code": query["code"][0], "client_id": client,
            "redirect_uri": "https://app.example/back", "code_verifier": verifier}, client=None)

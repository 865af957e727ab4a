"""The project of these tests is configured once, when the folder is collected. Each test has a
daemon of its own; the database is emptied between them."""

import base64
import hashlib
import importlib.util
import os
import pathlib
import secrets
import sys
import tempfile
import urllib.parse

import pytest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))

import rig  # noqa: E402

rig.use_package()


def _share(folder):
    """Let this process, parallel workers and servers import from @folder."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    found = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(folder) not in found:
        os.environ["PYTHONPATH"] = os.pathsep.join([*found, str(folder)])


_share(HERE)
if importlib.util.find_spec("knox") is None:  # Debian has none
    _share(HERE / "knox_double")

_folder = tempfile.TemporaryDirectory(prefix="pawl-oauth-")
os.environ["DJANGO_SETTINGS_MODULE"] = "oauth_settings"
os.environ.setdefault("PAWL_TEST_DATABASE", str(pathlib.Path(_folder.name) / "db.sqlite3"))

import django  # noqa: E402

django.setup()
# Parallel workers inherit the environment, and would look for the settings before they read this.
del os.environ["DJANGO_SETTINGS_MODULE"]

from django.contrib.auth import get_user_model  # noqa: E402
from django.test import Client, override_settings  # noqa: E402
from oauth2_provider.models import get_application_model  # noqa: E402


@pytest.fixture
def use_daemon():
    """use_daemon(address, **settings): what PAWL says from now on, until the test ends."""
    from django.conf import settings
    entered = []

    def use(address, **more):
        change = override_settings(PAWL={**settings.PAWL, "ADDR": address, **more})
        change.enable()
        entered.append(change)

    yield use
    for change in reversed(entered):
        change.disable()


@pytest.fixture
def make_server(transactional_db):
    """A factory of the one server, beside a daemon or none."""
    return lambda daemon=None: AuthorizationServer(daemon)


@pytest.fixture
def server(make_server, make_daemon, use_daemon):
    """An authorization server beside a daemon of its own."""
    server = make_server(make_daemon())
    use_daemon(server.daemon.unix)
    return server


class AuthorizationServer:
    """The project, asked as its clients do."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.user = get_user_model().objects.create_user("alice", password="secret")
        self.application = self.make_application("web", "authorization-code")

    def make_application(self, name, grant, kind="confidential"):
        made = get_application_model()(
            name=name, client_id=name, client_secret=f"{name}-secret", client_type=kind,
            authorization_grant_type=grant, redirect_uris="https://app.example/back",
            skip_authorization=True)
        made.save()
        return made

    def post(self, path, data, application=None, **headers):
        name = getattr(application or self.application, "client_id")
        basic = base64.b64encode(f"{name}:{name}-secret".encode()).decode()
        headers.setdefault("HTTP_AUTHORIZATION", f"Basic {basic}")
        return Client(raise_request_exception=False).post(path, data, **headers)

    def code(self, scope="products:read products:write"):
        """A code of the authorization endpoint, and its PKCE verifier."""
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        browser = Client()
        browser.force_login(self.user)
        asked = browser.get("/o/authorize/", {
            "response_type": "code", "client_id": self.application.client_id, "scope": scope,
            "redirect_uri": "https://app.example/back", "code_challenge_method": "S256",
            "code_challenge": challenge.decode().rstrip("=")})
        assert asked.status_code == 302, asked.content
        query = urllib.parse.parse_qs(urllib.parse.urlparse(asked["Location"]).query)
        return query["code"][0], verifier

    def redeem(self, code, verifier, path="/o/token/"):
        return self.post(path, {
            "grant_type": "authorization_code", "code": code, "code_verifier": verifier,
            "redirect_uri": "https://app.example/back"})

    def log_in(self, **options):
        answer = self.redeem(*self.code(**options))
        assert answer.status_code == 200, answer.content
        return answer.json()

    def refresh(self, token, path="/o/token/", **more):
        return self.post(path, {"grant_type": "refresh_token", "refresh_token": token, **more})

    def refreshed(self, token):
        answer = self.refresh(token)
        assert answer.status_code == 200, answer.content
        return answer.json()

    def revoke(self, token, **more):
        return self.post("/o/revoke_token/", {"token": token, **more})

    def introspect(self, token):
        return self.post("/o/introspect/", {"token": token})

    def get(self, path, token, scheme="Bearer"):
        return Client(raise_request_exception=False).get(
            path, HTTP_AUTHORIZATION=f"{scheme} {token}")

    def service_token(self):
        application = get_application_model().objects.filter(name="service").first() or (
            self.make_application("service", "client-credentials"))
        answer = self.post("/o/token/", {"grant_type": "client_credentials",
                                         "scope": "products:read"}, application)
        assert answer.status_code == 200, answer.content
        return answer.json()

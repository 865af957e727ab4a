"""A resource server apart from the authorization server: another process, database and key. It
keeps introspections for ten hours, and refuses a revoked token at once all the same."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import requests
import rig

import pawl.oauth
from pawl.oauth import texts

HERE = pathlib.Path(__file__).parent


class ResourceServer:
    def __init__(self, folder, daemon, introspection, **more):
        environment = {**os.environ, "PAWL_ADDR": daemon.unix,
                       "PAWL_TEST_DATABASE": str(folder / "resource.sqlite3"),
                       "PAWL_TEST_INTROSPECTION": introspection, **more}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "serve.py"), "oauth_resource_settings"], env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line, "the resource server has not started"
        self.url = f"http://127.0.0.1:{int(line)}"
        self.session = requests.Session()

    def get(self, token, path="/who/"):
        return self.session.get(self.url + path, headers={"Authorization": f"Bearer {token}"},
                                timeout=rig.PATIENCE_S)

    def stop(self):
        self.session.close()
        self.process.stdin.close()
        self.process.wait(rig.PATIENCE_S)
        self.process.stdout.close()


@pytest.fixture
def asked(monkeypatch):
    """The introspections that the authorization server was asked for."""
    from pawl.oauth.views import IntrospectTokenView
    seen = []
    stock = IntrospectTokenView.dispatch

    def dispatch(self, request, *args, **kwargs):
        seen.append(request.POST["token"])
        return stock(self, request, *args, **kwargs)

    monkeypatch.setattr(IntrospectTokenView, "dispatch", dispatch)
    return seen


@pytest.fixture
def resource(live_server, server, asked, tmp_path):
    server.make_application("resource", "client-credentials")
    made = ResourceServer(tmp_path, server.daemon, live_server.url + "/o/introspect/")
    yield made
    made.stop()


def end_family(server, tokens):
    server.revoke(tokens["refresh_token"])


def end_access(server, tokens):
    server.revoke(tokens["access_token"])


def end_user(server, tokens):
    pawl.oauth.revoke_user(server.user)


def end_application(server, tokens):
    server.application.delete()


def steal(server, tokens):
    third = server.refreshed(server.refreshed(tokens["refresh_token"])["refresh_token"])
    assert server.refresh(tokens["refresh_token"]).status_code == 400
    assert third


@pytest.mark.parametrize("end", (end_family, end_access, end_user, end_application, steal))
def test_a_revoked_token_is_refused_at_once_though_its_introspection_is_kept(
        server, resource, asked, end):
    tokens = server.log_in()
    for _ in range(3):
        assert resource.get(tokens["access_token"]).json()["user"] == "alice"
    assert len(asked) == 1  # kept
    end(server, tokens)
    begun = time.monotonic()
    refused = resource.get(tokens["access_token"])
    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]
    assert time.monotonic() - begun < 5
    assert len(asked) == 1
    assert resource.get(tokens["access_token"], "/plain/").status_code == 403


def test_log_out_everywhere_spares_who_logs_in_again(server, resource):
    first = server.log_in()
    assert resource.get(first["access_token"]).status_code == 200
    pawl.oauth.revoke_user(server.user)
    second = server.log_in()
    assert resource.get(second["access_token"]).status_code == 200
    assert resource.get(first["access_token"]).status_code == 401


def test_a_service_token_is_revoked_by_its_hash(server, resource, asked):
    text = server.service_token()["access_token"]
    assert resource.get(text, "/plain/").text == "in"
    server.daemon.ctl("revoke", "opaque", stdin=text, check=0)
    assert resource.get(text, "/plain/").status_code == 403
    assert len(asked) == 1


def test_a_changed_family_in_the_text_is_another_token(server, resource):
    """The text's tag is not verified here, and need not be: the whole text is looked up."""
    mine, other = (server.log_in()["access_token"] for _ in range(2))
    assert resource.get(mine).status_code == 200
    data = texts._read(texts.ACCESS, 48, mine)
    forged = texts._write(texts.ACCESS, texts._read(texts.ACCESS, 48, other)[:16] + data[16:])
    assert resource.get(forged).status_code == 401


@pytest.mark.parametrize("path", ("/who/", "/plain/"))
def test_without_a_daemon_a_kept_introspection_is_503_and_never_401(server, resource, path):
    tokens = server.log_in()
    assert resource.get(tokens["access_token"], path).status_code == 200
    server.daemon.stop(signal.SIGKILL)
    answer = resource.get(tokens["access_token"], path)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    server.daemon.start()
    rig.wait_for(lambda: resource.get(tokens["access_token"], path).status_code == 200)


def test_without_the_authorization_server_a_token_is_503_and_never_401(server, resource, tmp_path):
    tokens = server.log_in()
    assert resource.get(tokens["access_token"]).status_code == 200
    alone = ResourceServer(tmp_path, server.daemon, "http://127.0.0.1:9/o/introspect/")
    try:
        assert alone.get("no-such-token").status_code == 503
        # Its row is there; whose it is over there was in the cache of the process that has ended.
        assert alone.get(tokens["access_token"]).status_code == 503
    finally:
        alone.stop()


def test_a_token_that_nobody_issued_is_401(server, resource):
    assert resource.get("no-such-token").status_code == 401

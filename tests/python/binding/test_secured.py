"""Handles of both backends over TLS, with a client certificate, and with a credential."""

import socket

import pytest
import rig

from binding_rig import ask, child, item
from pawl._types import CheckRequest, PingRequest, ResetRequest, RevokeRequest

SECRET = b"a shared secret of some length"
CHECK = CheckRequest((item(),))
REVOKE = RevokeRequest("token", b"t")


@pytest.fixture(scope="module")
def worker_pair(authority):
    return authority.leaf("worker", "DNS:worker")


@pytest.fixture
def secured(make_daemon, server_pair, authority, tmp_path):
    """A daemon with a TLS listener: a certificate may check, a credential may revoke."""
    secret = tmp_path / "api.secret"
    secret.write_bytes(SECRET + b"\n")
    secret.chmod(0o600)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    certificate, key = server_pair
    daemon = make_daemon("--listen", f"tls:127.0.0.1:{port}", config=f"""
tls:
  certificate: {certificate}
  key: {key}
  ca: {authority.certificate}
  client_certificates: optional
  clients:
    - {{san: "dns:worker", role: [check, read]}}
credentials:
  - {{id: api, secret_file: {secret}, role: [check, revoke]}}
""")
    daemon.tls = f"tls:localhost:{port}"
    daemon.secret = secret
    return daemon


def test_a_client_certificate_names_who_asks(make_handle, secured, authority, worker_pair):
    certificate, key = map(str, worker_pair)
    handle = make_handle(secured.tls, tls_ca=str(authority.certificate),
                         tls_certificate=certificate, tls_key=key)
    for count in range(1, 4):
        answer = ask(handle, "check", CHECK)
        assert answer.info.source == "daemon" and answer.rates[0].count == count
    assert ask(handle, "revoke", REVOKE).info.cause == "not_permitted"
    assert handle.figures()["connects"] == 1


def test_a_stranger_over_tls_may_not_check(make_handle, secured, authority):
    handle = make_handle(secured.tls, tls_ca=str(authority.certificate))
    assert ask(handle, "check", CHECK).info.cause == "not_permitted"


def test_a_credential_over_tls_may_revoke(make_handle, secured, authority):
    handle = make_handle(secured.tls, tls_ca=str(authority.certificate), credential_id="api",
                         credential=SECRET)
    assert ask(handle, "revoke", REVOKE).info == ("daemon", "ok", "done", "")
    assert ask(handle, "reset", ResetRequest(item())).info.cause == "not_permitted"


def test_a_credential_comes_from_a_file_and_from_the_environment(make_handle, secured,
                                                                 monkeypatch):
    handle = make_handle(secured.tcp_uri, credential_id="api",
                         credential_file=str(secured.secret))
    assert ask(handle, "revoke", REVOKE).info.cause == "ok"
    monkeypatch.setenv("PAWL_CREDENTIAL_ID", "api")
    monkeypatch.setenv("PAWL_CREDENTIAL_FILE", str(secured.secret))
    assert ask(make_handle(secured.tcp_uri), "revoke", REVOKE).info.cause == "ok"


def test_a_wrong_credential_is_told_and_grants_nothing(make_handle, secured):
    handle = make_handle(secured.tcp_uri, credential_id="api", credential=SECRET + b"!")
    answer = ask(handle, "check", CHECK)
    assert (answer.outcome, answer.info.cause) == ("undecided", "not_permitted")
    assert SECRET.decode() not in answer.info.text


def test_a_daemon_whose_certificate_nobody_we_trust_signed_is_not_spoken_to(
        make_handle, secured, tmp_path):
    other = rig.tls_files().Authority(tmp_path, "other")
    handle = make_handle(secured.tls, tls_ca=str(other.certificate), credential_id="api",
                         credential=SECRET)
    answer = ask(handle, "check", CHECK, 2000)
    assert answer.outcome == "undecided" and answer.info[:3] == ("none", "connect", "none")
    assert "certificate" in answer.info.text


def test_a_certificate_for_another_host_is_not_accepted(make_handle, secured, authority):
    ca = str(authority.certificate)
    answer = ask(make_handle(secured.tls, tls_ca=ca, tls_name="elsewhere.example"), "check", CHECK,
                 2000)
    assert answer.info[:3] == ("none", "connect", "none")
    # The address is numeric and its certificate is for the name, or the other way round.
    by_number = secured.tls.replace("localhost", "127.0.0.1")
    assert ask(make_handle(by_number, tls_ca=ca, tls_name="localhost"), "ping",
               PingRequest()).info.source == "daemon"


def test_a_plain_listener_behind_a_tls_address_is_told(make_handle, secured, authority):
    address = secured.tcp_uri.replace("tcp:127.0.0.1", "tls:localhost")
    answer = ask(make_handle(address, tls_ca=str(authority.certificate)), "check", CHECK, 2000)
    assert answer.outcome == "undecided" and answer.info[:3] == ("none", "connect", "none")


def test_a_child_makes_its_own_tls_session(make_handle, secured, authority, worker_pair):
    certificate, key = map(str, worker_pair)
    handle = make_handle(secured.tls, tls_ca=str(authority.certificate),
                         tls_certificate=certificate, tls_key=key)
    assert ask(handle, "check", CHECK).rates[0].count == 1
    with child() as is_child:
        if is_child:
            assert ask(handle, "check", CHECK).rates[0].count == 2
    assert ask(handle, "check", CHECK).rates[0].count == 3
    assert handle.figures()["connects"] == 1

"""libpawl and pawlctl over TLS, and with credentials."""

import os
import socket
import subprocess

import pytest

from conftest import BUILD, wait_for
from tls import Authority

SECRET = "a shared secret of some length"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server_pair(authority):
    return authority.leaf("server", "DNS:localhost,IP:127.0.0.1")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def tls_daemon(make_daemon, server_pair, authority, tmp_path):
    """A daemon with a TLS listener, client certificates if they are shown, and a credential."""
    secret = tmp_path / "api.secret"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    port = free_port()
    certificate, key = server_pair
    config = tmp_path / "tls.yaml"
    config.write_text(f"""
tls:
  certificate: {certificate}
  key: {key}
  ca: {authority.certificate}
  client_certificates: optional
  clients:
    - {{san: "dns:worker", role: [check, read]}}
credentials:
  - {{id: api, secret_file: {secret}, role: [check, revoke]}}
  - {{id: shop, secret_file: {secret}, role: check, namespaces: [shop]}}
""")
    daemon = make_daemon("--listen", f"tls:127.0.0.1:{port}", "--config", str(config), tcp=False)
    daemon.tls_uri = f"tls:127.0.0.1:{port}"
    daemon.secret = secret
    return daemon


def ask(daemon, *arguments, addr=None, ca=None):
    options = ["--tls-ca", str(ca)] if ca else []
    return daemon.ctl(*options, *arguments, addr=addr or daemon.tls_uri)


def test_a_certificate_says_who_asks(tls_daemon, authority):
    certificate, key = authority.leaf("worker", "DNS:worker")
    shown = ["--tls-cert", certificate, "--tls-key", key]
    assert ask(tls_daemon, *shown, "check", "--rate", "5/minute", "k", ca=authority.certificate
               ).json["verdict"] == "allow"
    refused = ask(tls_daemon, *shown, "revoke", "token", "--jti", "j", "--exp", "2000000000",
                  ca=authority.certificate)
    assert refused.code == 3 and "role" in refused.error


def test_a_credential_says_who_asks(tls_daemon, authority):
    shown = ["--credential", "api", "--credential-file", tls_daemon.secret]
    assert ask(tls_daemon, *shown, "revoke", "token", "--jti", "j", "--exp", "2000000000",
               ca=authority.certificate).code == 0
    assert ask(tls_daemon, *shown, "token", "check", "--jti", "j",
               ca=authority.certificate).json["status"] == "revoked"
    assert ask(tls_daemon, *shown, "bench", "--requests", "2000", "--connections", "4",
               ca=authority.certificate).code == 0


def test_a_wrong_credential_is_refused_by_name(tls_daemon, authority, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text("not the secret that it should be\n")
    result = ask(tls_daemon, "--credential", "api", "--credential-file", wrong, "ping",
                 ca=authority.certificate)
    assert result.code == 3 and "the daemon refused the credential" in result.error


def test_a_credential_of_one_namespace_is_good_there_and_said_to_be_none_elsewhere(tls_daemon,
                                                                                   authority):
    shown = ["--credential", "shop", "--credential-file", tls_daemon.secret]
    question = ["check", "--rate", "5/minute", "k"]
    assert ask(tls_daemon, *shown, "--ns", "shop", *question, ca=authority.certificate).code == 0
    refused = ask(tls_daemon, *shown, *question, ca=authority.certificate)
    assert refused.code == 3 and 'gives it nothing in namespace "default"' in refused.error


def test_without_either_nothing_is_granted(tls_daemon, authority):
    result = ask(tls_daemon, "check", "--rate", "5/minute", "k", ca=authority.certificate)
    assert result.code == 3 and "role" in result.error


def refusals(daemon):
    figures = daemon.status()
    return figures["tls_clients_refused"] + figures["tls_handshake_failures"]


@pytest.mark.parametrize("who, words", [
    ("stranger", "no entry of tls.clients matches the certificate; show another"),
    ("foreign", "alert unknown ca; the daemon refuses the certificate shown"),
    ("nobody", "certificate required; show one")])
@pytest.mark.parametrize("command", [("ping",), ("check", "--rate", "5/minute", "k")])
def test_who_is_refused_for_his_certificate_is_told_so_at_once(
        make_daemon, server_pair, authority, tmp_path, who, words, command):
    port = free_port()
    config = tmp_path / "tls.yaml"
    config.write_text(f"""
tls:
  certificate: {server_pair[0]}
  key: {server_pair[1]}
  ca: {authority.certificate}
  client_certificates: required
  clients:
    - {{san: "dns:worker", role: [check, read]}}
""")
    daemon = make_daemon("--listen", f"tls:127.0.0.1:{port}", "--config", str(config), tcp=False)
    shown = []
    if who != "nobody":
        signer = authority if who == "stranger" else Authority(tmp_path, "other")
        certificate, key = signer.leaf(who, "DNS:stranger")
        shown = ["--tls-cert", certificate, "--tls-key", key]
    before = refusals(daemon)
    result = ask(daemon, *shown, *command, addr=f"tls:127.0.0.1:{port}", ca=authority.certificate)
    assert result.code == 3 and words in result.error and f"127.0.0.1:{port}" in result.error
    assert "happened" not in result.error # nothing was read of it
    wait_for(lambda: refusals(daemon) > before, "the refusal in the figures")
    assert refusals(daemon) - before <= 2


def test_a_daemon_of_another_authority_is_not_talked_to(tls_daemon, tmp_path):
    other = Authority(tmp_path, "other")
    result = ask(tls_daemon, "ping", ca=other.certificate)
    assert result.code == 3 and "certificate" in result.error


def test_a_certificate_for_another_name_is_not_talked_to(tls_daemon, authority):
    result = ask(tls_daemon, "--tls-name", "elsewhere", "ping", ca=authority.certificate)
    assert result.code == 3 and "mismatch" in result.error
    assert ask(tls_daemon, "--tls-name", "localhost", "ping", ca=authority.certificate).code == 0


def test_files_that_cannot_be_used_are_named(tls_daemon, authority, server_pair, tmp_path):
    missing = ask(tls_daemon, "ping", ca=tmp_path / "missing.pem")
    assert missing.code == 2 and "missing.pem" in missing.error
    alone = ask(tls_daemon, "--tls-cert", server_pair[0], "ping", ca=authority.certificate)
    assert alone.code == 2 and "tls_key" in alone.error
    short = tmp_path / "short"
    short.write_text("short\n")
    result = ask(tls_daemon, "--credential", "api", "--credential-file", short, "ping",
                 ca=authority.certificate)
    assert result.code == 2 and "16 bytes" in result.error


def test_a_plain_listener_is_no_tls(pawld, authority):
    result = ask(pawld, "ping", addr=pawld.tcp_uri.replace("tcp:", "tls:"),
                 ca=authority.certificate)
    assert result.code == 3


def test_the_environment_stands_in_for_options(tls_daemon, authority):
    done = subprocess.run([str(BUILD / "pawlctl"), "token", "check", "--jti", "j"],
                          env={**os.environ, "PAWL_ADDR": tls_daemon.tls_uri,
                               "PAWL_TLS_CA": str(authority.certificate),
                               "PAWL_CREDENTIAL_ID": "api",
                               "PAWL_CREDENTIAL_FILE": str(tls_daemon.secret)},
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "valid" in done.stdout


def test_a_restart_under_load_over_tls_loses_no_later_request(tls_daemon, authority):
    shown = ["--credential", "api", "--credential-file", tls_daemon.secret]
    for _ in range(3):
        tls_daemon.restart()
        wait_for(lambda: ask(tls_daemon, *shown, "ping", ca=authority.certificate).code == 0)
        assert ask(tls_daemon, *shown, "check", "--rate", "5/minute", "k",
                   ca=authority.certificate).json["verdict"] == "allow"

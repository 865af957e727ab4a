"""The pure client over TLS and with credentials, against a real pawld."""

import socket
import ssl
import threading

import pytest
import rig

import pawl._types as types
from pawl._pure import Handle
from pure_rig import ask, frame, wait

SECRET = "a shared secret of some length"
CHECK = types.CheckRequest((types.Item((b"k",), (types.Rate(1_000_000, 60_000),)),))
REVOKE = types.RevokeRequest("token", b"j", exp_s=2_000_000_000)


@pytest.fixture
def tls_daemon(make_daemon, server_pair, authority, tmp_path):
    """A daemon with a TLS listener, client certificates if they are shown, and a credential."""
    (tmp_path / "secret").write_text(SECRET + "\n")
    (tmp_path / "secret").chmod(0o600)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    certificate, key = server_pair
    daemon = make_daemon("--listen", f"tls:127.0.0.1:{port}", tcp=False, config=f"""
tls:
  certificate: {certificate}
  key: {key}
  ca: {authority.certificate}
  client_certificates: optional
  clients:
    - {{san: "dns:worker", role: [check, read]}}
credentials:
  - {{id: api, secret_file: {tmp_path / "secret"}, role: [check, read, revoke]}}
  - {{id: shop, secret_file: {tmp_path / "secret"}, role: check, namespaces: [shop]}}
""")
    daemon.tls_uri = f"tls:127.0.0.1:{port}"
    return daemon


@pytest.fixture
def make(tls_daemon, authority):
    made = []

    def make_one(**options):
        options = {"addresses": tls_daemon.tls_uri, "tls_ca": str(authority.certificate),
                   **options}
        made.append(Handle(types.HandleOptions(**options)))
        return made[-1]

    yield make_one
    for handle in made:
        handle.close()


def test_a_certificate_says_who_asks(make, authority):
    certificate, key = authority.leaf("worker", "DNS:worker")
    handle = make(tls_certificate=str(certificate), tls_key=str(key))
    assert ask(handle, CHECK).outcome == "allow"
    info = ask(handle, REVOKE).info
    assert (info.source, info.cause, info.effect) == ("daemon", "not_permitted", "none")
    assert "role" in info.text


def test_a_credential_says_who_asks(make):
    handle = make(credential_id="api", credential=SECRET.encode())
    assert ask(handle, REVOKE).acknowledged == "durable"
    assert ask(handle, CHECK).outcome == "allow"


def test_a_credential_of_one_namespace_is_good_there_and_none_elsewhere(make):
    shown = {"credential_id": "shop", "credential": SECRET.encode()}
    assert ask(make(namespace="shop", **shown), CHECK).outcome == "allow"
    info = ask(make(**shown), CHECK).info
    assert info.cause == "not_permitted" and 'in namespace "default"' in info.text


def test_a_wrong_credential_is_refused_by_name(make):
    info = ask(make(credential_id="api", credential=b"x" * 20), CHECK).info
    assert info.cause == "not_permitted" and "refused the credential" in info.text


def test_a_daemon_of_another_authority_is_not_talked_to(make, tmp_path):
    other = rig.tls_files().Authority(tmp_path, "other")
    info = ask(make(tls_ca=str(other.certificate)), CHECK).info
    assert (info.cause, info.effect) == ("connect", "none") and "certificate" in info.text


def test_a_certificate_for_another_name_is_not_talked_to(make):
    info = ask(make(tls_name="elsewhere"), CHECK).info
    assert info.cause == "connect" and "certificate" in info.text
    handle = make(tls_name="localhost", credential_id="api", credential=SECRET.encode())
    assert ask(handle, CHECK).outcome == "allow"


def test_files_that_cannot_be_used_are_named(make, authority, server_pair, tmp_path):
    certificate, key = server_pair
    other = authority.leaf("other", "DNS:other")[1]
    (tmp_path / "open.key").write_text(key.read_text())
    (tmp_path / "open.key").chmod(0o666)
    (tmp_path / "no.pem").write_text("no certificate")
    sealed = tmp_path / "sealed.key"
    rig.tls_files().openssl("pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out",
                            sealed)
    for options, words in (
            ({"tls_ca": str(tmp_path / "missing.pem")}, "missing.pem"),
            ({"tls_ca": str(tmp_path / "no.pem")}, "no.pem"),
            ({"tls_certificate": str(certificate)}, "go together"),
            ({"tls_certificate": str(certificate), "tls_key": str(other)}, "is not the key of"),
            ({"tls_certificate": str(certificate), "tls_key": str(sealed)},
             "sealed.key: no PEM, or an encrypted key"),
            ({"tls_certificate": str(certificate), "tls_key": str(tmp_path / "open.key")},
             "chmod 600")):
        with pytest.raises(ValueError, match=words):
            make(**options)


def test_plain_tcp_where_tls_is_spoken_is_told(make, tls_daemon):
    info = ask(make(addresses=tls_daemon.tls_uri.replace("tls:", "tcp:")), CHECK).info
    assert info.source == "none" and info.cause in ("lost", "protocol", "connect")


def test_tls_where_plain_tcp_is_spoken_is_told(make, make_daemon):
    plain = make_daemon()
    info = ask(make(addresses=plain.tcp_uri.replace("tcp:", "tls:")), CHECK).info
    assert (info.cause, info.effect) == ("connect", "none")
    assert "tls: listener" in info.text or "wrong version" in info.text.lower()


def test_many_and_big_messages_go_through(make):
    handle = make(credential_id="api", credential=SECRET.encode(), in_flight_max=200)
    big = types.Item(tuple(bytes((n,)) * 1024 for n in range(8)), (types.Rate(10**6, 60_000),))
    ids = {handle.submit_check(types.CheckRequest((big,) * 7), 60_000) for _ in range(60)}
    ids |= {handle.submit_stats(types.StatsRequest(), 60_000) for _ in range(40)}
    last = handle.submit_ping(types.PingRequest(), 60_000)
    wait(handle, last)
    rig.wait_for(lambda: handle.process() is None or not handle.figures()["in_flight"], "all")
    figures = handle.figures()
    assert (figures["answers"], figures["lost"], figures["connects"]) == (101, 0, 1)


def test_the_connection_comes_back_after_a_restart(make, tls_daemon):
    handle = make(credential_id="api", credential=SECRET.encode())
    assert ask(handle, CHECK).outcome == "allow"
    tls_daemon.restart()
    assert ask(handle, CHECK).outcome == "allow"


class Dripping:
    """A TLS server that answers one request with records of one byte each, and then breaks off
    without a word or sends noise under its records."""

    def __init__(self, wire, pair, then):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.load_cert_chain(*pair)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tls:127.0.0.1:{self.listener.getsockname()[1]}"
        self.wire, self.then = wire, then
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        plain = self.listener.accept()[0]
        tls = self.context.wrap_socket(plain, server_side=True)
        data = b""
        for _ in range(2):  # the hello and a check
            while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "big"):
                data += tls.recv(65536)
            size = 4 + int.from_bytes(data[:4], "big")
            request = self.wire.Request.FromString(data[4:size])
            data = data[size:]
            reply = self.wire.Reply(id=request.id, status=1)
            getattr(reply, request.WhichOneof("body")).SetInParent()
            for byte in frame(reply.SerializeToString()):
                tls.send(bytes((byte,)))
        raw = socket.socket(fileno=tls.detach())
        if self.then:
            raw.sendall(self.then)
        raw.close()


@pytest.mark.parametrize("then", [b"", b"\x17\x03\x03\x00\x20" + b"x" * 32])
def test_records_of_one_byte_are_put_together_and_a_broken_stream_is_lost(make, server_pair, wire,
                                                                          then):
    server = Dripping(wire, server_pair, then)
    handle = make(addresses=server.address)
    assert ask(handle, CHECK).info.cause == "ok"
    server.thread.join(rig.PATIENCE_S)
    info = ask(handle, CHECK).info  # seen while idle: nothing is lost, and nobody is there
    server.listener.close()
    assert info.effect in ("none", "unknown") and info.cause in ("connect", "lost", "timeout")

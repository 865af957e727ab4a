"""Credentials in hello: a shared secret as a simpler way in than a certificate."""

import signal
import subprocess

import pytest

from conftest import BUILD, PATIENCE_S, check_request, wait_for

SECRET = b"0123456789abcdef0123456789abcdef"
OTHER = b"fedcba9876543210fedcba9876543210"


class Guarded:
    """A daemon with a TCP listener and two credentials."""

    def __init__(self, make_daemon, folder):
        self.folder = folder
        self.web, self.ops = folder / "web.secret", folder / "ops.secret"
        for path, secret in ((self.web, SECRET), (self.ops, OTHER)):
            path.write_bytes(secret + b"\n")
            path.chmod(0o600)
        self.entries = {
            "web": "role: [check, read], namespaces: [shop]",
            "ops": "role: [check, read, revoke, admin], namespaces: ['*']",
        }
        self.daemon = make_daemon(config=self.config())
        self.address = self.daemon.tcp_uri

    def config(self):
        text = "watch: false\ncredentials:\n"
        for name, rights in self.entries.items():
            path = self.folder / f"{name}.secret"
            text += f"  - {{id: {name}, secret_file: {path}, {rights}}}\n"
        return text

    def reload(self, event="reloaded"):
        (self.daemon.folder / "pawld.yaml").write_text(self.config())
        self.daemon.process.send_signal(signal.SIGHUP)
        return wait_for(lambda: next((line for line in self.daemon.log()
                                      if line.get("event") == event and
                                      line.get("level") != "audit"), None), event)


@pytest.fixture
def guarded(make_daemon, tmp_path):
    return Guarded(make_daemon, tmp_path)


def hello(wire, name, secret, **fields):
    return wire.Hello(version_min=1, version_max=1, credential_id=name, credential=secret, **fields)


def test_without_a_proof_nothing_is_granted_once_there_are_credentials(guarded, wire, connect):
    connection = connect(guarded.address)
    assert connection.call(check=check_request(wire, b"k")).status == wire.STATUS_DENIED
    assert connection.call(stats=wire.Stats()).status == wire.STATUS_DENIED


def test_a_good_credential_counts_from_the_request_it_travels_with(guarded, wire, connect):
    connection = connect(guarded.address)
    reply = connection.call(hello=hello(wire, b"web", SECRET, namespace=b"shop"),
                            check=check_request(wire, b"k"))
    assert reply.status == wire.STATUS_OK and reply.check.verdict == wire.VERDICT_ALLOW
    assert set(reply.hello.roles) == {wire.ROLE_CHECK, wire.ROLE_READ}
    assert connection.call(check=check_request(wire, b"k")).status == wire.STATUS_OK
    assert connection.call(reset=wire.Reset(key=[b"k"], rates=[wire.Rate(count=1, window_ms=1000)])
                           ).status == wire.STATUS_DENIED


def test_a_credential_is_for_its_namespaces_alone(guarded, wire, connect):
    connection = connect(guarded.address)
    reply = connection.call(hello=hello(wire, b"web", SECRET), check=check_request(wire, b"k"))
    assert reply.status == wire.STATUS_DENIED and b"default" in reply.error
    good = connection.call(namespace=b"shop", check=check_request(wire, b"k"))
    assert good.status == wire.STATUS_OK
    assert connection.call(namespace=b"shop2", check=check_request(wire, b"k")
                           ).status == wire.STATUS_DENIED
    everywhere = connect(guarded.address)
    assert everywhere.call(hello=hello(wire, b"ops", OTHER, namespace=b"anything"),
                           check=check_request(wire, b"k")).status == wire.STATUS_OK


@pytest.mark.parametrize("name, secret", [
    (b"web", OTHER), (b"web", SECRET[:-1]), (b"web", SECRET + b"0"), (b"web", b""),
    (b"", SECRET), (b"nobody", SECRET), (b"web", SECRET + b"\n"), (b"we", SECRET),
])
def test_a_wrong_credential_is_denied_and_the_third_closes(guarded, wire, connect, name, secret):
    connection = connect(guarded.address)
    for _ in range(3):
        reply = connection.call(hello=hello(wire, name, secret, namespace=b"shop"),
                                check=check_request(wire, b"k"))
        assert reply.status == wire.STATUS_DENIED and b"credential" in reply.error
    last = connection.receive()
    assert last.HasField("goaway") and last.goaway.reason == b"wrong credentials"
    assert connection.receive() is None
    assert guarded.daemon.status()["credentials_wrong"] == 3
    text = guarded.daemon.log_path.read_text()
    assert "edge_proof_refused" in text
    assert SECRET.decode() not in text and OTHER.decode() not in text


def test_a_wrong_credential_takes_nothing_that_was_proved(guarded, wire, connect):
    connection = connect(guarded.address)
    connection.call(hello=hello(wire, b"web", SECRET, namespace=b"shop"), ping=wire.Ping())
    connection.call(hello=hello(wire, b"ops", SECRET, namespace=b"shop"), ping=wire.Ping())
    reply = connection.call(namespace=b"shop", check=check_request(wire, b"k"))
    assert reply.status == wire.STATUS_OK


def test_a_credential_that_is_removed_or_changed_closes_its_connections(guarded, wire, connect):
    web, ops = connect(guarded.address), connect(guarded.address)
    web.call(hello=hello(wire, b"web", SECRET, namespace=b"shop"), ping=wire.Ping())
    ops.call(hello=hello(wire, b"ops", OTHER), ping=wire.Ping())
    guarded.web.write_bytes(b"another secret of more than sixteen bytes")
    guarded.reload()
    last = web.receive()
    assert last.goaway.reason == b"what this connection proved counts no more"
    assert ops.call(ping=wire.Ping()).status == wire.STATUS_OK


@pytest.mark.parametrize("spoil, word", [
    (lambda g: g.web.unlink(), "No such file"),
    (lambda g: g.web.write_bytes(b"too short"), "holds 9 bytes"),
    (lambda g: g.web.write_bytes(b"x" * 600), "holds 600 bytes"),
    (lambda g: g.web.chmod(0o644), "chmod 0600"),
])
def test_a_secret_file_that_does_not_hold_is_named_and_the_old_ones_stay(guarded, wire, connect,
                                                                         spoil, word):
    spoil(guarded)
    line = guarded.reload("reload_refused")
    assert word in str(line) and "web" in str(line)
    connection = connect(guarded.address)
    assert connection.call(hello=hello(wire, b"web", SECRET, namespace=b"shop"),
                           check=check_request(wire, b"k")).status == wire.STATUS_OK


def test_what_anonymous_names_is_granted_without_a_proof(make_daemon, wire, connect, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    pawld = make_daemon(tcp=False, config=(
        f"credentials: [{{id: web, secret_file: {secret}, role: [check]}}]"))
    pawld.stop()
    config = pawld.folder / "two.yaml"
    config.write_text(
        "http: off\n"
        "listen:\n"
        f"  - {pawld.unix}\n"
        "  - {uri: 'tcp:127.0.0.1:0', anonymous: [check], role: [check, read]}\n"
        f"data_dir: {pawld.data_dir}\n"
        f"credentials: [{{id: web, secret_file: {secret}, role: [check, revoke]}}]\n")
    pawld.command = lambda: [str(BUILD / "pawld"), "--config", str(config)]
    pawld.start()
    connection = connect(pawld.tcp_uri)
    assert connection.call(check=check_request(wire, b"k")).status == wire.STATUS_OK
    assert connection.call(stats=wire.Stats()).status == wire.STATUS_DENIED
    proved = connection.call(hello=hello(wire, b"web", SECRET), family_end=wire.FamilyEnd(sid=b"s"))
    assert proved.status == wire.STATUS_DENIED, "never more than the listener's role"


def test_plain_tcp_beyond_loopback_wants_it_written_out(make_daemon, tmp_path):
    def ask(listener):
        config = tmp_path / "pawld.yaml"
        config.write_text(f"listen: [{listener}]\n")
        return subprocess.run([str(BUILD / "pawld"), "--check-config", "--config", str(config),
                               "--data-dir", str(tmp_path / "data")], capture_output=True,
                              text=True, timeout=PATIENCE_S, check=False)
    refused = ask("{uri: 'tcp:0.0.0.0:7401'}")
    assert refused.returncode == 2 and "insecure" in refused.stderr
    assert ask("{uri: 'tcp:0.0.0.0:7401', insecure: true}").returncode == 0

"""A fleet whose members and engine speak TLS: who is believed, what a reload changes, and that the
sandbox lets through what it has to and nothing more."""

import pathlib
import shutil
import subprocess
import sys
import types

import pytest

from conftest import BUILD, ROOT, Connection, check_request
from tls import Authority, TlsConnection, client_context

sys.path.insert(0, str(ROOT / "deploy" / "demo"))
import fleet as rig # noqa: E402

HOUR_MS = 3600000


class Secured:
    """One engine with TLS and an ACL user, and members with certificates of one CA."""

    def __init__(self, folder, image):
        self.folder = pathlib.Path(folder)
        shutil.copy(image / "secret", self.folder)
        self.authority = Authority(folder)
        self.certificates = {name: self.authority.leaf(name, san) for name, san in {
            "engine": "DNS:engine.internal", "member": "DNS:member.pawl,IP:127.0.0.1",
            "stranger": "DNS:stranger.pawl,IP:127.0.0.1",
            "numberless": "DNS:member.pawl,DNS:localhost"}.items()}
        place = rig.Loopback()
        self.tls_port = place.port()
        certificate, key = self.certificates["engine"]
        self.engine = rig.Redis(place, self.folder / "e0", image=image / "dump.rdb", **{
            "tls-port": str(self.tls_port), "tls-cert-file": str(certificate),
            "tls-key-file": str(key), "tls-ca-cert-file": str(self.authority.certificate),
            "tls-auth-clients": "yes"})
        self.password = self.folder / "password"
        self.set_password("a-first-password")
        self.nodes = []

    def set_password(self, password):
        self.engine.ask("acl", "setuser", "pawl", "reset", "on", f">{password}", "~{pawl:*", "&*",
                        "+@all")
        self.password.write_text(password + "\n")
        self.password.chmod(0o600)

    def add(self, name="member", wait=True, **cluster):
        certificate, key = map(str, self.certificates[name])
        ca = str(self.authority.certificate)
        place = rig.Loopback()
        port = place.port()
        uri = f"tls:127.0.0.1:{port}"
        number = f"n{len(self.nodes)}"
        node = rig.Node(BUILD, place, self.folder, number, {
            "redis": [f"rediss://localhost:{self.tls_port}"], "user": "pawl",
            "password_file": str(self.password), "advertise": uri,
            "tls": {"ca": ca, "certificate": certificate, "key": key, "name": "engine.internal"},
            **cluster,
        }, settings={
            "listen": [f"unix:{self.folder}/{number}/pawld.sock", uri],
            "tls": {"certificate": certificate, "key": key, "ca": ca,
                    "clients": [{"san": "dns:member.pawl", "role": ["check", "read", "peer"]}]},
        })
        node.tls_port = port
        self.nodes.append(node)
        node.start(wait=wait)
        return node

    def settle(self):
        rig.wait_until(lambda: all(
            node.status()["members"] == len(self.nodes) and node.status()["slots_wanted"] == 0
            for node in self.nodes), "one view of all")

    def close(self):
        for server in [node.server for node in self.nodes] + [self.engine]:
            if server is not None and server.running():
                server.kill()


@pytest.fixture
def secured(tmp_path, left_in_order):
    made = Secured(tmp_path, left_in_order)
    yield made
    made.close()


def admitted(wire, nodes, key, count, tries):
    """How many of @tries checks are allowed, over all @nodes in turn."""
    connections = [Connection(wire, node.unix, 5) for node in nodes]
    verdicts = [connections[i % len(nodes)].call(
        deadline_ms=5000, check=check_request(wire, key.encode(), (count, HOUR_MS))).check.verdict
        for i in range(tries)]
    for connection in connections:
        connection.close()
    return sum(verdict == wire.VERDICT_ALLOW for verdict in verdicts)


def log_of(node):
    return node.server.text()


def test_members_and_engine_know_each_other_by_certificates(secured, wire):
    for _ in range(3):
        secured.add(wait=False)
    secured.settle()
    for number in range(4):
        assert admitted(wire, secured.nodes, f"key-{number}", 10, 24) == 10
    members = secured.nodes[0].members()
    assert sorted(m["state"] for m in members) == ["serving"] * 3
    assert all(m["address"].startswith("tls:127.0.0.1:") and m["view"] > 0 for m in members)
    for node in secured.nodes:
        assert '"event":"sandbox"' in log_of(node)
        status = node.status()
        assert status["sandbox"].startswith("seccomp") or "sanitizers" in status["sandbox"]
    # A client's certificate makes no member.
    client = TlsConnection(wire, secured.nodes[0].tls_port, client_context(
        secured.authority.certificate, secured.authority.leaf("client", "DNS:client.pawl")),
        name="member.pawl")
    client.send(client.request(pull=wire.Pull(view=b"x", bundle=0, member=bytes(16))))
    assert client.receive().goaway.reason == b"no entry of tls.clients matches the certificate"
    assert client.receive() is None
    client.close()


def test_members_known_by_numbers_prove_the_name_that_all_share(secured, wire, make_callers,
                                                                 monkeypatch):
    for _ in range(3):
        secured.add(name="numberless", wait=False, peer_name="member.pawl")
    secured.settle()
    for number in range(4):
        assert admitted(wire, secured.nodes, f"key-{number}", 10, 24) == 10
    # A client that knows one of them by a name goes straight to the others, too.
    certificate, key = secured.certificates["numberless"]
    monkeypatch.setenv("PAWL_TLS_CA", str(secured.authority.certificate))
    monkeypatch.setenv("PAWL_TLS_CERTIFICATE", str(certificate))
    monkeypatch.setenv("PAWL_TLS_KEY", str(key))
    known = types.SimpleNamespace(unix=f"tls:localhost:{secured.nodes[0].tls_port}")
    everybody = [make_callers([known], f"direct-{number}", 1000, threads=1, route=True)
                 for number in range(8)] # some keys are counted by the others
    rig.wait_until(lambda: sum(one.figures()["direct"] > 0 for one in everybody) > 1,
                   "a straight way")
    assert sum(one.stop()["failed"] for one in everybody) == 0
    # Who has a certificate for the number alone is none of them.
    stranger = secured.add(name="stranger", wait=False, peer_name="member.pawl")
    rig.wait_until(lambda: "alert bad certificate" in log_of(stranger), "the refusal in the log")


def test_an_engine_with_a_certificate_for_another_name_is_not_believed(secured):
    node = secured.add(wait=False, tls={
        "ca": str(secured.authority.certificate), "name": "engine.elsewhere",
        "certificate": str(secured.certificates["member"][0]),
        "key": str(secured.certificates["member"][1])})
    rig.wait_until(lambda: "TLS: " in log_of(node), "the refusal in the log")
    # It takes connections without the engine, too, once it has waited for it a while.
    rig.wait_until(lambda: node.status()["engine_up"] is False, "a node that answers")
    assert "cmdstat_eval" not in secured.engine.ask("info", "commandstats")


def test_a_member_that_nobody_has_named_is_not_answered(secured, wire):
    first = secured.add(wait=False)
    stranger = secured.add(name="stranger", wait=False)
    # It has the engine's password, so it is in the view, and a share of the keys is its own.
    for node in (first, stranger):
        rig.wait_until(lambda one=node: one.status()["members"] == 2, "both in the view")
    connection = Connection(wire, stranger.unix, 10)
    statuses = [connection.call(deadline_ms=300, check=check_request(
        wire, f"key-{i}".encode(), (5, HOUR_MS))).status for i in range(40)]
    connection.close()
    # But whatever it asks the other member is refused there, records and checks alike.
    assert statuses.count(wire.STATUS_OK) < 40
    assert "no entry of tls.clients matches the certificate" in log_of(first)


def test_a_new_password_is_used_without_a_restart(secured, wire):
    node = secured.add(wait=False)
    secured.settle()
    secured.set_password("another-password")
    rig.wait_until(lambda: '"event":"reload' in log_of(node), "the reload")
    secured.engine.ask("client", "kill", "user", "pawl")
    rig.wait_until(lambda: node.status()["engine_up"] and log_of(node).count("engine_up") > 1,
                   "the engine reached again")
    assert "the password is refused" not in log_of(node)
    rig.wait_until(lambda: admitted(wire, [node], "other", 9, 1) == 1, "its lease renewed")
    assert admitted(wire, [node], "key", 5, 9) == 5


def test_bad_cluster_settings_are_said_before_anything_runs(tmp_path):
    config = tmp_path / "pawld.yaml"
    config.write_text('cluster: {redis: ["http://x"], advertise: "tls:0.0.0.0:7401", ack: most}\n')
    done = subprocess.run([BUILD / "pawld", "--config", config, "--check-config"],
                          capture_output=True, text=True, timeout=20)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    for text in ("cluster.redis[0]: is not an address of an engine", "cluster.ack: ",
                 "others cannot reach", "cluster: needs secret_file"):
        assert text in said

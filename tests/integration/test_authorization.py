"""Who may do what: every request of the protocol, by every role, in its own and a foreign namespace,
through every way in. The requests are read from pawl.proto: a new one without a row here fails.
"""

import base64
import json
import time

import pytest

from conftest import check_request, wait_for
from tls import Authority, TlsConnection, client_context
from web import ask, http_port

ROLES = ("check", "read", "revoke", "admin")
OURS, THEIRS = b"shop", b"bank"
SECRET = "the secret of {}, of 32 bytes or more"

#: The role that each request wants; None: none.
WANTED = {
    "check": "check", "token_check": "check", "refund": "check",
    "reserve": "check", "commit": "check", "cancel": "check",
    "view_get": "read", "stats": "read", "limits": "read", "watch": "read", "top": "read",
    "revoke": "revoke", "rotate": "revoke", "family_open": "revoke", "family_end": "revoke",
    "reset": "admin", "unrevoke": "admin", "thaw": "admin",
    "pull": "peer", "push": "peer", "view_push": "peer",
    "ping": None, # also of who has proved nothing: what a hello comes with
}


#: What is done to the whole node.
WHOLE_NODE = ("thaw", "pull", "push", "view_push")


def bodies(wire):
    """A request of each kind, as far filled in as its role's check wants it to be."""
    made = {field.name: getattr(wire, field.message_type.name)()
            for field in wire.Request.DESCRIPTOR.oneofs_by_name["body"].fields}
    made["check"] = check_request(wire, b"k")
    made["token_check"].token.jti = b"j"
    return made


def denied(wire, connection, ns, body, request):
    connection.send(connection.request(namespace=ns, **{body: request}))
    reply = connection.receive()
    assert reply.status != wire.STATUS_UNSUPPORTED, body
    return reply.status == wire.STATUS_DENIED


def test_every_request_of_the_protocol_has_a_role_here(wire):
    assert set(bodies(wire)) == set(WANTED)


def assert_rights(wire, connection, roles, ns, everywhere=False, proved=True):
    """@roles are what @connection has in @ns; thaw is done to the whole node."""
    for body, request in bodies(wire).items():
        wanted = WANTED[body]
        may = bool(roles) or not proved if wanted is None else wanted in roles
        if body in WHOLE_NODE and not everywhere:
            may = False
        assert denied(wire, connection, ns, body, request) is not may, (body, ns, roles)


# ---- without a proof ----------------------------------------------------------------------------


def test_a_unix_socket_gives_its_owner_everything(pawld, wire, connect):
    assert_rights(wire, connect(pawld.unix), ROLES, OURS, everywhere=True)


def test_tcp_without_credentials_in_the_settings_checks_and_reads(pawld, wire, connect):
    assert_rights(wire, connect(pawld.tcp_uri), ("check", "read"), OURS)


# ---- with one -----------------------------------------------------------------------------------


class Guarded:
    """A daemon where each role has a credential and a certificate, for one namespace alone."""

    def __init__(self, make_daemon, folder):
        self.authority = Authority(folder)
        server = self.authority.leaf("server", "DNS:localhost,IP:127.0.0.1")
        self.pairs = {role: self.authority.leaf(role, f"DNS:{role}.internal") for role in ROLES}
        text = (f"tls:\n  certificate: {server[0]}\n  key: {server[1]}\n"
                f"  ca: {self.authority.certificate}\n  clients:\n")
        for role in ROLES:
            text += f"    - {{san: 'dns:{role}.internal', role: {role}, namespaces: [shop]}}\n"
        text += "credentials:\n"
        for name in (*ROLES, "everywhere"):
            path = folder / f"{name}.secret"
            path.write_text(SECRET.format(name))
            path.chmod(0o600)
            role, spaces = (name, "shop") if name in ROLES else ("admin", "'*'")
            text += f"  - {{id: {name}, secret_file: {path}, role: {role}, namespaces: [{spaces}]}}\n"
        self.audit = folder / "audit"
        text += f"audit: {{file: {self.audit}, denied_per_second: 10000}}\n"
        self.daemon = make_daemon("--listen", "tls:127.0.0.1:0", "--http", "127.0.0.1:0",
                                  config=text)
        self.http = http_port(self.daemon)
        address = next(line["address"] for line in self.daemon.log()
                       if str(line.get("address", "")).startswith("tls:"))
        self.tls_port = int(address.rpartition(":")[2])

    def prove(self, wire, connection, name):
        hello = wire.Hello(version_min=1, version_max=1, credential_id=name.encode(),
                           credential=SECRET.format(name).encode(), namespace=OURS)
        assert connection.call(hello=hello, ping=wire.Ping()).HasField("hello")
        return connection

    def audited(self, event):
        return [line for line in map(json.loads, self.audit.read_text().splitlines())
                if line["event"] == event]


@pytest.fixture
def guarded(make_daemon, tmp_path):
    return Guarded(make_daemon, tmp_path)


def test_without_a_proof_nothing_is_left_once_there_are_credentials(guarded, wire, connect):
    assert_rights(wire, connect(guarded.daemon.tcp_uri), (), OURS, proved=False)


def test_a_credential_gives_its_role_in_its_namespace_alone(guarded, wire, connect):
    for role in ROLES:
        connection = guarded.prove(wire, connect(guarded.daemon.tcp_uri), role)
        assert_rights(wire, connection, (role,), OURS)
        assert_rights(wire, connection, (), THEIRS)
        assert_rights(wire, connection, (role,), OURS)


def test_a_certificate_gives_its_role_in_its_namespace_alone(guarded, wire):
    for role in ROLES:
        context = client_context(guarded.authority.certificate, guarded.pairs[role])
        connection = TlsConnection(wire, guarded.tls_port, context)
        assert_rights(wire, connection, (role,), OURS)
        assert_rights(wire, connection, (), THEIRS)


def test_what_is_done_to_the_whole_node_wants_admin_everywhere(guarded, wire, connect):
    tenant = guarded.prove(wire, connect(guarded.daemon.tcp_uri), "admin")
    assert tenant.call(namespace=OURS, thaw=wire.Thaw()).status == wire.STATUS_DENIED
    assert not guarded.audited("thaw")
    operator = guarded.prove(wire, connect(guarded.daemon.tcp_uri), "everywhere")
    assert operator.call(namespace=OURS, thaw=wire.Thaw()).status != wire.STATUS_DENIED


def test_an_admin_of_one_namespace_takes_no_revocation_of_another_back(guarded, wire, connect):
    owner = connect(guarded.daemon.unix)
    token = {"jti": b"stolen", "exp": int(time.time()) + 3600}

    def status(ns):
        reply = owner.call(namespace=ns, token_check=wire.TokenCheck(token=wire.Token(**token)))
        return reply.token_check.status

    fact = owner.call(namespace=THEIRS, revoke=wire.Revoke(
        scope=wire.SCOPE_TOKEN, value=token["jti"], exp=token["exp"])).revoke.id
    assert status(THEIRS) == wire.TOKEN_REVOKED
    tenant = guarded.prove(wire, connect(guarded.daemon.tcp_uri), "admin")
    refused = tenant.call(namespace=OURS, unrevoke=wire.Unrevoke(ids=[fact]))
    assert refused.status == wire.STATUS_NOT_FOUND and b"namespace" in refused.error
    assert status(THEIRS) == wire.TOKEN_REVOKED
    assert owner.call(namespace=THEIRS, unrevoke=wire.Unrevoke(ids=[fact])).unrevoke.canceled == 1


def test_what_members_ask_of_each_other_wants_the_role_peer_everywhere(make_daemon, wire, connect,
                                                                       tmp_path):
    text = "credentials:\n"
    for name, spaces in (("member", "'*'"), ("tenant", "shop")):
        path = tmp_path / f"{name}.secret"
        path.write_text(SECRET.format(name))
        path.chmod(0o600)
        text += f"  - {{id: {name}, secret_file: {path}, role: peer, namespaces: [{spaces}]}}\n"
    daemon = make_daemon(config=text)

    def proved(name):
        connection = connect(daemon.tcp_uri)
        hello = wire.Hello(version_min=1, version_max=1, credential_id=name.encode(),
                           credential=SECRET.format(name).encode(), namespace=OURS)
        assert wire.ROLE_PEER in connection.call(hello=hello, ping=wire.Ping()).hello.roles
        return connection

    member, tenant = proved("member"), proved("tenant")
    for body in ("pull", "push", "view_push"):
        request = bodies(wire)[body]
        assert tenant.call(namespace=OURS, **{body: request}).status == wire.STATUS_DENIED
        # one node alone has nothing to hand over
        assert member.call(namespace=OURS, **{body: request}).status in (
            wire.STATUS_UNSUPPORTED, wire.STATUS_INVALID)
    for body, request in bodies(wire).items(): # a member is nobody's client
        if WANTED[body] not in (None, "peer"):
            assert denied(wire, member, OURS, body, request), body


def test_nobody_but_a_member_of_a_cluster_says_forwarded(pawld, wire, connect):
    for address in (pawld.unix, pawld.tcp_uri):
        connection = connect(address)
        for body, request in bodies(wire).items():
            reply = connection.call(namespace=OURS, forwarded=True, view=1, **{body: request})
            assert reply.status == wire.STATUS_DENIED, body


def test_every_refusal_is_in_the_audit_log(guarded, wire, connect):
    connection = guarded.prove(wire, connect(guarded.daemon.tcp_uri), "check")
    wanted = [role for role in WANTED.values() if role not in (None, "check")]
    for body, request in bodies(wire).items():
        if WANTED[body] not in (None, "check"):
            assert denied(wire, connection, OURS, body, request), body
    connection.call(namespace=THEIRS, ping=wire.Ping())
    lines = wait_for(lambda: (found := guarded.audited("forbidden")) and
                     len(found) > len(wanted) and found, "a line for each refusal")
    assert sorted(line["role"] for line in lines if line["ns"] == "shop") == sorted(wanted)
    assert [line["role"] for line in lines if line["ns"] == "bank"] == ["any"]
    assert all(line["peer_name"] == "check" for line in lines)


# ---- HTTP ---------------------------------------------------------------------------------------


def basic(name, secret=None):
    text = f"{name}:{secret or SECRET.format(name)}".encode()
    return {"Authorization": "Basic " + base64.b64encode(text).decode()}


@pytest.mark.parametrize("path, wanted", [
    ("/oauth/revoke", "revoke"), ("/oauth/introspect", "check")])
def test_http_basic_gives_its_role_in_its_namespace_alone(guarded, path, wanted):
    for role in ROLES:
        for ns in ("shop", "bank", "default", ""):
            may = role == wanted and ns == "shop"
            answer = ask(guarded.http, path, headers=basic(role),
                         form={"token": "opaque-text", "ns": ns})
            assert answer.code == (200 if may else 403), (role, ns, answer)
        # left out, it is the only one that the credential has
        answer = ask(guarded.http, path, headers=basic(role), form={"token": "opaque-text"})
        assert answer.code == (200 if role == wanted else 403), (role, answer)
    asked = len(ROLES) * 5
    lines = wait_for(lambda: (found := guarded.audited("forbidden")) and
                     len(found) == asked - 2 and found, "a line for each refusal")
    assert {line["role"] for line in lines} == {wanted}
    assert {line["peer_name"] for line in lines} == set(ROLES)


def test_guesses_over_http_are_told_sampled(make_daemon, tmp_path):
    secret, audit = tmp_path / "web.secret", tmp_path / "audit"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    daemon = make_daemon("--http", "127.0.0.1:0", "--set", "audit.denied_per_second=1", config=(
        f"credentials: [{{id: web, secret_file: {secret}, role: check}}]\n"
        f"audit: {{file: {audit}}}\n"))
    port = http_port(daemon)
    for _ in range(40):
        answer = ask(port, "/oauth/introspect", headers=basic("web", "x" * 32), form={"token": "t"})
        assert answer.code == 401
    assert daemon.status()["http_credentials_wrong"] == 40
    lines = wait_for(lambda: [line for line in map(json.loads, audit.read_text().splitlines())
                              if line["event"] == "denied_more"], "the rest is counted")
    told = audit.read_text().count("authentication_failed")
    assert 1 <= told < 40 and lines[0]["count"] >= 1

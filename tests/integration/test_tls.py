"""TLS listeners: who gets in, with which rights, and what a reload changes for whom."""

import pathlib
import shutil
import signal
import ssl
import subprocess
import threading

import pytest

from conftest import BUILD, PATIENCE_S, check_request, wait_for
from tls import Authority, Raw, TlsConnection, client_context, replace


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two CAs and their leaves, made once."""

    class World:
        folder = tmp_path_factory.mktemp("tls")
        ours = Authority(folder, "ours")
        theirs = Authority(folder, "theirs")
        server = ours.leaf("server", "DNS:localhost,IP:127.0.0.1")
        server_two = ours.leaf("server-two", "DNS:localhost,IP:127.0.0.1")
        api = ours.leaf("api", "DNS:API.internal")
        admin = ours.leaf("admin", "URI:spiffe://prod/admin")
        tenant = ours.leaf("tenant", "DNS:tenant.internal,IP:10.0.0.9")
        both = ours.leaf("both", "DNS:api.internal,DNS:tenant.internal")
        unknown = ours.leaf("unknown", "DNS:api.internal.evil")
        expired = ours.leaf("expired", "DNS:api.internal", expired=True)
        foreign = theirs.leaf("foreign", "DNS:api.internal")
    return World


CLIENTS = """
  clients:
    - {san: "dns:api.internal", role: [check], namespaces: [default]}
    - {san: "uri:spiffe://prod/admin", role: [check, read, revoke, admin], namespaces: ["*"]}
    - {san: "dns:tenant.internal", role: [check, read, revoke], namespaces: [tenant]}
"""


class Secured:
    """A daemon with a TLS listener, its files in a folder that a test may change."""

    def __init__(self, make_daemon, world, folder, clients=CLIENTS, more="", extra=""):
        self.world, self.folder = world, pathlib.Path(folder)
        self.certificate, self.key = self.folder / "server.pem", self.folder / "server.key"
        self.ca = self.folder / "ca.pem"
        replace(self.certificate, world.server[0])
        replace(self.key, world.server[1])
        replace(self.ca, world.ours.certificate)
        self.clients, self.more, self.extra = clients, more, extra
        self.daemon = make_daemon("--listen", "tls:127.0.0.1:0", config=self.config())
        address = next(line["address"] for line in self.daemon.log()
                       if str(line.get("address", "")).startswith("tls:"))
        self.port = int(address.rpartition(":")[2])

    def config(self):
        return (f"{self.extra}\ntls:\n  certificate: {self.certificate}\n  key: {self.key}\n"
                f"  ca: {self.ca}\n{self.more}\n{self.clients}")

    def context(self, pair=None):
        return client_context(self.world.ours.certificate, pair)

    def open(self, wire, pair=None):
        return TlsConnection(wire, self.port, self.context(pair))

    def figure(self, name):
        return self.daemon.status()[name]

    def reload(self, event="reloaded"):
        def heard():
            return [line for line in self.daemon.log()
                    if line.get("event") == event and line.get("level") != "audit"]
        before = len(heard())
        (self.daemon.folder / "pawld.yaml").write_text(self.config())
        self.daemon.process.send_signal(signal.SIGHUP)

        def said():
            lines = heard()
            return lines[-1] if len(lines) > before else None
        return wait_for(said, event)


@pytest.fixture
def secure(make_daemon, world, tmp_path):
    def make(**options):
        folder = tmp_path / f"files-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        return Secured(make_daemon, world, folder, **options)
    return make


def refused(secured, wire, pair):
    """What a client meets that is not let in: an alert, or a goaway with a reason."""
    try:
        connection = secured.open(wire, pair)
        connection.send(connection.request(ping=wire.Ping()))
        reply = connection.receive()
    except ssl.SSLError as error:
        return error.reason
    except ConnectionError as error:
        return str(error)
    if reply is None:
        return "closed"
    assert reply.HasField("goaway"), reply
    return reply.goaway.reason.decode()


# ---- who gets in -------------------------------------------------------------------------------


def test_a_client_with_its_certificate_is_answered(secure, wire, world):
    secured = secure()
    connection = secured.open(wire, world.api)
    reply = connection.call(check=check_request(wire, b"k"))
    assert reply.status == wire.STATUS_OK and reply.check.verdict == wire.VERDICT_ALLOW
    assert connection.socket.version() == "TLSv1.3"
    assert secured.figure("tls_connections") == 1
    connection.socket.unwrap()
    wait_for(lambda: secured.figure("tls_connections") == 0, "the connection gone")


@pytest.mark.parametrize("who, why", [
    (None, "TLSV13_ALERT_CERTIFICATE_REQUIRED"),
    ("foreign", "TLSV1_ALERT_UNKNOWN_CA"),
    ("expired", "SSLV3_ALERT_CERTIFICATE_EXPIRED"),
    ("unknown", "no entry of tls.clients matches the certificate"),
])
def test_who_proves_nothing_is_refused_and_it_is_said_why(secure, wire, world, who, why):
    secured = secure()
    pair = getattr(world, who) if who else None
    assert refused(secured, wire, pair) == why
    line = wait_for(lambda: secured.daemon.event("edge_proof_refused"), "the log's word")
    assert line["why"] and line["address"].startswith("tls:127.0.0.1:")
    failed = secured.figure("tls_handshake_failures") + secured.figure("tls_clients_refused")
    assert failed == 1
    assert secured.open(wire, world.api).call(ping=wire.Ping()).status == wire.STATUS_OK


def test_a_refused_certificate_is_in_the_audit_log_and_its_name_masked(secure, wire, world,
                                                                       tmp_path):
    audit = tmp_path / "audit"
    secured = secure(extra=f"audit: {{file: {audit}}}")
    refused(secured, wire, world.unknown)
    wait_for(lambda: "authentication_failed" in audit.read_text(), "the audit log's word")
    assert "api.internal.evil" not in audit.read_text()


def test_who_shows_no_certificate_where_one_is_optional_has_what_anonymous_gives(secure, wire):
    secured = secure(clients="  client_certificates: optional")
    connection = secured.open(wire)
    reply = connection.call(check=check_request(wire, b"k"))
    assert reply.status == wire.STATUS_DENIED, "a CA is configured: nobody is trusted unproved"


def test_tls_1_2_is_refused(secure):
    secured = secure()
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{secured.port}",
                           "-tls1_2"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=PATIENCE_S, check=False)
    assert done.returncode != 0 and "protocol version" in done.stderr


def test_nothing_is_resumed(secure, world, tmp_path):
    """No ticket is given, and one that is made up gets a full handshake."""
    secured = secure()
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{secured.port}", "-CAfile",
               str(world.ours.certificate), "-cert", str(world.api[0]), "-key", str(world.api[1]),
               "-sess_out", str(tmp_path / "session"), "-ign_eof"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    wait_for(lambda: secured.figure("tls_handshakes") == 1, "the handshake")
    secured.daemon.stop()
    text = process.communicate(timeout=PATIENCE_S)[0].decode("utf-8", "replace")
    assert "Verify return code: 0" in text
    assert "New Session Ticket" not in text and "Reused, TLS" not in text


def test_a_client_checks_the_servers_name_and_ca(secure, wire, world):
    secured = secure()
    with pytest.raises(ssl.SSLCertVerificationError):
        TlsConnection(wire, secured.port, secured.context(world.api), name="elsewhere")
    with pytest.raises(ssl.SSLCertVerificationError):
        TlsConnection(wire, secured.port, client_context(world.theirs.certificate, world.api))


# ---- roles and namespaces ----------------------------------------------------------------------


def revoke(wire):
    return wire.Revoke(scope=wire.SCOPE_TOKEN, value=b"j", until_unix_s=2_000_000_000)


def statuses(wire, connection, ns=b""):
    """What each role would allow: (check, read, revoke, admin)."""
    fields = {"namespace": ns} if ns else {}
    asked = [{"check": check_request(wire, b"k")}, {"stats": wire.Stats()},
             {"family_end": wire.FamilyEnd(sid=b"nobody")},
             {"reset": wire.Reset(key=[b"k"], rates=[wire.Rate(count=1, window_ms=1000)])}]
    return [connection.call(**fields, **one).status != wire.STATUS_DENIED for one in asked]


@pytest.mark.parametrize("who, ns, allowed", [
    ("api", b"", [True, False, False, False]),
    ("api", b"tenant", [False] * 4),
    ("admin", b"", [True] * 4),
    ("admin", b"anything", [True] * 4),
    ("tenant", b"", [False] * 4),
    ("tenant", b"tenant", [True, True, True, False]),
    ("both", b"", [True, False, False, False]),
    ("both", b"tenant", [True, True, True, False]),
])
def test_a_certificate_gives_its_roles_in_its_namespaces(secure, wire, world, who, ns, allowed):
    connection = secure().open(wire, getattr(world, who))
    assert statuses(wire, connection, ns) == allowed
    other = b"tenant" if not ns else b""
    statuses(wire, connection, other)
    assert statuses(wire, connection, ns) == allowed, "one namespace says nothing of another"


def test_a_namespace_of_others_is_denied_for_tokens_too(secure, wire, world):
    connection = secure().open(wire, world.api)
    token = wire.Token(jti=b"j", exp=2_000_000_000)
    good = connection.call(token_check=wire.TokenCheck(token=token))
    assert good.status == wire.STATUS_OK
    bad = connection.call(namespace=b"tenant", token_check=wire.TokenCheck(token=token))
    assert bad.status == wire.STATUS_DENIED and b"tenant" in bad.error


# ---- reload ------------------------------------------------------------------------------------


def test_a_reload_shows_the_new_certificate_and_closes_nobody(secure, wire, world):
    secured = secure()
    before = secured.open(wire, world.api)
    old = before.socket.getpeercert()["serialNumber"]
    replace(secured.certificate, world.server_two[0])
    replace(secured.key, world.server_two[1])
    secured.reload()
    after = secured.open(wire, world.api)
    assert after.socket.getpeercert()["serialNumber"] != old
    assert before.call(ping=wire.Ping()).status == wire.STATUS_OK
    assert secured.figure("tls_reloads") == 1 and secured.figure("tls_clients_dismissed") == 0


def test_a_key_of_another_certificate_leaves_the_old_set_in_place(secure, wire, world):
    secured = secure()
    replace(secured.certificate, world.server_two[0])
    line = secured.reload("reload_refused")
    assert "is not the key of certificate" in str(line)
    assert secured.figure("tls_reload_failures") == 1 and secured.figure("tls_reloads") == 0
    assert secured.open(wire, world.api).call(ping=wire.Ping()).status == wire.STATUS_OK
    replace(secured.key, world.server_two[1])
    secured.reload()
    assert secured.open(wire, world.api).call(ping=wire.Ping()).status == wire.STATUS_OK


def goaway_reason(connection):
    reply = connection.receive()
    assert reply is not None and reply.HasField("goaway"), reply
    assert connection.receive() is None
    return reply.goaway.reason.decode()


@pytest.mark.threads
def test_a_ca_that_is_removed_takes_its_connections_and_only_these(secure, wire, world):
    secured = secure()
    secured.ca.write_bytes(world.ours.certificate.read_bytes() +
                           world.theirs.certificate.read_bytes())
    secured.reload()
    ours, theirs = secured.open(wire, world.api), secured.open(wire, world.foreign)
    for connection in (ours, theirs):
        assert connection.call(ping=wire.Ping()).status == wire.STATUS_OK
    replace(secured.ca, world.ours.certificate)
    secured.reload()
    assert goaway_reason(theirs) == "the certificate's CA is trusted no more"
    assert ours.call(ping=wire.Ping()).status == wire.STATUS_OK
    assert secured.figure("tls_clients_dismissed") == 1
    assert refused(secured, wire, world.foreign) == "TLSV1_ALERT_UNKNOWN_CA"


def test_a_client_entry_that_is_removed_or_changed_counts_at_once(secure, wire, world):
    secured = secure()
    api, tenant = secured.open(wire, world.api), secured.open(wire, world.tenant)
    assert statuses(wire, tenant, b"tenant") == [True, True, True, False]
    secured.clients = CLIENTS.replace("role: [check, read, revoke], namespaces: [tenant]",
                                      "role: [read], namespaces: [tenant]")
    secured.clients = "\n".join(line for line in secured.clients.splitlines()
                                if "api.internal" not in line)
    secured.reload()
    assert goaway_reason(api) == "what this connection proved counts no more"
    wait_for(lambda: statuses(wire, tenant, b"tenant") == [False, True, False, False],
             "the new roles")


@pytest.mark.parametrize("reloads", [pytest.param(50, marks=pytest.mark.threads),
                                     pytest.param(1000, marks=pytest.mark.release)])
def test_reloads_under_load_lose_no_request(secure, wire, world, connect, reloads):
    secured = secure(extra="watch: false")  # both files change, and one signal says so
    files = [secured.folder / name for name in ("api.pem", "api.key")]
    for path, source in zip(files, world.api):
        shutil.copy(source, path)
    address = f"tls:localhost:{secured.port}"
    load = subprocess.Popen(
        [str(BUILD / "pawlctl"), "--addr", address, "--tls-ca", str(world.ours.certificate),
         "--tls-cert", str(files[0]), "--tls-key", str(files[1]), "bench", "--rate",
         "1000000/hour", "--seconds", "600", "--connections", "4", "--in-flight", "1", "--keys",
         "100"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        # Who is started in the background by a shell inherits that it is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    try:
        wait_for(lambda: secured.figure("tls_connections") == 4, "the load")
        pairs = [world.server_two, world.server]
        status = connect(secured.daemon.unix)

        def taken():  # the log counts repeats in place of repeating them
            reply = status.call(stats=wire.Stats(prefix=b"tls_reloads"))
            return reply.stats.stats[0].value

        for i in range(reloads):
            replace(secured.key, pairs[i % 2][1])
            replace(secured.certificate, pairs[i % 2][0])
            secured.daemon.process.send_signal(signal.SIGHUP)
            wait_for(lambda: taken() > i, "reloaded")
        assert load.poll() is None, load.communicate()[0]
        figures = secured.daemon.status()
        assert figures["tls_reloads"] == reloads and figures["tls_clients_dismissed"] == 0
        assert figures["tls_handshakes"] == 4, "nobody had to come back"
        load.send_signal(signal.SIGINT)
        text, _ = load.communicate(timeout=PATIENCE_S)
        assert load.returncode in (0, -signal.SIGINT), text
    finally:
        load.kill()
        load.wait()


# ---- slow and many -----------------------------------------------------------------------------


def test_stalled_handshakes_hold_nobody_up_and_are_ended(secure, wire, world):
    secured = secure(more="  handshake_timeout: 2s\n  handshakes_max: 400")
    before = secured.open(wire, world.api)
    stalled = [Raw(secured.port) for _ in range(200)]
    for i, raw in enumerate(stalled):
        raw.socket.sendall(b"\x16\x03\x01\x02\x00"[: i % 6])  # none, or the beginning of a hello
    wait_for(lambda: secured.figure("tls_handshakes_under_way") == 200, "all of them there")
    assert before.call(check=check_request(wire, b"k")).status == wire.STATUS_OK
    assert secured.open(wire, world.api).call(ping=wire.Ping()).status == wire.STATUS_OK
    wait_for(lambda: secured.figure("tls_handshake_timeouts") == 200, "their end")
    for raw in stalled:
        assert raw.socket.recv(1) == b""
        raw.socket.close()


def test_more_handshakes_than_permitted_push_out_the_oldest(secure, wire, world):
    secured = secure(more="  handshakes_max: 8\n  handshake_timeout: 60s")
    stalled = [Raw(secured.port) for _ in range(50)]
    wait_for(lambda: secured.figure("tls_handshakes_crowded_out") >= 42, "the oldest gone")
    assert secured.figure("tls_handshakes_under_way") <= 8
    assert secured.open(wire, world.api).call(ping=wire.Ping()).status == wire.STATUS_OK
    for raw in stalled:
        raw.socket.close()


@pytest.mark.threads
def test_a_flood_of_handshakes_holds_nobody_up(secure, wire, world):
    secured = secure()
    connection = secured.open(wire, world.api)
    over = threading.Event()
    hello = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"

    def flood(real):
        context = secured.context(world.api)
        while not over.is_set():
            try:
                if real:
                    TlsConnection(wire, secured.port, context).close()
                else:
                    raw = Raw(secured.port)
                    raw.socket.sendall(hello)
                    raw.socket.close()
            except OSError:
                pass
    threads = [threading.Thread(target=flood, args=(i % 2 == 0,)) for i in range(6)]
    for thread in threads:
        thread.start()
    try:
        for i in range(300):
            reply = connection.call(check=check_request(wire, b"%d" % i))
            assert reply.status == wire.STATUS_OK
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert secured.figure("tls_handshakes") > 1


def test_half_a_record_is_given_as_long_as_half_a_frame(secure, wire, world):
    secured = secure(extra="server: {frame_timeout: 300ms}")
    context = secured.context(world.api)
    raw = Raw(secured.port)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            raw.socket.sendall(outgoing.read())
            incoming.write(raw.socket.recv(65536))
    raw.socket.sendall(outgoing.read())
    wait_for(lambda: secured.figure("tls_handshakes") == 1, "the handshake")
    tls.write(b"x" * 1000)
    raw.socket.sendall(outgoing.read()[:100])
    raw.socket.settimeout(PATIENCE_S)
    while raw.socket.recv(65536):
        pass
    assert secured.figure("edge_closed_slow_frame") == 1


# ---- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("spoil, word", [
    (lambda s, w: s.key.unlink(), "No such file"),
    (lambda s, w: replace(s.key, w.api[1]), "is not the key of certificate"),
    (lambda s, w: s.certificate.write_text("nothing"), "no PEM certificate"),
    (lambda s, w: s.ca.write_text(""), "no PEM certificate"),
    (lambda s, w: s.key.chmod(0o666), "others may write it"),
])
def test_files_that_do_not_hold_are_named(secure, make_daemon, world, tmp_path, spoil, word):
    secured = secure()
    spoil(secured, world)
    line = secured.reload("reload_refused")
    assert word in str(line) and str(secured.folder) in str(line), line


def test_an_encrypted_key_is_refused(secure, world, tmp_path):
    secured = secure()
    subprocess.run(["openssl", "pkey", "-in", str(world.server[1]), "-out", str(secured.key),
                    "-aes256", "-passout", "pass:secret"], check=True, capture_output=True)
    secured.key.chmod(0o600)
    assert "is encrypted" in str(secured.reload("reload_refused"))


def test_a_certificate_that_has_expired_is_served_with_a_warning(secure, world):
    secured = secure()
    pair = world.ours.leaf("server-expired", "DNS:localhost", expired=True)
    replace(secured.certificate, pair[0])
    replace(secured.key, pair[1])
    secured.reload()
    assert secured.daemon.event("tls_certificate_expired")
    assert secured.figure("tls_certificate_expires_s") == 1580515200

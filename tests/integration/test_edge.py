"""The daemon's edge against clients that are too many, slow, huge, half-open, late or lying."""

import os
import random
import resource
import signal
import socket
import struct
import subprocess
import time

import pytest

from conftest import BUILD, check_request, in_parallel, wait_for

UINT64_MAX = 2 ** 64 - 1


def later():
    return int(time.time()) + 3600


def stat(pawld, name):
    return pawld.ctl("status", name, check=0).json[name]


def ping(connection, wire):
    assert connection.call(ping=wire.Ping()).status == wire.STATUS_OK


def read_to_end(connection):
    """The replies until the stream ends; a reset counts as an end."""
    replies = []
    try:
        while (reply := connection.receive()) is not None:
            replies.append(reply)
    except ConnectionResetError:
        pass
    return replies


def revoke(wire, value, **fields):
    return wire.Revoke(scope=wire.SCOPE_TOKEN, value=value, exp=later(), **fields)


# ---- too many ----------------------------------------------------------------------------------


@pytest.mark.threads
def test_ten_thousand_idle_connections_at_a_small_descriptor_limit(make_daemon, connect, wire):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 10_500 and os.geteuid() != 0:
        pytest.skip(f"this process may open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 10_500), max(hard, 10_500)))
    pawld = make_daemon(start=False)
    pawld.start(wrap=["prlimit", "--nofile=1024:1024"])
    good = [connect(pawld.unix), connect(pawld.tcp_uri)]
    for connection in good:
        ping(connection, wire)
    idle = []
    try:
        for i in range(10_000):
            one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            # Blocking, so that a full backlog makes the connect wait and not fail.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 60, 0))
            one.connect(str(pawld.socket))
            idle.append(one)
            if i % 500 == 0:
                for connection in good:
                    ping(connection, wire)
        wait_for(lambda: any(s.name == b"edge_refused_descriptors" and s.value > 8000
                             for s in good[0].call(stats=wire.Stats()).stats.stats),
                 "the refusals")
        # The refused were told why, not left hanging.
        idle[-1].settimeout(60)
        told = wire.Reply.FromString(idle[-1].recv(4096)[4:])
        assert b"descriptors" in told.goaway.reason
        assert idle[-1].recv(10) == b""
        assert good[1].call(check=check_request(wire, b"k")).check.verdict == wire.VERDICT_ALLOW
        assert "LimitNOFILE" in str(pawld.event("edge_descriptors_out"))
    finally:
        for one in idle:
            one.close()
    wait_for(lambda: pawld.ctl("ping").code == 0, "room for new connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, max(hard, 10_500)))


@pytest.mark.parametrize("round_", range(3)) # a race of workers: not seen in each
def test_nobody_is_left_waiting_where_all_workers_are_out_of_descriptors(make_daemon, round_):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 10_500 and os.geteuid() != 0:
        pytest.skip(f"this process may open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 10_500), max(hard, 10_500)))
    pawld = make_daemon(config="server: {workers: 8}", start=False)
    pawld.start(wrap=["prlimit", "--nofile=600:600"])
    held = []

    def come(_):
        for _ in range(2500):
            one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            held.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 60, 0))
            one.connect(str(pawld.socket)) # BlockingIOError: nobody took it for a minute

    try:
        in_parallel(4, come)
    finally:
        for one in held:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, max(hard, 10_500)))


def test_one_connection_over_connections_max_is_told_and_room_comes_back(make_daemon, connect,
                                                                         wire):
    pawld = make_daemon(config="server: {connections_max: 5}")
    held = [connect(pawld.unix) for _ in range(5)]
    for connection in held:
        ping(connection, wire)
    refused = connect(pawld.tcp_uri)
    reply = refused.receive()
    assert b"connections_max" in reply.goaway.reason and reply.id == 0
    assert refused.receive() is None
    wait_for(lambda: pawld.event("edge_connections_max"), "the word of it in the log")
    held.pop().close()

    def again():
        connection = connect(pawld.unix)
        try:
            connection.send(connection.request(ping=wire.Ping()))
            reply = connection.receive()
        except (BrokenPipeError, ConnectionResetError):
            return False
        return reply is not None and reply.HasField("ping")

    wait_for(again, "room for a fifth")


@pytest.mark.threads
def test_more_in_flight_than_the_cap_waits_and_loses_nothing(make_daemon, connect, wire):
    pawld = make_daemon(config="server: {in_flight_max: 4}")
    connection = connect(pawld.unix)
    requests = [connection.request(revoke=revoke(wire, b"t%d" % i)) for i in range(200)]
    connection.send(*requests)
    answered = set()
    for _ in requests:
        reply = connection.receive()
        assert reply.revoke.acknowledged == wire.ACK_DURABLE
        answered.add(reply.id)
    assert answered == {request.id for request in requests}
    assert stat(pawld, "edge_reading_paused") > 0


# ---- slow, huge, half-open ---------------------------------------------------------------------


def test_a_client_that_never_reads_is_closed_and_others_go_on(make_daemon, connect, wire):
    pawld = make_daemon(config="server: {output_max: 2MiB, write_timeout: 300ms}")
    deaf, good = connect(pawld.unix), connect(pawld.unix)
    deaf.socket.settimeout(0.2)
    chunk = b"".join(deaf.frame(deaf.request(stats=wire.Stats())) for _ in range(200))

    def gone():
        ping(good, wire)
        try:
            deaf.socket.sendall(chunk)
        except TimeoutError:
            pass  # the daemon reads no more from who does not read: as it should
        except (BrokenPipeError, ConnectionResetError):
            return True
        return False

    wait_for(gone, "the end of the deaf one's connection")
    assert stat(pawld, "edge_closed_not_reading") >= 1
    assert pawld.event("edge_peer_closed") is not None
    ping(good, wire)


def test_a_frame_that_trickles_in_is_cut_at_its_timeout(make_daemon, connect, wire):
    pawld = make_daemon(config="server: {frame_timeout: 300ms}")
    slow, good = connect(pawld.unix), connect(pawld.unix)
    frame = iter(slow.frame(slow.request(check=check_request(wire, b"k" * 1000))))
    slow.socket.setblocking(False)

    def cut():
        ping(good, wire)
        try:
            slow.socket.send(bytes([next(frame)]))
            return slow.socket.recv(100) == b""
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError):
            return True

    wait_for(cut, "the cut")
    assert stat(pawld, "edge_closed_slow_frame") == 1
    assert stat(pawld, "keys") == 0


def test_an_idle_connection_is_closed_only_where_asked(make_daemon, connect, wire):
    pawld = make_daemon(config="server: {idle_timeout: 200ms}")
    connection = connect(pawld.tcp_uri)
    ping(connection, wire)
    last = read_to_end(connection)
    assert [reply.goaway.reason for reply in last] == [b"idle"]
    assert stat(pawld, "edge_closed_idle") >= 1


@pytest.mark.parametrize("transport", ["unix", "tcp_uri"])
def test_a_half_open_client_gets_what_it_asked_for(pawld, connect, wire, transport):
    connection = connect(getattr(pawld, transport))
    requests = [connection.request(check=check_request(wire, b"k%d" % i)) for i in range(50)]
    connection.send(*requests)
    connection.socket.shutdown(socket.SHUT_WR)
    replies = read_to_end(connection)
    assert [reply.id for reply in replies if reply.id] == [request.id for request in requests]
    wait_for(lambda: stat(pawld, "edge_sessions") <= 1, "the end of the session")


def test_many_connections_that_say_half_a_frame_cost_little_and_go(make_daemon, connect, wire):
    pawld = make_daemon(config="server: {frame_timeout: 500ms}")
    for _ in range(200):
        # Claims 64 KiB and brings ten bytes: a claimed length must not be allocated.
        connect(pawld.unix).socket.sendall(b"\x00\x00\xff\xf0" + b"\x08" * 10)
    wait_for(lambda: stat(pawld, "edge_closed_slow_frame") == 200, "the cut of all")
    assert stat(pawld, "edge_buffers_peak_bytes") < 4 << 20


@pytest.mark.parametrize("size", [0, 65537, 2 ** 31, 2 ** 32 - 1])
def test_a_length_that_cannot_be_is_told_and_closed(pawld, connect, wire, size):
    bad, good = connect(pawld.tcp_uri), connect(pawld.unix)
    bad.socket.sendall(struct.pack(">I", size))
    replies = read_to_end(bad)
    assert replies and replies[-1].HasField("goaway"), replies
    ping(good, wire)


# ---- deadlines ---------------------------------------------------------------------------------


def test_a_request_whose_deadline_has_passed_is_dropped_and_counted(make_daemon, connect, wire):
    pawld = make_daemon(config="server: {in_flight_max: 1}")
    connection = connect(pawld.unix)
    # One at a time, each behind an fsync: the last waits far longer than its millisecond.
    first = [connection.request(revoke=revoke(wire, b"t%d" % i)) for i in range(100)]
    late = connection.request(check=check_request(wire, b"late"), deadline_ms=1)
    patient = connection.request(check=check_request(wire, b"patient"), deadline_ms=600_000)
    connection.send(*first, late, patient)
    replies = {}
    for _ in range(len(first) + 2):
        reply = connection.receive()
        replies[reply.id] = reply
    assert replies[late.id].status == wire.STATUS_LATE and not replies[late.id].HasField("check")
    assert replies[patient.id].check.verdict == wire.VERDICT_ALLOW
    peek = connection.call(check=check_request(wire, b"late", op=wire.OP_PEEK))
    assert peek.check.results[0].count == 0
    assert stat(pawld, "requests_late") >= 1


# ---- hello -------------------------------------------------------------------------------------


def test_hello_names_version_roles_and_caps(pawld, connect, wire):
    hello = connect(pawld.unix).call(
        ping=wire.Ping(), hello=wire.Hello(version_min=1, version_max=9, client=b"test")).hello
    assert (hello.version, hello.frame_max, hello.in_flight_max) == (1, 65536, 1024)
    assert set(hello.roles) == {wire.ROLE_CHECK, wire.ROLE_READ, wire.ROLE_REVOKE, wire.ROLE_ADMIN}
    assert len(hello.node) == 16 and hello.server.startswith(b"pawld")
    over_tcp = connect(pawld.tcp_uri).call(ping=wire.Ping(), hello=wire.Hello(version_max=1)).hello
    assert set(over_tcp.roles) == {wire.ROLE_CHECK, wire.ROLE_READ}


def test_a_hello_may_travel_with_any_request(pawld, connect, wire):
    connection = connect(pawld.unix)
    durable = connection.call(hello=wire.Hello(version_max=1, namespace=b"tenant"),
                              revoke=wire.Revoke(scope=wire.SCOPE_SUBJECT, value=b"anna"))
    assert durable.status == wire.STATUS_OK and durable.hello.version == 1
    again = connection.call(stats=wire.Stats(prefix=b"version"))
    assert again.stats.stats[0].name == b"version" and not again.HasField("hello")


def test_a_hello_may_travel_with_a_check_and_zero_versions_mean_one(pawld, connect, wire):
    reply = connect(pawld.unix).call(check=check_request(wire, b"k"), hello=wire.Hello())
    assert reply.hello.version == 1
    assert reply.check.verdict == wire.VERDICT_ALLOW


def test_a_version_that_nobody_speaks_is_unsupported_and_closes(pawld, connect, wire):
    connection = connect(pawld.unix)
    reply = connection.call(ping=wire.Ping(), hello=wire.Hello(version_min=2, version_max=3))
    assert reply.status == wire.STATUS_UNSUPPORTED and b"version" in reply.error
    assert reply.hello.version == 1, "the daemon's highest, for the client's log"
    assert read_to_end(connection)[-1].HasField("goaway")


def test_the_namespace_of_hello_holds_until_a_request_names_its_own(pawld, connect, wire):
    tenant, plain = connect(pawld.unix), connect(pawld.unix)
    one = check_request(wire, b"k", rate=(1, 3_600_000))

    def verdict(connection, **fields):
        return connection.call(check=one, **fields).check.verdict

    assert verdict(tenant, hello=wire.Hello(version_max=1, namespace=b"acme")) == wire.VERDICT_ALLOW
    assert verdict(tenant) == wire.VERDICT_DENY
    assert verdict(plain) == wire.VERDICT_ALLOW  # "default" is another tenant
    assert verdict(plain, namespace=b"acme") == wire.VERDICT_DENY
    assert verdict(tenant, namespace=b"other") == wire.VERDICT_ALLOW
    assert verdict(tenant) == wire.VERDICT_DENY


def test_a_namespace_over_its_cap_is_refused(pawld, connect, wire):
    connection = connect(pawld.unix)
    reply = connection.call(ping=wire.Ping(), namespace=b"n" * 65)
    assert reply.status == wire.STATUS_INVALID
    hello = wire.Hello(version_max=1, namespace=b"n" * 65)
    assert connect(pawld.unix).call(ping=wire.Ping(), hello=hello).status != wire.STATUS_OK


# ---- every cold request ------------------------------------------------------------------------


def test_every_cold_request_over_the_wire(make_daemon, connect, wire):
    names = [f"limit{i:03}" for i in range(300)]
    pawld = make_daemon(config="limits:\n" + "".join(f"  {n}: {{rate: 5/hour}}\n" for n in names))
    call = connect(pawld.unix).call
    exp = later()

    item = dict(limit=b"limit000", key=[b"k"])
    charge = call(check=wire.Check(items=[wire.CheckItem(cost=3, **item)])).check.results[0].charge
    back = call(refund=wire.Refund(items=[wire.RefundItem(cost=2, charges=[charge], **item)]))
    assert list(back.refund.refunded) == [2]
    assert call(reset=wire.Reset(**item)).reset.records == 1

    fact = call(revoke=revoke(wire, b"jti", reason=wire.REASON_ADMIN, actor=b"op")).revoke
    assert (fact.acknowledged, fact.asked) == (wire.ACK_DURABLE, wire.ACK_DURABLE)
    assert len(fact.id.origin) == 16 and fact.id.sequence > 0
    assert call(token_check=wire.TokenCheck(token=wire.Token(jti=b"jti", exp=exp))
                ).token_check.reason == wire.REASON_ADMIN
    gone = call(unrevoke=wire.Unrevoke(ids=[fact.id])).unrevoke
    assert gone.canceled == 1 and gone.acknowledged == wire.ACK_DURABLE
    assert call(unrevoke=wire.Unrevoke(ids=[wire.FactId(origin=b"x" * 16, sequence=9)])
                ).status != wire.STATUS_OK

    family = call(family_open=wire.FamilyOpen(subject=b"anna", jti=b"r0", exp=exp)).family_open
    assert len(family.sid) == 36 and family.exp == exp
    turned = call(rotate=wire.Rotate(presented=wire.Token(sid=family.sid, jti=b"r0", exp=exp),
                                     next_jti=b"r1", next_exp=exp, verified=True)).rotate
    assert (turned.result, turned.generation, turned.row) == (wire.ROTATE_ROTATED, 1, 9)
    ended = call(family_end=wire.FamilyEnd(sid=family.sid, exp=exp)).family_end
    assert ended.acknowledged == wire.ACK_DURABLE

    view = call(view_get=wire.ViewGet()).view
    assert [m.state for m in view.members] == [b"serving"] and len(view.members[0].node) == 16
    figures = {s.name: s for s in call(stats=wire.Stats()).stats.stats}
    assert figures[b"frozen"].flag and figures[b"frozen"].value == 0
    assert {s.name for s in call(stats=wire.Stats(prefix=b"edge_")).stats.stats} == {
        name for name in figures if name.startswith(b"edge_")}

    listed, after, pages = [], b"", 0
    while True:
        page = call(limits=wire.Limits(after=after)).limits
        listed += [limit.name.decode() for limit in page.limits]
        pages += 1
        if not page.more:
            break
        after = page.limits[-1].name
    assert sorted(listed) == names and pages > 1
    assert [r.count for r in call(limits=wire.Limits(limit=b"limit007")).limits.limits[0].rates
            ] == [5]
    assert call(limits=wire.Limits(limit=b"nosuch")).status == wire.STATUS_NOT_FOUND

    assert call(thaw=wire.Thaw(lost_since=1)).status != wire.STATUS_OK  # nothing is frozen
    assert call(ping=wire.Ping()).HasField("ping")
    assert call(watch=wire.Watch(snapshot=True)).HasField("watch")


def test_an_unknown_body_is_unsupported_and_the_connection_stays(pawld, connect, wire):
    connection = connect(pawld.unix)
    for field in (36, 39, 100):
        tag = field << 3 | 2
        body = b"\x08\x07" + bytes([tag & 0x7F | 0x80, tag >> 7]) + b"\x00"
        connection.socket.sendall(struct.pack(">I", len(body)) + body)
        reply = connection.receive()
        assert (reply.id, reply.status) == (7, wire.STATUS_UNSUPPORTED), (field, reply)
    ping(connection, wire)


def test_a_request_without_a_body_is_invalid(pawld, connect, wire):
    connection = connect(pawld.unix)
    connection.send(wire.Request(id=5))
    reply = connection.receive()
    assert (reply.id, reply.status) == (5, wire.STATUS_INVALID)


# ---- roles -------------------------------------------------------------------------------------


def as_user(uid, gid, address, data):
    """What a process of another user gets for @data, as raw bytes."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.settimeout(60)
                sock.connect(address)
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                while got := sock.recv(65536):
                    os.write(write, got)
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        got = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, got


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_roles_on_a_unix_socket_go_by_the_peer_s_user_and_group(make_daemon, connect, wire):
    nobody, nogroup = 65534, 65534
    pawld = make_daemon(start=False, tcp=False, config="limits: {}")
    path = pawld.socket
    os.chmod(pawld.folder, 0o755)
    pawld.config = f"http: off\nlisten: [{{uri: 'unix:{path}', mode: '0666'}}]"
    plain = pawld.command

    def command():
        made = plain()
        at = made.index("--listen")
        return made[:at] + made[at + 2:]

    pawld.command = command
    pawld.start()
    assert os.stat(path).st_mode & 0o777 == 0o666
    frames = connect(pawld.unix)
    requests = [frames.request(check=check_request(wire, b"k")), frames.request(stats=wire.Stats()),
                frames.request(revoke=revoke(wire, b"t")),
                frames.request(reset=wire.Reset(limit=b"l", key=[b"k"])),
                frames.request(ping=wire.Ping())]
    data = b"".join(frames.frame(request) for request in requests)

    def statuses(got):
        found = []
        while got:
            size = struct.unpack(">I", got[:4])[0]
            reply = wire.Reply.FromString(got[4:4 + size])
            got = got[4 + size:]
            if reply.id:
                found.append((reply.id, reply.status))
        return [status for _, status in sorted(found)]

    code, got = as_user(nobody, nogroup, str(path), data)
    assert code == 0
    assert statuses(got) == [wire.STATUS_DENIED] * 4 + [wire.STATUS_OK]
    assert pawld.status()["requests_forbidden"] == 4
    assert pawld.status()["revocations"] == 0
    # The mode keeps strangers out altogether.
    os.chmod(path, 0o660)
    assert as_user(nobody, nogroup, str(path), data)[0] != 0


# ---- drain -------------------------------------------------------------------------------------


@pytest.mark.threads
def test_sigterm_under_load_answers_every_request_it_accepted(make_daemon, connect, wire):
    pawld = make_daemon()
    connections = [connect(pawld.unix) for _ in range(3)] + [connect(pawld.tcp_uri)]
    sent, acked, said_goodbye = {}, [], False

    def ask(connection, i):
        if connection is not connections[3] and i % 3 == 0:
            return connection.request(revoke=revoke(wire, b"t%d" % len(sent)))
        return connection.request(check=check_request(wire, b"k", rate=(10 ** 9, 60000)))

    def take(connection, reply):
        if reply.HasField("goaway"):
            connection.last_id = reply.goaway.last_id
            return
        request = sent[connection].pop(reply.id)
        assert reply.status == wire.STATUS_OK, reply
        if request.HasField("revoke"):
            acked.append(request.revoke.value)

    for connection in connections:
        sent[connection] = {}
        connection.last_id = None
        requests = [ask(connection, i) for i in range(300)]
        sent[connection].update({request.id: request for request in requests})
        connection.send(*requests)
    # Not before the first answer, so that all are in the middle of it.
    take(connections[0], connections[0].receive())
    pawld.process.send_signal(signal.SIGTERM)
    for connection in connections:
        while (reply := connection.receive()) is not None:
            first = connection.last_id is None and reply.HasField("goaway")
            take(connection, reply)
            if first:
                assert connection.last_id == UINT64_MAX  # go on reading: all was accepted
        # After the last word: nothing up to last_id is left without an answer.
        assert connection.last_id is not None and connection.last_id < UINT64_MAX
        left = [id_ for id_ in sent[connection] if id_ <= connection.last_id]
        assert not left, f"{len(left)} accepted requests without an answer"
        assert not sent[connection], "what was sent before the goaway was not read"
    assert pawld.process.wait(60) == 0
    pawld.start()
    again = connect(pawld.unix)
    for value in acked:
        token = wire.Token(jti=value, exp=later())
        assert again.call(token_check=wire.TokenCheck(token=token)
                          ).token_check.status == wire.TOKEN_REVOKED


@pytest.mark.threads
def test_a_drain_is_not_held_up_for_ever_by_slow_clients(make_daemon, connect, wire):
    pawld = make_daemon(config="server: {drain_timeout: 600ms, output_max: 2MiB}")
    half, deaf, good = connect(pawld.unix), connect(pawld.unix), connect(pawld.tcp_uri)
    half.socket.sendall(b"\x00\x00\x01\x00half")
    deaf.socket.settimeout(0.2)
    try:
        while True:
            deaf.send(*[deaf.request(stats=wire.Stats()) for _ in range(100)])
    except TimeoutError:
        pass
    good.send(*[good.request(check=check_request(wire, b"k")) for _ in range(20)])
    pawld.process.send_signal(signal.SIGTERM)
    replies = read_to_end(good)
    assert sum(reply.HasField("check") for reply in replies) == 20
    assert pawld.process.wait(60) == 0
    assert any(reply.HasField("goaway") for reply in read_to_end(half))
    assert pawld.event("drain_cut") is not None


def test_a_second_sigterm_exits_at_once_and_loses_nothing_acknowledged(make_daemon, connect, wire):
    pawld = make_daemon(config="server: {drain_timeout: 1h, frame_timeout: 1h}")
    pawld.ctl("revoke", "token", "--jti", "a", "--exp", later(), check=0)
    holding = connect(pawld.unix)
    holding.socket.sendall(b"\x00\x00\x01\x00half")
    ping(connect(pawld.unix), wire)
    pawld.process.send_signal(signal.SIGTERM)
    wait_for(lambda: pawld.event("draining"), "the drain")
    assert holding.receive().HasField("goaway")
    assert pawld.process.poll() is None
    pawld.process.send_signal(signal.SIGTERM)
    assert pawld.process.wait(60) == 1
    pawld.start()
    pawld.ctl("token", "check", "--jti", "a", "--exp", later(), check=1)


def test_a_draining_daemon_takes_no_new_connections(make_daemon, connect):
    pawld = make_daemon(config="server: {drain_timeout: 1h, frame_timeout: 1h}")
    holding = connect(pawld.unix)
    holding.socket.sendall(b"\x00\x00\x01\x00half")
    pawld.process.send_signal(signal.SIGTERM)
    assert holding.receive().HasField("goaway")
    wait_for(lambda: not pawld.socket.exists(), "the socket's end")
    assert pawld.ctl("ping").code == 3
    with pytest.raises(ConnectionRefusedError):
        connect(pawld.tcp_uri)


# ---- a process that stood still ----------------------------------------------------------------


def test_a_daemon_that_stood_still_judges_with_the_right_time(pawld, connect, wire):
    window_ms = 3000
    connection = connect(pawld.unix)
    two = check_request(wire, b"k", rate=(2, window_ms))
    begun = time.monotonic()
    assert [connection.call(check=two).check.verdict for _ in range(3)] == [
        wire.VERDICT_ALLOW, wire.VERDICT_ALLOW, wire.VERDICT_DENY]
    charged = time.monotonic()
    pawld.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: "T" in open(f"/proc/{pawld.process.pid}/stat").read().split()[2], "the stop")
    # pawlctl gives up at its deadline: nobody said yes or no.
    gave_up = subprocess.run([BUILD / "pawlctl", "--addr", pawld.unix, "--deadline", "100ms",
                              "check", "--rate", "1/minute", "other"], capture_output=True)
    assert gave_up.returncode == 3
    early = connection.request(check=two)
    connection.send(early)  # waits in the socket meanwhile
    wait_for(lambda: time.monotonic() - charged > window_ms / 1000, "a window", 10)
    pawld.process.send_signal(signal.SIGCONT)
    # Judged when it is read, with the time of then: the window has passed.
    assert connection.receive().check.verdict == wire.VERDICT_ALLOW
    result = connection.call(check=two).check
    assert (result.verdict, result.results[0].count) == (wire.VERDICT_ALLOW, 2)
    assert connection.call(check=two).check.verdict == wire.VERDICT_DENY
    assert time.monotonic() > begun + window_ms / 1000
    pawld.ctl("ping", check=0)
    assert pawld.ctl("token", "check", "--jti", "a", "--exp", later(), check=0).json["fresh"]


# ---- lies --------------------------------------------------------------------------------------


def samples(wire):
    """One good request of each kind."""
    exp = later()
    token = wire.Token(issuer=b"i", jti=b"j", subject=b"s", client=b"c", key=b"k", sid=b"f",
                       iat=exp - 60, exp=exp)
    rates = [wire.Rate(count=5, window_ms=60000), wire.Rate(count=50, window_ms=3600000)]
    bodies = [
        {"check": wire.Check(items=[wire.CheckItem(key=[b"a", b"b"], cost=2, rates=rates,
                                                   precision=8, on_error=2),
                                    wire.CheckItem(limit=b"l", key=[b"z"], tier=b"t")],
                             mode=1, token=token)},
        {"token_check": wire.TokenCheck(token=token)},
        {"refund": wire.Refund(items=[wire.RefundItem(key=[b"a"], cost=1, rates=rates,
                                                      charges=[7, 8])])},
        {"reset": wire.Reset(key=[b"a"], rates=rates)},
        {"revoke": revoke(wire, b"fuzzed", issuer=b"i", actor=b"fuzz")},
        {"unrevoke": wire.Unrevoke(ids=[wire.FactId(origin=b"o" * 16, sequence=3)])},
        {"rotate": wire.Rotate(presented=token, generation=3, has_generation=True, next_jti=b"n",
                               next_exp=exp, leeway_ms=10, has_leeway=True, request_id=b"r")},
        {"family_open": wire.FamilyOpen(issuer=b"i", subject=b"s", client=b"c", jti=b"j", exp=exp)},
        {"family_end": wire.FamilyEnd(issuer=b"i", sid=b"f", reason=1, exp=exp)},
        {"watch": wire.Watch(cursors=[wire.Cursor(origin=b"o" * 16, sequence=1)])},
        {"view_get": wire.ViewGet()},
        {"stats": wire.Stats(prefix=b"edge")},
        {"limits": wire.Limits(limit=b"l", after=b"a")},
        {"thaw": wire.Thaw(lost_since=1, actor=b"a")},
        {"ping": wire.Ping()},
    ]
    hello = wire.Hello(version_min=1, version_max=1, namespace=b"n", client=b"fuzz")
    made = []
    for index, body in enumerate(bodies):
        made.append(wire.Request(id=index + 1, **body))
        made.append(wire.Request(id=index + 1, deadline_ms=1000, namespace=b"ns", hello=hello,
                                 **body))
    return [request.SerializeToString() for request in made]


def mutated(generator, body):
    body = bytearray(body)
    way = generator.randrange(4)
    if way == 0 and body:
        del body[generator.randrange(len(body)):]
    elif way == 1:
        at = generator.randrange(len(body) + 1)
        body[at:at] = generator.randbytes(generator.randrange(1, 9))
    for _ in range(generator.randrange(4) if way < 2 else generator.randrange(1, 5)):
        if body:
            body[generator.randrange(len(body))] ^= 1 << generator.randrange(8)
    frame = bytearray(struct.pack(">I", len(body)) + body)
    if way == 3 and generator.random() < 0.2:  # the length itself, so that frames run together
        frame[generator.randrange(4)] ^= 1 << generator.randrange(8)
    return bytes(frame)


@pytest.mark.threads
def test_thousands_of_mutated_frames_harm_nobody(make_daemon, connect, wire):
    seed = int(os.environ.get("PAWL_SEED", time.time_ns() % 2 ** 32))
    print(f"PAWL_SEED={seed}")
    generator = random.Random(seed)
    pawld = make_daemon(config="limits: {l: {rate: 5/minute}}\nserver: {frame_timeout: 1s}")
    good = connect(pawld.unix)
    bodies = samples(wire)
    for round_ in range(600):
        bad = connect(pawld.unix if round_ % 2 else pawld.tcp_uri)
        data = b"".join(mutated(generator, generator.choice(bodies)) for _ in range(8))
        try:
            bad.socket.sendall(data)
            bad.socket.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError, OSError):
            pass
        for reply in read_to_end(bad):  # each a whole message with a status or a goaway
            assert reply.HasField("goaway") or reply.status != wire.STATUS_NONE, reply
        bad.close()
        if round_ % 20 == 0:
            ping(good, wire)
            assert good.call(check=check_request(wire, b"ok", rate=(10 ** 6, 60000))
                             ).check.verdict == wire.VERDICT_ALLOW
    status = pawld.status()
    assert status["frozen"] is False and status["edge_closed_malformed"] > 0
    assert pawld.stop() == 0
    pawld.start()
    assert pawld.status()["frozen"] is False

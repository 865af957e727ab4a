"""Each setting, seen by what it changes in a running daemon; tests/unit/settings_effects.h lists
which test sees which. Those of the edge, of tokens and of limits that need more room have files of
their own.
"""

import ctypes
import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest

import web
from conftest import BUILD, PATIENCE_S, wait_for

NOW = 1_800_000_000
#: What has its time set to a fraction of a second is over by then; what kept the default of the
#: settings (10 s) or of the edge (5 s) is not.
BELOW_DEFAULT_S = 4


def at(pawld, seconds, *arguments, **options):
    return pawld.ctl("--now", int(seconds * 1000), *arguments, **options)


def later():
    return int(time.time()) + 3600


def stat(pawld, name):
    return pawld.ctl("status", name, check=0).json[name]


def opened(pawld, when=NOW, **options):
    return at(pawld, when, "family", "open", "--sub", "anna", "--jti", "r0", "--exp", NOW + 86400,
              check=0, **options).json["sid"]


def rotate(pawld, when, sid, old, new, *more):
    return at(pawld, when, "rotate", "--sid", sid, "--from", old, "--to", new, "--exp",
              NOW + 86400, *more).json["result"]


def revokes(connection, wire, count):
    return [connection.request(revoke=wire.Revoke(scope=wire.SCOPE_TOKEN, value=b"t%d" % i,
                                                  exp=later())) for i in range(count)]


def replies_of(connection, count):
    return [connection.receive() for _ in range(count)]


def is_closed(connection):
    """What has come by now; True when the stream has ended."""
    connection.socket.setblocking(False)
    try:
        while connection.socket.recv(65536):
            pass
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True


# ---- listen ------------------------------------------------------------------------------------


def test_a_listener_grants_its_role_only(make_daemon):
    pawld = make_daemon("--set", 'listen=["unix:all", {uri: "unix:few", role: check}]', start=False)
    # Relative to the working directory of pawld, which is not ours.
    pawld.arguments[1] = pawld.arguments[1].replace("unix:", f"unix:{pawld.folder}/")
    pawld.socket = pawld.folder / "all"
    pawld.start()
    few = f"unix:{pawld.folder}/few"
    pawld.ctl("revoke", "subject", "--sub", "s", check=0)
    pawld.ctl("check", "--rate", "5/minute", "k", addr=few, check=0)
    assert pawld.ctl("status", addr=few).code not in (0, 1)
    assert pawld.ctl("revoke", "subject", "--sub", "s", addr=few).code not in (0, 1)


def test_a_socket_has_the_mode_of_its_listener(make_daemon):
    pawld = make_daemon(start=False)
    uris = {f"{pawld.folder}/a": "0600", f"{pawld.folder}/b": "0666", f"{pawld.folder}/c": None}
    listen = ", ".join(f'{{uri: "unix:{path}"' + (f", mode: {mode}}}" if mode else "}")
                       for path, mode in uris.items())
    pawld.arguments = ["--set", f"listen=[{listen}]"]
    pawld.socket = pawld.folder / "a"
    pawld.start()
    modes = {path: os.stat(path).st_mode & 0o777 for path in uris}
    assert list(modes.values()) == [0o600, 0o666, 0o660]


# ---- secrets -----------------------------------------------------------------------------------


def secret_file(folder, name):
    path = folder / name
    path.write_bytes(os.urandom(32))
    path.chmod(0o600)
    return path


def test_the_secret_is_read_from_its_file(make_daemon):
    pawld = make_daemon(start=False, config="secret_file: one")
    secret_file(pawld.folder, "one")
    pawld.start()
    pawld.ctl("revoke", "subject", "--sub", "anna", check=0)
    assert not (pawld.data_dir / "secret").exists()
    pawld.stop()
    pawld.start()
    pawld.stop()
    secret_file(pawld.folder, "one")  # another one under the same name
    pawld.start(wait=False)
    assert pawld.process.wait(PATIENCE_S) != 0
    assert "secret" in str(pawld.log())


def test_both_secrets_are_looked_up(make_daemon):
    pawld = make_daemon(start=False, config="secret_file: old")
    secret_file(pawld.folder, "old")
    secret_file(pawld.folder, "new")
    pawld.start()
    exp = later()
    pawld.ctl("revoke", "token", "--jti", "a", "--exp", exp, check=0)
    sid = pawld.ctl("family", "open", "--sub", "anna", "--jti", "r0", "--exp", exp,
                    check=0).json["sid"]
    pawld.config = "secret_files: [new, old]"
    pawld.restart()
    for old, new in (("r0", "r1"), ("r1", "r2")):  # a family of the old secret goes on
        assert pawld.ctl("rotate", "--sid", sid, "--from", old, "--to", new, "--exp", exp,
                         check=0).json["result"] == "rotated"
    pawld.ctl("token", "check", "--jti", "a", "--exp", exp, check=1)
    pawld.ctl("revoke", "token", "--jti", "b", "--exp", exp, check=0)
    pawld.restart()
    for jti in ("a", "b"):
        pawld.ctl("token", "check", "--jti", jti, "--exp", exp, check=1)
    # Not with the new one alone: what the old one wrote could not be checked.
    pawld.stop()
    pawld.config = "secret_file: new"
    pawld.start(wait=False)
    wait_for(lambda: pawld.process.poll() is not None or pawld.event("ready"), "start or end")
    assert pawld.event("ready") is None or pawld.status()["frozen"], pawld.log()


# ---- memory ------------------------------------------------------------------------------------


def flood(pawld, limit, requests):
    """With far more keys, so that every shard of the table is full."""
    pawld.ctl("bench", "--limit", limit, "--keys", 1 << 30, "--requests", requests,
              "--connections", 4, "--in-flight", 64, check=0)


FLOODED = """
memory_max: 8MiB
limits:
  fill: {rate: 5/day}
  shared: {rate: 5/day, when_full: overflow}
  open: {rate: 1/day, when_full: open}
  closed: {rate: 5/day, when_full: closed}
"""


@pytest.fixture
def flooded(make_daemon):
    pawld = make_daemon(config=FLOODED)
    for limit in ("shared", "open", "closed"):
        pawld.ctl("check", f"{limit}=early", check=0)
    flood(pawld, "fill", 400_000)
    return pawld


def test_a_flood_of_keys_stays_under_the_ceiling(flooded):
    status = flooded.status()
    assert status["memory_max_bytes"] == 8 << 20
    assert status["memory_records_bytes"] + status["memory_index_bytes"] <= 8 << 20
    assert status["keys"] < 400_000 and status["limiter_overflowed"] > 0


def test_when_full_rules_new_keys(flooded):
    # A key that has its record counts in it, whatever when_full says.
    assert flooded.ctl("check", "open=early").code == 1
    flooded.ctl("check", "closed=early", check=0)
    flooded.ctl("check", "closed=late", check=1)
    assert [flooded.ctl("check", "open=late").code for _ in range(3)] == [0, 0, 0]
    codes = [flooded.ctl("check", "shared=late").code for _ in range(6)]
    assert codes == [0, 0, 0, 0, 0, 1], "a shared cell counts like any window"


def test_revocations_beyond_the_maximum_are_refused(make_daemon, connect, wire):
    pawld = make_daemon(config="revocations_max: 1024")
    connection = connect(pawld.unix)
    requests = revokes(connection, wire, 1100)
    connection.send(*requests)
    replies = {reply.id: reply for reply in replies_of(connection, len(requests))}
    taken = [i for i, request in enumerate(requests)
             if replies[request.id].status == wire.STATUS_OK]
    assert len(taken) == 1024
    refused = next(r for r in replies.values() if r.status != wire.STATUS_OK)
    assert b"revocations_max" in refused.error
    for i in (taken[0], taken[-1]):
        pawld.ctl("token", "check", "--jti", f"t{i}", "--exp", later(), check=1)
    status = pawld.status()
    assert (status["revocations"], status["frozen"]) == (1024, False)
    assert status["revocations_refused"] >= len(requests) - 1024
    pawld.restart()
    assert pawld.status()["revocations"] == 1024


# ---- limits ------------------------------------------------------------------------------------


def test_a_limit_belongs_to_its_namespace(make_daemon):
    pawld = make_daemon(config="limits: {l: {rate: 1/hour, namespace: shop}}")
    assert [pawld.ctl("--ns", "shop", "check", "l=k").code for _ in range(2)] == [0, 1]
    assert pawld.ctl("check", "l=k").code not in (0, 1)


def test_two_namespaces_have_a_limit_of_one_name(make_daemon):
    pawld = make_daemon(config="""
limits:
  a-login: {name: login, namespace: a, rate: 1/hour}
  b-login: {name: login, namespace: b, rate: 2/hour}
""")
    assert [pawld.ctl("--ns", "a", "check", "login=k").code for _ in range(2)] == [0, 1]
    assert [pawld.ctl("--ns", "b", "check", "login=k").code for _ in range(3)] == [0, 0, 1]
    assert pawld.ctl("--ns", "a", "check", "a-login=k").code not in (0, 1)


def test_precision_rules_how_late_room_opens(make_daemon):
    pawld = make_daemon("--test-clock", config="""
limits:
  fine: {rate: 3/minute}
  rough: {rate: 3/minute, precision: 2}
""")
    for second in (0, 10, 20):
        for limit in ("fine", "rough"):
            at(pawld, NOW + second, "check", f"{limit}=k", check=0)
    at(pawld, NOW + 61, "check", "fine=k", check=0)
    at(pawld, NOW + 61, "check", "rough=k", check=1)  # 0 and 10 (or 20) left as one
    at(pawld, NOW + 81, "check", "rough=k", check=0)


# ---- tokens ------------------------------------------------------------------------------------


def token(pawld, when, *arguments):
    return at(pawld, when, "token", "check", "--jti", "j", *arguments).json


def test_a_token_that_lives_too_long_is_invalid(make_daemon):
    pawld = make_daemon("--test-clock", "--set", "tokens.max_lifetime=7d")
    week = 7 * 86400
    assert token(pawld, NOW, "--iat", NOW, "--exp", NOW + week)["status"] == "valid"
    answer = token(pawld, NOW, "--iat", NOW, "--exp", NOW + week + 1)
    assert (answer["status"], answer["reason"]) == ("invalid", "lifetime")
    # The store's retention is the same setting.
    cutoff = at(pawld, NOW, "revoke", "subject", "--sub", "anna", check=0).json
    assert NOW + week <= cutoff["until"] < NOW + week + 2 * 86400


def test_exp_and_iat_have_the_skew(make_daemon):
    for skew, late, early in (("0s", "expired", "invalid"), ("60s", "valid", "valid")):
        pawld = make_daemon("--test-clock", "--set", f"tokens.skew={skew}")
        assert token(pawld, NOW, "--exp", NOW - 30)["status"] == late
        assert token(pawld, NOW, "--iat", NOW + 30, "--exp", NOW + 900)["status"] == early


def after_a_standstill(pawld, connection, wire, stands_ms):
    """The verdict of a daemon that stood still, before its next tick made the data fresh again:
    as often as it takes to come before that tick."""
    exp = later()

    def stand():
        pawld.process.send_signal(signal.SIGSTOP)
        try:
            until = time.monotonic() + stands_ms / 1000
            wait_for(lambda: time.monotonic() > until, "the standstill")
            request = connection.request(token_check=wire.TokenCheck(
                token=wire.Token(jti=b"j", exp=exp)))
            connection.send(request)
        finally:
            pawld.process.send_signal(signal.SIGCONT)
        answer = connection.receive().token_check
        return None if answer.fresh else answer

    return wait_for(stand, "an answer from stale data")


@pytest.mark.parametrize("settings, status", [
    (["when_stale=undecided"], "UNDECIDED"),
    (["when_stale=accept"], "VALID"),
    (["when_stale=accept_until", "stale_accept_max=1h"], "VALID"),
    (["when_stale=accept_until", "stale_accept_max=251ms"], "UNDECIDED"),
])
def test_stale_data_gives_what_when_stale_says(make_daemon, connect, wire, settings, status):
    arguments = ["--set", "tokens.staleness_max=250ms", "--set", "server.workers=1"]
    for setting in settings:
        arguments += ["--set", f"tokens.{setting}"]
    pawld = make_daemon(*arguments)
    answer = after_a_standstill(pawld, connect(pawld.unix), wire, 400)
    assert answer.status == getattr(wire, f"TOKEN_{status}")
    assert 250 < answer.staleness_ms < 5000, "the default would have called it fresh"
    wait_for(lambda: stat(pawld, "staleness_ms") <= 250, "fresh data")


def test_a_token_older_than_the_store(make_daemon):
    for word, status in (("accept", "valid"), ("undecided", "undecided")):
        pawld = make_daemon("--set", f"tokens.older_than_store={word}")
        before = ["token", "check", "--jti", "j", "--exp", later(), "--iat", int(time.time()) - 60]
        assert pawld.ctl(*before).json["status"] == status


# ---- rotation ----------------------------------------------------------------------------------


def test_soft_mode_only_says_raced(make_daemon):
    pawld = make_daemon("--test-clock", "--set", "rotation.mode=soft")
    sid = opened(pawld)
    assert rotate(pawld, NOW + 1, sid, "r0", "r1") == "rotated"
    assert rotate(pawld, NOW + 2, sid, "r0", "other") == "raced"


@pytest.mark.parametrize("word, family, subject", [
    ("deny", "rotated", "valid"),
    ("revoke_family", "revoked", "valid"),
    ("revoke_subject", "revoked", "revoked"),
])
def test_on_reuse_rules_what_ends(make_daemon, word, family, subject):
    pawld = make_daemon("--test-clock", "--set", f"rotation.on_reuse={word}")
    sid = opened(pawld)
    rotate(pawld, NOW + 1, sid, "r0", "r1")
    rotate(pawld, NOW + 2, sid, "r1", "r2")
    assert rotate(pawld, NOW + 3, sid, "r0", "thief") == "reuse"
    assert rotate(pawld, NOW + 4, sid, "r2", "r3") == family
    other = token(pawld, NOW + 5, "--sub", "anna", "--iat", NOW, "--exp", NOW + 900)
    assert other["status"] == subject


@pytest.mark.parametrize("word, then", [("deny", "rotated"), ("revoke_family", "revoked")])
def test_on_mismatch_may_end_the_family(make_daemon, word, then):
    pawld = make_daemon("--test-clock", "--set", f"rotation.on_mismatch={word}")
    sid = opened(pawld)
    assert rotate(pawld, NOW + 1, sid, "r0", "x", "--sub", "mallory") == "mismatch"
    assert rotate(pawld, NOW + 2, sid, "r0", "r1", "--sub", "anna") == then


def test_an_idle_family_ends(make_daemon):
    pawld = make_daemon("--test-clock", "--set", "rotation.idle_max=1m")
    sid = opened(pawld)
    assert rotate(pawld, NOW + 59, sid, "r0", "r1") == "rotated"
    assert rotate(pawld, NOW + 118, sid, "r1", "r2") == "rotated"
    assert rotate(pawld, NOW + 200, sid, "r2", "r3") in ("expired", "family_expired")


def test_adoption_has_a_deadline(make_daemon):
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW - 100))
    pawld = make_daemon("--test-clock", "--set", f"rotation.adopt_before={stamp}")

    def adopt(jti, iat):
        return at(pawld, NOW, "rotate", "--from", jti, "--to", jti + "2", "--exp", NOW + 900,
                  "--from-iat", iat, "--from-exp", NOW + 900, "--sub", "anna", "--adopt",
                  "--verified").json["result"]

    assert adopt("old", NOW - 101) == "adopted"
    assert adopt("young", NOW - 99) != "adopted"


# ---- server ------------------------------------------------------------------------------------


def test_workers_are_as_many_as_set(make_daemon):
    pawld = make_daemon("--set", "server.workers=3")
    assert stat(pawld, "edge_workers") == 3 and pawld.event("ready")["workers"] == 3


def test_in_flight_max_is_in_hello_and_held(make_daemon, connect, wire):
    pawld = make_daemon("--set", "server.in_flight_max=8")
    hello = connect(pawld.unix).call(ping=wire.Ping(), hello=wire.Hello(version_max=1)).hello
    assert hello.in_flight_max == 8
    connection = connect(pawld.unix)
    connection.send(*revokes(connection, wire, 100))
    assert all(reply.status == wire.STATUS_OK for reply in replies_of(connection, 100))
    # No more than these can wait for one commit.
    assert 1 <= stat(pawld, "store_batch_largest") <= 8


def test_answers_that_wait_are_capped(make_daemon):
    """That it closes is in test_server_limits.c: from outside, reading stops long before."""
    pawld = make_daemon("--set", "server.output_max=3MiB")
    assert stat(pawld, "edge_output_max_bytes") == 3 << 20


def test_buffers_of_all_connections_are_capped(make_daemon, connect, wire):
    pawld = make_daemon(config="server: {buffers_max: 8MiB, frame_timeout: 1h, workers: 1}")
    good = connect(pawld.unix)
    assert good.call(ping=wire.Ping()).status == wire.STATUS_OK
    for _ in range(300):
        half = connect(pawld.unix).socket
        half.setblocking(False)
        try:
            half.send(b"\x00\x00\xff\xff" + b"\x0a" * 60_000)
        except OSError:
            pass  # turned away already

    def refused():
        return any(s.value for s in good.call(stats=wire.Stats(prefix=b"edge_refused_memory")
                                              ).stats.stats)

    wait_for(refused, "the first that found no buffer")
    figures = {s.name: s.value for s in good.call(stats=wire.Stats(prefix=b"edge_buffers")
                                                  ).stats.stats}
    assert figures[b"edge_buffers_max_bytes"] == 8 << 20
    assert 4 << 20 < figures[b"edge_buffers_peak_bytes"] <= 8 << 20


def test_backlog_is_that_of_the_socket(make_daemon):
    pawld = make_daemon("--set", "server.backlog=5")
    waiting = []
    tasks = pathlib.Path(f"/proc/{pawld.process.pid}/task")
    pawld.process.send_signal(signal.SIGSTOP)
    # a thread on another processor goes on until it hears of it
    wait_for(lambda: all(task.read_text().rpartition(")")[2].split()[0] == "T"
                         for task in tasks.glob("*/stat")), "every thread stopped")
    try:
        for _ in range(20):
            one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            one.setblocking(False)
            waiting.append(one)
            one.connect(str(pawld.socket))
        raise AssertionError("20 connections wait behind a backlog of 5")
    except BlockingIOError:
        assert len(waiting) - 1 == 6  # Linux lets one more wait
    finally:
        pawld.process.send_signal(signal.SIGCONT)
        for one in waiting:
            one.close()


def test_half_a_frame_is_closed_after_its_time(make_daemon, connect):
    pawld = make_daemon("--set", "server.frame_timeout=200ms")
    half = connect(pawld.unix)
    half.socket.sendall(b"\x00\x00\x01\x00half")
    wait_for(lambda: is_closed(half), "the end", patience_s=BELOW_DEFAULT_S)
    assert stat(pawld, "edge_closed_slow_frame") == 1


def test_unread_answers_are_closed_after_their_time(make_daemon, connect, wire):
    pawld = make_daemon("--set", "server.write_timeout=200ms")
    deaf, good = connect(pawld.unix), connect(pawld.unix)
    # More answers than the socket's buffers hold, and less than output_max.
    deaf.send(*[deaf.request(stats=wire.Stats()) for _ in range(400)])
    wait_for(lambda: any(s.value for s in good.call(stats=wire.Stats(prefix=b"edge_closed_not")
                                                    ).stats.stats),
             "the end", patience_s=BELOW_DEFAULT_S)


def test_drain_ends_at_its_time(make_daemon, connect, wire):
    pawld = make_daemon("--set", "server.drain_timeout=200ms", "--set", "server.write_timeout=1h")
    deaf = connect(pawld.unix)
    deaf.socket.settimeout(0.2)
    try:
        while True:
            deaf.send(*[deaf.request(stats=wire.Stats()) for _ in range(100)])
    except TimeoutError:
        pass  # the daemon has answers that nobody reads
    process = pawld.process
    process.send_signal(signal.SIGTERM)
    assert process.wait(BELOW_DEFAULT_S) == 0
    assert pawld.event("draining")["timeout_ms"] == 200 and pawld.event("drain_cut") is not None


def socket_options(pawld, port, *options):
    """The options of the daemon's listening TCP socket, through a descriptor borrowed from it."""
    inode = None
    for line in open("/proc/net/tcp"):
        parts = line.split()
        if parts[1].endswith(f":{port:04X}") and parts[3] == "0A":
            inode = parts[9]
    folder = f"/proc/{pawld.process.pid}/fd"
    number = next(int(fd) for fd in os.listdir(folder)
                  if os.readlink(f"{folder}/{fd}") == f"socket:[{inode}]")
    pidfd = os.pidfd_open(pawld.process.pid)
    libc = ctypes.CDLL(None, use_errno=True)
    copy = libc.syscall(438, pidfd, number, 0)  # pidfd_getfd
    code = ctypes.get_errno()
    os.close(pidfd)
    if copy < 0:
        pytest.skip(f"no look into another process here: {os.strerror(code)}")
    with socket.socket(fileno=copy) as listening:
        return [listening.getsockopt(level, option) for level, option in options]


KEEPALIVE = (socket.SOL_SOCKET, socket.SO_KEEPALIVE)
KEEPIDLE = (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
USER_TIMEOUT = (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


def test_tcp_sockets_have_keepalive_and_user_timeout_as_set(make_daemon):
    pawld = make_daemon(config="server: {tcp_keepalive: 77s, tcp_user_timeout: 1234ms}")
    assert socket_options(pawld, pawld.port, KEEPALIVE, KEEPIDLE, USER_TIMEOUT) == [1, 77, 1234]
    pawld = make_daemon()
    assert socket_options(pawld, pawld.port, KEEPALIVE, KEEPIDLE, USER_TIMEOUT) == [1, 60, 30000]
    pawld = make_daemon(config="server: {tcp_keepalive: 0s, tcp_user_timeout: 0s}")
    assert socket_options(pawld, pawld.port, KEEPALIVE, USER_TIMEOUT) == [0, 0]


# ---- store -------------------------------------------------------------------------------------


def test_writes_beyond_the_queue_are_refused(make_daemon, connect, wire):
    pawld = make_daemon(config="store: {queue_max: 16, batch_max: 1}")
    connection = connect(pawld.unix)
    connection.send(*revokes(connection, wire, 500))
    replies = replies_of(connection, 500)
    statuses = {reply.status for reply in replies}
    assert statuses == {wire.STATUS_OK, wire.STATUS_FULL}
    refused = sum(reply.status == wire.STATUS_FULL for reply in replies)
    assert stat(pawld, "store_refused_full") == refused
    assert all(reply.revoke.acknowledged == wire.ACK_DURABLE for reply in replies
               if reply.status == wire.STATUS_OK)


@pytest.mark.parametrize("batch_max", [1, 512])
def test_batches_are_no_larger_than_set(make_daemon, connect, wire, batch_max):
    pawld = make_daemon("--set", f"store.batch_max={batch_max}")
    connection = connect(pawld.unix)
    connection.send(*revokes(connection, wire, 300))
    assert all(reply.status == wire.STATUS_OK for reply in replies_of(connection, 300))
    largest = stat(pawld, "store_batch_largest")
    assert largest == 1 if batch_max == 1 else largest > 1


def test_unsaved_counts_are_no_older_than_the_interval(make_daemon):
    eager = make_daemon("--set", "store.counters_interval=100ms")
    eager.ctl("check", "--rate", "5/hour", "k", check=0)
    wait_for(lambda: stat(eager, "counter_saved_records") == 1, "the save")
    wait_for(lambda: stat(eager, "counter_unsaved_age_ms") < 500, "a young bound")
    lazy = make_daemon("--set", "store.counters_interval=1m")
    lazy.ctl("check", "--rate", "5/hour", "k", check=0)
    # Twice the default, at which it would have been saved.
    wait_for(lambda: stat(lazy, "counter_unsaved_age_ms") > 2000, "the age of what waits")
    assert stat(lazy, "counter_saved_records") == 0


def test_counters_are_written_no_faster_than_set(make_daemon):
    pawld = make_daemon("--set", "store.counters_write_max=1MiB",
                        "--set", "store.counters_interval=100ms")
    started = time.monotonic()
    pawld.ctl("bench", "--rate", "5/day", "--keys", 1 << 30, "--requests", 150_000,
              "--connections", 4, "--in-flight", 64, check=0)
    block = 1 << 20  # written before its time is waited for

    def enough():
        saved = stat(pawld, "counter_saved_bytes")
        assert saved <= (time.monotonic() - started) * (1 << 20) + block
        return saved > 2.5 * (1 << 20)

    wait_for(enough, "the counters on disk")


# ---- HTTP --------------------------------------------------------------------------------------


def test_http_is_off_with_listen_unless_it_is_asked_for(make_daemon):
    quiet = make_daemon()
    assert quiet.event("http_listening") is None
    asked = make_daemon("--http", "127.0.0.1:0", start=False)
    asked.start()
    assert web.ask(web.http_port(asked), "/healthz").code == 200


def test_http_beyond_loopback_is_refused_unless_written_out(make_daemon):
    pawld = make_daemon("--http", "0.0.0.0:0", start=False)
    pawld.start(wait=False)
    assert pawld.process.wait(PATIENCE_S) == 2
    assert "http_insecure: true" in str(pawld.log())
    pawld = make_daemon("--http", "0.0.0.0:0", "--set", "http_insecure=true")
    assert web.ask(web.http_port(pawld), "/healthz").code == 200


@pytest.mark.parametrize("served", [True, False])
def test_the_console_is_served_where_the_settings_say(make_daemon, served):
    pawld = make_daemon("--http", "127.0.0.1:0", "--set", f"http_console={str(served).lower()}")
    for path in ("/console", "/console/data"):
        assert (web.ask(web.http_port(pawld), path).code == 200) is served


# ---- log ---------------------------------------------------------------------------------------


def test_the_log_level_silences(make_daemon):
    pawld = make_daemon("--set", "log.level=error", start=False)
    pawld.start(wait=False)
    wait_for(lambda: pawld.ctl("ping").code == 0, "an answer")
    assert pawld.stop() == 0
    # The audit log, which shares its output here, has no level.
    assert [line for line in pawld.log() if line.get("level") != "audit"] == []


# ---- no config file at all ---------------------------------------------------------------------


def test_no_config_file_is_needed(tmp_path_factory, make_daemon):
    """As an ordinary user, whoever runs the tests, in a home of its own."""
    pawld = make_daemon(start=False)
    home = pawld.folder / "home"
    home.mkdir()
    runtime = pawld.folder / "run"
    runtime.mkdir(mode=0o700)
    as_user = []
    if os.geteuid() == 0:
        for path in (pawld.folder, home, runtime):
            os.chown(path, 65534, 65534)
        as_user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    env = {"HOME": str(home), "XDG_RUNTIME_DIR": str(runtime), "PATH": os.environ["PATH"],
           **{name: value for name, value in os.environ.items() if "SAN_" in name}}
    # 7401 and 7402 may be taken by whatever runs here; nothing else is said.
    log = open(pawld.log_path, "ab")
    pawld.seen = 0
    pawld.process = subprocess.Popen(
        [*as_user, BUILD / "pawld", "--http", "127.0.0.1:0", "--set",
         f'listen=["unix:{runtime}/pawl/pawld.sock", "tcp:127.0.0.1:0"]'],
        env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    log.close()
    pawld.wait_ready()
    done = subprocess.run([*as_user, BUILD / "pawlctl", "--deadline", f"{PATIENCE_S}s", "revoke",
                           "subject", "--sub", "anna"], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done
    assert (home / ".local/state/pawl/pawl.db").exists()
    assert os.stat(home / ".local/state/pawl").st_mode & 0o777 == 0o700

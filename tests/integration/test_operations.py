"""The daemon as a service of its machine: files that change under it, the service manager, passed
sockets, and the sandbox."""

import contextlib
import ctypes
import os
import pathlib
import platform
import signal
import socket
import struct
import tempfile
import threading
import time

import pytest

from conftest import BUILD, PATIENCE_S, check_request, in_parallel, wait_for

#: RFC 7517, appendix A.1.
JWKS = """{"keys": [{"kty": "EC", "crv": "P-256", "kid": "%s", "alg": "ES256", "use": "sig",
"x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
"y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"""


def events(pawld, name):
    """Of the log; the audit log, which shares its output here, has some of the same names."""
    return [line for line in pawld.log()
            if line.get("event") == name and line.get("level") != "audit"]


def wait_event(pawld, name, before=0):
    """The latest event @name, once there are more than @before of them."""
    return wait_for(lambda: len(found := events(pawld, name)) > before and found[-1], name)


def limits(count):
    return f"limits: {{l: {{rate: {count}/hour}}}}\n"


def limit_of(pawld):
    return pawld.ctl("peek", "l=k", check=0).json["limits"][0]["limit_count"]


def replaced(path, text):
    """A new file in the place of @path, at once."""
    path = pathlib.Path(path)
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").rename(path)


# ---- files that change -------------------------------------------------------------------------


class ConfigMap:
    """A folder as the kubelet mounts it: file -> ..data/file, ..data -> ..N, swapped by rename."""

    def __init__(self, folder, name, text):
        self.folder = pathlib.Path(folder)
        self.name = name
        self.turn = 0
        self.folder.mkdir()
        self.put(text)
        (self.folder / name).symlink_to(f"..data/{name}")

    def put(self, text):
        old = self.folder / f"..{self.turn}"
        self.turn += 1
        new = self.folder / f"..{self.turn}"
        new.mkdir()
        (new / self.name).write_text(text)
        link = self.folder / "..data_tmp"
        link.symlink_to(new.name)
        link.rename(self.folder / "..data")
        if old.exists():
            (old / self.name).unlink()
            old.rmdir()


@pytest.fixture
def mounted(make_daemon):
    """A daemon whose config lies in a ConfigMap, and that map."""
    pawld = make_daemon(start=False)
    config = ConfigMap(pawld.folder / "mount", "pawld.yaml", limits(5))
    pawld.arguments = ["--config", str(config.folder / "pawld.yaml")]
    pawld.start()
    return pawld, config


def test_a_config_map_swap_is_taken(mounted):
    pawld, config = mounted
    assert limit_of(pawld) == 5
    for turn, count in enumerate((6, 7)):
        config.put(limits(count))
        assert wait_event(pawld, "reloaded", turn)["by"] == "watch"
        assert limit_of(pawld) == count
    status = pawld.status()
    assert (status["reloads"], status["reload_ok"], status["config_generation"]) == (2, True, 3)
    assert status["watch_whole"] is True


def test_a_broken_config_map_keeps_the_old_and_the_next_good_one_is_taken(mounted):
    pawld, config = mounted
    config.put("limits: {l: {rate: 6/fortnight}}\n")
    said = wait_event(pawld, "reload_refused")
    assert said["by"] == "watch" and "fortnight" in said["why"]
    assert limit_of(pawld) == 5
    status = pawld.status()
    assert (status["reload_ok"], status["reload_failures"], status["reloads"]) == (False, 1, 0)
    config.put(limits(7))
    wait_event(pawld, "reloaded")
    assert limit_of(pawld) == 7
    status = pawld.status()
    assert (status["reload_ok"], status["reload_failures"], status["reloads"]) == (True, 1, 1)


@pytest.mark.parametrize("way", ["in place", "renamed over", "removed and made"])
def test_a_changed_config_is_taken_without_a_signal(make_daemon, way):
    pawld = make_daemon(config=limits(5))
    path = pawld.folder / "pawld.yaml"
    if way == "in place":
        path.write_text(limits(60))
    elif way == "renamed over":
        replaced(path, limits(60))
    else:
        path.unlink()
        wait_event(pawld, "reload_refused")
        assert limit_of(pawld) == 5
        path.write_text(limits(60))
    wait_event(pawld, "reloaded")
    assert limit_of(pawld) == 60


def test_a_signal_and_the_watch_make_one_reload_of_one_change(make_daemon):
    pawld = make_daemon(config=limits(5))
    (pawld.folder / "pawld.yaml").write_text(limits(60))
    pawld.process.send_signal(signal.SIGHUP)
    wait_event(pawld, "reloaded")
    (pawld.folder / "pawld.yaml").write_text(limits(70))
    wait_for(lambda: limit_of(pawld) == 70, "the second change")
    assert pawld.status()["config_generation"] == 3


def test_without_watch_only_a_signal_reloads(make_daemon):
    pawld = make_daemon(config=limits(5) + "watch: false\n")
    (pawld.folder / "pawld.yaml").write_text(limits(60) + "watch: false\n")
    assert pawld.status()["watch_folders"] == 0
    # Long enough for the other, which watches, to have seen a later change.
    other = make_daemon(config=limits(5))
    (other.folder / "pawld.yaml").write_text(limits(60))
    wait_event(other, "reloaded")
    assert limit_of(pawld) == 5 and not events(pawld, "reloaded")
    pawld.process.send_signal(signal.SIGHUP)
    wait_event(pawld, "reloaded")
    assert limit_of(pawld) == 60


def test_a_file_in_a_folder_of_keys_is_taken(make_daemon):
    pawld = make_daemon(start=False, config="""
jwt: {issuers: [{issuer: "https://auth.example", jwks_file: keys}]}
""")
    keys = pawld.folder / "keys"
    keys.mkdir()
    (keys / "one.json").write_text(JWKS % "one")
    pawld.start()
    for turn in range(2):
        (keys / f"more{turn}.json").write_text(JWKS % f"more{turn}")
        assert wait_event(pawld, "reloaded", turn)["by"] == "watch"
    (keys / "one.json").unlink()
    wait_event(pawld, "reloaded", 2)


def test_a_folder_that_vanishes_and_returns_is_taken(make_daemon):
    # No sandbox: it knows folders by what they are and not by their names, so that it does not
    # let one be read that came in another's place.
    pawld = make_daemon("--set", "sandbox=false", start=False)
    folder = pawld.folder / "conf"
    folder.mkdir()
    (folder / "pawld.yaml").write_text(limits(5))
    pawld.arguments += ["--config", str(folder / "pawld.yaml")]
    pawld.start()
    folder.rename(pawld.folder / "gone")
    wait_event(pawld, "reload_refused")
    assert limit_of(pawld) == 5
    folder.mkdir()
    (folder / "pawld.yaml").write_text(limits(60))
    wait_event(pawld, "reloaded")
    assert limit_of(pawld) == 60


# ---- the service manager -----------------------------------------------------------------------


class Manager:
    """The end of NOTIFY_SOCKET that a service manager has."""

    def __init__(self, folder):
        self.path = str(pathlib.Path(folder) / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(PATIENCE_S)
        self.socket.bind(self.path)

    def next(self, but=()):
        """The next message as a dictionary, without those that say nothing but @but."""
        while True:
            text = self.socket.recv(4096).decode()
            message = dict(line.split("=", 1) for line in text.splitlines())
            if not set(message) <= set(but):
                return message


@pytest.fixture
def managed(make_daemon):
    def make(**options):
        pawld = make_daemon(start=False, **options)
        manager = Manager(pawld.folder)
        pawld.env = {"NOTIFY_SOCKET": manager.path, **(pawld.env or {})}
        made.append(manager)
        return pawld, manager

    made = []
    yield make
    for manager in made:
        manager.socket.close()


def test_the_manager_hears_each_state_in_order(managed):
    pawld, manager = managed(config=limits(5))
    pawld.start(wait=False)
    ready = manager.next()
    assert ready["READY"] == "1" and "worker" in ready["STATUS"]
    # It said so once the store was loaded: a request is answered now.
    pawld.wait_ready()
    assert pawld.ctl("check", "l=k", check=0).json["verdict"] == "allow"

    for config, event in ((limits(6), "reloaded"), ("limits: [", "reload_refused")):
        (pawld.folder / "pawld.yaml").write_text(config)
        pawld.process.send_signal(signal.SIGHUP)
        begun = manager.next()
        assert begun["RELOADING"] == "1" and int(begun["MONOTONIC_USEC"]) > 0
        assert manager.next()["READY"] == "1"
        wait_event(pawld, event)

    pawld.process.send_signal(signal.SIGTERM)
    assert manager.next()["STOPPING"] == "1"
    assert pawld.process.wait(PATIENCE_S) == 0


def test_the_watchdog_is_fed_while_workers_turn(managed):
    pawld, manager = managed(env={"WATCHDOG_USEC": "1500000"})
    pawld.start()
    assert pawld.status()["watchdog_ms"] == 1500
    assert manager.next()["READY"] == "1"
    for _ in range(3):
        assert manager.next() == {"WATCHDOG": "1"}
    pawld.process.send_signal(signal.SIGTERM)
    assert manager.next(but=("WATCHDOG",))["STOPPING"] == "1"


def test_the_watchdog_of_another_process_is_left_alone(managed):
    pawld, manager = managed(env={"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "1"})
    pawld.start()
    assert pawld.status()["watchdog_ms"] == 0


def test_a_manager_that_does_not_listen_holds_nobody_up(make_daemon):
    pawld = make_daemon(start=False)
    pawld.env = {"NOTIFY_SOCKET": str(pawld.folder / "nobody")}
    pawld.start()
    assert pawld.stop() == 0


# ---- passed sockets ----------------------------------------------------------------------------


class SocketUnit:
    """Sockets that outlive daemons, passed on as a service manager does."""

    def __init__(self, pawld):
        self.pawld = pawld
        self.local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.local.bind(str(pawld.socket))
        self.local.listen(1024)
        self.web = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.web.bind(("127.0.0.1", 0))
        self.web.listen(1024)
        self.port = self.web.getsockname()[1]
        pawld.tcp = False
        pawld.arguments += ["--listen", f"tcp:127.0.0.1:{self.port}"]
        pawld.port = self.port

    def start(self, count=2, wait=True, names="local:web"):
        numbers = [self.local.fileno(), self.web.fileno()]

        def pass_on():
            high = [os.dup(fd) for fd in numbers]
            for _ in range(8):  # away from 3 and 4, whatever lies there
                high.append(os.dup(high[0]))
            for index, fd in enumerate(high[:2]):
                os.dup2(fd, 100 + index)
            for index in range(count):
                os.dup2(100 + min(index, 1), 3 + index)

        self.pawld.env = {"LISTEN_FDS": str(count), "LISTEN_FDNAMES": names}
        self.pawld.start(wait=wait, wrap=("sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh"),
                         close_fds=False, preexec_fn=pass_on)

    def close(self):
        self.local.close()
        self.web.close()


@pytest.fixture
def socket_unit(make_daemon):
    with contextlib.ExitStack() as stack:
        def make(**options):
            unit = SocketUnit(make_daemon(start=False, **options))
            stack.callback(unit.close)
            return unit
        yield make


def test_passed_sockets_serve(socket_unit):
    unit = socket_unit()
    unit.start()
    for address in (unit.pawld.unix, unit.pawld.tcp_uri):
        unit.pawld.ctl("check", "--rate", "5/hour", "k", addr=address, check=0)
    assert unit.pawld.stop() == 0
    assert unit.pawld.socket.exists(), "the socket belongs to the unit"


@pytest.mark.threads
def test_a_restart_under_passed_sockets_loses_no_request(socket_unit, connect, wire):
    """Clients that ask one thing after the other, by both sockets, over three restarts: each
    request is answered, each connection accepted, and every charge is there at the end."""
    unit = socket_unit()
    unit.start()
    stop = threading.Event()
    rate = (10 ** 9, 3_600_000)
    restarts = 3

    def ask(i):
        address = unit.pawld.unix if i % 2 else unit.pawld.tcp_uri
        answered = 0
        while not stop.is_set():
            connection = connect(address)
            leaving = False
            while not leaving and not stop.is_set():
                connection.send(connection.request(check=check_request(wire, b"k", rate)))
                reply = connection.receive()
                if reply is not None and reply.HasField("goaway"):
                    leaving = True  # nothing new is sent; what was sent is answered first
                    reply = connection.receive()
                assert reply is not None and reply.check.verdict == wire.VERDICT_ALLOW, reply
                answered += 1
            connection.close()
        return answered

    def restart(_):
        try:
            for _ in range(restarts):
                begun = unit.pawld.ctl("peek", "--rate", f"{rate[0]}/hour", "k",
                                       check=0).json["limits"][0]["count"]
                wait_for(lambda: unit.pawld.ctl("peek", "--rate", f"{rate[0]}/hour", "k", check=0
                                                ).json["limits"][0]["count"] > begun, "load")
                assert unit.pawld.stop() == 0
                assert unit.pawld.socket.exists()
                unit.start()
        finally:
            stop.set()

    results = in_parallel(5, lambda i: restart(i) if i == 4 else ask(i))
    total = sum(results[:4])
    counted = unit.pawld.ctl("peek", "--rate", f"{rate[0]}/hour", "k", check=0).json["limits"][0]
    assert counted["count"] == total > 4 * restarts


def test_a_passed_socket_that_nothing_names_is_refused(socket_unit):
    unit = socket_unit()
    unit.pawld.arguments = []
    unit.start(wait=False)
    assert unit.pawld.process.wait(PATIENCE_S) == 1
    said = str(unit.pawld.log())
    assert f"127.0.0.1:{unit.port} (web)" in said and "socket unit" in said


def test_a_passed_socket_has_the_options_of_the_settings(socket_unit):
    unit = socket_unit(config="server: {tcp_keepalive: 77s, tcp_user_timeout: 1234ms}")
    unit.start()
    assert [unit.web.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_NODELAY, socket.TCP_KEEPIDLE, socket.TCP_USER_TIMEOUT)
            ] == [1, 77, 1234]


# ---- the sandbox -------------------------------------------------------------------------------


def threads_of(pawld, field):
    """What /proc says of each thread."""
    values = []
    for task in pathlib.Path(f"/proc/{pawld.process.pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                values.append(int(line.split()[1]))
    return values


@pytest.fixture
def confined(make_daemon):
    """A daemon in its sandbox, or a skip where the build cannot have one."""
    def make(*arguments, **options):
        pawld = make_daemon(*arguments, **options)
        text = pawld.status()["sandbox"]
        if "a build" in text:
            pytest.skip(f"sandbox: {text}")
        return pawld
    return make


def test_every_thread_is_in_the_sandbox(confined):
    pawld = confined()
    assert pawld.status()["sandbox"].startswith("seccomp")
    assert set(threads_of(pawld, "Seccomp")) == {2}
    assert set(threads_of(pawld, "NoNewPrivs")) == {1}
    assert len(threads_of(pawld, "Seccomp")) > pawld.status()["edge_workers"]
    assert pawld.event("sandbox")["in_force"] == pawld.status()["sandbox"]
    limits_text = pathlib.Path(f"/proc/{pawld.process.pid}/limits").read_text()
    assert [line.split()[4:6] for line in limits_text.splitlines() if "core" in line] == [["0", "0"]]


def test_without_the_sandbox_nothing_is_given_up(make_daemon):
    pawld = make_daemon("--set", "sandbox=false")
    assert pawld.status()["sandbox"] == "off (sandbox: false)"
    assert set(threads_of(pawld, "Seccomp")) == {0}


def test_a_whole_life_in_the_sandbox(confined):
    pawld = confined(config=limits(5))
    exp = int(time.time()) + 3600
    pawld.ctl("check", "l=k", check=0)
    pawld.ctl("revoke", "subject", "--sub", "anna", check=0)
    sid = pawld.ctl("family", "open", "--sub", "ben", "--jti", "r0", "--exp", exp,
                    check=0).json["sid"]
    assert pawld.ctl("rotate", "--sid", sid, "--from", "r0", "--to", "r1", "--exp", exp,
                     check=0).json["result"] == "rotated"
    pawld.config = limits(6)
    replaced(pawld.folder / "pawld.yaml", pawld.config)
    wait_event(pawld, "reloaded")
    pawld.ctl("check", "l=k", addr=pawld.tcp_uri, check=0)
    pawld.wait_saved()
    assert pawld.stop() == 0
    assert not pawld.socket.exists(), "its own socket is removed from inside"

    pawld.arguments.append("--frozen")
    pawld.start()
    assert pawld.status()["frozen"] is True
    pawld.ctl("revoke", "subject", "--sub", "carl")
    pawld.ctl("thaw", "--lost-since", "0", check=0)
    assert pawld.status()["frozen"] is False
    pawld.ctl("check", "l=k", check=0)
    assert limit_of(pawld) == 6
    assert pawld.stop() == 0
    assert not events(pawld, "store_write_failed")


def test_a_file_outside_of_the_sandbox_is_refused_by_name(confined):
    text = 'jwt: {{issuers: [{{issuer: "https://auth.example", jwks_file: "{}"}}]}}\n'
    pawld = confined(config=limits(5))
    if "landlock" not in pawld.status()["sandbox"].partition("(")[0]:
        pytest.skip("no Landlock in this kernel")
    inside = pawld.folder / "inside.json"
    inside.write_text(JWKS % "one")
    replaced(pawld.folder / "pawld.yaml", limits(6) + text.format(inside))
    wait_event(pawld, "reloaded")
    assert limit_of(pawld) == 6
    with tempfile.TemporaryDirectory(prefix="pawl-it-") as elsewhere:
        outside = pathlib.Path(elsewhere) / "outside.json"
        outside.write_text(JWKS % "one")
        replaced(pawld.folder / "pawld.yaml", limits(7) + text.format(outside))
        said = wait_event(pawld, "reload_refused")
        assert said["part"] == "files" and str(outside) in said["why"]
        assert "restart" in said["why"]
        assert limit_of(pawld) == 6, "nothing of it was taken"
        # And a restart is all that it needs.
        pawld.config = (pawld.folder / "pawld.yaml").read_text()
        pawld.restart()
        assert limit_of(pawld) == 7


def turn_ns(tid):
    """What a thread has asked the scheduler for; None where the kernel does not tell."""
    attr = ctypes.create_string_buffer(56)
    if ctypes.CDLL(None).syscall(ctypes.c_long(315), tid, attr, 56, 0) != 0:  # sched_getattr
        return None
    return struct.unpack_from("IIQiIQ", attr.raw)[5]


def test_all_threads_ask_for_short_turns_on_the_processor(make_daemon):
    """Where the kernel knows them; the kernel's own is about 3 ms."""
    if platform.machine() != "x86_64":
        pytest.skip("the number of the system call is x86_64's")
    own = turn_ns(0)
    if not own:
        pytest.skip("this kernel has no turns to ask for")
    daemon = make_daemon()
    threads = os.listdir(f"/proc/{daemon.process.pid}/task")
    assert {turn_ns(int(tid)) for tid in threads} == {100_000} and own != 100_000

"""Fixtures of the integration tests: a real pawld, pawlctl, and an independent reader of the wire.

The wire client here is built from pawl.proto by protoc and Google's own library, so that it shares
no line with the codec under test. PAWL_BUILD names the folder of the binaries.
"""

import concurrent.futures
import itertools
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

import pytest

import leftovers

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("PAWL_BUILD", ROOT / "build" / "release"))
#: A condition that has not come true by then never will; generous for sanitizers on a busy machine.
PATIENCE_S = 60


def pytest_configure(config):
    for line in ("threads: run under the thread sanitizer too",
                 "release: memory and floods, meaningless under a sanitizer",
                 "alone: nothing else runs beside it",
                 "fleet: several nodes in real time, which wait more than they work",
                 "soak: long, for ./dev soak only"):
        config.addinivalue_line("markers", line)


def wait_for(condition, what="the condition", patience_s=PATIENCE_S):
    """Poll until @condition gives something true, and return that."""
    end = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true within {patience_s} s")
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def nothing_is_left():
    """Set up first and torn down last: what a test has begun is over by then."""
    before = leftovers.here()
    yield
    left = leftovers.since(before)
    assert left == [], "left behind"


@pytest.fixture(scope="session")
def wire():
    """The messages of pawl.proto, as Google's library reads them."""
    with tempfile.TemporaryDirectory(prefix="pawl-proto-") as folder:
        subprocess.run(["protoc", f"--python_out={folder}", f"--proto_path={ROOT / 'proto'}",
                        "pawl/v1/pawl.proto"], check=True)
        sys.path.insert(0, folder)
        from pawl.v1 import pawl_pb2
        sys.path.remove(folder)
        return pawl_pb2


class Result:
    """What pawlctl said."""

    def __init__(self, done):
        self.code = done.returncode
        self.text = done.stdout
        self.error = done.stderr

    @property
    def json(self):
        return json.loads(self.text)

    def __repr__(self):
        return f"<exit {self.code}: {self.text!r} {self.error!r}>"


class Daemon:
    """A pawld with its own temporary folder; ended by its process id, whatever happens."""

    def __init__(self, folder, *arguments, config=None, tcp=True, data_dir=None, env=None):
        self.folder = pathlib.Path(folder)
        self.data_dir = pathlib.Path(data_dir) if data_dir else self.folder / "data"
        self.socket = self.folder / "pawld.sock"
        self.arguments = list(arguments)
        self.config = config
        self.tcp = tcp
        self.env = env
        self.process = None
        self.log_path = self.folder / "log"
        self.port = None

    @property
    def unix(self):
        return f"unix:{self.socket}"

    @property
    def tcp_uri(self):
        return f"tcp:127.0.0.1:{self.port}"

    def command(self):
        command = [str(BUILD / "pawld"), "--data-dir", str(self.data_dir),
                   "--listen", self.unix]
        if self.tcp:
            command += ["--listen", "tcp:127.0.0.1:0"]
        if self.config is not None:
            path = self.folder / "pawld.yaml"
            path.write_text(self.config)
            command += ["--config", str(path)]
        return command + self.arguments

    def start(self, wait=True, wrap=(), **options):
        log = open(self.log_path, "ab")
        self.seen = log.tell()
        environment = dict(os.environ, **(self.env or {}))
        self.process = subprocess.Popen([*wrap, *self.command()], stdin=subprocess.DEVNULL,
                                        stdout=log, stderr=log, env=environment, **options)
        log.close()
        if wait:
            self.wait_ready()
        return self

    def log(self):
        """This run's log lines, parsed; what is no JSON comes as {"text": line}."""
        lines = []
        with open(self.log_path, "rb") as file:
            file.seek(self.seen)
            for line in file.read().decode("utf-8", "replace").splitlines():
                try:
                    lines.append(json.loads(line))
                except ValueError:
                    lines.append({"text": line})
        return lines

    def event(self, name):
        return next((line for line in self.log() if line.get("event") == name), None)

    def wait_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"pawld ended with {self.process.returncode}: {self.log()}")
            return self.event("ready")
        wait_for(ready, "pawld ready")
        for line in self.log():
            address = str(line.get("address", ""))
            if line.get("event") == "edge_listening" and address.startswith("tcp:"):
                self.port = int(address.rpartition(":")[2])

    def stop(self, number=signal.SIGTERM, patience_s=PATIENCE_S):
        """Send a signal and wait for the end; returns the exit status."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(patience_s)
        self.process = None
        return code

    def kill(self):
        return self.stop(signal.SIGKILL)

    def restart(self):
        self.stop()
        return self.start()

    def ctl(self, *arguments, json_output=True, addr=None, stdin=None, check=None):
        command = [str(BUILD / "pawlctl"), "--addr", addr or self.unix]
        if json_output:
            command.append("--json")
        # The deadline is for people; a sanitizer on a busy machine needs more.
        command += ["--deadline", f"{PATIENCE_S}s", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, input=stdin,
                              timeout=2 * PATIENCE_S)
        result = Result(done)
        if check is not None:
            assert result.code == check, (arguments, result)
        return result

    def status(self):
        return self.ctl("status", check=0).json

    def wait_saved(self):
        """Wait until every count made before this call would outlive a crash."""
        begun = time.monotonic()

        def saved():
            asked = time.monotonic()
            return asked - self.status()["counter_unsaved_age_ms"] / 1000 > begun
        wait_for(saved, "all counts saved")

    def rss_bytes(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")


@pytest.fixture
def make_daemon(tmp_path_factory):
    """A factory of daemons that are all gone when the test ends."""
    made = []

    def make(*arguments, start=True, **options):
        # Short: a Unix socket's path has 107 bytes at most.
        folder = tempfile.TemporaryDirectory(prefix="pawl-it-")
        daemon = Daemon(folder.name, *arguments, **options)
        made.append((daemon, folder))
        if start:
            daemon.start()
        return daemon

    yield make
    faults = []
    for daemon, folder in made:
        if daemon.process is not None and daemon.process.poll() is None:
            daemon.process.kill()
            daemon.process.wait()
        if daemon.log_path.exists():
            text = daemon.log_path.read_text("utf-8", "replace")
            if "Sanitizer" in text or "runtime error:" in text:
                faults.append(text[-6000:])
        folder.cleanup()
    assert not faults, "a sanitizer spoke:\n" + "\n".join(faults)


@pytest.fixture
def pawld(make_daemon):
    return make_daemon()


@pytest.fixture(scope="session")
def left_in_order(tmp_path_factory):
    """What a fleet that was stopped in order has left in its engine: the next one begins at once."""
    sys.path.insert(0, str(ROOT / "deploy" / "demo"))
    import fleet as rig
    image = tmp_path_factory.mktemp("image")
    fleet = rig.Fleet(BUILD, tmp_path_factory.mktemp("before"))
    try:
        fleet.add(1)
        fleet.leave_in_order(image)
    finally:
        fleet.close()
    return image


@pytest.fixture
def make_fleet(tmp_path, left_in_order):
    """A factory: make_fleet(nodes=3, networks=True, ...) gives a fleet whose nodes agree, in network
    namespaces or on the loopback; all of it is gone when the test ends."""
    import fleet as rig
    made = []

    def make(nodes=3, networks=False, **options):
        network = rig.Network() if networks else None
        if networks:
            made.append(network)
            options["place"] = network.place
        fleet = rig.Fleet(BUILD, tmp_path, **{"image": left_in_order, **options})
        made.append(fleet)
        if nodes:
            fleet.add(nodes)
        return fleet

    yield make
    for thing in reversed(made):
        thing.close()


@pytest.fixture
def make_callers():
    """A factory of Callers (cluster_rig.py), gone when the test ends."""
    import cluster_rig
    made = []

    def make(*arguments, **options):
        made.append(cluster_rig.Callers(*arguments, **options))
        return made[-1]

    yield make
    for callers in made:
        callers.close()


class Connection:
    """A plain socket that speaks frames; blocking, with a generous time-out."""

    def __init__(self, wire, address, timeout_s=PATIENCE_S):
        self.wire = wire
        if address.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(timeout_s)
            self.socket.connect(address[5:])
        else:
            host, _, port = address[4:].rpartition(":")
            self.socket = socket.create_connection((host, int(port)), timeout_s)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.ids = itertools.count(1)

    def frame(self, request):
        body = request.SerializeToString()
        return struct.pack(">I", len(body)) + body

    def request(self, **fields):
        return self.wire.Request(id=next(self.ids), **fields)

    def send(self, *requests):
        self.socket.sendall(b"".join(self.frame(request) for request in requests))

    def receive(self):
        """The next reply, or None at the end of the stream."""
        while True:
            if len(self.buffer) >= 4:
                size = struct.unpack(">I", self.buffer[:4])[0]
                if len(self.buffer) >= 4 + size:
                    reply = self.wire.Reply.FromString(self.buffer[4:4 + size])
                    self.buffer = self.buffer[4 + size:]
                    return reply
            data = self.socket.recv(65536)
            if not data:
                return None
            self.buffer += data

    def call(self, **fields):
        request = self.request(**fields)
        self.send(request)
        reply = self.receive()
        assert reply is not None and reply.id == request.id, reply
        return reply

    def close(self):
        self.socket.close()


@pytest.fixture
def connect(wire):
    """A factory of connections, closed when the test ends."""
    made = []

    def make(address, **options):
        connection = Connection(wire, address, **options)
        made.append(connection)
        return connection

    yield make
    for connection in made:
        connection.close()


def check_request(wire, key, rate=(100, 60000), cost=0, **fields):
    item = wire.CheckItem(key=[key], cost=cost, on_error=wire.ON_ERROR_CLOSED,
                          rates=[wire.Rate(count=rate[0], window_ms=rate[1])])
    return wire.Check(items=[item], **fields)


def in_parallel(count, work, workers=None):
    """Run work(i) for i below @count in threads that begin together; results in order."""
    barrier = threading.Barrier(workers or count)

    def run(i):
        if workers is None:
            barrier.wait(PATIENCE_S)
        return work(i)

    with concurrent.futures.ThreadPoolExecutor(workers or count) as pool:
        return list(pool.map(run, range(count)))

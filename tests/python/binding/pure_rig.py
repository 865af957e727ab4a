"""What the tests of the pure client share: Google's messages, and a pawld that misbehaves."""

import contextlib
import importlib
import itertools
import pathlib
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

import pytest
import rig

import pawl._types as types

PATIENCE_S = rig.PATIENCE_S


@pytest.fixture(scope="session")
def wire():
    """The messages of pawl.proto, as Google's library reads them; made under a name of their own,
    for ``pawl`` is the package under test here."""
    with tempfile.TemporaryDirectory(prefix="pawl-proto-") as folder:
        shutil.copy(rig.ROOT / "proto/pawl/v1/pawl.proto", pathlib.Path(folder) / "pawl_wire.proto")
        subprocess.run(["protoc", f"--python_out={folder}", f"--proto_path={folder}",
                        "pawl_wire.proto"], check=True)
        sys.path.insert(0, folder)
        try:
            return importlib.import_module("pawl_wire_pb2")
        finally:
            sys.path.remove(folder)


def wait(handle, call_id):
    """Its answer; waits as a caller would, on the descriptor."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        for found, answer in handle.process():
            if found == call_id:
                return answer
        poller = select.poll()
        poller.register(handle.fileno(), select.POLLIN)
        poller.poll(handle.timeout_ms())
    raise AssertionError("no answer at all")


def ask(handle, request, deadline_ms=PATIENCE_S * 1000):
    """Submit @request and wait for its answer."""
    name = {types.CheckRequest: "check", types.PingRequest: "ping",
            types.StatsRequest: "stats", types.RevokeRequest: "revoke",
            types.RefundRequest: "refund"}[type(request)]
    return wait(handle, getattr(handle, f"submit_{name}")(request, deadline_ms))


def frame(message):
    return struct.pack(">I", len(message)) + message


class Peer:
    """The daemon's end of one connection."""

    def __init__(self, fake, sock):
        self.fake = fake
        self.socket = sock
        self.buffer = b""

    def send(self, reply):
        self.send_bytes(frame(reply.SerializeToString()))

    def send_bytes(self, data):
        with contextlib.suppress(OSError):  # the client may be gone
            self.socket.sendall(data)

    def goaway(self, last_id, reason=b""):
        self.send(self.fake.wire.Reply(goaway=self.fake.wire.GoAway(last_id=last_id,
                                                                    reason=reason)))

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def requests(self):
        """Whole requests of what has come; None at the end of the stream."""
        try:
            data = self.socket.recv(1 << 20)
        except OSError:
            return None
        if not data:
            return None
        self.buffer += data
        found = []
        while len(self.buffer) >= 4:
            size = int.from_bytes(self.buffer[:4], "big")
            if len(self.buffer) < 4 + size:
                break
            found.append(self.fake.wire.Request.FromString(self.buffer[4:4 + size]))
            self.buffer = self.buffer[4 + size:]
        return found


class Fake:
    """A pawld in a thread, whose answer to a request is ``on_request(peer, request)``; hellos it
    answers by itself, as ``on_hello`` says. It keeps what reached it."""

    names = itertools.count()

    def __init__(self, wire):
        self.wire = wire
        self.path = f"pawl-fake-{threading.get_native_id()}-{next(self.names)}"
        self.address = f"unix:@{self.path}"
        self.on_request = Fake.allow
        self.on_hello = Fake.welcome
        self.seen = []  # requests but for hellos
        self.hellos = []
        self.peers = []
        self.open = 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind("\0" + self.path)
        self.listener.listen(64)
        self.wake, self.waker = socket.socketpair()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def allow(self, peer, request):
        peer.send(self.reply(request))

    def welcome(self, peer, request):
        peer.send(self.wire.Reply(id=request.id, status=1, ping=self.wire.PingReply(),
                                  hello=self.wire.HelloReply(version=1)))

    def ignore(self, peer, request):
        pass

    def reply(self, request, **fields):
        """Yes to whatever it is."""
        reply = self.wire.Reply(id=request.id, status=1, **fields)
        body = request.WhichOneof("body")
        getattr(reply, body).SetInParent()
        if body == "check":
            reply.check.verdict = 1
            for index in range(len(request.check.items)):
                reply.check.results.add(item=index, allowed=True, limit_count=5, count=1)
        return reply

    def run(self):
        waiting = {self.listener.fileno(): None, self.wake.fileno(): None}
        while True:
            for fd in select.select(list(waiting), [], [])[0]:
                if fd == self.wake.fileno():
                    return
                if fd == self.listener.fileno():
                    peer = Peer(self, self.listener.accept()[0])
                    self.peers.append(peer)
                    waiting[peer.socket.fileno()] = peer
                    self.open += 1
                elif not self.serve(waiting[fd]):
                    del waiting[fd]
                    self.open -= 1

    def serve(self, peer):
        requests = peer.requests()
        if requests is None:
            peer.socket.close()
            return False
        for request in requests:
            if request.HasField("hello"):
                self.hellos.append(request)
                self.on_hello(self, peer, request)
            else:
                self.seen.append(request)
                self.on_request(self, peer, request)
            if peer.socket.fileno() < 0:
                return False
        return True

    def stop(self):
        self.waker.send(b"x")
        self.thread.join(PATIENCE_S)
        for one in (self.listener, self.wake, self.waker, *(peer.socket for peer in self.peers)):
            one.close()


@pytest.fixture
def make_fake(wire):
    made = []

    def make(on_request=None):
        made.append(Fake(wire))
        if on_request is not None:
            made[-1].on_request = on_request
        return made[-1]

    yield make
    for fake in made:
        fake.stop()

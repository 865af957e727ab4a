"""A load for the daemon that remembers: pipelined frames over several connections from one thread,
each answer noted as it arrives, and every request that got none by the time a connection ended.
"""

import itertools
import selectors
import socket
import struct


class Pipe:
    """One non-blocking connection with requests in flight."""

    def __init__(self, wire, address):
        self.wire = wire
        self.out = b""
        self.buffer = b""
        self.ended = False
        self.waiting = {}  # id -> what the caller wants to have back with the answer
        if address.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.connect(address[5:])
        else:
            host, _, port = address[4:].rpartition(":")
            self.socket = socket.create_connection((host, int(port)))
        self.socket.setblocking(False)

    def push(self, request, note):
        self.waiting[request.id] = note
        body = request.SerializeToString()
        self.out += struct.pack(">I", len(body)) + body

    def write(self):
        """Hand the system what it takes."""
        while self.out and not self.ended:
            try:
                taken = self.socket.send(self.out)
            except BlockingIOError:
                return
            except OSError:
                return  # what the peer wrote before it died can still be read
            self.out = self.out[taken:]

    def read(self):
        """The (note, reply) pairs that are here by now."""
        while not self.ended:
            try:
                data = self.socket.recv(262144)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.ended = True
                self.socket.close()
                break
            self.buffer += data
        at = 0
        while len(self.buffer) >= at + 4:
            size = struct.unpack_from(">I", self.buffer, at)[0]
            if len(self.buffer) < at + 4 + size:
                break
            reply = self.wire.Reply.FromString(self.buffer[at + 4:at + 4 + size])
            at += 4 + size
            if reply.id in self.waiting:
                yield self.waiting.pop(reply.id), reply
        self.buffer = self.buffer[at:]


class Load:
    """@count pipes that are kept full with what @make gives, answers to @take(note, reply)."""

    def __init__(self, wire, addresses, make, take, depth):
        self.pipes = [Pipe(wire, address) for address in addresses]
        self.make = make
        self.take = take
        self.depth = depth
        self.ids = itertools.count(1)
        self.wire = wire

    def fill(self):
        for index, pipe in enumerate(self.pipes):
            while len(pipe.waiting) < self.depth:
                fields, note = self.make(index)
                pipe.push(self.wire.Request(id=next(self.ids), **fields), note)
            pipe.write()

    def gather(self):
        for pipe in self.pipes:
            for note, reply in pipe.read():
                self.take(note, reply)

    def run(self, until):
        """Keep the pipes full until @until() is true."""
        with selectors.DefaultSelector() as selector:
            for pipe in self.pipes:
                selector.register(pipe.socket, selectors.EVENT_READ)
            while not until():
                self.fill()
                selector.select(0.01)
                self.gather()
                assert not any(pipe.ended for pipe in self.pipes), "the daemon hung up"

    def drain(self):
        """The daemon is dead: what it had said before still counts. Returns the unanswered."""
        for pipe in self.pipes:
            while not pipe.ended:
                for note, reply in pipe.read():
                    self.take(note, reply)
        return [note for pipe in self.pipes for note in pipe.waiting.values()]


def ask_all(wire, address, requests, depth=256):
    """Send each of @requests (dicts of fields) once, pipelined; the replies in their order."""
    replies = [None] * len(requests)
    pipe = Pipe(wire, address)
    left = iter(enumerate(requests))
    done = 0
    with selectors.DefaultSelector() as selector:
        selector.register(pipe.socket, selectors.EVENT_READ)
        while done < len(requests):
            while len(pipe.waiting) < depth:
                index, fields = next(left, (None, None))
                if index is None:
                    break
                pipe.push(wire.Request(id=index + 1, **fields), index)
            pipe.write()
            selector.select(0.05)
            for index, reply in pipe.read():
                replies[index] = reply
                done += 1
            assert not pipe.ended or done == len(requests), "the daemon hung up"
    if not pipe.ended:
        pipe.socket.close()
    return replies

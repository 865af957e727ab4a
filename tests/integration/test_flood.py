"""A flood of keys: five million of them do not move memory, nor anyone who was counted before.

Resident memory may grow by memory_max and FLOOD_REST_BYTES. The rest is: the limiter's own arrays
beside the ceiling (shards, cells' index), output and input buffers of the flooding connections
(a few hundred KiB each at most), the saver's buffer and SQLite's page cache (2 MiB each), stacks
and the allocator's slack. It does not depend on the number of keys.
"""

import os
import socket
import struct
import threading

import pytest

from conftest import check_request

KEYS = 5_000_000
MEMORY_MAX = 64 << 20
FLOOD_REST_BYTES = 16 << 20
CONFIG = """
memory_max: 64MiB
limits: {named: {rate: 3/day}}
"""
WINDOW_MS = 86_400_000


def frames(request, marker, count):
    """@count copies of @request's frame, each with random bytes in place of @marker."""
    body = request.SerializeToString()
    frame = struct.pack(">I", len(body)) + body
    before, after = frame.split(marker)
    noise = os.urandom(count * len(marker))
    return b"".join([before + noise[at:at + len(marker)] + after
                     for at in range(0, len(noise), len(marker))])


def count_answers(connection, count):
    """Read @count replies; returns how many were allowed: field 1 of the check's reply."""
    sock, left, allowed, buffer = connection.socket, count, 0, b""
    from_string = connection.wire.Reply.FromString
    parsed = 0
    while left:
        data = sock.recv(1 << 20)
        assert data, "the daemon hung up"
        buffer += data
        at, end = 0, len(buffer)
        while end - at >= 4:
            size = int.from_bytes(buffer[at:at + 4], "big")
            if end - at < 4 + size:
                break
            if parsed % 512 == 0:  # a sample: parsing all would take minutes
                reply = from_string(buffer[at + 4:at + 4 + size])
                assert reply.status == connection.wire.STATUS_OK, reply
                allowed += reply.check.verdict == connection.wire.VERDICT_ALLOW
            parsed += 1
            left -= 1
            at += 4 + size
        buffer = buffer[at:]
    return allowed


def flood(connections, request, marker, count):
    """@count checks of random keys over all connections at once."""
    each, chunk = count // len(connections), 20_000
    faults = []

    def run(connection):
        try:
            sent = 0
            while sent < each:
                now = min(chunk, each - sent)
                data = frames(request, marker, now)
                writer = threading.Thread(target=connection.socket.sendall, args=(data,))
                writer.start()
                count_answers(connection, now)
                writer.join()
                sent += now
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(c,)) for c in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults, faults


class Kind:
    """Named or inline: the same questions in two ways."""

    def __init__(self, wire, connection, named):
        self.wire, self.connection, self.named = wire, connection, named

    def request(self, key, **fields):
        if not self.named:
            return check_request(self.wire, key, rate=(3, WINDOW_MS), **fields)
        item = self.wire.CheckItem(limit=b"named", key=[key], on_error=self.wire.ON_ERROR_CLOSED)
        return self.wire.Check(items=[item], **fields)

    def ask(self, key, **fields):
        return self.connection.call(check=self.request(key, **fields)).check

    def allowed(self, key, times):
        return sum(self.ask(key).verdict == self.wire.VERDICT_ALLOW for _ in range(times))


@pytest.mark.release
@pytest.mark.alone
def test_five_million_keys_stay_below_the_ceiling_and_move_nobody(make_daemon, connect, wire):
    pawld = make_daemon(config=CONFIG)
    connection = connect(pawld.unix)
    kinds = [Kind(wire, connection, named) for named in (True, False)]
    for kind in kinds:
        assert kind.allowed(b"two-of-three", 2) == 2
        assert kind.allowed(b"denied", 5) == 3
    before = pawld.rss_bytes()
    marker = b"@@marker"
    flooding = [connect(pawld.unix) for _ in range(4)]
    peak = before
    for kind in kinds:
        for _ in range(5):
            flood(flooding, wire.Request(id=1, check=kind.request(marker)), marker, KEYS // 10)
            peak = max(peak, pawld.rss_bytes())
    status = pawld.status()
    print(f"resident: {before >> 20} MiB before, {peak >> 20} MiB at most, {status['keys']} keys, "
          f"{status['overflow_keys']} overflow cells")
    assert status["limiter_overflowed"] > 0, "the flood did not fill the table"
    assert peak < before + MEMORY_MAX + FLOOD_REST_BYTES
    assert peak < MEMORY_MAX + 2 * FLOOD_REST_BYTES
    for kind in kinds:
        result = kind.ask(b"two-of-three", op=wire.OP_PEEK).results[0]
        assert (result.count, result.overflow) == (2, False)
        assert kind.allowed(b"two-of-three", 3) == 1
        assert kind.allowed(b"denied", 2) == 0
        for i in range(50):
            assert kind.allowed(b"never-seen-%d" % i, 5) <= 3
    # What was saved under the flood comes back: nobody gets a fourth.
    assert pawld.stop() == 0
    pawld.start()
    again = [Kind(wire, connect(pawld.unix), named) for named in (True, False)]
    for kind in again:
        assert kind.allowed(b"two-of-three", 2) == 0
        assert kind.allowed(b"denied", 2) == 0


@pytest.mark.release
@pytest.mark.alone
def test_a_flood_through_pawlctl_bench_answers_every_request(make_daemon):
    pawld = make_daemon(config=CONFIG)
    report = pawld.ctl("bench", "--rate", "3/day", "--keys", 5_000_000, "--requests", 1_000_000,
                       "--connections", 8, "--in-flight", 32, check=0).json
    assert "1000000" in str(report), report

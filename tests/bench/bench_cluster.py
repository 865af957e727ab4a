"""Figures of a fleet: three nodes and a redis-server on this machine's loopback.

Both processors serve all of it, so that throughput says what a path costs, not how it scales.
"""
import concurrent.futures
import pathlib
import statistics
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "deploy" / "demo"))
import fleet as rig  # noqa: E402

NODES = 3
SEEN = {"quick": 100, "full": 1000}


def frame(message):
    return struct.pack(">I", len(message)) + message


def read_reply(stream):
    data = b""
    while len(data) < 4 or len(data) < 4 + struct.unpack(">I", data[:4])[0]:
        more = stream.recv(65536)
        if not more:
            raise rig.Trouble("a node closed the connection")
        data += more
    return data[4:]


def started(bench, nodes, **options):
    bench.serial += 1
    fleet = rig.Fleet(bench.build, bench.dir / f"fleet{bench.serial}", **options)
    try:
        fleet.add(nodes)
    except BaseException:
        fleet.close()
        raise
    return fleet


def watch(wire, stream, jti):
    """When (monotonic) this node was first asked and said that @jti is revoked."""
    message = frame(b"\x08\x01" + wire.field(17, wire.field(1, wire.field(2, jti))))
    while True:
        stream.sendall(message)
        verdict = dict(wire.fields(dict(wire.fields(read_reply(stream))).get(17, b"")))
        if verdict.get(1, 0) == 2: # TOKEN_REVOKED
            return time.monotonic()


def seen_p99_ms(bench, name, wire):
    """From sending a revocation to one node to its refusal at all three; the 99th percentile.

    The nodes take turns in being told. Each is asked again and again, over a connection of its own,
    until it refuses: what a question takes is in the figure.
    """
    fleet = started(bench, NODES)
    try:
        streams = [bench.connect(node.unix) for node in fleet.nodes]
        tells = [bench.connect(node.unix) for node in fleet.nodes]
        exp = wire.varint(5 << 3) + wire.varint(int(time.time()) + 3600)
        took = []
        with concurrent.futures.ThreadPoolExecutor(NODES) as pool:
            for i in range(SEEN["quick" if bench.quick else "full"]):
                jti, told = b"seen-%d" % i, tells[i % NODES]
                begun = time.monotonic()
                # Revoke{scope: token, value: jti, exp, ack: memory}
                told.sendall(frame(b"\x08\x01" + wire.field(
                    20, b"\x08\x01" + wire.field(3, jti) + exp + b"\x40\x01")))
                done = [pool.submit(watch, wire, stream, jti) for stream in streams]
                took.append(1000 * (max(one.result(10) for one in done) - begun))
                read_reply(told)
        took.sort()
        bench.add(name, "ms", [took[len(took) * 99 // 100]], samples=len(took),
                  p50_ms=round(statistics.median(took), 4), largest_ms=round(took[-1], 4))
    finally:
        fleet.close()


def forwarded(bench, name):
    """Checks at a node that forwards them, against the same checks at their owner."""
    shape = {"connections": 50, "in_flight": 1, "ms": bench.ms, "keys": 1, "count": 1 << 20}
    fleet = started(bench, 2)
    try:
        far, owner = fleet.nodes
        before = far.status()["requests_forwarded"]
        bench.load("check", far.unix, **{**shape, "ms": 50})
        if far.status()["requests_forwarded"] == before: # the load has one key: it is its own
            far, owner = owner, far
        theirs, direct = [], []
        for _ in range(bench.rounds):
            direct.append(bench.load("check", owner.unix, **shape)["per_s"])
            theirs.append(bench.load("check", far.unix, **shape)["per_s"])
        bench.add(name, "1/s", theirs, direct)
    finally:
        fleet.close()

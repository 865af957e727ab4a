"""What the tests of a fleet share: callers with libpawl, who owns a key, when a fleet is back to
normal. The processes are those of deploy/demo/fleet.py.
"""

import json
import subprocess
import sys

from conftest import BUILD, ROOT, Connection, check_request

sys.path.insert(0, str(ROOT / "deploy" / "demo"))
import fleet as rig # noqa: E402

HOUR_MS = 3600000
#: For callers whose answers have to come: the machine may be busy, and a hand-over parks them.
PATIENT_MS = 5000


def calm(fleet):
    """Every node is back to normal: one view, engine up, gate open, fresh, and no revocation waits
    for long, though under load some always do."""
    def normal():
        return fleet.settled() and all(
            status["engine_up"] and status["gate_open"] and
            status["oldest_pending_age_ms"] < 1000 and status["staleness_ms"] < 3000
            for status in (node.status() for node in fleet.up()))
    try:
        rig.wait_until(normal, "the fleet back to normal", 60)
    except rig.Trouble as trouble:
        names = ("view", "members", "slots_wanted", "slots_given", "engine_up", "gate_open",
                 "oldest_pending_age_ms", "staleness_ms", "tenure_ms", "engine_address")
        raise rig.Trouble(f"{trouble}: " + "; ".join(
            f"{node.name} " + str({name: node.status()[name] for name in names})
            for node in fleet.up())) from None


def ask(node, wire, **fields):
    """One request over a connection of its own."""
    connection = Connection(wire, node.unix, 10)
    try:
        return connection.call(**fields)
    finally:
        connection.close()


def verdict(node, wire, jti, exp):
    return ask(node, wire, token_check=wire.TokenCheck(
        token=wire.Token(jti=jti, exp=exp))).token_check


def used(node, wire, key, count):
    """How much of @key's @count/hour is used, as @node finds out from its owner."""
    reply = ask(node, wire, deadline_ms=PATIENT_MS, check=check_request(
        wire, key, (count, HOUR_MS), op=wire.OP_PEEK))
    assert reply.status == wire.STATUS_OK, reply
    return count - reply.check.results[0].remaining


# ---- callers with libpawl ------------------------------------------------------------------------


class Callers:
    """callers.c: threads that check one key at @nodes until stop(); its last figures."""

    def __init__(self, nodes, key, count, threads=4, pace_us=2000, route=False):
        self.process = subprocess.Popen(
            [str(BUILD / "tests" / "callers"), str(threads), str(PATIENT_MS), str(int(route)), key,
             f"{count}/hour", *(node.unix for node in nodes)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pace(pace_us)

    def pace(self, pace_us):
        """From now on each thread waits so long between two checks; the figures until now."""
        return self.say(f"{pace_us}\n")

    def figures(self):
        return self.say("\n")

    def say(self, line):
        self.process.stdin.write(line)
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def answered(self, more):
        """Wait until @more answers have come."""
        def count():
            figures = self.figures()
            return figures["allowed"] + figures["denied"]
        begin = count()
        rig.wait_until(lambda: count() >= begin + more, f"{more} more answers to callers", 60)

    def stop(self):
        """Stop them and wait for those under way; the figures."""
        if self.process.stdin.closed:
            return self.last
        self.process.stdin.close()
        self.last = json.loads(self.process.stdout.read())
        assert self.process.wait(60) == 0
        self.process.stdout.close()
        return self.last

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


# ---- who owns a key ------------------------------------------------------------------------------

MASK = (1 << 64) - 1


def siphash(key, data):
    """SipHash-2-4 of @data, as its authors describe it."""
    low, high = (int.from_bytes(key[i:i + 8], "little") for i in (0, 8))
    v = [low ^ 0x736f6d6570736575, high ^ 0x646f72616e646f6d,
         low ^ 0x6c7967656e657261, high ^ 0x7465646279746573]

    def turn(value, bits):
        return (value << bits | value >> (64 - bits)) & MASK

    def rounds(count):
        for _ in range(count):
            v[0] = (v[0] + v[1]) & MASK
            v[1] = turn(v[1], 13) ^ v[0]
            v[0] = turn(v[0], 32)
            v[2] = (v[2] + v[3]) & MASK
            v[3] = turn(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & MASK
            v[3] = turn(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & MASK
            v[1] = turn(v[1], 17) ^ v[2]
            v[2] = turn(v[2], 32)

    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 255])
    for i in range(0, len(padded), 8):
        word = int.from_bytes(padded[i:i + 8], "little")
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 255
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def packed(*parts):
    return b"".join(len(part).to_bytes(4, "little") + part for part in parts)


class Owners:
    """Which node counts a key, worked out from a view as the nodes have to do it: rendezvous."""

    def __init__(self, wire, fleet, key):
        self.wire, self.fleet = wire, fleet
        connection = Connection(wire, fleet.up()[0].unix, 10)
        request = connection.request(ping=wire.Ping(), hello=wire.Hello(
            version_min=1, version_max=1, features=1))
        connection.send(request)
        replies = iter(connection.receive, None) # the view comes first, unasked
        reply = next(reply for reply in replies if reply.id == request.id)
        connection.close()
        self.subkey = reply.hello.slots_subkey
        assert len(self.subkey) == 16, reply
        self.slot = siphash(self.subkey, packed(b"default", key)) % 4096

    def now(self, of=None):
        """The owner's node, by the view that the first running node (or @of) has."""
        view = ask(of or self.fleet.up()[0], self.wire, view_get=self.wire.ViewGet()).view
        best = max((m for m in view.members if m.state == b"serving"), key=lambda m: siphash(
            self.subkey, packed(self.slot.to_bytes(8, "little"), m.node)))
        return next(node for node in self.fleet.nodes if node.tcp == best.address.decode())

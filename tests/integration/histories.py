"""Load on a fleet that writes down what was asked and answered, and what must hold of it.

Every operation is a row with the time it was begun and the time it was answered (monotonic). What
was not answered stays open-ended: it may have happened. The checks at the end look at the rows
alone.
"""

import collections
import contextlib
import itertools
import random
import socket
import threading
import time

from cluster_rig import rig
from conftest import Connection

Row = collections.namedtuple("Row", "what begun ended node subject answer")


class Asker:
    """A thread that asks nodes over connections of its own, anew when one ends."""

    def __init__(self, history, step, seed):
        self.history, self.step = history, step
        self.random = random.Random(seed)
        self.connections = {}
        self.thread = threading.Thread(target=self.run, daemon=True)

    def call(self, node, **fields):
        """The reply, or None when none came."""
        try:
            if node.unix not in self.connections:
                self.connections[node.unix] = Connection(self.history.wire, node.unix, 3)
            return self.connections[node.unix].call(**fields)
        except (OSError, AssertionError):
            connection = self.connections.pop(node.unix, None)
            if connection is not None:
                connection.close()
            return None

    def run(self):
        while not self.history.stopping.is_set():
            self.step(self)
        self.close()

    def close(self):
        for connection in self.connections.values():
            connection.close()


class History:
    def __init__(self, wire, fleet):
        self.wire, self.fleet = wire, fleet
        self.rows = collections.defaultdict(list) # by what was asked
        self.stopping = threading.Event()
        self.askers = []
        self.serial = itertools.count()
        self.exp = int(time.time()) + 3600
        self.families = {}
        self.takers = fleet.nodes # of revocations, and of what is asked behind one
        self.recent = collections.deque(maxlen=4) # tokens that somebody is revoking, or just has

    # ---- what is asked ----

    def ask(self, asker, node, what, subject, **fields):
        begun = time.monotonic()
        reply = asker.call(node, **fields)
        row = Row(what, begun, time.monotonic() if reply else None, node.name, subject, reply)
        self.rows[what].append(row)
        return row

    def revoke(self, asker, *levels):
        """A log-out at any node, to any (or one of @levels); then the token's state at another."""
        wire, jti = self.wire, b"j%d" % next(self.serial)
        level = asker.random.choice(levels or (wire.ACK_DURABLE, wire.ACK_QUORUM,
                                               wire.ACK_EVERYWHERE))
        node = asker.random.choice(self.takers)
        self.recent.append(jti)
        row = self.ask(asker, node, "revoke", jti, deadline_ms=2500, revoke=wire.Revoke(
            scope=wire.SCOPE_TOKEN, value=jti, exp=self.exp, ack=level))
        if row.answer is not None:
            self.look(asker, asker.random.choice(self.takers), jti)

    def revoke_everywhere(self, asker):
        self.revoke(asker, self.wire.ACK_EVERYWHERE)

    def look(self, asker, node, jti):
        return self.ask(asker, node, "token", jti, token_check=self.wire.TokenCheck(
            token=self.wire.Token(jti=jti, exp=self.exp)))

    def read(self, node):
        """Tokens that are being revoked, asked for at @node again and again."""
        def step(asker):
            for jti in list(self.recent):
                self.look(asker, node, jti)
            time.sleep(0.005) # bounded load
        return step

    def check(self, key, count, pause_s=0.002, limit=None):
        """Checks of one key at any node, at @count/hour or by the limit of that name."""
        wire = self.wire
        item = wire.CheckItem(key=[key], limit=limit) if limit else wire.CheckItem(
            key=[key], on_error=wire.ON_ERROR_CLOSED,
            rates=[wire.Rate(count=count, window_ms=3600000)])

        def step(asker):
            self.ask(asker, asker.random.choice(self.fleet.nodes), "check", key, deadline_ms=2000,
                     check=wire.Check(items=[item]))
            time.sleep(pause_s) # bounded load
        return step

    def open_families(self, count):
        self.families.update((family["sid"], family) for family in self.opened(count))

    def opened(self, count):
        """New families, each with its first token."""
        asker, families = Asker(self, None, 0), []
        for _ in range(count):
            i = next(self.serial)
            jti = b"f%d" % i
            families.append({"sid": self.open_family(asker, b"s%d" % i, jti), "head": jti,
                             "generation": 0, "lock": threading.Lock()})
        asker.close()
        return families

    def open_family(self, asker, subject, jti):
        reply = asker.call(self.fleet.nodes[0], deadline_ms=2500, family_open=self.wire.FamilyOpen(
            subject=subject, jti=jti, exp=self.exp))
        assert reply is not None and reply.family_open.sid, reply
        return reply.family_open.sid

    def refresh(self, asker, family, head, generation, what="rotate"):
        """One caller's refresh; a retry comes with the same successor. The last row."""
        wire, successor = self.wire, b"t%d" % next(self.serial)
        for _ in range(3):
            row = self.ask(asker, asker.random.choice(self.fleet.nodes), what,
                           (family["sid"], generation), deadline_ms=2500, rotate=wire.Rotate(
                               presented=wire.Token(sid=family["sid"], jti=head, exp=self.exp),
                               next_jti=successor, next_exp=self.exp, verified=True))
            if row.answer is not None and row.answer.rotate.result not in (
                    wire.ROTATE_NONE, wire.ROTATE_UNAVAILABLE):
                break
        return row

    def rotate(self, asker):
        """Two callers at once refresh one family's newest token, at nodes of their own."""
        family = asker.random.choice(list(self.families.values()))
        with family["lock"]: # nobody here plays a token that is two generations old
            head, generation = family["head"], family["generation"]
            other = Asker(self, None, next(self.serial))
            rows = []
            second = threading.Thread(
                target=lambda: rows.append(self.refresh(other, family, head, generation)))
            second.start()
            rows.append(self.refresh(asker, family, head, generation))
            second.join()
            other.close()
            for row in rows:
                if row.answer is not None and row.answer.rotate.successor:
                    family["head"] = row.answer.rotate.successor
                    family["generation"] = row.answer.rotate.generation
        time.sleep(0.002)

    def refresh_each(self, families, what="rotate"):
        """Each family's first token is presented: by its owner ("rotate"), by a thief ("replay")."""
        asker = Asker(self, None, 1)
        for family in families:
            self.refresh(asker, family, family["head"], 0, what)
        asker.close()

    # ---- running ----

    def start(self, *steps):
        """Threads that do each of @steps again and again until stop(); may be called again."""
        for step in steps:
            self.askers.append(Asker(self, step, len(self.askers)))
            self.askers[-1].thread.start()

    def stop(self):
        self.stopping.set()
        for asker in self.askers:
            asker.thread.join(30)
            assert not asker.thread.is_alive(), "an asker hangs"

    def of(self, what):
        return list(self.rows[what])

    # ---- what must hold ----

    def acknowledged(self, level, since=0, until=float("inf")):
        """Tokens whose revocation was acknowledged at @level or above, all of it in a while."""
        return [row for row in self.of("revoke")
                if row.answer is not None and row.answer.status == self.wire.STATUS_OK
                and row.answer.revoke.acknowledged >= level
                and row.begun >= since and row.ended <= until]

    def forgotten(self, level):
        """Those that some node calls anything but revoked now. R1."""
        return self.missing(self.acknowledged(level))

    def missing(self, rows):
        """Of @rows, revocations, where they are not known."""
        asker, missing = Asker(self, None, 0), []
        for row in rows:
            for node in self.fleet.up():
                reply = asker.call(node, token_check=self.wire.TokenCheck(
                    token=self.wire.Token(jti=row.subject, exp=self.exp)))
                if reply is None or reply.token_check.status != self.wire.TOKEN_REVOKED:
                    missing.append((node.name, row.subject))
        asker.close()
        return missing

    def allowed_after_everywhere(self):
        """Fresh "valid" verdicts begun after an acknowledgement that said everywhere. R2."""
        ended = {row.subject: row.ended for row in self.acknowledged(self.wire.ACK_EVERYWHERE)}
        return [row for row in self.of("token")
                if row.answer is not None and row.begun > ended.get(row.subject, float("inf"))
                and row.answer.token_check.status == self.wire.TOKEN_VALID
                and row.answer.token_check.fresh]

    def two_winners(self):
        """Generations of a family for which two successors were handed out. T1."""
        given = collections.defaultdict(set)
        for row in self.of("rotate") + self.of("replay"):
            if row.answer is not None and row.answer.rotate.result in (
                    self.wire.ROTATE_ROTATED, self.wire.ROTATE_GRACE):
                given[row.subject[0], row.answer.rotate.generation].add(
                    row.answer.rotate.successor)
        return {key: values for key, values in given.items() if len(values) > 1}

    def false_alarms(self):
        """Reuse was cried, though nobody plays an old token here. T2."""
        return [row for row in self.of("rotate") if row.answer is not None
                and row.answer.rotate.result == self.wire.ROTATE_REUSE]

    def verdicts(self, key, which):
        return sum(row.answer is not None and row.answer.status == self.wire.STATUS_OK
                   and row.answer.check.verdict == which
                   for row in self.of("check") if row.subject == key)

    def admitted(self, key):
        return self.verdicts(key, self.wire.VERDICT_ALLOW)

    def used_up(self, checks=30):
        """Whether the last checks were all denied."""
        last = [row.answer for row in self.rows["check"][-checks:]]
        return all(answer is not None and answer.check.verdict == self.wire.VERDICT_DENY
                   for answer in last)

    def summary(self, key, limit):
        quorum = self.wire.ACK_QUORUM
        generations = {row.subject for row in self.of("rotate") if row.answer is not None
                       and row.answer.rotate.result == self.wire.ROTATE_ROTATED}
        return (f"of {len(self.acknowledged(quorum))} revocations acknowledged as quorum "
                f"{len({jti for _, jti in self.forgotten(quorum)})} are missing, of "
                f"{len(generations)} generations {len(self.two_winners())} have two winners, "
                f"{self.admitted(key)} of {limit} were admitted")

    def failed(self, what):
        """Answers that are none: no reply, or a status that is not OK."""
        return [row for row in self.of(what)
                if row.answer is None or row.answer.status != self.wire.STATUS_OK]


def rows_grow(history, what, by=50):
    """Wait until @by answers more have come."""
    def count():
        return sum(row.answer is not None for row in history.rows[what])
    begin = count()
    rig.wait_until(lambda: count() >= begin + by, f"{by} more answers to {what}", 60)


@contextlib.contextmanager
def running(history, *steps):
    history.start(*steps)
    try:
        yield history
    finally:
        history.stop()


# ---- what teams do without pawl ------------------------------------------------------------------

#: The newest token of a login is exchanged by compare-and-set, atomically; the one before it is
#: answered with its successor, as pawl does it.
ROTATE = """
local f = redis.call('hmget', KEYS[1], 'head', 'before', 'generation')
if f[1] == ARGV[1] then
  redis.call('hset', KEYS[1], 'head', ARGV[2], 'before', ARGV[1], 'generation', f[3] + 1)
  return {ARGV[2], f[3] + 1}
end
if f[2] == ARGV[1] then return {f[1], f[3] + 0} end
return {'', 0}
"""


class Plain(History):
    """The same load on the same engine without pawl: a set of revoked ids, INCR, compare-and-set.

    Revocations and rotations are acknowledged when a replica has them (WAIT), counts as they are
    counted. So what is missing here in the end is not for want of care on the way, and the faults
    bite: the checks below have to object.
    """

    def engine(self):
        """The primary, as the Sentinel names it."""
        return self.fleet.named_primary()

    def ask(self, asker, _, what, subject, **fields):
        begun = time.monotonic()
        try:
            reply = self.answer(asker, fields)
        except (OSError, ValueError, rig.Trouble):
            asker.close()
            asker.connections.clear()
            time.sleep(0.05)
            reply = None
        row = Row(what, begun, time.monotonic() if reply else None, "engine", subject, reply)
        self.rows[what].append(row)
        return row

    def command(self, asker, *words):
        if "engine" not in asker.connections:
            asker.connections["engine"] = Engine(self.engine().unix)
        return asker.connections["engine"].call(*words)

    def held(self, asker, *words):
        """A write's answer, and whether a replica has it."""
        answer = self.command(asker, *words)
        return answer, self.command(asker, "wait", 1, 200) >= 1

    def answer(self, asker, fields):
        wire = self.wire
        if "revoke" in fields:
            _, held = self.held(asker, "sadd", "revoked", fields["revoke"].value)
            return wire.Reply(status=wire.STATUS_OK, revoke=wire.RevokeReply(
                acknowledged=wire.ACK_QUORUM if held else wire.ACK_MEMORY))
        if "token_check" in fields:
            gone = self.command(asker, "sismember", "revoked", fields["token_check"].token.jti)
            return wire.Reply(status=wire.STATUS_OK, token_check=wire.TokenVerdict(
                status=wire.TOKEN_REVOKED if gone else wire.TOKEN_VALID, fresh=True))
        if "check" in fields:
            item = fields["check"].items[0]
            count = self.command(asker, "incr", b"count:" + item.key[0])
            return wire.Reply(status=wire.STATUS_OK, check=wire.CheckReply(
                verdict=wire.VERDICT_ALLOW if count <= item.rates[0].count else wire.VERDICT_DENY))
        rotate = fields["rotate"]
        (head, generation), held = self.held(
            asker, "eval", ROTATE, 1, b"family:" + rotate.presented.sid, rotate.presented.jti,
            rotate.next_jti)
        result = wire.ROTATE_ROTATED if head else wire.ROTATE_UNKNOWN
        return wire.Reply(status=wire.STATUS_OK, rotate=wire.RotateReply(
            result=result if held else wire.ROTATE_UNAVAILABLE, successor=head if held else b"",
            generation=generation))

    def open_family(self, asker, subject, jti):
        self.held(asker, "hset", b"family:" + subject, "head", jti, "generation", 0)
        return subject

    def missing(self, rows):
        asker = Asker(self, None, 0)
        missing = [("engine", row.subject) for row in rows
                   if self.command(asker, "sismember", "revoked", row.subject) != 1]
        asker.close()
        return missing


class Engine:
    """A connection to a redis-server: commands and answers, nothing more."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(3)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def call(self, *words):
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(
            b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
        return self.read()

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n") or line[:1] == b"-":
            raise ValueError(line)
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            return self.file.read(int(rest) + 2)[:-2] if int(rest) >= 0 else None
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        return int(rest) if kind == b":" else rest

    def close(self):
        self.file.close()
        self.socket.close()

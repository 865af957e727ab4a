"""Load on a fleet that writes down what was asked and answered, and what must hold of it.

Every operation is a row with the time it was begun and the time it was answered (monotonic). What
was not answered stays open-ended: it may have happened. The checks at the end look at the rows
alone.
"""

import collections
import contextlib
import itertools
import random
import threading
import time

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
        for connection in self.connections.values():
            connection.close()


class History:
    def __init__(self, wire, fleet):
        self.wire, self.fleet = wire, fleet
        self.rows = []
        self.stopping = threading.Event()
        self.askers = []
        self.serial = itertools.count()
        self.exp = int(time.time()) + 3600
        self.families = {}

    # ---- what is asked ----

    def ask(self, asker, node, what, subject, **fields):
        begun = time.monotonic()
        reply = asker.call(node, **fields)
        row = Row(what, begun, time.monotonic() if reply else None, node.name, subject, reply)
        self.rows.append(row)
        return row

    def revoke(self, asker):
        """A log-out at any node, then the token's state at another."""
        wire, jti = self.wire, b"j%d" % next(self.serial)
        level = asker.random.choice([wire.ACK_DURABLE, wire.ACK_QUORUM, wire.ACK_EVERYWHERE])
        node = asker.random.choice(self.fleet.nodes)
        row = self.ask(asker, node, "revoke", jti, deadline_ms=2500, revoke=wire.Revoke(
            scope=wire.SCOPE_TOKEN, value=jti, exp=self.exp, ack=level))
        if row.answer is not None:
            other = asker.random.choice(self.fleet.nodes)
            self.ask(asker, other, "token", jti, token_check=wire.TokenCheck(
                token=wire.Token(jti=jti, exp=self.exp)))

    def check(self, key, count):
        """Checks of one key at @count/hour, at any node."""
        def step(asker):
            wire = self.wire
            item = wire.CheckItem(key=[key], on_error=wire.ON_ERROR_CLOSED,
                                  rates=[wire.Rate(count=count, window_ms=3600000)])
            self.ask(asker, asker.random.choice(self.fleet.nodes), "check", key, deadline_ms=2000,
                     check=wire.Check(items=[item]))
            time.sleep(0.002) # bounded load
        return step

    def open_families(self, count):
        asker = Asker(self, None, 0)
        for i in range(count):
            jti = b"f%d.0" % i
            reply = asker.call(self.fleet.nodes[0], family_open=self.wire.FamilyOpen(
                subject=b"s%d" % i, jti=jti, exp=self.exp))
            assert reply is not None and reply.family_open.sid, reply
            self.families[i] = {"sid": reply.family_open.sid, "head": jti, "generation": 0,
                                "lock": threading.Lock()}

    def refresh(self, asker, family, head, generation):
        """One caller's refresh; a retry comes with the same successor. The last row."""
        wire, successor = self.wire, b"t%d" % next(self.serial)
        for _ in range(3):
            row = self.ask(asker, asker.random.choice(self.fleet.nodes), "rotate",
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
            for connection in other.connections.values():
                connection.close()
            for row in rows:
                if row.answer is not None and row.answer.rotate.successor:
                    family["head"] = row.answer.rotate.successor
                    family["generation"] = row.answer.rotate.generation
        time.sleep(0.002)

    # ---- running ----

    def start(self, *steps):
        self.askers += [Asker(self, step, seed) for seed, step in enumerate(steps)]
        for asker in self.askers:
            asker.thread.start()

    def stop(self):
        self.stopping.set()
        for asker in self.askers:
            asker.thread.join(30)
            assert not asker.thread.is_alive(), "an asker hangs"

    def of(self, what):
        return [row for row in self.rows if row.what == what]

    # ---- what must hold ----

    def acknowledged(self, level):
        """Tokens whose revocation was acknowledged at @level or above."""
        return [row for row in self.of("revoke")
                if row.answer is not None and row.answer.status == self.wire.STATUS_OK
                and row.answer.revoke.acknowledged >= level]

    def forgotten(self, level):
        """Those that some node calls anything but revoked now. R1."""
        asker, missing = Asker(self, None, 0), []
        for row in self.acknowledged(level):
            for node in self.fleet.up():
                reply = asker.call(node, token_check=self.wire.TokenCheck(
                    token=self.wire.Token(jti=row.subject, exp=self.exp)))
                if reply is None or reply.token_check.status != self.wire.TOKEN_REVOKED:
                    missing.append((node.name, row.subject))
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
        for row in self.of("rotate"):
            if row.answer is not None and row.answer.rotate.result in (
                    self.wire.ROTATE_ROTATED, self.wire.ROTATE_GRACE):
                given[row.subject[0], row.answer.rotate.generation].add(
                    row.answer.rotate.successor)
        return {key: values for key, values in given.items() if len(values) > 1}

    def false_alarms(self):
        """Reuse was cried, though nobody plays an old token here. T2."""
        return [row for row in self.of("rotate") if row.answer is not None
                and row.answer.rotate.result == self.wire.ROTATE_REUSE]

    def admitted(self, key):
        return sum(row.answer is not None and row.answer.status == self.wire.STATUS_OK
                   and row.answer.check.verdict == self.wire.VERDICT_ALLOW
                   for row in self.of("check") if row.subject == key)

    def failed(self, what):
        """Answers that are none: no reply, or a status that is not OK."""
        return [row for row in self.of(what)
                if row.answer is None or row.answer.status != self.wire.STATUS_OK]


@contextlib.contextmanager
def running(history, *steps):
    history.start(*steps)
    try:
        yield history
    finally:
        history.stop()

"""The root secret of a running fleet is changed: no count, no fact and no family is lost, and nobody
is admitted a second time. Three steps, each a rolling restart, as deploy/KUBERNETES.md has them.
"""

import json
import secrets
import time

import pytest

from cluster_rig import ask, calm, rig, used
from conftest import Connection

# Leases run out under a sanitizer's load.
pytestmark = [pytest.mark.release, pytest.mark.fleet]

MANY = 1_000_000
#: What stands in the settings, step by step; the first is what a fleet has before.
STEPS = [{"secret_file": "secret"},
         {"secret_files": ["secret", "new"], "names_secret_file": "secret"},
         {"secret_files": ["new", "secret"], "names_secret_file": "secret"},
         {"secret_file": "new", "names_secret_file": "secret"}]


class Facts:
    """Tokens revoked at each node in each state of the fleet, and a family that goes on; everybody
    is asked about all of it."""

    def __init__(self, wire, fleet):
        self.wire, self.fleet = wire, fleet
        self.exp = int(time.time()) + 3600
        self.revoked, self.generation = [], 0
        opened = ask(fleet.nodes[0], wire, family_open=wire.FamilyOpen(
            subject=b"anna", jti=b"g0", exp=self.exp))
        self.sid = opened.family_open.sid

    def more(self):
        for node in self.fleet.up():
            self.revoked.append(b"t%d" % len(self.revoked))
            reply = ask(node, self.wire, deadline_ms=5000, revoke=self.wire.Revoke(
                scope=self.wire.SCOPE_TOKEN, value=self.revoked[-1], exp=self.exp))
            assert reply.status == self.wire.STATUS_OK, reply
            self.rotate(node)
        for node in self.fleet.up():
            rig.wait_until(lambda one=node: self.known_at(one), f"all revocations at {node.name}")

    def forget(self):
        self.revoked = []

    def known_at(self, node):
        connection = Connection(self.wire, node.unix, 10)
        try:
            return all(connection.call(token_check=self.wire.TokenCheck(token=self.wire.Token(
                jti=jti, exp=self.exp))).token_check.status == self.wire.TOKEN_REVOKED
                for jti in self.revoked)
        finally:
            connection.close()

    def rotate(self, node):
        """The next generation at @node, exactly once: who shows the one before anywhere hears of it."""
        presented = self.wire.Token(sid=self.sid, jti=b"g%d" % self.generation, exp=self.exp)
        self.generation += 1
        won = b"g%d" % self.generation
        for at, proposed, result in [(node, won, self.wire.ROTATE_ROTATED)] + [
                (other, b"another", self.wire.ROTATE_GRACE) for other in self.fleet.up()]:
            turned = ask(at, self.wire, deadline_ms=5000, rotate=self.wire.Rotate(
                presented=presented, next_jti=proposed, next_exp=self.exp, verified=True)).rotate
            assert (turned.result, turned.successor) == (result, won), (at.name, turned)


def set_secrets(fleet, node, step):
    config = json.loads(node.config.read_text())
    for name in ("secret_file", "secret_files", "names_secret_file"):
        config.pop(name, None)
    for name, value in step.items():
        config[name] = ([str(fleet.folder / one) for one in value] if isinstance(value, list)
                        else str(fleet.folder / value))
    node.config.write_text(json.dumps(config, indent=1))


def roll(fleet, step, after_each):
    for node in fleet.nodes:
        assert node.stop() == 0
        set_secrets(fleet, node, step)
        node.start(wait=False)
        calm(fleet)
        after_each()


def test_a_changed_root_secret_begins_nothing_anew(make_fleet, make_callers, wire):
    fleet = make_fleet()
    new = fleet.folder / "new"
    new.write_text(secrets.token_hex(32) + "\n")
    new.chmod(0o600)
    facts = Facts(wire, fleet)
    free = make_callers(fleet.nodes, "free", MANY, threads=2)
    full = make_callers(fleet.nodes, "full", 100, threads=1)
    rig.wait_until(lambda: full.figures()["denied"] > 0, "a key that is used up", 60)
    facts.more()
    for step in STEPS[1:3]:
        roll(fleet, step, facts.more)
        free.answered(20)
    for node in fleet.nodes: # nobody met a seal that he could not read
        status = node.status()
        assert not any(status[name] for name in (
            "members_bad_seals", "families_bad_seals", "handover_bad_records", "facts_log_forged",
            "digest_mismatches", "view_unreadable_ms")), status
    facts.forget() # the last step is for when the facts of the old secret have expired
    facts.more()
    roll(fleet, STEPS[3], facts.more)
    free.answered(20)
    figures = [callers.stop() for callers in (free, full)]
    print(figures)
    for one in figures:
        assert (one["failed"], one["why"]) == (0, "")
    assert used(fleet.nodes[0], wire, b"free", MANY) == figures[0]["allowed"]
    assert figures[1]["allowed"] == 100

"""Failovers that lose what the engine had acknowledged, under load, and what may not be lost by them.

The engine has two replicas. Before each failover one of them is cut off from the primary; writes go
on and are acknowledged by the other one; then the primary is gone, and the Sentinel promotes the
one that was cut off, because its replica-priority is the better one: what was written since the cut
is lost in the engine, acknowledged or not. The control does what teams do without pawl, at the same
engine, under the same failovers.
"""

import time

import pytest

import histories
from cluster_rig import calm, rig
from histories import rows_grow

# Leases run out under a sanitizer's load.
pytestmark = [pytest.mark.release, pytest.mark.fleet,
              pytest.mark.skipif(not rig.namespaces_work(),
                                 reason="network namespaces need root, ip and nft")]

STOLEN = 5 # refresh tokens that a thief presents after each failover
TAIL = 20  # acknowledged revocations that the engine loses in each, at least


class Failovers:
    """A fleet on an engine with two replicas, and failovers that lose a tail."""

    def __init__(self, fleet, *loads):
        self.fleet, self.loads = fleet, loads
        self.tails = [] # (begun, ended) of each

    def tail(self, stolen):
        """Written, acknowledged by the replica that is not going to be promoted, and lost."""
        begun = time.monotonic()
        for history in self.loads:
            rig.wait_until(lambda one=history: len(one.acknowledged(
                one.wire.ACK_QUORUM, begun)) > TAIL, "acknowledgements in the tail", 60)
        for history, families in stolen:
            history.refresh_each(families)
        self.tails.append((begun, time.monotonic()))

    def once(self, pause=False):
        fleet, primary = self.fleet, self.fleet.named_primary()
        heir = min((engine for engine in fleet.engines if engine is not primary),
                   key=lambda engine: engine.settings["replica-priority"])
        rig.wait_until(lambda: all(fleet.sentinels[0].may_promote(engine)
                                   for engine in fleet.engines if engine is not primary),
                       "the Sentinel's replicas", 60)
        stolen = [(history, history.opened(STOLEN)) for history in self.loads]
        rig.wait_until(lambda: heir.in_step(primary), "the replicas in step", 60)
        heir.place.deaf_to(primary.place)
        heir.ask("client", "kill", "type", "master") # what is on its way is lost, too
        self.tail(stolen)
        if pause:
            primary.pause()
        else:
            primary.kill()
        heir.place.heal()
        rig.wait_until(lambda: fleet.named_primary() is heir and
                       heir.info("replication")["role"] == "master", "the heir promoted", 60)
        # Without a replica nobody's write is acknowledged.
        rig.wait_until(lambda: int(heir.info("replication")["connected_slaves"]) > 0,
                       "the other replica follows the heir", 60)
        for history in self.loads:
            rows_grow(history, "rotate", 20)
        for history, families in stolen:
            history.refresh_each(families, "replay")
        self.take_back(primary, heir)

    def take_back(self, primary, heir):
        """The old primary follows the new one; what it was asked before it stood still runs first."""
        primary.replica_of = heir
        if primary.running():
            primary.resume()
            primary.ask("replicaof", heir.host, heir.port)
        else:
            primary.start()
        rig.wait_until(primary.in_step, "the old primary follows", 60)
        calm(self.fleet)

    def lost_tails(self):
        """Entries that the new primaries lacked, as the nodes count them."""
        return sum(node.status()["lost_tail_entries"] for node in self.fleet.up())


def make_replicated(make_fleet, **options):
    return make_fleet(networks=True, replicas=2, sentinels=1, priorities=(25, 50, 100), **options)


@pytest.mark.parametrize("failovers", [
    pytest.param(2, id="short"),
    pytest.param(10, marks=pytest.mark.soak, id="long")])
def test_lossy_failovers_lose_nothing_that_was_acknowledged(make_fleet, wire, failovers):
    fleet = make_replicated(make_fleet)
    history, plain = histories.History(wire, fleet), histories.Plain(wire, fleet)
    limit = 2000 * failovers # more than is asked for before the last failover
    nemesis = Failovers(fleet, history, plain)
    for one in (history, plain):
        one.open_families(20)
        one.start(one.revoke, one.revoke, one.rotate, one.rotate, one.check(b"steady", limit, 0.03))
    try:
        for number in range(failovers):
            nemesis.once(pause=number % 2 == 1)
        assert max(one.admitted(b"steady") for one in (history, plain)) < limit
        for one in (history, plain):
            one.start(*[one.check(b"steady", limit, 0)] * 3)
            rig.wait_until(lambda one=one: one.used_up(), "the limit used up", 120)
    finally:
        for one in (history, plain):
            one.stop()
    calm(fleet)
    fleet.add(1) # who has nothing in its memory but what the engine holds
    for name, one in (("pawl", history), ("without", plain)):
        print(f"{name}: {failovers} lossy failovers, lost tails {nemesis.lost_tails()} entries; "
              + one.summary(b"steady", limit))
    assert nemesis.lost_tails() > TAIL * failovers
    for begun, ended in nemesis.tails:
        assert len(history.acknowledged(wire.ACK_QUORUM, begun, ended)) >= TAIL
    assert history.forgotten(wire.ACK_DURABLE) == []
    assert history.two_winners() == {}
    assert history.false_alarms() == []
    assert history.allowed_after_everywhere() == []
    assert history.admitted(b"steady") == limit # no node died: nothing to forget, none to spare
    # The control: the same checks find what the same faults did to who relies on the engine alone.
    assert len(plain.forgotten(wire.ACK_QUORUM)) >= TAIL * failovers
    assert len(plain.two_winners()) >= STOLEN * failovers
    assert plain.admitted(b"steady") > limit


def test_with_everywhere_no_node_allows_after_the_acknowledgement(make_fleet, wire):
    """Tokens are asked for at every node all the time, while and after they are revoked: with all
    well, during a failover that loses a tail, and at a node that stood still meanwhile."""
    fleet = make_replicated(make_fleet)
    history = histories.History(wire, fleet)
    history.open_families(3)
    nemesis = Failovers(fleet, history)
    asleep = fleet.nodes[2]
    history.takers = fleet.nodes[:2]

    def reached(more):
        since = time.monotonic()
        rig.wait_until(lambda: len(history.acknowledged(wire.ACK_EVERYWHERE, since)) >= more,
                       f"{more} acknowledged as everywhere", 60)

    with histories.running(history, history.revoke_everywhere, history.revoke_everywhere,
                           history.rotate, *(history.read(node) for node in fleet.nodes)):
        reached(60)
        nemesis.once()
        reached(60)
        asleep.pause()
        rig.wait_until(lambda: fleet.nodes[0].status()["members"] == 2, "it is missed", 30)
        reached(60) # without it, since it may not answer as fresh any more
        slept = time.monotonic()
        asleep.resume()
        calm(fleet)
        reached(60)
    states = {row.answer.token_check.status for row in history.of("token") if row.answer}
    assert {wire.TOKEN_VALID, wire.TOKEN_REVOKED} <= states # asked for before and after
    assert any(row.node == asleep.name and row.begun < slept < row.ended
               for row in history.of("token") if row.answer) # answered when it woke up
    print(f"{len(history.acknowledged(wire.ACK_EVERYWHERE))} acknowledged as everywhere, "
          f"{len(history.of('token'))} verdicts")
    assert history.allowed_after_everywhere() == []
    assert history.forgotten(wire.ACK_DURABLE) == []

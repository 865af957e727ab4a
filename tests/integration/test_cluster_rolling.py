"""Members that come and go while callers with libpawl ask: no request fails, no count is lost.

Half of the callers are routed to the owner of their key, half are not. Two keys: one with a limit
that nothing reaches, whose count has to be what was admitted, to the last one; and one at 1000/hour.
"""

import itertools

import pytest

from cluster_rig import Owners, rig, used

# Leases run out under a sanitizer's load.
pytestmark = [pytest.mark.release, pytest.mark.fleet]

MANY = 1_000_000
LIMIT = 1000
ENOUGH = 800 # of LIMIT: the rest is kept for after the last restart
SLOW_US, STILL_US = 40_000, 5_000_000


class Traffic:
    """All callers of a test: they know no node but those of @nodes, the routed ones learn the rest."""

    def __init__(self, make_callers, wire, nodes):
        self.wire = wire
        self.free = [make_callers(nodes, "free", MANY, threads=3, route=route)
                     for route in (False, True)]
        self.counted = [make_callers(nodes, "counted", LIMIT, threads=2, pace_us=SLOW_US,
                                     route=route) for route in (False, True)]
        self.all = self.free + self.counted
        for callers in self.all:
            callers.answered(3)

    def go_on(self):
        """Wait for answers at everybody's; whoever counts goes slower when most is used up."""
        for callers in self.free:
            callers.answered(20)
        if self.admitted() > ENOUGH:
            for callers in self.counted:
                callers.pace(STILL_US)

    def admitted(self):
        return sum(callers.figures()["allowed"] for callers in self.counted)

    def use_up(self):
        """Ask for more than is left of the counted key."""
        assert self.admitted() < LIMIT, "it was used up before the last restart"
        for callers in self.counted:
            callers.pace(0)
        for callers in self.counted:
            rig.wait_until(lambda one=callers: one.figures()["denied"] > 100, "refusals", 60)

    def verify(self, node):
        """Stop, and look at what every answer was, and what @node finds counted."""
        figures = [callers.stop() for callers in self.all]
        print(f"free, counted; each without and with routes: {figures}")
        for one in figures:
            assert (one["failed"], one["why"]) == (0, "")
        assert figures[0]["direct"] == 0 and figures[1]["direct"] > 100
        free, counted = ([one["allowed"] for one in pair] for pair in (figures[:2], figures[2:]))
        assert sum(one["denied"] for one in figures[:2]) == 0
        assert used(node, self.wire, b"free", MANY) == sum(free)
        assert sum(counted) == LIMIT
        return figures


class Journey:
    """Where a key's count went: one entry for each owner in turn."""

    def __init__(self, wire, fleet, key):
        self.fleet = fleet
        self.owners = Owners(wire, fleet, key)
        self.places = [self.place()]

    def place(self):
        node = self.owners.now()
        return node.name, node.starts

    def look(self):
        if self.place() != self.places[-1]:
            self.places.append(self.place())

    @property
    def changes(self):
        return len(self.places) - 1


@pytest.mark.parametrize("restarts, changes", [
    pytest.param(4, 3, id="short"),
    pytest.param(20, 40, marks=pytest.mark.soak, id="long")])
def test_members_drained_and_restarted_lose_no_request_and_no_count(
        make_fleet, make_callers, wire, restarts, changes):
    fleet = make_fleet()
    traffic = Traffic(make_callers, wire, fleet.nodes)
    counted, free = (Journey(wire, fleet, key) for key in (b"counted", b"free"))
    for done in itertools.count(1):
        # The owner of one key or the other: both keys' counts travel.
        node = (counted if done % 4 else free).owners.now()
        assert node.stop() == 0
        assert '"all_handed_over":true' in node.server.text(), node.server.text()[-3000:]
        fleet.settle()
        for journey in (counted, free):
            journey.look()
        node.start(wait=False)
        fleet.settle()
        for journey in (counted, free):
            journey.look()
        traffic.go_on()
        if done >= restarts and counted.changes >= changes:
            break
    traffic.use_up()
    last = counted.owners.now() # what is used up stays so at the next owner
    assert last.stop() == 0
    fleet.settle()
    for callers in traffic.counted:
        callers.answered(50)
    figures = traffic.verify(fleet.up()[0])
    print(f"{done + 1} restarts, owners changed {counted.changes} and {free.changes} times")
    assert sum(one["goaways"] for one in figures) >= restarts # drains met them
    assert free.changes > 0


@pytest.mark.parametrize("rounds", [
    pytest.param(1, id="short"), pytest.param(5, marks=pytest.mark.soak, id="long")])
def test_one_member_to_five_and_back_lose_no_request_and_no_count(make_fleet, make_callers, wire,
                                                                  rounds):
    fleet = make_fleet(nodes=1)
    for _ in range(4):
        fleet.add(start=False)
    traffic = Traffic(make_callers, wire, fleet.nodes)
    journey = Journey(wire, fleet, b"counted")
    for number in range(rounds):
        order = fleet.nodes if number % 2 == 0 else fleet.nodes[::-1]
        for node in order[1:]:
            node.start(wait=False)
            fleet.settle()
            journey.look()
            traffic.go_on()
        held = [node.status()["slots_held"] for node in fleet.nodes]
        assert sum(held) == 4096 and min(held) > 400 # of about 819
        for node in order[:-1]: # the first ones go: nobody stays who was there at the beginning
            assert node.stop() == 0
            fleet.settle()
            journey.look()
            traffic.go_on()
    assert journey.changes >= rounds
    print(f"the owner changed {journey.changes} times")
    traffic.use_up()
    traffic.verify(fleet.up()[0])


def test_owners_are_where_they_are_worked_out_to_be(make_fleet, make_callers, wire):
    """The tests above believe Owners: a check that is asked there is not forwarded."""
    fleet = make_fleet()
    for i in range(6):
        key = b"key-%d" % i
        owner = Owners(wire, fleet, key).now()
        for node in fleet.nodes:
            before = node.status()["requests_forwarded"]
            used(node, wire, key, 9)
            assert node.status()["requests_forwarded"] - before == (0 if node is owner else 1)

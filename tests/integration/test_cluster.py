"""A fleet on this machine: three nodes, one engine of their own, and what they have to agree on.

Members that come and go are in test_cluster_rolling.py, faults in test_cluster_faults.py and
test_cluster_failovers.py, certificates in test_cluster_security.py.
"""

import threading
import time

import pytest

from cluster_rig import Owners, calm, rig, used, verdict
from conftest import Connection, check_request, in_parallel

# Leases run out under a sanitizer's load.
pytestmark = [pytest.mark.release, pytest.mark.fleet]

CALLERS, EACH = 40, 10 # of 400 checks


def at_once(fleet, wire, key):
    """The answers to 400 checks of @key, by node. No caller reads one before all have asked."""
    nodes = [fleet.nodes[i % len(fleet.nodes)] for i in range(CALLERS)]
    connections = [Connection(wire, node.unix) for node in nodes]
    all_asked = threading.Barrier(CALLERS)

    def work(i):
        connections[i].send(*[connections[i].request(deadline_ms=10_000, check=check_request(
            wire, key)) for _ in range(EACH)])
        all_asked.wait(60)
        return [connections[i].receive() for _ in range(EACH)]

    answers = {node.name: [] for node in nodes}
    for node, part in zip(nodes, in_parallel(CALLERS, work)):
        answers[node.name] += part
    for connection in connections:
        connection.close()
    return answers


def test_400_concurrent_checks_of_one_key_at_three_nodes_are_100(make_fleet, wire):
    fleet = make_fleet()
    for number in range(5):
        key = b"shared-%d" % number
        owner = Owners(wire, fleet, key).now()
        before = {node.name: node.status()["requests_forwarded"] for node in fleet.nodes}
        answers = at_once(fleet, wire, key)
        everybodys = [reply for part in answers.values() for reply in part]
        assert len(everybodys) == 400
        assert all(reply.status == wire.STATUS_OK for reply in everybodys), everybodys
        assert sum(reply.check.verdict == wire.VERDICT_ALLOW for reply in everybodys) == 100
        for node in fleet.nodes: # no caller knew where the key is counted
            assert len(answers[node.name]) >= 130
            forwarded = node.status()["requests_forwarded"] - before[node.name]
            assert forwarded == (0 if node is owner else len(answers[node.name]))


def test_a_revocation_at_one_is_seen_at_all(make_fleet, wire):
    fleet = make_fleet()
    exp = int(time.time()) + 600
    connections = [Connection(wire, node.unix) for node in fleet.nodes]
    for i in range(100):
        jti = b"t%d" % i
        reply = connections[i % 3].call(deadline_ms=2500, revoke=wire.Revoke(
            scope=wire.SCOPE_TOKEN, value=jti, exp=exp, ack=wire.ACK_EVERYWHERE))
        assert reply.status == wire.STATUS_OK, reply
        assert reply.revoke.acknowledged == wire.ACK_EVERYWHERE
        for connection in connections:
            seen = connection.call(token_check=wire.TokenCheck(token=wire.Token(jti=jti, exp=exp)))
            assert seen.token_check.status == wire.TOKEN_REVOKED
    assert verdict(fleet.nodes[0], wire, b"other", exp).status == wire.TOKEN_VALID
    for connection in connections:
        connection.close()


def test_levels_are_told_as_reached(make_fleet, wire):
    fleet = make_fleet(replicas=2)
    connection = Connection(wire, fleet.nodes[0].unix)
    exp = int(time.time()) + 600

    def revoke(jti, ack):
        return connection.call(deadline_ms=2500, revoke=wire.Revoke(
            scope=wire.SCOPE_TOKEN, value=jti, exp=exp, ack=ack)).revoke

    rig.wait_until(lambda: fleet.nodes[0].status()["engine_replicas"] == 2, "two replicas")
    for name in ("ACK_MEMORY", "ACK_DURABLE", "ACK_QUORUM", "ACK_EVERYWHERE"):
        level = getattr(wire, name)
        assert revoke(name.encode(), level).acknowledged >= level
    assert revoke(b"default", wire.ACK_DEFAULT).acknowledged == wire.ACK_QUORUM
    connection.close()


def test_what_a_killed_owner_had_not_saved_is_all_that_is_lost(make_fleet, make_callers, wire):
    fleet = make_fleet()
    count = 1_000_000
    owner = Owners(wire, fleet, b"k").now()
    others = [node for node in fleet.nodes if node is not owner]
    callers = make_callers(others, "k", count)
    # Long enough for saves; what was admitted within the age that the owner tells may be lost.
    seen = [(time.monotonic(), 0)]
    while seen[-1][1] < 400 or seen[-1][0] < seen[0][0] + 2:
        seen.append((time.monotonic(), callers.figures()["allowed"]))
    unsaved_s = owner.status()["counter_unsaved_age_ms"] / 1000
    told = time.monotonic()
    owner.kill()
    killed = callers.figures()["allowed"]
    fleet.nodes.remove(owner)
    rig.wait_until(fleet.settled, "a view of two", 30)
    callers.answered(50)
    figures = callers.stop()
    counted = used(fleet.nodes[0], wire, b"k", count)
    # One beat of the figure's own age (100 ms) and some for the way there.
    saved = max(allowed for at, allowed in seen if at <= max(told - unsaved_s - 0.5, seen[0][0]))
    bound = killed - saved
    print(f"{figures['allowed']} admitted, {figures['allowed'] - counted} of them lost, at most "
          f"{bound} by the unsaved age of {unsaved_s:.2f} s; {figures['in_doubt']} without answer")
    assert unsaved_s < 5
    assert figures["allowed"] - bound <= counted <= figures["allowed"] + figures["in_doubt"] + 20


def test_an_owner_that_falls_silent_may_have_counted(make_fleet, wire):
    fleet = make_fleet()
    owner = Owners(wire, fleet, b"silent").now()
    asked = next(node for node in fleet.nodes if node is not owner)
    words = ("--deadline", "1s", "check", "--rate", "100/minute", "silent")
    for _ in range(8): # so each worker is connected to it
        code, answer = asked.ctl(*words)
        assert (code, answer["verdict"]) == (0, "allow")
    owner.pause()
    try:
        code, answer = asked.ctl(*words)
        assert (code, answer["verdict"], answer["effect"]) == (3, "undecided", "unknown"), answer
        assert "may have counted" in answer["error"]
        peek = asked.ctl("--deadline", "1s", "peek", "--rate", "100/minute", "silent")[1]
        assert (peek["verdict"], peek["effect"]) == ("undecided", "none")
    finally:
        owner.resume()


def states(node):
    return {member["address"]: (member["state"], member["frozen"])
            for member in node.ctl("members")[1]["members"]}


def test_who_is_frozen_shows_at_every_member(make_fleet, wire):
    fleet = make_fleet(2, data_dir=True)
    first, second = fleet.nodes
    second.stop()
    second.server = rig.Server(second.place, [
        second.build / "pawld", "--config", second.config, "--frozen"], second.folder / "log-frozen")
    for node in (first, second):
        rig.wait_until(lambda: states(node).get(second.tcp) == ("frozen", True),
                       f"{node.name} shows it")
        assert states(node)[first.tcp] == ("serving", False)
    code, answer = second.ctl("thaw", "--lost-since", int(time.time()) - 60)
    assert code == 0, answer
    for node in (first, second):
        rig.wait_until(lambda: states(node).get(second.tcp) == ("serving", False),
                       f"{node.name} shows that it is over")


def test_an_engine_that_comes_back_empty_is_told_again(make_fleet, wire):
    fleet = make_fleet()
    exp = int(time.time()) + 600
    connection = Connection(wire, fleet.nodes[0].unix)
    for i in range(50):
        reply = connection.call(deadline_ms=2500, revoke=wire.Revoke(
            scope=wire.SCOPE_TOKEN, value=b"r%d" % i, exp=exp))
        assert reply.status == wire.STATUS_OK
    family = connection.call(family_open=wire.FamilyOpen(subject=b"s", jti=b"f0", exp=exp))
    assert family.status == wire.STATUS_OK, family
    fleet.engines[0].kill()
    rig.wait_until(lambda: not any(node.status()["engine_up"] for node in fleet.nodes), "down")
    away = connection.call(deadline_ms=1500, revoke=wire.Revoke(
        scope=wire.SCOPE_TOKEN, value=b"away", exp=exp))
    assert away.status == wire.STATUS_UNAVAILABLE and b"data_dir" in away.error
    assert verdict(fleet.nodes[0], wire, b"away", exp).status == wire.TOKEN_REVOKED
    fleet.engines[0].start()
    calm(fleet)
    newcomer = fleet.add(1)[0]
    for i in range(50):
        assert verdict(newcomer, wire, b"r%d" % i, exp).status == wire.TOKEN_REVOKED
    assert verdict(newcomer, wire, b"away", exp).status == wire.TOKEN_REVOKED
    at_new = Connection(wire, newcomer.unix)
    turned = at_new.call(deadline_ms=2500, rotate=wire.Rotate(
        presented=wire.Token(sid=family.family_open.sid, jti=b"f0", exp=exp),
        next_jti=b"f1", next_exp=exp, verified=True))
    assert turned.rotate.result == wire.ROTATE_ROTATED, turned
    at_new.close()
    connection.close()


def test_families_are_one_across_nodes(make_fleet, wire):
    fleet = make_fleet()
    exp = int(time.time()) + 600
    connections = [Connection(wire, node.unix) for node in fleet.nodes]
    opened = connections[0].call(family_open=wire.FamilyOpen(subject=b"s", jti=b"a0", exp=exp))
    sid = opened.family_open.sid

    def rotate(connection, presented, successor):
        return connection.call(deadline_ms=2500, rotate=wire.Rotate(
            presented=wire.Token(sid=sid, jti=presented, exp=exp), next_jti=successor,
            next_exp=exp, verified=True)).rotate

    # Three at once with successors of their own: one wins, all hear of the same one.
    answers = in_parallel(3, lambda i: rotate(connections[i], b"a0", b"a1.%d" % i))
    successors = {answer.successor for answer in answers if answer.successor}
    assert len(successors) == 1, answers
    assert sorted(answer.result for answer in answers) == \
        sorted([wire.ROTATE_ROTATED, wire.ROTATE_GRACE, wire.ROTATE_GRACE]), answers
    ended = connections[1].call(deadline_ms=2500, family_end=wire.FamilyEnd(sid=sid))
    assert ended.status == wire.STATUS_OK, ended
    rig.wait_until(lambda: rotate(connections[2], successors.copy().pop(), b"a2").result ==
                   wire.ROTATE_REVOKED, "the log-out at another node")
    for connection in connections:
        connection.close()

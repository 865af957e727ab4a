"""A fleet under faults: real engines and nodes, each in a network namespace of its own.

Load runs all the time and writes a history (histories.py); what has to hold is checked on it after
the faults have stopped. Needs root; skipped where namespaces cannot be made. Failovers are in
test_cluster_failovers.py.
"""

import functools
import socket
import threading
import time

import pytest

import histories
from cluster_rig import ask, calm, rig
from histories import rows_grow

# Leases run out under a sanitizer's load.
pytestmark = [pytest.mark.release, pytest.mark.fleet,
              pytest.mark.skipif(not rig.namespaces_work(),
                                 reason="network namespaces need root, ip and nft")]
STALE_S = 2 # how long a verdict is called fresh, where this is about it


@pytest.fixture
def make_fleet(make_fleet):
    return functools.partial(make_fleet, networks=True)


def test_a_node_that_cannot_send_to_the_engine_is_not_believed(make_fleet, wire):
    fleet = make_fleet()
    history = histories.History(wire, fleet)
    cut = fleet.nodes[2]
    with histories.running(history, history.revoke, history.check(b"one", 300)):
        rows_grow(history, "revoke")
        rig.wait_until(lambda: history.admitted(b"one") == 300 and all(
            node.status()["counter_unsaved_age_ms"] == 0 for node in fleet.nodes), "all saved", 60)
        fleet.engines[0].place.deaf_to(cut.place)

        def verdict():
            reply = histories.Asker(history, None, 0).call(cut, token_check=wire.TokenCheck(
                token=wire.Token(jti=b"nobody", exp=history.exp)))
            return not reply.token_check.fresh
        rig.wait_until(verdict, "the verdicts of the cut node stale", 15)
        rig.wait_until(lambda: fleet.nodes[0].status()["members"] == 2, "it is out of the view", 30)
        fleet.engines[0].place.heal()
        calm(fleet)
    assert history.forgotten(wire.ACK_DURABLE) == []
    assert history.allowed_after_everywhere() == []
    assert history.admitted(b"one") <= 300


def test_who_does_not_reach_the_others_yet_does_not_join(make_fleet, wire):
    """As the NetworkPolicies of pods let a new one in late. One that never gets in keeps nobody
    out, itself neither."""
    fleet = make_fleet(nodes=2)
    engine, first = fleet.engines[0], fleet.nodes[0]

    def announced():
        """When each member announced itself last."""
        words = engine.ask("zrange", "{pawl:m}:members", 0, -1, "withscores").split()
        return dict(zip(words[::2], words[1::2]))

    def add():
        known = announced()
        node = fleet.add(start=False)[0]
        for other in fleet.nodes[:2]:
            other.place.deaf_to(node.place)
        node.start(wait=False)
        rig.wait_until(lambda: "cluster_synced" in node.server.text(), "a node that listens", 10)
        return node, next(name for name in announced() if name not in known)

    late, name = add()
    seen = {announced()[name]}
    rig.wait_until(lambda: seen.add(announced()[name]) or len(seen) > 2, "that it goes on", 10)
    members = first.status()["members"] # it would have joined with the first of these
    assert members == 2 or "joined_out_of_reach" in late.server.text(), "nothing held it back"
    for other in fleet.nodes[:2]:
        other.place.heal()
    fleet.settle()

    never, _ = add()
    rig.wait_until(lambda: first.status()["members"] == 4, "it joins all the same", 20)
    assert "joined_out_of_reach" in never.server.text()


def test_an_engine_that_lost_everything_is_told_again(make_fleet, wire):
    fleet = make_fleet()
    history = histories.History(wire, fleet)
    with histories.running(history, history.revoke):
        rows_grow(history, "revoke", 200)
        fleet.engines[0].ask("flushall")
        rows_grow(history, "revoke", 50)
    calm(fleet)
    for node in fleet.nodes:
        rig.wait_until(lambda node=node: node.status()["engine_emptied"] > 0, "that it was noticed")
        assert "engine_emptied" in node.server.text()
    newcomer = fleet.add(1)[0]
    assert newcomer.status()["revocations"] == fleet.nodes[0].status()["revocations"]
    assert history.forgotten(wire.ACK_DURABLE) == []


def test_an_engine_that_stands_still_and_goes_on(make_fleet, wire):
    fleet = make_fleet()
    history = histories.History(wire, fleet)
    with histories.running(history, history.revoke, history.check(b"still", 300)):
        rows_grow(history, "revoke")
        fleet.engines[0].pause()
        rig.wait_until(lambda: not fleet.nodes[0].status()["engine_up"], "it is missed", 20)
        rows_grow(history, "check", 20) # answered, if only with "not now"
        fleet.engines[0].resume()
        calm(fleet)
        rows_grow(history, "revoke")
    assert history.forgotten(wire.ACK_MEMORY) == []
    assert history.admitted(b"still") <= 300


def test_a_node_that_stood_still_answers_nothing_from_before(make_fleet, wire):
    fleet = make_fleet()
    history = histories.History(wire, fleet)
    asleep = fleet.nodes[1]
    with histories.running(history, history.revoke, history.check(b"asleep", 300)):
        rows_grow(history, "check")
        unsaved_s = asleep.status()["counter_unsaved_age_ms"] / 1000
        told = time.monotonic()
        asleep.pause()
        paused = time.monotonic()
        rig.wait_until(lambda: fleet.nodes[0].status()["members"] == 2, "it is missed", 30)
        asleep.resume()
        calm(fleet)
        assert asleep.status()["cluster_stalls"] > 0
        rows_grow(history, "check")
    # What it had admitted and not saved yet may come again: the age it told, and some for the way.
    unsaved = sum(row.answer is not None and row.answer.check.verdict == wire.VERDICT_ALLOW
                  for row in history.of("check") if told - unsaved_s - 0.5 < row.begun < paused)
    assert history.admitted(b"asleep") <= 300 + unsaved
    assert history.allowed_after_everywhere() == []


def test_an_engine_without_memory_is_said_and_forgets_nothing(make_fleet, wire):
    """Log-outs and refreshes go on; logins are refused; checks are counted in memory all the same."""
    fleet = make_fleet(redis={"maxmemory-policy": "noeviction"})
    history = histories.History(wire, fleet)
    history.open_families(5)

    def log_in():
        return ask(fleet.nodes[0], wire, deadline_ms=2500, family_open=wire.FamilyOpen(
            subject=b"late", jti=b"late", exp=history.exp)).status

    with histories.running(history, history.revoke, history.rotate, history.check(b"full", 300)):
        rows_grow(history, "revoke")
        fleet.engines[0].ask("config", "set", "maxmemory", "1mb")
        rig.wait_until(lambda: log_in() == wire.STATUS_UNAVAILABLE, "a login refused", 30)
        begun = time.monotonic()
        rows_grow(history, "revoke")
        rows_grow(history, "rotate", 20)
        rig.wait_until(lambda: history.used_up(), "the limit used up", 60)
        ended = time.monotonic()
        fleet.engines[0].ask("config", "set", "maxmemory", "0")
        calm(fleet)
        assert log_in() == wire.STATUS_OK
    for what in ("revoke", "check"):
        assert [row for row in history.failed(what) if begun < row.begun < ended] == []
    assert history.admitted(b"full") == 300
    assert history.forgotten(wire.ACK_MEMORY) == []
    assert history.two_winners() == {}


class SlowLine:
    """A proxy that passes bytes on after a delay, in a thread for each direction."""

    def __init__(self, target, delay_s):
        self.target, self.delay_s = target, delay_s
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(self.target)
            except OSError:
                return
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self.carry, args=(one, other), daemon=True).start()

    def carry(self, one, other):
        try:
            while data := one.recv(65536):
                time.sleep(self.delay_s)
                other.sendall(data)
        except OSError:
            pass
        for end in (one, other):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()


def test_a_slow_engine_slows_no_check(make_fleet, wire):
    fleet = make_fleet(nodes=0, networks=False)
    line = SlowLine((fleet.engines[0].host, fleet.engines[0].port), 0.1)
    try:
        fleet.cluster = {"redis": [f"redis://127.0.0.1:{line.port}"]}
        fleet.add(2)
        history = histories.History(wire, fleet)
        with histories.running(history, history.check(b"slow", 10_000), history.revoke):
            rows_grow(history, "check", 200)
            rows_grow(history, "revoke", 3)
        took = sorted(row.ended - row.begun for row in history.of("check") if row.answer)
        assert took[len(took) // 2] < 0.1 # a round trip to the engine takes at least 200 ms
        assert history.failed("check") == []
        assert history.forgotten(wire.ACK_MEMORY) == []
    finally:
        line.close()


@pytest.mark.parametrize("away_s", [
    pytest.param(0, id="short"),
    pytest.param(60, marks=pytest.mark.soak, id="a_minute")])
@pytest.mark.parametrize("journal", [True, False], ids=["journal", "memory"])
def test_the_engine_is_away_for_longer_than_every_lease(make_fleet, wire, journal, away_s):
    """Checks go on, by each node's share; revocations are kept on disk, or refused with the reason;
    verdicts say that they are stale; and when the engine is back, empty, all is as before."""
    limit = 900
    fleet = make_fleet(data_dir=journal, settings={
        "tokens": {"staleness_max": f"{STALE_S}s"},
        "limits": {"shared": {"rate": f"{limit}/hour", "on_error": "local"}}})
    history = histories.History(wire, fleet)
    history.takers = [fleet.nodes[1]]
    with histories.running(history, *[history.revoke] * 4, history.check(b"anna", limit, 0.01, b"shared"),
                           *(history.read(node) for node in fleet.nodes)):
        rows_grow(history, "check", 100)
        rows_grow(history, "revoke", 10)
        fleet.engines[0].kill()
        gone = time.monotonic()
        for node in fleet.nodes:
            rig.wait_until(lambda node=node: node.status()["tenure_ms"] == 0 and
                           node.status()["staleness_ms"] > 1000 * STALE_S, "its leases over", 30)
        stale = time.monotonic()
        rig.wait_until(lambda: time.monotonic() > gone + away_s, "the rest of the time", 90)
        rig.wait_until(lambda: time.monotonic() > stale + 4, "some seconds more", 30)
        for what, more in (("check", 20), ("revoke", 2), ("token", 20)):
            rows_grow(history, what, more)
        back = time.monotonic()
        if journal: # what was taken meanwhile is on one disk, and in no memory
            fleet.nodes[1].kill()
        fleet.engines[0].start()
        if journal:
            fleet.nodes[1].start(wait=False)
        calm(fleet)
        since = time.monotonic()
        for what in ("check", "revoke", "token"):
            rows_grow(history, what, 20)
    # Until the last moments: the node that is killed then leaves some without an answer.
    outage = {what: between(gone + 1, back - 3, history.of(what))
              for what in ("check", "revoke", "token")}
    print(f"{'with' if journal else 'without'} data_dir, {back - gone:.0f} s away: "
          f"{len(outage['check'])} checks, the slowest "
          f"{max(row.ended - row.begun for row in outage['check']) * 1000:.0f} ms, "
          f"{history.admitted(b'anna')} of {limit} admitted; "
          f"{len(outage['revoke'])} revocations; {len(outage['token'])} verdicts")
    assert [row for row in between(0, back - 3, history.of("check"))
            if row.answer is None or row.answer.status != wire.STATUS_OK] == []
    assert history.admitted(b"anna") <= 2 * limit # at most once more, as deploy/README.md says
    for row in outage["revoke"]:
        if journal:
            assert row.answer.status == wire.STATUS_OK, row
            assert row.answer.revoke.acknowledged == wire.ACK_DURABLE, row
        else:
            assert row.answer.status == wire.STATUS_UNAVAILABLE, row
            assert b"data_dir" in row.answer.error, row
    for row in between(stale, back - 3, outage["token"]):
        verdict = row.answer.token_check
        assert not verdict.fresh and verdict.staleness_ms > 1000 * STALE_S, row
        assert verdict.status in (wire.TOKEN_UNDECIDED, wire.TOKEN_REVOKED), row
    for row in between(since, float("inf"), history.of("token")):
        assert row.answer.token_check.fresh, row
    # Who was refused was told that it is not safe; it is delivered all the same.
    assert history.missing(row for row in history.of("revoke") if row.answer) == []
    assert history.allowed_after_everywhere() == []


def between(begun, ended, rows):
    return [row for row in rows if row.begun >= begun and (row.ended or row.begun) <= ended]

"""A fleet under faults: real engines, Sentinels and nodes, each in a network namespace of its own.

Load runs all the time and writes a history (histories.py); what has to hold is checked on it after
the faults have stopped. Needs root; skipped where namespaces cannot be made.
"""

import os
import sys
import threading
import time

import pytest

from conftest import BUILD, ROOT

sys.path.insert(0, str(ROOT / "deploy" / "demo"))
import fleet as rig # noqa: E402
import histories # noqa: E402

pytestmark = [pytest.mark.release, # in real time: leases run out under a sanitizer's load
              pytest.mark.skipif(not rig.namespaces_work(),
                                 reason="network namespaces need root, ip and nft")]
LONG = os.environ.get("PAWL_LONG") == "1"
TENURE_S, TTL_S = 3.5, 5.0


@pytest.fixture
def make_fleet(tmp_path):
    made = []

    def make(nodes=3, **options):
        network = rig.Network()
        made.append(network)
        fleet = rig.Fleet(BUILD, tmp_path, place=network.place, **options)
        made.append(fleet)
        fleet.network = network
        fleet.add(nodes)
        return fleet

    yield make
    for thing in reversed(made):
        thing.close()


def calm(fleet):
    """Every node is back to normal: one view, engine up, gate open, fresh, nothing pending."""
    def normal():
        return fleet.settled() and all(
            status["engine_up"] and status["gate_open"] and status["pending_revocations"] == 0 and
            status["staleness_ms"] < 3000 for status in (node.status() for node in fleet.up()))
    try:
        rig.wait_until(normal, "the fleet back to normal", 60)
    except rig.Trouble as trouble:
        names = ("view", "members", "slots_wanted", "slots_given", "engine_up", "gate_open",
                 "pending_revocations", "staleness_ms", "tenure_ms", "engine_address")
        raise rig.Trouble(f"{trouble}: " + "; ".join(
            f"{node.name} " + str({name: node.status()[name] for name in names})
            for node in fleet.up())) from None


def rows_grow(history, what, by=50):
    """Wait until @by answers more have come."""
    def count():
        return sum(row.answer is not None for row in history.of(what))
    begin = count()
    rig.wait_until(lambda: count() >= begin + by, f"{by} more answers to {what}", 60)


def fail_over(fleet, history):
    """Cut the replication first, let a tail be written that is lost, then kill the primary."""
    primary = fleet.primary()
    replica = next(engine for engine in fleet.engines if engine is not primary)
    replica.place.deaf_to(primary.place)
    begun = time.monotonic()
    rig.wait_until(lambda: sum(row.begun > begun for row in history.of("revoke")) > 20 or
                   time.monotonic() > begun + 1, "a tail")
    primary.kill()
    replica.place.heal()
    rig.wait_until(lambda: fleet.primary() is replica, "the replica promoted", 60)
    rows_grow(history, "rotate")
    primary.replica_of = replica
    primary.start()
    rig.wait_until(primary.in_step, "the old primary follows", 60)
    calm(fleet)


def test_lossy_failovers_lose_nothing_that_was_acknowledged(make_fleet, wire):
    fleet = make_fleet(replicas=1, sentinels=1)
    history = histories.History(wire, fleet)
    history.open_families(20)
    with histories.running(history, history.revoke, history.revoke, history.rotate, history.rotate,
                           history.check(b"steady", 400)):
        rows_grow(history, "revoke")
        for _ in range(10 if LONG else 2):
            fail_over(fleet, history)
    calm(fleet)
    assert len(history.acknowledged(wire.ACK_QUORUM)) > 50
    assert history.forgotten(wire.ACK_DURABLE) == []
    assert history.two_winners() == {}
    assert history.false_alarms() == []
    assert history.allowed_after_everywhere() == []
    assert history.admitted(b"steady") <= 400


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


@pytest.mark.parametrize("how", ["flush", "restart"])
def test_an_engine_that_lost_everything_is_told_again(make_fleet, wire, how):
    fleet = make_fleet()
    history = histories.History(wire, fleet)
    with histories.running(history, history.revoke):
        rows_grow(history, "revoke", 200)
        if how == "flush":
            fleet.engines[0].ask("flushall")
        else:
            fleet.engines[0].kill()
            fleet.engines[0].start()
        rows_grow(history, "revoke", 50)
    calm(fleet)
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
        asleep.pause()
        paused = time.monotonic()
        rig.wait_until(lambda: fleet.nodes[0].status()["members"] == 2, "it is missed", 30)
        asleep.resume()
        calm(fleet)
        rows_grow(history, "check")
    # What it had admitted and not saved yet (counter_unsaved_age_ms, goal 1 s) may come again.
    unsaved = sum(row.answer is not None and row.answer.check.verdict == wire.VERDICT_ALLOW
                  for row in history.of("check") if paused - 2 < row.begun < paused)
    assert history.admitted(b"asleep") <= 300 + unsaved
    assert history.allowed_after_everywhere() == []


def test_an_engine_without_memory_is_said_and_forgets_nothing(make_fleet, wire):
    fleet = make_fleet(redis={"maxmemory-policy": "noeviction"})
    history = histories.History(wire, fleet)
    with histories.running(history, history.revoke):
        rows_grow(history, "revoke")
        fleet.engines[0].ask("config", "set", "maxmemory", "1mb")
        refused = len(history.failed("revoke"))
        rig.wait_until(lambda: len(history.failed("revoke")) > refused or
                       fleet.nodes[0].status()["pending_revocations"] > 0, "it is noticed", 30)
        fleet.engines[0].ask("config", "set", "maxmemory", "0")
        calm(fleet)
    assert history.forgotten(wire.ACK_MEMORY) == []


class SlowLine:
    """A proxy that passes bytes on after a delay, in a thread for each direction."""

    def __init__(self, target, delay_s):
        import socket
        self.target, self.delay_s, self.socket = target, delay_s, socket
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = self.socket.create_connection(self.target)
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
                end.shutdown(self.socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()


def test_a_slow_engine_slows_no_check(tmp_path, wire):
    engine = rig.Redis(rig.Loopback(), tmp_path / "engine")
    line = SlowLine((engine.host, engine.port), 0.1)
    fleet = rig.Fleet.__new__(rig.Fleet)
    try:
        fleet.__init__(BUILD, tmp_path, cluster={"redis": [f"redis://127.0.0.1:{line.port}"]})
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
        fleet.close()
        engine.kill()
        line.close()


def test_the_engine_is_away_for_long(make_fleet, wire):
    """Longer than every lease: counts go on by shares, revocations say that nothing holds them."""
    fleet = make_fleet(settings={"limits": {"shared": {"rate": "90/hour", "on_error": "local"}}})
    for i in range(30):
        assert fleet.nodes[i % 3].ctl("check", "shared=anna")[0] == 0
    fleet.engines[0].kill()
    for node in fleet.nodes:
        rig.wait_until(lambda node=node: node.status()["tenure_ms"] == 0, "the lease ran out", 20)
    codes = [node.ctl("check", "shared=anna")[0] for node in fleet.nodes for _ in range(60)]
    assert set(codes) <= {0, 1} and codes.count(0) <= 90 # each its share, at most
    code, answer = fleet.nodes[0].ctl("revoke", "token", "--jti", "j", "--exp", "+1h")
    assert code == 3 and "data_dir" in str(answer), answer
    assert fleet.nodes[0].ctl("token", "check", "--jti", "j", "--exp", "+1h")[1]["status"] == "revoked"
    fleet.engines[0].start()
    calm(fleet)
    for node in fleet.nodes: # what nobody promised is delivered all the same
        assert node.ctl("token", "check", "--jti", "j", "--exp", "+1h")[1]["status"] == "revoked"
    passed = [node.ctl("check", "shared=anna")[0] for node in fleet.nodes for _ in range(40)]
    assert passed.count(0) + codes.count(0) + 30 <= 90 + 90


def test_with_a_journal_revocations_are_durable_without_the_engine(make_fleet, wire):
    fleet = make_fleet(data_dir=True)
    fleet.engines[0].kill()
    rig.wait_until(lambda: not fleet.nodes[1].status()["engine_up"], "the engine is missed", 20)
    code, answer = fleet.nodes[1].ctl("revoke", "token", "--jti", "k", "--exp", "+1h", "--ack",
                                      "durable")
    assert (code, answer["acknowledged"]) == (0, "durable")
    fleet.nodes[1].kill() # and it is not in anybody's memory any more
    fleet.engines[0].start()
    fleet.nodes[1].start(wait=False)
    calm(fleet)
    for node in fleet.nodes:
        assert node.ctl("token", "check", "--jti", "k", "--exp", "+1h")[1]["status"] == "revoked"

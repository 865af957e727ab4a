"""Reserve, commit, cancel over the wire: min and max, partial grants, leases that work once."""

import pytest

from conftest import in_parallel, wait_for
from test_algorithms import Asker, T, asker, clocked, reload  # noqa: F401 (fixtures)


class Reserver(Asker):
    def reserve(self, *items, now=0, ns=b"", **fields):
        items = [self.item(item) if isinstance(item, str) else item for item in items]
        return self.call(now, ns, reserve=self.wire.Reserve(items=items, **fields))

    def granted(self, *items, **fields):
        reply = self.reserve(*items, **fields)
        assert reply.status == self.wire.STATUS_OK, reply
        return reply.reserve

    def commit(self, lease, used=0, now=0, ns=b""):
        return self.call(now, ns, commit=self.wire.Commit(lease=lease, used=used))

    def cancel(self, lease, now=0, ns=b""):
        return self.call(now, ns, cancel=self.wire.Cancel(lease=lease))

    def count(self, limit, now=0, key=b"k"):
        return self.result(limit, key, now=now, peek=True).count


@pytest.fixture
def reserver(make_daemon, connect, wire):
    def make(config, *arguments):
        pawld = make_daemon("--test-clock", *arguments, config=config)
        return pawld, Reserver(connect(pawld.unix), wire)
    return make


def test_a_reservation_grants_what_fits_between_min_and_max(reserver, wire):
    _, ask = reserver("limits: {l: {rate: 100/hour}}")
    whole = ask.granted("l", min=10, max=60, now=T)
    assert (whole.verdict, whole.granted, len(whole.lease)) == (wire.VERDICT_ALLOW, 60, 16)
    assert whole.lease_ms == 60_000
    part = ask.granted("l", min=10, max=60, now=T)
    assert (part.granted, part.results[0].count, part.results[0].allowed) == (40, 100, True)
    none = ask.granted("l", min=10, max=60, now=T)
    assert (none.verdict, none.granted, none.lease) == (wire.VERDICT_DENY, 0, b"")
    assert none.results[0].retry_after_ms > 0
    # Without amounts it is one, as a check.
    assert ask.commit(part.lease, used=38, now=T).commit.refunded == 2
    assert ask.granted("l", now=T).granted == 1


@pytest.mark.parametrize("algorithm, rate", [("sliding", "100/hour"), ("gcra", "100/hour"),
                                             ("calendar", "100/month")])
def test_what_is_not_committed_goes_back(reserver, algorithm, rate):
    _, ask = reserver(f"limits: {{l: {{rate: {rate}, algorithm: {algorithm}}}}}")
    now = T // 100  # handles of gcra name times up to nine years after the machine's start
    lease = ask.granted("l", min=50, max=80, now=now).lease
    assert ask.count("l", now=now) == 80
    assert ask.commit(lease, used=30, now=now).commit.refunded == 50
    assert ask.count("l", now=now) == 30
    lease = ask.granted("l", min=70, now=now).lease
    assert ask.cancel(lease, now=now).cancel.refunded == 70
    assert ask.count("l", now=now) == 30


def test_a_slot_that_is_reserved_is_released_by_cancel(reserver, wire):
    _, ask = reserver("limits: {s: {rate: 2/1h, algorithm: concurrency}}")
    lease = ask.granted("s", min=2, now=T).lease
    assert not ask.allows("s", now=T)
    assert ask.cancel(lease, now=T).cancel.refunded == 2
    assert [ask.allows("s", now=T) for _ in range(3)] == [True, True, False]


def test_a_lease_works_once(reserver, wire):
    _, ask = reserver("limits: {l: {rate: 100/hour}}")
    lease = ask.granted("l", min=40, now=T).lease
    assert ask.commit(lease, used=10, now=T).commit.refunded == 30
    for again in (ask.commit(lease, used=10, now=T), ask.cancel(lease, now=T),
                  ask.commit(b"\1" * 16, now=T)):
        assert again.status == wire.STATUS_NOT_FOUND and b"stays charged" in again.error
    assert ask.count("l", now=T) == 10
    assert ask.commit(b"short", now=T).status == wire.STATUS_INVALID


def test_a_lease_that_is_over_stays_charged(reserver, wire):
    pawld, ask = reserver("limits: {l: {rate: 100/hour}}")
    lease = ask.granted("l", min=40, lease_ms=5000, now=T).lease
    in_time = ask.granted("l", min=20, lease_ms=5000, now=T).lease
    assert pawld.status()["leases_open"] == 2
    assert ask.commit(in_time, used=5, now=T + 4999).commit.refunded == 15
    assert ask.commit(lease, used=0, now=T + 5000).status == wire.STATUS_NOT_FOUND
    assert ask.count("l", now=T + 5000) == 45
    never = ask.granted("l", min=1, lease_ms=1000, now=T + 5000)
    assert never.lease_ms == 1000
    ask.check("l", key=b"other", now=T + 7000)  # the clock goes on, and nobody asks for it
    wait_for(lambda: pawld.status()["leases_open"] == 0, "the lease dropped")
    assert pawld.status()["leases_expired"] == 2


def test_a_lease_is_of_its_namespace(reserver, wire):
    _, ask = reserver("limits: {}")
    rates = [wire.Rate(count=100, window_ms=60_000)]
    lease = ask.granted(ask.item("", rates=rates), min=40, ns=b"a", now=T).lease
    assert ask.cancel(lease, ns=b"b", now=T).status == wire.STATUS_NOT_FOUND
    assert ask.cancel(lease, ns=b"a", now=T).cancel.refunded == 40


def test_several_limits_are_reserved_together_or_not_at_all(reserver, wire):
    _, ask = reserver('limits: {a: {rate: [50/hour, 70/day]}, b: {rate: 30/hour, bypass: [vip]}}')
    both = ask.granted("a", "b", min=10, max=100, now=T)
    assert both.granted == 30
    assert [(r.item, r.rate_index, r.count) for r in both.results] == [(0, 0, 30), (0, 1, 30),
                                                                       (1, 0, 30)]
    refused = ask.granted("a", "b", min=1, now=T)
    assert refused.verdict == wire.VERDICT_DENY and ask.count("a", now=T) == 30
    assert ask.commit(both.lease, used=12, now=T).commit.refunded == 18
    assert (ask.count("a", now=T), ask.count("b", now=T)) == (12, 12)
    # A key on the bypass list takes no part; alone it is granted whole.
    some = ask.granted(ask.item("b", b"vip"), "a", min=1, max=100, now=T)
    assert some.granted == 38 and [r.bypass for r in some.results] == [True, False, False]
    alone = ask.granted(ask.item("b", b"vip"), min=1, max=1000, now=T)
    assert alone.granted == 1000 and ask.cancel(alone.lease, now=T).cancel.refunded == 1000


def test_bad_amounts_are_refused_and_lose_nothing(reserver, wire):
    _, ask = reserver("limits: {l: {rate: 100/hour}}")
    for fields, word in (({"min": 5, "max": 4}, "min to max"), ({"max": 1 << 40}, "2^40"),
                         ({"lease_ms": 3_600_001}, "3600000")):
        reply = ask.reserve("l", now=T, **fields)
        assert reply.status == wire.STATUS_INVALID and word in reply.error.decode()
    assert ask.reserve(now=T).status == wire.STATUS_INVALID
    assert ask.reserve("nosuch", now=T).status == wire.STATUS_NOT_FOUND
    assert ask.reserve("l", "l", now=T).status == wire.STATUS_INVALID
    lease = ask.granted("l", min=5, now=T).lease
    too_much = ask.commit(lease, used=6, now=T)
    assert too_much.status == wire.STATUS_INVALID and b"5" in too_much.error
    assert ask.commit(lease, used=4, now=T).commit.refunded == 1, "the lease was not lost"


def test_leases_beyond_the_maximum_are_refused_and_charge_nothing(reserver, wire):
    pawld, ask = reserver("{leases_max: 4, limits: {l: {rate: 100/hour}}}")
    leases = [ask.granted("l", min=1, now=T).lease for _ in range(4)]
    refused = ask.reserve("l", min=1, now=T)
    assert refused.status == wire.STATUS_FULL and b"leases_max" in refused.error
    assert ask.count("l", now=T) == 4
    status = pawld.status()
    assert (status["leases_open"], status["leases_max"], status["leases_refused"]) == (4, 4, 1)
    ask.cancel(leases[0], now=T)
    assert ask.granted("l", min=1, now=T).granted == 1


def test_reserving_needs_the_role_check(make_daemon, connect, wire):
    pawld = make_daemon("--set", 'listen=["unix:all", {uri: "unix:few", role: read}]', start=False)
    pawld.arguments[1] = pawld.arguments[1].replace("unix:", f"unix:{pawld.folder}/")
    pawld.socket = pawld.folder / "all"
    pawld.start()
    ask = Reserver(connect(f"unix:{pawld.folder}/few"), wire)
    item = ask.item("", rates=[wire.Rate(count=1, window_ms=1000)])
    assert ask.reserve(item).status == wire.STATUS_DENIED
    assert ask.commit(b"l" * 16).status == wire.STATUS_DENIED
    assert ask.cancel(b"l" * 16).status == wire.STATUS_DENIED
    assert ask.call(top=wire.Top()).status == wire.STATUS_OK


def test_a_reservation_on_an_exact_limit_is_saved_before_the_answer(make_daemon, connect, wire):
    pawld = make_daemon(config="limits: {l: {rate: 100/day, consistency: exact}}")
    ask = Reserver(connect(pawld.unix), wire)
    assert ask.granted("l", min=40).granted == 40
    pawld.kill()
    pawld.start()
    ask = Reserver(connect(pawld.unix), wire)
    assert ask.count("l") == 40


@pytest.mark.threads
def test_64_clients_are_never_granted_more_than_the_limit(make_daemon, connect, wire):
    pawld = make_daemon("--set", "server.workers=2", config="limits: {l: {rate: 5000/day}}")

    def work(i):
        ask = Reserver(connect(pawld.unix if i % 2 else pawld.tcp_uri), wire)
        used = 0
        for round_ in range(10):
            got = ask.granted("l", min=1 + i % 3, max=20 + i)
            if got.granted == 0:
                continue
            take = got.granted if round_ % 3 else got.granted // 2
            assert ask.commit(got.lease, used=take).commit.refunded == got.granted - take
            used += take
        return used

    used = sum(in_parallel(64, work))
    ask = Reserver(connect(pawld.unix), wire)
    assert used <= 5000 and ask.count("l") == used
    rest = ask.granted("l", min=1, max=5000) if used < 5000 else None
    assert rest is None or rest.granted == 5000 - used

"""Limits of every algorithm and what rules them, asked over the wire: gcra, calendar quotas,
concurrency, overrides, bypass lists, tiers, shadow mode, when_full; each reloaded too.
"""

import datetime
import signal
import subprocess
import zoneinfo

import pytest

from conftest import in_parallel, wait_for

T = 1_800_000_000_000  # ms; 2027-01-15 08:00 UTC, a Friday
HOUR = 3_600_000
DAY = 24 * HOUR


class Asker:
    """One connection; every check has one item, and answers with its results."""

    def __init__(self, connection, wire):
        self.connection, self.wire = connection, wire

    def call(self, now=0, ns=b"", **body):
        return self.connection.call(now_ms=now, namespace=ns, **body)

    def item(self, limit, key=b"k", rates=(), **fields):
        parts = [key] if isinstance(key, bytes) else list(key)
        return self.wire.CheckItem(limit=limit.encode(), key=parts, rates=rates,
                                   on_error=self.wire.ON_ERROR_CLOSED, **fields)

    def check(self, limit="", key=b"k", now=0, peek=False, **fields):
        op = self.wire.OP_PEEK if peek else self.wire.OP_CHECK
        reply = self.call(now, check=self.wire.Check(items=[self.item(limit, key, **fields)],
                                                     op=op))
        assert reply.status == self.wire.STATUS_OK, reply
        return reply.check

    def allows(self, *arguments, **fields):
        verdict = self.check(*arguments, **fields).verdict
        assert verdict in (self.wire.VERDICT_ALLOW, self.wire.VERDICT_DENY)
        return verdict == self.wire.VERDICT_ALLOW

    def result(self, *arguments, **fields):
        return self.check(*arguments, **fields).results[0]

    def error(self, limit="", key=b"k", **fields):
        reply = self.call(check=self.wire.Check(items=[self.item(limit, key, **fields)]))
        return reply.status, reply.error.decode()

    def refund(self, limit, key, charge, rates=(), now=0, cost=0):
        item = self.wire.RefundItem(limit=limit.encode(), key=[key], rates=rates, cost=cost,
                                    charges=[charge])
        return self.call(now, refund=self.wire.Refund(items=[item])).refund.refunded[0]

    def figures(self, limit, ns=b"default"):
        top = self.call(ns=ns, top=self.wire.Top()).top
        found = [f for f in top.limits if f.limit.decode() == limit]
        assert len(found) == 1, top.limits
        return found[0]


@pytest.fixture
def asker(connect, wire):
    return lambda pawld: Asker(connect(pawld.unix), wire)


@pytest.fixture
def clocked(make_daemon, asker):
    """A daemon whose clock the requests set, and who asks it."""
    def make(config, **options):
        pawld = make_daemon("--test-clock", config=config, **options)
        return pawld, asker(pawld)
    return make


def reload(pawld, config):
    before = sum(line.get("event") in ("reloaded", "reload_refused") for line in pawld.log())
    (pawld.folder / "pawld.yaml").write_text(config)
    pawld.process.send_signal(signal.SIGHUP)

    def said():
        lines = [line for line in pawld.log()
                 if line.get("event") in ("reloaded", "reload_refused")]
        return lines[-1] if len(lines) > before else None
    return wait_for(said, "a reload")


def ms_of(zone, *when):
    return int(datetime.datetime(*when, tzinfo=zoneinfo.ZoneInfo(zone)).timestamp() * 1000)


# ---- gcra --------------------------------------------------------------------------------------


def test_gcra_lets_a_burst_pass_and_then_an_even_flow(clocked):
    _, ask = clocked("limits: {flow: {rate: 60/minute, algorithm: gcra, burst: 5}}")
    assert [ask.allows("flow", now=T) for _ in range(6)] == [True] * 5 + [False]
    denied = ask.result("flow", now=T)
    # What may be there at once is the limit that results tell of.
    assert (denied.limit_count, denied.retry_after_ms) == (5, 1000)
    assert not ask.allows("flow", now=T + 999)
    assert ask.allows("flow", now=T + 1000)
    assert not ask.allows("flow", now=T + 1000)
    assert [ask.allows("flow", now=T + 60_000) for _ in range(6)] == [True] * 5 + [False]


def test_a_gcra_burst_is_reloaded(clocked):
    text = "limits: {flow: {rate: 60/minute, algorithm: gcra, burst: %d}}"
    pawld, ask = clocked(text % 2)
    assert [ask.allows("flow", now=T) for _ in range(3)] == [True, True, False]
    assert reload(pawld, text % 4)["event"] == "reloaded"
    assert [ask.allows("flow", now=T) for _ in range(3)] == [True, True, False]


def test_inline_rates_may_be_gcra_or_slots_and_nothing_else(clocked, wire):
    _, ask = clocked("limits: {}")
    gcra = [wire.Rate(count=10, window_ms=10_000, algorithm=wire.ALGORITHM_GCRA, burst=2)]
    assert [ask.allows(rates=gcra, now=T) for _ in range(3)] == [True, True, False]
    assert ask.allows(rates=gcra, now=T + 1000)
    slots = [wire.Rate(count=2, window_ms=10_000, algorithm=wire.ALGORITHM_CONCURRENCY)]
    assert [ask.allows(rates=slots, key=b"s", now=T) for _ in range(3)] == [True, True, False]
    for rates, word in (
            ([wire.Rate(count=1, period=wire.PERIOD_DAY, algorithm=wire.ALGORITHM_CALENDAR)],
             "named limits"),
            ([wire.Rate(count=1, window_ms=5, period=wire.PERIOD_DAY)], "named limits"),
            ([wire.Rate(count=1, window_ms=5, burst=1)], "gcra"),
            ([wire.Rate(count=1, window_ms=5, algorithm=9)], "not known"),
            ([wire.Rate(count=1, window_ms=5),
              wire.Rate(count=1, window_ms=6, algorithm=wire.ALGORITHM_GCRA)], "one algorithm")):
        status, text = ask.error(rates=rates)
        assert status == wire.STATUS_INVALID and word in text, text


def test_a_changed_algorithm_starts_fully_charged(clocked):
    pawld, ask = clocked("limits: {l: {rate: 5/minute}}")
    assert ask.allows("l", now=T)
    assert reload(pawld, "limits: {l: {rate: 5/minute, algorithm: gcra}}")["event"] == "reloaded"
    assert not ask.allows("l", now=T)
    assert ask.allows("l", now=T + 60_000)


# ---- calendar ----------------------------------------------------------------------------------


def test_a_quota_ends_with_its_day_of_its_zone(clocked):
    _, ask = clocked("limits: {q: {rate: 2/day, algorithm: calendar, zone: Europe/Vienna}}")
    night = ms_of("Europe/Vienna", 2027, 1, 16)
    assert [ask.allows("q", now=night - 1000) for _ in range(3)] == [True, True, False]
    denied = ask.result("q", now=night - 1000)
    assert (denied.retry_after_ms, denied.reset_after_ms, denied.window_ms) == (1000, 1000, 0)
    assert [ask.allows("q", now=night) for _ in range(3)] == [True, True, False]


def test_a_month_begins_on_its_anchor_day(clocked):
    _, ask = clocked("limits: {q: {rate: 1/month, algorithm: calendar, anchor_day: 31}}")
    begin = ms_of("UTC", 2027, 2, 28)  # February has no 31st
    assert ask.allows("q", now=begin - 1000)
    assert not ask.allows("q", now=begin - 500)
    assert ask.allows("q", now=begin)
    assert not ask.allows("q", now=ms_of("UTC", 2027, 3, 30, 23, 59))
    assert ask.allows("q", now=ms_of("UTC", 2027, 3, 31))


def test_a_zone_that_does_not_exist_is_refused_at_start_and_at_reload(clocked, make_daemon):
    text = "limits: {q: {rate: 1/day, algorithm: calendar, zone: %s}}"
    for zone in ("Europe/Wien", "../../etc/passwd", "/etc/localtime"):
        pawld = make_daemon(config=text % zone, start=False)
        pawld.start(wait=False)
        assert wait_for(lambda: pawld.process.poll() is not None, "the end") and pawld.stop() != 0
        said = str(pawld.log())
        assert zone in said and "zone" in said, said
        check = subprocess.run([*pawld.command(), "--check-config"], capture_output=True, text=True)
        assert check.returncode == 2 and zone in check.stderr
    pawld, ask = clocked(text % "UTC")
    assert ask.allows("q", now=T)
    said = reload(pawld, text % "Mars/Olympus")
    assert said["event"] == "reload_refused" and "Mars/Olympus" in str(pawld.log())
    assert not ask.allows("q", now=T)


def test_a_zone_and_an_anchor_day_are_reloaded(clocked):
    text = "limits: {q: {rate: 1/week, algorithm: calendar, zone: %s, anchor_day: %d}}"
    pawld, ask = clocked(text % ("UTC", 1))
    assert ask.allows("q", now=T)  # a Friday
    monday = ms_of("UTC", 2027, 1, 18)
    assert ask.result("q", now=T).retry_after_ms == monday - T
    reload(pawld, text % ("Asia/Tokyo", 6))
    saturday = ms_of("Asia/Tokyo", 2027, 1, 16)
    assert ask.allows("q", b"new", now=saturday)
    assert ask.result("q", b"new", now=saturday).retry_after_ms == 7 * DAY
    # What was charged in the week before stays charged until both weeks are over.
    assert not ask.allows("q", now=saturday)
    assert ask.allows("q", now=saturday + 7 * DAY)


def test_limits_are_listed_with_algorithm_zone_and_exceptions(clocked, wire):
    _, ask = clocked("""
limits:
  a: {rate: [1/day, 5/month], algorithm: calendar, zone: Europe/Vienna, anchor_day: 31}
  b: {rate: 60/minute, algorithm: gcra, burst: 5, shadow: true, when_full: closed}
  c: {rate: 1/hour, overrides: {anna: 2/hour, bert: 3/hour}, bypass: ["10.*"]}
""")
    limits = ask.call(limits=wire.Limits()).limits.limits
    a, b, c = limits
    assert (a.algorithm, a.zone, a.anchor_day) == (wire.ALGORITHM_CALENDAR, b"Europe/Vienna", 31)
    assert [(r.count, r.window_ms, r.period) for r in a.rates] == [
        (1, 0, wire.PERIOD_DAY), (5, 0, wire.PERIOD_MONTH)]
    assert (b.algorithm, b.rates[0].burst, b.shadow, b.when_full) == (
        wire.ALGORITHM_GCRA, 5, True, b"closed")
    assert (c.algorithm, c.zone, c.overrides, c.bypass) == (wire.ALGORITHM_SLIDING, b"", 2, 1)


# ---- concurrency -------------------------------------------------------------------------------


def test_a_slot_is_free_again_when_it_is_given_back_or_expires(clocked):
    _, ask = clocked("limits: {s: {rate: 2/10s, algorithm: concurrency}}")
    first = ask.result("s", now=T)
    second = ask.result("s", now=T + 4000)
    assert first.allowed and second.allowed and (second.count, second.remaining) == (2, 0)
    denied = ask.result("s", now=T + 5000)
    assert (denied.allowed, denied.retry_after_ms) == (False, 5000)
    assert ask.refund("s", b"k", second.charge, now=T + 5000) == 1
    assert ask.refund("s", b"k", second.charge, now=T + 5000) == 0, "a slot goes back once"
    third = ask.result("s", now=T + 5000)
    assert third.allowed and third.charge not in (0, first.charge, second.charge)
    assert not ask.allows("s", now=T + 9999)
    assert ask.allows("s", now=T + 10_000)  # the first has expired
    assert ask.refund("s", b"k", first.charge, now=T + 10_000) == 0
    assert not ask.allows("s", now=T + 10_000)


def test_slots_and_their_time_are_reloaded(clocked):
    pawld, ask = clocked("limits: {s: {rate: 1/10s, algorithm: concurrency}}")
    assert [ask.allows("s", now=T) for _ in range(2)] == [True, False]
    reload(pawld, "limits: {s: {rate: 3/10s, algorithm: concurrency}}")
    assert [ask.allows("s", now=T) for _ in range(3)] == [True, True, False]


@pytest.mark.threads
def test_64_clients_never_hold_more_than_ten_slots(make_daemon, connect, wire):
    """A slot counts as held from the answer that gave it to the request that gives it back."""
    import threading
    pawld = make_daemon("--set", "server.workers=2",
                        config="limits: {s: {rate: 10/1h, algorithm: concurrency}}")
    lock = threading.Lock()
    seen = {"held": 0, "most": 0, "taken": 0}

    def work(i):
        ask = Asker(connect(pawld.unix if i % 2 else pawld.tcp_uri), wire)
        for _ in range(12):
            result = ask.result("s")
            if not result.allowed:
                continue
            with lock:
                seen["held"] += 1
                seen["taken"] += 1
                seen["most"] = max(seen["most"], seen["held"])
            with lock:
                seen["held"] -= 1
            assert ask.refund("s", b"k", result.charge) == 1

    in_parallel(64, work)
    assert 1 <= seen["most"] <= 10 and seen["taken"] >= 10, seen
    ask = Asker(connect(pawld.unix), wire)
    assert ask.result("s", peek=True).count == 0
    assert [ask.allows("s") for _ in range(11)] == [True] * 10 + [False]


# ---- overrides, bypass, tiers ------------------------------------------------------------------


def test_an_override_is_another_rate_for_one_key(clocked):
    config = """
limits:
  l:
    rate: [2/minute, 100/day]
    overrides:
      anna: [4/minute, 100/day]
      "shop|7": [1/minute, 100/day]
"""
    pawld, ask = clocked(config)
    assert [ask.allows("l", b"bert", now=T) for _ in range(3)] == [True, True, False]
    assert [ask.allows("l", b"anna", now=T) for _ in range(5)] == [True] * 4 + [False]
    assert ask.result("l", b"anna", now=T).limit_count == 4
    assert [ask.allows("l", (b"shop", b"7"), now=T) for _ in range(2)] == [True, False]
    assert [ask.allows("l", b"shop|7", now=T) for _ in range(3)] == [True, True, False]
    reload(pawld, config.replace("anna: [4/minute", "anna: [6/minute"))
    assert [ask.allows("l", b"anna", now=T) for _ in range(3)] == [True, True, False]
    reload(pawld, "limits: {l: {rate: [2/minute, 100/day]}}")
    result = ask.result("l", b"anna", now=T)
    assert (result.allowed, result.limit_count, result.count) == (False, 2, 6)


def test_an_override_of_other_windows_is_refused(make_daemon):
    pawld = make_daemon(config="limits: {l: {rate: 2/minute, overrides: {anna: 4/hour}}}",
                        start=False)
    pawld.start(wait=False)
    assert wait_for(lambda: pawld.process.poll() is not None, "the end")
    assert pawld.stop() != 0 and "anna" in str(pawld.log())


def test_a_key_on_the_bypass_list_is_never_counted(clocked, wire):
    pawld, ask = clocked('limits: {l: {rate: 1/minute, bypass: [monitor, "10.0.*"]}, m: 1/minute}'
                         .replace("m: 1/minute", "m: {rate: 1/minute}"))
    for key in (b"monitor", b"10.0.0.1", (b"monitor", b"x")):
        for _ in range(3):
            result = ask.result("l", key, now=T)
            assert (result.allowed, result.bypass, result.count, result.charge) == (
                True, True, 0, 0), result
            assert (result.limit_count, result.remaining) == (1, 1)
    assert [ask.allows("l", b"10.1.0.1", now=T) for _ in range(2)] == [True, False]
    assert not ask.result("l", b"10.1.0.1", now=T).bypass
    assert pawld.status()["keys"] == 1
    # Beside others in one check: results in the order asked, and the others count.
    items = [ask.item("m", b"a"), ask.item("l", b"monitor"), ask.item("m", b"b")]
    reply = ask.call(T, check=wire.Check(items=items)).check
    assert [(r.item, r.bypass, r.count) for r in reply.results] == [
        (0, False, 1), (1, True, 0), (2, False, 1)]
    reply = ask.call(T, check=wire.Check(items=items)).check
    assert reply.verdict == wire.VERDICT_DENY
    assert [r.allowed for r in reply.results] == [False, True, False]
    figures = ask.figures("l")
    assert (figures.bypassed, figures.allowed, figures.denied) == (11, 1, 2)
    reload(pawld, "limits: {l: {rate: 1/minute, bypass: [other]}, m: {rate: 1/minute}}")
    assert [ask.allows("l", b"monitor", now=T) for _ in range(2)] == [True, False]
    assert ask.result("l", b"other", now=T).bypass


def test_a_tier_is_a_limit_of_its_own_and_falls_back(clocked):
    _, ask = clocked("limits: {api: {rate: 1/minute}, api.premium: {rate: 3/minute}}")
    assert [ask.allows("api", tier=b"premium", now=T) for _ in range(4)] == [True] * 3 + [False]
    assert [ask.allows("api", tier=b"none", now=T) for _ in range(2)] == [True, False]
    assert not ask.allows("api", now=T), "a tier that is not there is the plain limit"


# ---- shadow, when_full -------------------------------------------------------------------------


def test_a_shadow_limit_denies_nothing_and_is_counted(clocked):
    pawld, ask = clocked("limits: {l: {rate: 1/minute, shadow: true}, m: {rate: 9/minute}}")
    assert [ask.allows("l", now=T) for _ in range(3)] == [True] * 3
    result = ask.result("l", now=T)
    assert (result.shadow, result.allowed, result.count) == (True, False, 1)
    figures = ask.figures("l")
    assert (figures.allowed, figures.shadow_denied, figures.denied) == (1, 3, 0)
    reload(pawld, "limits: {l: {rate: 1/minute}, m: {rate: 9/minute}}")
    assert not ask.allows("l", now=T)
    assert ask.figures("l").denied == 1, "figures go on over a reload"


@pytest.mark.release
@pytest.mark.alone
def test_when_full_is_reloaded_and_overflow_is_counted(make_daemon, asker, wire):
    """Under a ceiling that is reached; what each of the three does is in test_settings.py."""
    text = "{memory_max: 8MiB, limits: {l: {rate: 3/day, when_full: %s}}}"
    pawld = make_daemon(config=text % "overflow", tcp=False)
    ask = asker(pawld)
    number, shared = 0, 0
    while shared < 2000:  # until every shard of the table is full
        assert number < 1_000_000
        requests = [ask.connection.request(check=wire.Check(items=[ask.item("l", b"%d" % i)]))
                    for i in range(number, number + 2000)]
        ask.connection.send(*requests)
        replies = [ask.connection.receive() for _ in requests]
        shared = sum(reply.check.results[0].overflow for reply in replies)
        number += len(requests)
    assert ask.figures("l").overflowed >= 2000
    assert ask.result("l", b"late").overflow
    # A key whose cell holds something counts there, whatever when_full says: it may be its own.
    for word, allowed in (("closed", False), ("open", True)):
        reload(pawld, text % word)
        results = [ask.result("l", b"%s-%d" % (word.encode(), i)) for i in range(200)]
        full = [result for result in results if result.full]
        assert full and all((r.allowed, r.charge) == (allowed, 0) for r in full)
        assert all(r.overflow for r in results if not r.full)
        assert allowed or all(r.retry_after_ms > 0 for r in full)


# ---- consistency: exact --------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [
    "{rate: 2/day, algorithm: gcra}", "{rate: 2/month, algorithm: calendar}",
    "{rate: 2/1d, algorithm: concurrency}"])
def test_every_algorithm_may_be_exact(make_daemon, asker, limit):
    """On disk before the answer: a crash forgets nothing."""
    pawld = make_daemon(config="limits: {l: %s}" % limit.replace("}", ", consistency: exact}"))
    ask = asker(pawld)
    assert [ask.allows("l") for _ in range(3)] == [True, True, False]
    pawld.kill()
    pawld.start()
    ask = asker(pawld)
    assert not ask.allows("l")


def test_an_exact_limit_of_more_slots_than_fit_is_refused(make_daemon):
    pawld = make_daemon(start=False, config="""
limits: {l: {rate: 1000/1d, algorithm: concurrency, consistency: exact}}""")
    pawld.start(wait=False)
    assert wait_for(lambda: pawld.process.poll() is not None, "the end")
    assert pawld.stop() != 0 and "lower the slots" in str(pawld.log())

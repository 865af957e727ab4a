"""The framework's own throttle beside ours, on histories that hypothesis draws (DRF 3.14 to 3.16).

Both read one clock that never goes back, on a grid of 1 ms; the framework's keeps its list in a
LocMemCache on that clock. Compared after each call: allowed or not, wait(), and what a refusal
becomes: status, Retry-After, body. The one difference: where the framework's wait() is None, for
the limit was lowered below what is counted, ours says how long it will be.
"""

import collections
import fractions
import itertools
import types

import pytest
from django.core.cache.backends import base as cache_base
from django.core.cache.backends import locmem
from hypothesis import HealthCheck, given, settings, strategies
from rest_framework import throttling
from rest_framework.exceptions import Throttled
from rest_framework.views import APIView, exception_handler

from drf_rig import User, call, view_class
from pawl import drf

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
HISTORIES = 5000
_keys = itertools.count()
view = APIView()


class OnClock:
    """What both throttles of a history have in common: the key, the rate, the clock."""

    rate = "1/s"
    history_key = ""
    clock = None

    def get_cache_key(self, request, view):
        return self.history_key

    def timer(self):
        return fractions.Fraction(self.clock.now_ms, 1000)  # no rounding on the framework's side


class Theirs(OnClock, throttling.SimpleRateThrottle):
    cache = locmem.LocMemCache("differential", {"OPTIONS": {"MAX_ENTRIES": 10_000}})


class Ours(OnClock, drf.SimpleRateThrottle):
    pass


def outcome(throttle_class, rate):
    """Status, Retry-After, body and wait of one call through the framework's own check."""
    throttle_class.rate = rate
    throttle = throttle_class()
    view.get_throttles = lambda: [throttle]
    try:
        view.check_throttles(types.SimpleNamespace(META={}))
    except Throttled as refusal:
        response = exception_handler(refusal, {})
        return (response.status_code, response.get("Retry-After"), str(response.data["detail"]),
                throttle.wait())
    return 200, None, "", throttle.wait()


def same(theirs, ours):
    if theirs[0] == 429 and theirs[3] is None:  # the listed difference
        assert ours[0] == 429 and ours[3] > 0 and int(ours[1]) >= 1
        return
    assert ours[:3] == theirs[:3], (theirs, ours)
    if theirs[3] is None:
        assert ours[3] is None
    else:
        assert ours[3] == pytest.approx(float(theirs[3]), abs=1e-9), (theirs, ours)


def steps_of(period):
    """Steps of a history: milliseconds that pass, and now and then another limit."""
    window_ms = SECONDS[period] * 1000
    near = strategies.sampled_from([0, 1, window_ms - 1, window_ms, window_ms + 1, window_ms // 2,
                                    window_ms // 3])
    passing = strategies.one_of(near, strategies.integers(0, 50),
                                strategies.integers(0, window_ms // 4))
    limit = strategies.one_of(strategies.none(), strategies.none(), strategies.integers(0, 12))
    calls = strategies.sampled_from((1, 1, 2, 3))
    return strategies.lists(strategies.tuples(passing, limit, calls), min_size=2, max_size=6)


histories = strategies.sampled_from("ssmhd").flatmap(
    lambda period: strategies.tuples(strategies.just(period), strategies.integers(1, 9),
                                     steps_of(period)))


@pytest.fixture
def theirs_on(clock, monkeypatch):
    """The cache's clock is ours, too."""
    watch = types.SimpleNamespace(time=lambda: clock.now_ms / 1000)
    monkeypatch.setattr(locmem, "time", watch)
    monkeypatch.setattr(cache_base, "time", watch)
    OnClock.clock = clock
    yield
    OnClock.clock = None


def test_every_history_ends_as_the_framework_ends_it(counted, clock, theirs_on):
    drawn = collections.Counter()

    @settings(max_examples=HISTORIES, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))
    @given(histories)
    def run(history):
        period, limit, steps = history
        drawn["histories"] += 1
        OnClock.history_key = f"history-{next(_keys)}"
        Theirs.cache.clear()
        for passing_ms, other_limit, calls in steps:
            clock.advance(passing_ms / 1000)
            limit = limit if other_limit is None else other_limit
            for _ in range(calls):
                rate = f"{limit}/{period}"
                theirs = outcome(Theirs, rate)
                same(theirs, outcome(Ours, rate))
                drawn[theirs[0], theirs[3] is None] += 1
    run()
    assert drawn["histories"] >= HISTORIES
    # What was drawn is worth something: both answers came often, lowered limits too.
    assert min(drawn[200, False], drawn[429, False], drawn[429, True]) > HISTORIES // 4, drawn


def of_view(base, rates):
    """Throttles of one view, each with a scope of its own."""
    def get_cache_key(self, request, view):
        return f"{OnClock.history_key}-{self.scope}"
    members = {"get_cache_key": get_cache_key}
    return [type(f"T{place}", (base,), {**members, "scope": f"s{place}", "rate": rate})
            for place, rate in enumerate(rates)]


def called(classes):
    view.get_throttles = lambda: [one() for one in classes]
    try:
        view.check_throttles(types.SimpleNamespace(META={}))
    except Throttled as refusal:
        return exception_handler(refusal, {}).get("Retry-After")
    return "allowed"


several = strategies.tuples(
    strategies.lists(strategies.tuples(strategies.integers(1, 4), strategies.sampled_from("smh")),
                     min_size=2, max_size=4),
    strategies.lists(strategies.sampled_from([0, 1, 300, 999, 1000, 20_000, 60_000, 600_000]),
                     min_size=3, max_size=12))


def test_views_with_several_throttles_end_as_the_frameworks_end(counted, clock, theirs_on):
    @settings(max_examples=400, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))
    @given(several)
    def run(drawn):
        rates, steps = drawn
        OnClock.history_key = f"several-{next(_keys)}"
        Theirs.cache.clear()
        rates = [f"{count}/{period}" for count, period in rates]
        theirs, ours = of_view(Theirs, rates), of_view(Ours, rates)
        for passing_ms in steps:
            clock.advance(passing_ms / 1000)
            assert called(theirs) == called(ours), (rates, steps)
    run()


def test_whole_responses_are_the_same(counted, clock, theirs_on):
    for theirs, ours in ((throttling.AnonRateThrottle, drf.AnonRateThrottle),
                         (throttling.UserRateThrottle, drf.UserRateThrottle)):
        class TheirThrottle(theirs):
            cache = locmem.LocMemCache("responses", {})
            timer = OnClock.timer
            clock = OnClock.clock

        user = User() if "User" in ours.__name__ else None
        for passing_s in (0, 0.25, 0, 1, 30, 0, 0, 29, 1, 40, 0.5):
            clock.advance(passing_s)
            one = call(view_class(TheirThrottle), user)
            other = call(view_class(ours), user)
            assert (one.status_code, one.headers, one.content) == (
                other.status_code, other.headers, other.content)


def test_where_they_do_not_know_ours_says_when(counted, clock, theirs_on):
    OnClock.history_key = "lowered"
    Theirs.cache.clear()
    for _ in range(5):
        same(outcome(Theirs, "5/m"), outcome(Ours, "5/m"))
        clock.advance(1)
    assert outcome(Theirs, "2/m")[3] is None
    wait = outcome(Ours, "2/m")[3]
    # Four of the five have to leave: the fourth came 3 s after the first, 5 s ago it began.
    assert wait == 60 - 5 + 3
    clock.advance(wait - 0.001)
    assert outcome(Ours, "2/m")[0] == 429
    clock.advance(0.001)
    assert outcome(Ours, "2/m")[0] == 200


def test_a_clock_that_steps_back_locks_nobody_out_for_longer_than_the_window(counted, clock,
                                                                            theirs_on):
    OnClock.history_key = "back"
    Theirs.cache.clear()
    for _ in range(2):
        same(outcome(Theirs, "2/m"), outcome(Ours, "2/m"))
    clock.now_ms -= 3_600_000
    theirs, ours = outcome(Theirs, "2/m"), outcome(Ours, "2/m")
    assert theirs[0] == ours[0] == 429
    assert theirs[3] > 3600  # they wait for the hour to come again
    assert ours[3] <= 60
    clock.now_ms += 3_600_000 + 60_000
    assert outcome(Ours, "2/m")[0] == 200

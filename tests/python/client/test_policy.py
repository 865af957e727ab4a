"""What a process does while no daemon answers: the breaker, and counting on its own."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pawl import Info, Rate, item
from pawl._policy import Breaker, Fallback, LocalWindows
from pawl._types import RateAnswer

NOBODY = Info("none", "connect", "none", "no address answers")


class Clock:
    def __init__(self):
        self.ms = 1_000_000

    def __call__(self):
        return self.ms


def policy(workers=1, keys_max=1024):
    clock = Clock()
    return Fallback(LocalWindows(workers, keys_max, clock)), clock


def ask(fallback, *items, peek=False, each=False):
    return fallback.answer(items, peek, each, NOBODY)


def test_local_counts_against_this_workers_share():
    fallback, _ = policy(workers=4)
    verdicts = [ask(fallback, item("a", "100/minute")).outcome for _ in range(200)]
    assert verdicts.count("allow") == 25
    assert verdicts[:25] == ["allow"] * 25


def test_a_share_is_at_least_one_and_zero_stays_zero():
    fallback, _ = policy(workers=40)
    assert [ask(fallback, item("a", "3/hour")).outcome for _ in range(2)] == ["allow", "deny"]
    assert ask(fallback, item("b", "0/hour")).outcome == "deny"


def test_all_threads_together_get_one_share():
    fallback = Fallback(LocalWindows(4))
    admitted = []

    def work():
        for _ in range(50):
            if ask(fallback, item("a", "100/hour")).allowed:
                admitted.append(1)
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(admitted) == 25


def test_an_event_one_window_old_has_left():
    fallback, clock = policy()
    assert ask(fallback, item("a", "1/s")).allowed
    clock.ms += 999
    denied = ask(fallback, item("a", "1/s"))
    assert (denied.outcome, denied.retry_after_ms) == ("deny", 1)
    clock.ms += 1
    assert ask(fallback, item("a", "1/s")).allowed


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 3)), max_size=60),
       st.integers(1, 6))
def test_no_trailing_window_admits_more_than_the_limit(steps, limit):
    fallback, clock = policy()
    admitted = []
    for step, cost in steps:
        clock.ms += step
        one = item("a", Rate(limit, 1000), cost=cost)
        used = sum(c for at, c in admitted if clock.ms - at < 1000)
        answer = ask(fallback, one)
        assert answer.allowed == (used + cost <= limit)
        if answer.allowed:
            admitted.append((clock.ms, cost))
            assert answer.rates[0].count == used + cost
        elif cost <= limit:
            later = clock.ms + answer.retry_after_ms
            assert sum(c for at, c in admitted if later - at < 1000) + cost <= limit
            assert sum(c for at, c in admitted if later - 1 - at < 1000) + cost > limit
        else:
            assert answer.never


def test_open_allows_and_closed_denies_without_counting():
    fallback, _ = policy()
    for word, outcome in (("open", "allow"), ("closed", "deny")):
        answer = ask(fallback, item("a", "1/minute", on_error=word))
        assert (answer.outcome, answer.info.source, answer.info.cause) == (outcome, "fallback",
                                                                           "connect")
        assert answer.rates[0].allowed == (outcome == "allow")
    assert fallback.local.keys == 0


def test_all_or_none_holds_here_too():
    fallback, _ = policy()
    closed, local = item("a", "1/m", on_error="closed"), item("b", "1/m")
    assert ask(fallback, closed, local).outcome == "deny"
    assert ask(fallback, item("c", "0/m"), local).outcome == "deny"
    assert ask(fallback, local).allowed, "a refusal elsewhere charged it"


def test_each_charges_what_admits():
    fallback, _ = policy()
    full, room = item("a", "0/m"), item("b", "1/m")
    answer = ask(fallback, full, room, each=True)
    assert (answer.outcome, [row.allowed for row in answer.rates]) == ("deny", [False, True])
    assert ask(fallback, room).outcome == "deny"


def test_several_rates_of_one_item_are_charged_together_or_not_at_all():
    fallback, clock = policy()
    one = item("a", "2/s, 3/minute")
    assert [ask(fallback, one, each=True).allowed for _ in range(3)] == [True, True, False]
    clock.ms += 1000
    assert [ask(fallback, one, each=True).allowed for _ in range(2)] == [True, False]


def test_a_peek_charges_nothing():
    fallback, _ = policy()
    assert all(ask(fallback, item("a", "1/m"), peek=True).allowed for _ in range(5))
    assert ask(fallback, item("a", "1/m")).allowed


def test_a_live_record_is_never_given_away():
    fallback, clock = policy(keys_max=2)
    for key in ("a", "b"):
        assert ask(fallback, item(key, "1/s")).allowed
    assert ask(fallback, item("c", "1/s")).outcome == "undecided"
    assert ask(fallback, item("a", "1/s")).outcome == "deny"
    clock.ms += 1000
    assert ask(fallback, item("c", "1/s")).allowed


def test_two_keys_of_one_check_do_not_push_each_other_out():
    fallback, _ = policy(keys_max=1)
    assert ask(fallback, item("a", "1/s"), item("b", "1/s")).outcome == "undecided"


def test_what_the_daemon_said_of_a_named_limit_wins():
    fallback, _ = policy()
    named = item("a", limit="login", on_error="open")
    said = RateAnswer(0, 0, 60_000, 1, 0, 1, 0, 0, 0, 0, False, True, on_error="local")
    fallback.learn((named,), (said,))
    assert [ask(fallback, named).outcome for _ in range(2)] == ["allow", "deny"]


def test_what_the_daemon_said_of_a_tier_is_for_that_tier_alone():
    fallback, _ = policy()
    basic, gold = item("a", limit="api"), item("a", limit="api", tier="gold")
    fallback.learn((basic,), (RateAnswer(0, 0, 60_000, 1, 0, 1, 0, 0, 0, 0, False, True),))
    fallback.learn((gold,), (RateAnswer(0, 0, 60_000, 3, 0, 3, 0, 0, 0, 0, False, True),))
    basic, gold = item("b", limit="api"), item("b", limit="api", tier="gold")
    assert [ask(fallback, basic).outcome for _ in range(2)] == ["allow", "deny"]
    assert [ask(fallback, gold).outcome for _ in range(4)] == ["allow"] * 3 + ["deny"]


def test_one_limit_asked_for_twice_in_a_request_has_its_rates_once():
    fallback, _ = policy()
    pair = item("a", limit="api"), item("b", limit="api")
    fallback.learn(pair, tuple(
        RateAnswer(index, 0, 60_000, 5, 0, 5, 0, 0, 0, 0, False, True) for index in range(2)))
    assert len(ask(fallback, pair[0]).rates) == 1


def told(count, limit, window_ms=60_000, retry_after_ms=0, oldest_age_ms=0):
    return RateAnswer(0, 0, window_ms, limit, count, limit - count, oldest_age_ms, window_ms,
                      retry_after_ms, 0, False, retry_after_ms == 0)


def test_who_was_refused_stays_refused_until_the_time_the_daemon_named():
    fallback, clock = policy()
    one = item("a", "10/minute")
    fallback.learn((one,), (told(10, 10, retry_after_ms=5000),))
    answer = ask(fallback, one)
    assert (answer.outcome, answer.retry_after_ms) == ("deny", 5000)
    clock.ms += 4999
    assert ask(fallback, one).outcome == "deny"
    clock.ms += 1
    assert ask(fallback, one).allowed


def test_no_more_is_let_through_than_the_daemon_said_remains():
    fallback, clock = policy()
    one = item("a", "10/minute")
    fallback.learn((one,), (told(7, 10, oldest_age_ms=20_000),))
    assert [ask(fallback, one).outcome for _ in range(4)] == ["allow"] * 3 + ["deny"]
    clock.ms += 40_000  # the oldest has left: what the daemon said holds no more
    assert ask(fallback, one).allowed


def test_what_was_said_of_one_key_says_nothing_of_another():
    fallback, _ = policy()
    fallback.learn((item("a", "10/m"),), (told(10, 10, retry_after_ms=5000),))
    assert ask(fallback, item("b", "10/m")).allowed
    assert ask(fallback, item("a", "10/h")).allowed
    assert ask(fallback, item("a", "10/m")).outcome == "deny"


def test_local_without_any_rates_cannot_tell():
    fallback, _ = policy()
    answer = ask(fallback, item("a", limit="never-seen"))
    assert (answer.outcome, answer.info.source) == ("undecided", "none")


@pytest.fixture
def breaker():
    clock = Clock()
    made = Breaker(failures=3, open_ms=100, open_max_ms=400, monotonic=lambda: clock.ms / 1000)
    made.clock = clock
    return made


def fail(breaker):
    assert breaker.may_ask()
    return breaker.failed(breaker.ticket())


def test_requests_that_fail_together_are_one_silence(breaker):
    together = [breaker.ticket() for _ in range(8)]
    assert not any([breaker.failed(ticket) for ticket in together])
    assert breaker.may_ask()
    for _ in range(2):
        fail(breaker)
    assert not breaker.may_ask()


def test_a_breaker_opens_after_failures_in_a_row(breaker):
    assert [fail(breaker) for _ in range(2)] == [False, False]
    breaker.seen()
    assert [fail(breaker) for _ in range(3)] == [False, False, True]
    assert not breaker.may_ask() and breaker.opens == 1


def test_one_request_probes_and_an_answer_closes(breaker):
    for _ in range(3):
        fail(breaker)
    breaker.clock.ms += 126
    assert breaker.may_ask() and not breaker.may_ask()
    assert breaker.seen() is True
    assert breaker.may_ask() and breaker.may_ask()


def test_a_failed_probe_waits_twice_as_long_up_to_the_longest(breaker):
    for _ in range(3):
        fail(breaker)
    for most in (125, 250, 500, 500):
        breaker.clock.ms += most + 1
        assert breaker.may_ask()
        assert breaker.failed(breaker.ticket()) is False
        assert not breaker.may_ask()


def test_a_probe_that_was_given_up_leaves_room_for_the_next(breaker):
    for _ in range(3):
        fail(breaker)
    breaker.clock.ms += 126
    assert breaker.may_ask()
    breaker.given_up()
    assert breaker.may_ask()

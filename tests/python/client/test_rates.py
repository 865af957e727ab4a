"""The rate grammar: Django REST Framework's texts keep their meaning, and more can be said."""

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from pawl import Rate, format_rate, parse_rates
from pawl._rates import trap

if not settings.configured:
    settings.configure()
from rest_framework.throttling import SimpleRateThrottle  # noqa: E402


def frameworks_parse(text):
    count, seconds = SimpleRateThrottle.parse_rate(object(), text)
    return Rate(max(0, count), seconds * 1000)


@pytest.mark.parametrize("text", [
    "10/s", "10/sec", "10/second", "10/m", "10/min", "10/minute", "10/minutes", "3/h", "3/hour",
    "1000/day", "1000/d", "10/month", "3/msec", "5/sunday", "0/min", "-1/min", " 5/min", "1_000/day",
    "5/mars", "7/hippo",
])
def test_what_the_framework_reads_means_the_same_here(text):
    theirs = frameworks_parse(text)
    if text == "3/msec":  # an unknown word: its first letter counts
        assert theirs == Rate(3, 60_000)
    assert parse_rates(text) == (theirs,)


@given(st.integers(-5, 10**6), st.sampled_from("smhd"),
       st.text("abcdefghijklnopqrstuvxyz", max_size=6))
def test_only_the_first_letter_counts_as_the_framework_has_it(count, letter, rest):
    text = f"{count}/{letter}{rest}"
    if letter + rest == "ms":
        return  # milliseconds are an extension
    assert parse_rates(text) == (frameworks_parse(text),)


@pytest.mark.parametrize("text, rates", [
    ("100/5m", [(100, 300_000)]), ("1/30s", [(1, 30_000)]), ("100/60", [(100, 60_000)]),
    ("5 per minute", [(5, 60_000)]), ("5 per 30 s", [(5, 30_000)]), ("10/250ms", [(10, 250)]),
    ("2/week", [(2, 604_800_000)]), ("2/2weeks", [(2, 1_209_600_000)]),
    ("60/minute, 1000/day", [(60, 60_000), (1000, 86_400_000)]),
    ("60/minute;1000/day", [(60, 60_000), (1000, 86_400_000)]),
    ("60/m|1000/d", [(60, 60_000), (1000, 86_400_000)]),
])
def test_more_than_the_framework_can_say(text, rates):
    assert parse_rates(text) == tuple(Rate(*rate) for rate in rates)


@pytest.mark.parametrize("text, why", [
    ("", "no rate"), ("5", "no rate"), ("5/", "no period"), ("1/m/2", "no rate"),
    ("x/m", "no rate"), ("5/x", "no period"), ("5/5x", "no period"), ("5/0", "between 1 ms"),
    ("5/46d", "45 days"), ("5/m,", "no rate"), ("5/m, 6/60", "twice"),
    (f"{2**40}/m", "above"), (", ".join(f"1/{n}s" for n in range(1, 10)), "at most 8"),
    ("1/m" + " " * 300, "256"), ("5.5/m", "no rate"), ("٥/m", "no rate"),
])
def test_a_text_that_is_no_rate_says_what_is_wrong(text, why):
    with pytest.raises(ValueError, match=why):
        parse_rates(text)


@pytest.mark.parametrize("text, says", [
    ("10/month", "'10/month' is read as 10 per minute"), ("5/sunday", "5 per second"),
    ("3/msec", "3 per minute"), ("5/m, 10/months", "10 per minute"),
    ("10/minute", ""), ("10/5m", ""), ("10/ms", ""), ("10/60", ""), ("nonsense", ""),
])
def test_a_trap_is_named(text, says):
    assert says in trap(text) if says else trap(text) == ""


@given(st.integers(0, 2**40 - 1), st.integers(1, 45 * 86_400_000))
def test_a_rate_written_reads_back_the_same(count, window_ms):
    rate = Rate(count, window_ms)
    assert parse_rates(format_rate(rate)) == (rate,)


@given(st.text(max_size=40))
def test_any_text_is_a_rate_or_a_value_error(text):
    try:
        assert all(isinstance(rate, Rate) for rate in parse_rates(text))
    except ValueError:
        pass
    trap(text)

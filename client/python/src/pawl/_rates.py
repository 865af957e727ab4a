"""Rates as text: pawl's grammar, which is a superset of Django REST Framework's.

    list   = rate *( ("," | ";" | "|") rate )
    rate   = count "/" period | count "per" period
    period = [ number ] unit | number          a bare number is seconds: 100/60
    unit   = ms millisecond | s sec second | m min minute | h hr hour | d day | w week

Framework habits are kept where a text is not of this grammar: only the first letter of the period
counts, so "10/minutes" is per minute, and so is "10/month". :func:`trap` names such texts, for the
system checks.
"""

import re
from typing import List, Optional, Tuple

from ._types import Rate

RATES_MAX = 8
WINDOW_MAX_MS = 45 * 86_400_000
COUNT_MAX = 2**40 - 1

_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_WORDS = {"ms": "ms", "millisecond": "ms", "s": "s", "sec": "s", "second": "s", "m": "m",
          "min": "m", "minute": "m", "h": "h", "hr": "h", "hour": "h", "d": "d", "day": "d",
          "w": "w", "week": "w"}
_RATE = re.compile(r"\s*([0-9][0-9_]*|-[0-9]+)\s*(?:/|\bper\b)\s*([0-9]+)?\s*([a-z]*)\s*", re.I)


def _unit(word: str) -> Optional[str]:
    word = word.lower()
    if len(word) > 3 and word.endswith("s"):
        word = word[:-1]
    return _WORDS.get(word) or _WORDS.get(word[:-1] if word.endswith("s") else "")


def _parse_one(text: str) -> Rate:
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no rate: write a count, a slash and a period, as in "
                         f"'100/minute', '100/5m' or '100/60'")
    count_text, number, word = match.groups()
    if not word:
        if number is None:
            raise ValueError(f"{text!r} has no period after the slash: write 's', 'm', 'h' or 'd'")
        unit = "s"
    else:
        unit = _unit(word) or (word[0].lower() if number is None else "")
        if unit not in _UNITS_MS:
            raise ValueError(f"{text!r}: {word!r} is no period: write 's', 'm', 'h', 'd' or 'w'")
    window_ms = _UNITS_MS[unit] * (1 if number is None else int(number))
    if not 1 <= window_ms <= WINDOW_MAX_MS:
        raise ValueError(f"{text!r}: the window has to be between 1 ms and 45 days")
    # Framework habit: a negative count is valid and denies all, as 0 does.
    count = max(0, int(count_text))
    if count > COUNT_MAX:
        raise ValueError(f"{text!r}: the count is above {COUNT_MAX}")
    return Rate(count, window_ms)


def parse_rates(text: str) -> Tuple[Rate, ...]:
    """Parse a rate or a list of them. Raises ValueError saying what is wrong and what to write."""
    if len(text) > 256:
        raise ValueError("a list of rates has at most 256 characters")
    rates: List[Rate] = [_parse_one(part) for part in re.split(r"[,;|]", text)]
    if len(rates) > RATES_MAX:
        raise ValueError(f"{text!r}: at most {RATES_MAX} rates in one limit")
    windows = [rate.window_ms for rate in rates]
    if len(set(windows)) != len(windows):
        raise ValueError(f"{text!r}: the same window twice: one of the two could never matter")
    return tuple(rates)


def trap(text: str) -> str:
    """What a reader would misread in a valid rate: "10/month" is 10 a minute. "" if nothing."""
    for part in re.split(r"[,;|]", text):
        match = _RATE.fullmatch(part)
        if match is None or match.group(2) or not match.group(3) or _unit(match.group(3)):
            continue
        name = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week"}.get(
            match.group(3)[0].lower())
        if name:
            return f"{part.strip()!r} is read as {match.group(1)} per {name}"
    return ""


def format_rate(rate: Rate) -> str:
    """The short form: "100/5m"."""
    for unit in ("w", "d", "h", "m", "s"):
        if rate.window_ms % _UNITS_MS[unit] == 0:
            number = rate.window_ms // _UNITS_MS[unit]
            return f"{rate.count}/{number if number > 1 else ''}{unit}"
    return f"{rate.count}/{rate.window_ms}ms"

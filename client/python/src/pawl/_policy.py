"""What the process does while no daemon answers: a breaker, and counting in this process.

Both belong to a client and are shared by its connections, threads and tasks, for a limit of 25 in
this worker has to be 25 in all its threads together. (libpawl has the same two, one for each
handle; the handles here run without.)
"""

import collections
import itertools
import random
import threading
import time
from typing import Callable, Deque, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from ._types import CheckAnswer, Info, Item, Rate, RateAnswer

#: Causes that count as "the daemon is away". A daemon that says "full" or "frozen" is there.
AWAY = frozenset(("timeout", "connect", "lost", "protocol"))


class Breaker:
    """Closed; after ``failures`` silences in a row open: nobody is asked for about ``open_ms``,
    then one request probes, and each failed probe doubles the time, up to ``open_max_ms``.

    Requests of many threads that fail together are one silence: what counts is a request that
    began after the failure before it was known. (Else one moment in which a busy machine lets the
    daemon wait would open it.) Any thread."""

    def __init__(self, failures: int = 5, open_ms: int = 100, open_max_ms: int = 1000,
                 monotonic: Callable[[], float] = time.monotonic) -> None:
        self._failures_max = failures
        self._open_s = open_ms / 1000
        self._open_max_s = open_max_ms / 1000
        self._monotonic = monotonic
        self.opens = 0  #: how often it opened
        self.reset()

    def reset(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._silences = 0  # all that were ever counted
        self._wait_s = self._open_s
        self._open_until = 0.0
        self._probe = False

    @property
    def is_open(self) -> bool:
        return self._open_until > 0

    def ticket(self) -> int:
        """Taken when a request begins, for :meth:`failed`."""
        return self._silences

    def may_ask(self) -> bool:
        """Whether to ask the daemon now. Whoever gets True calls :meth:`seen`, :meth:`failed` or
        :meth:`given_up`."""
        if not self._open_until:  # the common way takes no lock
            return True
        with self._lock:
            if not self._open_until:
                return True
            if self._probe or self._monotonic() < self._open_until:
                return False
            self._probe = True
            return True

    def seen(self) -> bool:
        """The daemon answered, whatever it said. True if that closed the breaker."""
        if not self._failures and not self._open_until:
            return False
        with self._lock:
            closed = self._open_until > 0
            self._failures = 0
            self._wait_s = self._open_s
            self._open_until = 0.0
            self._probe = False
            return closed

    def failed(self, ticket: int) -> bool:
        """Nobody answered the request that took @ticket. True if that opened the breaker."""
        with self._lock:
            if ticket != self._silences:
                return False  # of a silence that was counted
            self._silences += 1
            self._failures += 1
            was_open = self._open_until > 0
            if was_open and not self._probe:
                return False  # asked before it opened
            if not was_open and self._failures < self._failures_max:
                return False
            if was_open:
                self._wait_s = min(self._wait_s * 2, self._open_max_s)
            else:
                self.opens += 1
            self._probe = False
            self._open_until = self._monotonic() + self._wait_s * random.uniform(0.75, 1.25)
            return not was_open

    def given_up(self) -> None:
        """The request of :meth:`may_ask` ended without telling (canceled)."""
        with self._lock:
            self._probe = False


Place = Tuple[object, ...]


def place_of(item: Item, rate_index: int, window_ms: int) -> Place:
    """The record that a rate of an item counts in."""
    return (item.limit, item.tier, item.key, rate_index if item.limit else window_ms)


class _Log(NamedTuple):
    """One key's events in the trailing window, oldest first."""

    events: Deque[Tuple[int, int]]  # (ms, cost)

    def total(self) -> int:
        return sum(cost for _, cost in self.events)


class _Row(NamedTuple):
    """One pair of a check, with its record."""

    item_index: int
    rate_index: int
    item: Item
    rate: Rate
    log: _Log
    told: Optional[List[int]]  # [until, how much fits]


class LocalWindows:
    """Exact sliding logs in this process, against ``rate.count // workers`` (at least 1 where the
    count is not 0). A record that still holds an event is never given away; where there is no room
    a check is undecided. Any thread.

    What the daemon last said of a key holds as long as it must: who was refused stays refused
    until the time it named, and no more is let through than it said remains. So a daemon that is
    late for a moment does not let a used-up limit begin anew."""

    def __init__(self, workers: int = 1, keys_max: int = 1024,
                 now_ms: Optional[Callable[[], int]] = None) -> None:
        self.workers = max(1, workers)
        self._keys_max = keys_max
        self._now_ms = now_ms or (lambda: time.monotonic_ns() // 1_000_000)
        self.reset()

    def reset(self) -> None:
        self._lock = threading.Lock()
        self._logs: "collections.OrderedDict[Place, Tuple[int, _Log]]" = collections.OrderedDict()
        self._told: "collections.OrderedDict[Place, List[int]]" = collections.OrderedDict()

    @property
    def keys(self) -> int:
        return len(self._logs)

    def share(self, count: int) -> int:
        return max(1, count // self.workers) if count else 0

    def _log(self, name: Place, window_ms: int, now: int,
             held: Set[Place]) -> Optional[_Log]:
        held.add(name)
        found = self._logs.get(name)
        if found is None:
            if len(self._logs) >= self._keys_max and not self._evict(now, held):
                return None
            found = (window_ms, _Log(collections.deque()))
            self._logs[name] = found
        log = found[1]
        while log.events and now - log.events[0][0] >= window_ms:
            log.events.popleft()
        return log

    def tell(self, place: Place, until_ms: int, left: int) -> None:
        """The daemon said that for @until_ms no more than @left fits."""
        with self._lock:
            self._told.pop(place, None)
            self._told[place] = [self._now_ms() + until_ms, left]
            if len(self._told) > self._keys_max:
                self._told.popitem(last=False)  # a hint, not a count: it may be forgotten

    def _left(self, place: Place, now: int) -> Optional[List[int]]:
        told = self._told.get(place)
        if told is not None and now >= told[0]:
            del self._told[place]
            return None
        return told

    def _evict(self, now: int, held: Set[Place]) -> bool:
        """Drop one that is empty by now and not of this check; looks at no more than 64."""
        for name in list(itertools.islice(self._logs, 64)):
            window_ms, log = self._logs[name]
            spent = not log.events or now - log.events[-1][0] >= window_ms
            if spent and name not in held:
                del self._logs[name]
                return True
            self._logs.move_to_end(name)
        return False

    def ask(self, pairs: Sequence[Tuple[int, int, Item, Rate]], peek: bool,
            each: bool) -> Optional[List[RateAnswer]]:
        """Decide and charge (item index, rate index, item, rate); None: no room to count in."""
        with self._lock:
            now = self._now_ms()
            rows = []
            held: Set[Place] = set()
            for item_index, rate_index, item, rate in pairs:
                place = place_of(item, rate_index, rate.window_ms)
                log = self._log(place, rate.window_ms, now, held)
                if log is None:
                    return None
                rows.append(_Row(item_index, rate_index, item, rate, log, self._left(place, now)))
            allowed: Dict[int, bool] = {}
            for row in rows:
                fits = self._fits(row)
                allowed[row.item_index] = allowed.get(row.item_index, True) and fits
            everything = all(allowed.values())
            answers = []
            for row in rows:
                charged = not peek and (allowed[row.item_index] if each else everything)
                answers.append(self._answer(row, now, charged))
            return answers

    def _fits(self, row: "_Row") -> bool:
        room = self.share(row.rate.count) - row.log.total()
        if row.told is not None:
            room = min(room, row.told[1])
        return row.item.cost <= room

    def _answer(self, row: "_Row", now: int, charged: bool) -> RateAnswer:
        limit, cost, events = self.share(row.rate.count), row.item.cost, row.log.events
        fits = self._fits(row)
        count = row.log.total()
        retry_ms = 0
        if not fits and cost <= limit:
            retry_ms = self._retry_ms(row, limit, now)
        if charged:
            if events and events[-1][0] == now:
                events[-1] = (now, events[-1][1] + cost)
            else:
                events.append((now, cost))
            count += cost
            if row.told is not None:
                row.told[1] -= cost
        oldest = events[0][0] if events else now
        newest = events[-1][0] if events else now - row.rate.window_ms
        remaining = max(0, limit - count)
        if row.told is not None:
            remaining = max(0, min(remaining, row.told[1]))
        return RateAnswer(row.item_index, row.rate_index, row.rate.window_ms, limit, count,
                          remaining, now - oldest, newest + row.rate.window_ms - now, retry_ms, 0,
                          cost > limit, fits)

    @staticmethod
    def _retry_ms(row: "_Row", limit: int, now: int) -> int:
        """Until this cost fits, by the log and by what the daemon said."""
        retry_ms, left = 0, row.log.total()
        if left + row.item.cost > limit:
            for at, cost in row.log.events:
                left -= cost
                if left + row.item.cost <= limit:
                    retry_ms = at + row.rate.window_ms - now
                    break
        if row.told is not None and row.item.cost > row.told[1]:
            retry_ms = max(retry_ms, row.told[0] - now)
        return retry_ms


class Fallback:
    """Makes the answer of a check that no daemon gave, from each item's on_error. The daemon's own
    on_error and rates of a named limit, once seen, win over the item's."""

    LEARNED_MAX = 256

    def __init__(self, local: LocalWindows) -> None:
        self.local = local
        # By limit and tier: api.premium has rates of its own.
        self._learned: Dict[Tuple[str, str], Tuple[str, Tuple[Rate, ...]]] = {}

    def learn(self, items: Sequence[Item], rates: Sequence[RateAnswer]) -> None:
        """Remember what the daemon said: the rates of named limits, and how much fits."""
        named: Dict[int, Tuple[str, List[Rate]]] = {}  # by item: two may ask for one limit
        for rate in rates:
            item = items[rate.item]
            if rate.bypass or rate.shadow or item.algorithm != "sliding":
                continue
            place = place_of(item, rate.rate_index, rate.window_ms)
            until_ms = rate.retry_after_ms or rate.window_ms - rate.oldest_age_ms
            self.local.tell(place, until_ms, rate.remaining)
            if item.limit:
                named.setdefault(rate.item, (rate.on_error, []))[1].append(
                    Rate(rate.limit, rate.window_ms))
        for index, (on_error, seen) in named.items():
            name = items[index].limit, items[index].tier
            if name in self._learned or len(self._learned) < self.LEARNED_MAX:
                self._learned[name] = (on_error, tuple(seen))

    def answer(self, items: Sequence[Item], peek: bool, each: bool, info: Info) -> CheckAnswer:
        pairs: List[Tuple[int, int, Item, Rate]] = []
        verdicts: Dict[int, str] = {}
        for index, item in enumerate(items):
            on_error, rates = self._learned.get((item.limit, item.tier), ("", ()))
            on_error, rates = on_error or item.on_error, rates or item.rates
            if on_error != "local":
                verdicts[index] = "allow" if on_error == "open" else "deny"
            elif not rates:
                verdicts[index] = "undecided"
                info = info._replace(cause="no_rates") if info.cause == "ok" else info
            else:
                pairs.extend((index, number, item, rate) for number, rate in enumerate(rates))
        # All or nothing holds here too: a refusal elsewhere charges nothing.
        refused = not each and any(word != "allow" for word in verdicts.values())
        rows = self.local.ask(pairs, peek or refused, each) if pairs else []
        for index, _, _, _ in pairs:
            verdicts.setdefault(index, "allow" if rows is not None else "undecided")
        for row in rows or ():
            if not row.allowed:
                verdicts[row.item] = "deny"
        words = set(verdicts.values())
        outcome = "deny" if "deny" in words else "undecided" if "undecided" in words else "allow"
        counted = {row.item for row in rows or ()}
        rows = (rows or []) + [
            RateAnswer(index, 0, items[index].rates[0].window_ms if items[index].rates else 0,
                       items[index].rates[0].count if items[index].rates else 0,
                       0, 0, 0, 0, 0, 0, False, word == "allow")
            for index, word in verdicts.items() if index not in counted]
        rows.sort(key=lambda row: (row.item, row.rate_index))
        source = "none" if outcome == "undecided" else "fallback"
        retry = max((row.retry_after_ms for row in rows if not row.allowed), default=0)
        return CheckAnswer(outcome, info._replace(source=source), tuple(rows), None, retry,
                           any(row.never and not row.allowed for row in rows))

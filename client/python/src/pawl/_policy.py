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
    """Closed; after ``failures`` requests in a row without an answer open: nobody is asked for
    about ``open_ms``, then one request probes, and each failed probe doubles the time, up to
    ``open_max_ms``. Any thread."""

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
        self._wait_s = self._open_s
        self._open_until = 0.0
        self._probe = False

    @property
    def is_open(self) -> bool:
        return self._open_until > 0

    def may_ask(self) -> bool:
        """Whether to ask the daemon now. Whoever gets True calls :meth:`seen` or :meth:`failed`."""
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

    def failed(self) -> bool:
        """Nobody answered. True if that opened the breaker."""
        with self._lock:
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


class _Log(NamedTuple):
    """One key's events in the trailing window, oldest first."""

    events: Deque[Tuple[int, int]]  # (ms, cost)


class LocalWindows:
    """Exact sliding logs in this process, against ``rate.count // workers`` (at least 1 where the
    count is not 0). A record that still holds an event is never given away; where there is no room
    a check is undecided. Any thread."""

    def __init__(self, workers: int = 1, keys_max: int = 1024,
                 now_ms: Optional[Callable[[], int]] = None) -> None:
        self.workers = max(1, workers)
        self._keys_max = keys_max
        self._now_ms = now_ms or (lambda: time.monotonic_ns() // 1_000_000)
        self.reset()

    def reset(self) -> None:
        self._lock = threading.Lock()
        self._logs: "collections.OrderedDict[Tuple[object, ...], Tuple[int, _Log]]" = (
            collections.OrderedDict())

    @property
    def keys(self) -> int:
        return len(self._logs)

    def share(self, count: int) -> int:
        return max(1, count // self.workers) if count else 0

    def _log(self, name: Tuple[object, ...], window_ms: int, now: int,
             held: Set[Tuple[object, ...]]) -> Optional[_Log]:
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

    def _evict(self, now: int, held: Set[Tuple[object, ...]]) -> bool:
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
            held: Set[Tuple[object, ...]] = set()
            for item_index, rate_index, item, rate in pairs:
                place: object = rate_index if item.limit else rate.window_ms
                name = (item.limit, item.tier, item.key, place)
                log = self._log(name, rate.window_ms, now, held)
                if log is None:
                    return None
                rows.append((item_index, rate_index, item, rate, log))
            allowed: Dict[int, bool] = {}
            for item_index, _, item, rate, log in rows:
                fits = self._count(log) + item.cost <= self.share(rate.count)
                allowed[item_index] = allowed.get(item_index, True) and fits
            everything = all(allowed.values())
            answers = []
            for item_index, rate_index, item, rate, log in rows:
                charged = not peek and (allowed[item_index] if each else everything)
                answers.append(self._answer(item_index, rate_index, item, rate, log, now, charged))
            return answers

    @staticmethod
    def _count(log: _Log) -> int:
        return sum(cost for _, cost in log.events)

    def _answer(self, item_index: int, rate_index: int, item: Item, rate: Rate, log: _Log,
                now: int, charged: bool) -> RateAnswer:
        limit = self.share(rate.count)
        count = self._count(log)
        fits = count + item.cost <= limit
        retry_ms = 0
        if not fits and item.cost <= limit:
            left = count
            for at, cost in log.events:
                left -= cost
                if left + item.cost <= limit:
                    retry_ms = at + rate.window_ms - now
                    break
        if charged:
            if log.events and log.events[-1][0] == now:
                log.events[-1] = (now, log.events[-1][1] + item.cost)
            else:
                log.events.append((now, item.cost))
            count += item.cost
        oldest = log.events[0][0] if log.events else now
        newest = log.events[-1][0] if log.events else now - rate.window_ms
        return RateAnswer(item_index, rate_index, rate.window_ms, limit, count,
                          max(0, limit - count), now - oldest, newest + rate.window_ms - now,
                          retry_ms, 0, item.cost > limit, fits)


class Fallback:
    """Makes the answer of a check that no daemon gave, from each item's on_error. The daemon's own
    on_error and rates of a named limit, once seen, win over the item's."""

    LEARNED_MAX = 256

    def __init__(self, local: LocalWindows) -> None:
        self.local = local
        self._learned: Dict[str, Tuple[str, Tuple[Rate, ...]]] = {}

    def learn(self, items: Sequence[Item], rates: Sequence[RateAnswer]) -> None:
        """Remember what the daemon said of named limits."""
        named: Dict[str, Tuple[str, List[Rate]]] = {}
        for rate in rates:
            item = items[rate.item]
            if item.limit and not rate.bypass:
                named.setdefault(item.limit, (rate.on_error, []))[1].append(
                    Rate(rate.limit, rate.window_ms))
        for name, (on_error, seen) in named.items():
            if name in self._learned or len(self._learned) < self.LEARNED_MAX:
                self._learned[name] = (on_error, tuple(seen))

    def answer(self, items: Sequence[Item], peek: bool, each: bool, info: Info) -> CheckAnswer:
        pairs: List[Tuple[int, int, Item, Rate]] = []
        verdicts: Dict[int, str] = {}
        for index, item in enumerate(items):
            on_error, rates = self._learned.get(item.limit, ("", ())) if item.limit else ("", ())
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
        rows = (rows or []) + [
            RateAnswer(index, 0, items[index].rates[0].window_ms if items[index].rates else 0,
                       items[index].rates[0].count if items[index].rates else 0,
                       0, 0, 0, 0, 0, 0, False, word == "allow")
            for index, word in verdicts.items() if index not in {row.item for row in rows or ()}]
        rows.sort(key=lambda row: (row.item, row.rate_index))
        source = "none" if outcome == "undecided" else "fallback"
        retry = max((row.retry_after_ms for row in rows if not row.allowed), default=0)
        return CheckAnswer(outcome, info._replace(source=source), tuple(rows), None, retry,
                           any(row.never and not row.allowed for row in rows))

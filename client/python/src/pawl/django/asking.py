"""Asking pawld for several limits at once, in as few requests as can be; blocking and asyncio.

Nothing here raises because of pawld or its client: where nobody decides, ``ON_ERROR`` does.
"""

import hashlib
import logging
import os
from typing import Any, Dict, Generator, List, NamedTuple, Optional, Sequence, Set, Tuple

from pawl import _rates as pawl_rates
from pawl._calls import no_check
from pawl._policy import Fallback, LocalWindows
from pawl._types import CheckAnswer, Info, Item, Rate, RateAnswer

from . import events
from .conf import get_async_client, get_client, settings

_log = logging.getLogger("pawl")

#: Longer ones travel as their SHA-256 (the wire's cap is 1024 bytes).
KEY_BYTES_MAX = 512
ITEMS_MAX = 64  #: of one request, and rates of all its items
#: What a daemon says of a request that is wrong in one of its items: none of it was decided.
_WRONG = ("invalid", "not_found", "not_permitted", "too_big", "unsupported")


class Ask(NamedTuple):
    """One thing to count."""

    scope: str  #: of the policy: ON_ERROR, headers, events
    key: str  #: who is counted: :func:`throttle_key`, or any text
    rates: Tuple[Rate, ...] = ()  #: beside a limit's name only what "local" counts against
    limit: str = ""  #: a limit of the daemon's configuration
    tier: str = ""
    cost: int = 1
    on_error: str = "local"
    algorithm: str = "sliding"
    burst: int = 0
    ident: str = ""  #: who, for events; "": the key
    precision: int = 0  #: 0: PRECISION


class Outcome(NamedTuple):
    """What became of an :class:`Ask`."""

    ask: Ask
    item: Item
    allowed: bool  #: by the counts, or by the policy where nobody counted
    rows: Tuple[RateAnswer, ...]  #: by rate; none where a policy decided without counting
    source: str  #: "daemon", "fallback" (in this process), "none"

    @property
    def refusing(self) -> Tuple[RateAnswer, ...]:
        return tuple(row for row in self.rows if not row.allowed and not row.shadow)

    @property
    def retry_after_ms(self) -> Optional[int]:
        """Until this would be allowed; None: nobody knows."""
        if not self.refusing:
            return None
        return max(row.window_ms if row.never else row.retry_after_ms for row in self.refusing)

    @property
    def tightest(self) -> Optional[RateAnswer]:
        """The row that refuses longest, else the one with the least room."""
        if self.refusing:
            return max(self.refusing, key=lambda row: (row.never, row.retry_after_ms))
        return min(self.rows, key=lambda row: row.remaining) if self.rows else None


def throttle_key(scope: str, ident: Any) -> str:
    """REST Framework's cache key."""
    return f"throttle_{scope}_{ident}"


def key_bytes(key: Any) -> bytes:
    """A key as it travels: with KEY_PREFIX, and as SHA-256 where HASH_KEYS or its length asks."""
    data = key if isinstance(key, bytes) else str(key).encode("utf-8", "surrogatepass")
    prefix = settings.KEY_PREFIX.encode("utf-8", "surrogatepass")
    if settings.HASH_KEYS or len(prefix) + len(data) > KEY_BYTES_MAX:
        data = hashlib.sha256(data).hexdigest().encode()
    return bytes(prefix + data)


def item_of(ask: Ask) -> Item:
    """The ask as the client wants it."""
    inline_window = not ask.limit and ask.algorithm == "sliding"
    precision = (ask.precision or settings.PRECISION) if inline_window else 0
    return Item((key_bytes(ask.key),), ask.rates, ask.limit, ask.cost, ask.on_error, precision,
                ask.tier, ask.algorithm, ask.burst)


# ---- asking -------------------------------------------------------------------------------------


_unknown: Set[str] = set()  # limits that the daemon did not know when last asked: asked alone
_UNKNOWN_MAX = 256


class Command(NamedTuple):
    """A call of a client's method: the blocking and the asyncio driver make it their own way."""

    method: str
    arguments: Tuple[Any, ...]
    options: Dict[str, Any]


Steps = Generator[Command, Any, List[Outcome]]


def _records(item: Item) -> Set[Tuple[Any, ...]]:
    """The daemon's records that an item counts in. One may stand in a request only once."""
    if item.limit:
        return {(item.limit, item.key)}
    return {(item.algorithm, rate.window_ms, item.key) for rate in item.rates}


def _groups(items: Sequence[Item]) -> List[List[int]]:
    """Indexes of @items by the request that they travel in: one, but where two count in the same
    record (REST Framework counts such a call twice) or there are more than fit."""
    groups: List[List[int]] = []
    held: List[Set[Tuple[Any, ...]]] = []
    room: List[int] = []
    for index, item in enumerate(items):
        wanted = _records(item)
        rows = pawl_rates.RATES_MAX if item.limit else len(wanted)  # of a name: nobody knows yet
        for place in range(0 if item.limit not in _unknown else len(groups), len(groups)):
            if not wanted & held[place] and rows <= room[place]:
                break
        else:
            place = len(groups)
            groups.append([])
            held.append(set())
            room.append(ITEMS_MAX if item.limit not in _unknown else rows)
        groups[place].append(index)
        held[place] |= wanted
        room[place] -= rows
    return groups


def _learn(limit: str, cause: str) -> None:
    """Remember whether the daemon knows a limit, so that it costs the others no second request."""
    if not limit:
        return
    if cause == "not_found" and len(_unknown) < _UNKNOWN_MAX:
        _unknown.add(limit)
    elif cause == "ok":
        _unknown.discard(limit)


def _outcome(ask: Ask, item: Item, rows: Tuple[RateAnswer, ...], answer: CheckAnswer) -> Outcome:
    """What an answer says of an item. @rows: its own."""
    if answer.info.source != "daemon":
        counted = tuple(row for row in rows if row.count or row.retry_after_ms or row.never)
        if not counted:
            # Nobody counted. What cannot be counted under "local" (no room left, rates unknown)
            # is let through: a limit whose loss is worse than that has "closed".
            denied = any(not row.allowed for row in rows) or not rows
            allowed = not denied or (item.on_error != "closed" and answer.outcome == "undecided")
            return Outcome(ask, item, allowed, (), "none")
        rows = counted
    elif not rows:
        return Outcome(ask, item, item.on_error != "closed", (), "none")
    return Outcome(ask, item, all(row.allowed or row.shadow for row in rows), rows,
                   answer.info.source)


def _steps(asks: Sequence[Ask], mode: str, peek: bool) -> Steps:
    """Ask for all of @asks, in as few requests as can be."""
    items = [item_of(ask) for ask in asks]
    found: Dict[int, Outcome] = {}
    atomic = mode == "atomic"
    refused = False
    waiting = _groups(items)
    while waiting:
        group = waiting.pop(0)
        if refused:  # all or none: what is not asked is not charged
            found.update((index, Outcome(asks[index], items[index], True, (), "none"))
                         for index in group)
            continue
        options = {"mode": "atomic" if atomic else "each", "peek": peek}
        answer = yield Command("check_many", (tuple(items[index] for index in group),), options)
        if answer.info.cause in _WRONG and len(group) > 1:  # one throttle disarms no other
            waiting[:0] = [[index] for index in group]
            continue
        _learn(items[group[0]].limit, answer.info.cause)
        rows: List[List[RateAnswer]] = [[] for _ in group]
        for row in answer.rates:
            rows[row.item].append(row)
        outcomes = {index: _outcome(asks[index], items[index], tuple(rows[place]), answer)
                    for place, index in enumerate(group)}
        refused = atomic and not all(outcome.allowed for outcome in outcomes.values())
        if refused:
            for outcome in found.values():
                if outcome.source == "daemon":
                    yield Command("refund", (outcome.item, outcome.rows), {})
        found.update(outcomes)
    return [found[index] for index in range(len(asks))]


_own: Dict[int, Fallback] = {}  # by EXPECTED_WORKERS, of a process whose client cannot be made
_told: Set[str] = set()
_TOLD_MAX = 64


os.register_at_fork(after_in_child=_own.clear)  # a lock may be held by a thread that is not here


def _broken(command: Command, error: Exception, cause: str) -> Any:
    """In place of an answer when the client itself raised: a setting that is wrong, a key that
    cannot be sent. Said in the log, decided by ON_ERROR."""
    if len(_told) < _TOLD_MAX and repr(error) not in _told:  # the security log counts the rest
        _told.add(repr(error))
        _log.error("pawl could not ask: %s", error, exc_info=error)
    if command.method != "check_many":
        return 0
    workers = settings.EXPECTED_WORKERS
    if workers not in _own:
        _own[workers] = Fallback(LocalWindows(workers))
    info = Info("none", cause, "none", str(error))
    answer: CheckAnswer = no_check(info)
    if cause in _WRONG and len(command.arguments[0]) > 1:
        return answer  # asked again one by one
    try:
        answer = _own[workers].answer(command.arguments[0], command.options["peek"],
                                command.options["mode"] == "each", info)
    except Exception as again:
        _log.error("nor count in this process: %s", again)
    return answer


def _seen(command: Command, answer: Any) -> Any:
    if command.method == "check_many" and answer.info.source != "daemon":
        if answer.info.cause not in ("ok", "breaker"):  # told once when the breaker opens
            events.backend_error(answer.info.cause, answer.info.text)
    return answer


def ask(asks: Sequence[Ask], *, mode: str = "each", peek: bool = False) -> List[Outcome]:
    """Ask pawld for all of @asks, in one request unless two of them count in the same record.

    @mode  "each": each for itself; "atomic": all or none is charged. Never raises because of the
    daemon or the client; never takes longer than DEADLINE_MS for each request.
    """
    steps = _steps(asks, mode, peek)
    answer: Any = None
    while True:
        try:
            command = steps.send(answer)
        except StopIteration as end:
            return list(end.value)
        cause = "connect"
        try:
            client = get_client()
            cause = "invalid"
            answer = getattr(client, command.method)(*command.arguments, **command.options)
        except Exception as error:
            answer = _broken(command, error, getattr(error, "cause", "") or cause)
        _seen(command, answer)


async def ask_async(asks: Sequence[Ask], *, mode: str = "each",
                    peek: bool = False) -> List[Outcome]:
    """:func:`ask` for asyncio."""
    steps = _steps(asks, mode, peek)
    answer: Any = None
    while True:
        try:
            command = steps.send(answer)
        except StopIteration as end:
            return list(end.value)
        cause = "connect"
        try:
            client = get_async_client()
            cause = "invalid"
            method = getattr(client, command.method)
            answer = await method(*command.arguments, **command.options)
        except Exception as error:
            answer = _broken(command, error, getattr(error, "cause", "") or cause)
        _seen(command, answer)


# ---- giving back --------------------------------------------------------------------------------


def charged(outcome: Outcome) -> bool:
    """Whether the daemon has charged something that can be given back."""
    return outcome.source == "daemon" and any(row.charge for row in outcome.rows)


def give_back(outcome: Outcome) -> None:
    """Refund what was charged. What cannot be given back stays charged: late, never over."""
    if not charged(outcome):
        return
    try:
        get_client().refund(outcome.item, outcome.rows, deadline_ms=settings.DEADLINE_MS)
    except Exception as error:
        _log.info("a charge of %s was not given back: %s", outcome.ask.scope, error)


async def give_back_async(outcome: Outcome) -> None:
    """:func:`give_back` for asyncio."""
    if not charged(outcome):
        return
    try:
        await get_async_client().refund(outcome.item, outcome.rows,
                                        deadline_ms=settings.DEADLINE_MS)
    except Exception as error:
        _log.info("a charge of %s was not given back: %s", outcome.ask.scope, error)

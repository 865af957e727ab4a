"""Counting for Django: shared by REST Framework's throttles, the decorator and the log-in limiter.

Who says the same scope and the same ident counts in the same record, whatever asks: the key is
REST Framework's cache key, ``throttle_<scope>_<ident>``. Several limits travel in one request.
Nothing here raises because of pawld: where no daemon answers, ``ON_ERROR`` decides.

What was counted is left on Django's request (:func:`record`, :func:`entries`), for the middleware
that writes headers.
"""

import functools
import logging
from typing import Any, Callable, Iterable, List, NamedTuple, Optional, Sequence, Tuple

import pawl
from pawl._types import Rate

from . import events
from .asking import (Ask, Outcome, ask, ask_async, charged, give_back, give_back_async, item_of,
                     key_bytes, throttle_key)
from .conf import settings
from .requests import _parse, _proxies, client_address, customer, plain_request

__all__ = ["Ask", "Entry", "Outcome", "Verdict", "ask", "ask_async", "charged", "check",
           "check_async", "client_ident", "entries", "entries_of", "give_back", "give_back_async",
           "is_exempt", "item_of", "key_bytes", "record", "settle", "throttle_key", "wait_s",
           "when_finished"]

_log = logging.getLogger("pawl")


class Entry(NamedTuple):
    """One rate that was counted for a request: what its headers say."""

    scope: str
    policy: str  #: the name in RateLimit-Policy: the scope, with the window where it has several
    limit: int
    window_ms: int
    remaining: int
    reset_after_ms: int  #: until the window is empty
    retry_after_ms: int  #: until this cost fits; 0: it did
    allowed: bool
    enforced: bool  #: False: a refusal was only noted
    ident: str = ""  #: who was counted, raw: mask it
    cost: int = 1
    algorithm: str = "sliding"
    oldest_age_ms: int = 0  #: of the oldest event in the window


# ---- what is left on the request ----------------------------------------------------------------


def record(request: Any, found: Iterable[Entry]) -> None:
    """Leave @found on Django's request, behind what is there."""
    plain = plain_request(request)
    known = getattr(plain, "_pawl_entries", None)
    if not isinstance(known, list):
        known = plain._pawl_entries = []
    known.extend(found)


def entries(request: Any) -> List[Entry]:
    """What was counted for this request so far, in order. Any request, REST Framework's too."""
    known = getattr(plain_request(request), "_pawl_entries", None)
    return known if isinstance(known, list) else []


def entries_of(outcome: Outcome, enforced: bool) -> List[Entry]:
    """The outcome's rates, for :func:`record`. None of a key that is never limited."""
    ask = outcome.ask
    found = []
    for row in outcome.rows:
        if row.bypass:
            continue
        policy = ask.scope or ask.limit
        if len(outcome.rows) > 1:
            policy += "-" + pawl.format_rate(Rate(0, row.window_ms))[2:]
        found.append(Entry(ask.scope, policy, row.limit, row.window_ms, row.remaining,
                           row.reset_after_ms, row.retry_after_ms, row.allowed,
                           enforced and not row.shadow, ask.ident or ask.key, ask.cost,
                           ask.algorithm, row.oldest_age_ms))
    return found


# ---- who is counted -----------------------------------------------------------------------------


@functools.lru_cache(maxsize=4096)
def _customer(address: str, _ipv6_prefix: int, _ipv4_prefix: int) -> Optional[str]:
    """Who @address is, None if it is no address; the prefixes only keep settings apart."""
    return None if _parse(address) is None else customer(address)


def _ident(address: str) -> Optional[str]:
    return _customer(address[:128], settings.IPV6_PREFIX, settings.IPV4_PREFIX)


def client_ident(request: Any) -> str:
    """Who an anonymous caller is: the client's address behind our own proxies (TRUSTED_PROXIES,
    else NUM_PROXIES), IPv6 by its /64.

    Where neither is set this is REST Framework's reading: the whole X-Forwarded-For without white
    space, which anybody can write (a system check says so), else REMOTE_ADDR.
    """
    meta = plain_request(request).META
    if _proxies() is None:
        forwarded = "".join(str(meta.get("HTTP_X_FORWARDED_FOR") or "").split())
        if forwarded:
            return _ident(forwarded) or forwarded
    remote = str(meta.get("REMOTE_ADDR") or "")
    # A proxy that writes "unknown": its own address is known.
    return _ident(client_address(request)) or _ident(remote) or remote[:64] or "unknown"


# ---- when a response is closed ------------------------------------------------------------------


def when_finished(request: Any, action: Callable[[], None]) -> None:
    """Call @action once, when the response to Django's request is closed, its stream included.

    Django closes the request with its response (BaseHandler.get_response, 3.2 to 5.2); a view
    called without a handler closes nothing.
    """
    plain = plain_request(request)
    close: Optional[Callable[[], None]] = getattr(plain, "close", None)
    if close is None:
        return
    closing = close
    todo = [action]

    def close_and_act() -> None:
        try:
            closing()
        finally:
            if todo:
                todo.pop()()

    plain.close = close_and_act


# ---- one verdict for a request ------------------------------------------------------------------


def is_exempt(request: Any, view: Any) -> bool:
    """Whether the settings leave this request alone: ENABLED is False, or EXEMPT says so."""
    if not settings.ENABLED:
        return True
    exempt = settings.EXEMPT
    if exempt is None:
        return False
    plain = plain_request(request)
    known = getattr(plain, "_pawl_exempt", None)  # once for all throttles of a view
    if isinstance(known, tuple) and view is not None and known[:2] == (exempt, view):
        return bool(known[2])
    try:
        found = bool(exempt(request, view))
    except Exception:
        _log.exception("PAWL['EXEMPT'] raised: the request is not exempt")
        found = False
    plain._pawl_exempt = (exempt, view, found)
    return found


def settle(request: Any, outcome: Outcome, sender: Any = None) -> bool:
    """Leave what @outcome says on the request, tell of a refusal, and return whether to go on:
    True where ENFORCE is False, whatever it says."""
    enforce = bool(settings.ENFORCE)
    record(request, entries_of(outcome, enforce))
    shadowed = [row for row in outcome.rows if row.shadow and not row.allowed]
    if outcome.allowed and not shadowed:
        return True
    enforced = enforce and not outcome.allowed
    row = outcome.tightest if not outcome.allowed else shadowed[0]
    rate = pawl.format_rate(Rate(row.limit, row.window_ms)) if row is not None else ""
    events.throttled(request, outcome.ask.scope, outcome.ask.ident or outcome.ask.key, rate,
                     enforced=enforced, retry_after_s=wait_s(outcome), sender=sender)
    return not enforced


def wait_s(outcome: Outcome) -> int:
    """Whole seconds for Retry-After: RETRY_AFTER_S where nobody knows."""
    retry_after_ms = outcome.retry_after_ms
    return settings.RETRY_AFTER_S if retry_after_ms is None else max(1, -(-retry_after_ms // 1000))


class Verdict(NamedTuple):
    """Whether a request may go on."""

    allowed: bool
    retry_after_s: int  #: 0 where allowed
    outcomes: Tuple[Outcome, ...] = ()


def _verdict(request: Any, outcomes: Sequence[Outcome], sender: Any) -> Verdict:
    refused = [outcome for outcome in outcomes if not settle(request, outcome, sender)]
    return Verdict(not refused, max((wait_s(outcome) for outcome in refused), default=0),
                   tuple(outcomes))


def check(request: Any, asks: Sequence[Ask], *, view: Any = None, sender: Any = None,
          mode: str = "atomic") -> Verdict:
    """Exemption, asking, entries and events in one: what a decorator needs. Never raises."""
    if is_exempt(request, view) or not asks:
        return Verdict(True, 0)
    return _verdict(request, ask(asks, mode=mode), sender)


async def check_async(request: Any, asks: Sequence[Ask], *, view: Any = None, sender: Any = None,
                      mode: str = "atomic") -> Verdict:
    """:func:`check` for asyncio."""
    if is_exempt(request, view) or not asks:
        return Verdict(True, 0)
    return _verdict(request, await ask_async(asks, mode=mode), sender)

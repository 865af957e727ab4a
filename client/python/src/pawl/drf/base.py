"""The base of all throttles here: REST Framework's SimpleRateThrottle, counted by pawld.

Everything that its subclasses and callers use is there: ``scope``, ``rate``, ``THROTTLE_RATES``,
``get_cache_key``, ``get_ident``, ``get_rate``, ``parse_rate``, ``timer``, ``key``, ``now``,
``history``, ``num_requests``, ``duration``, ``throttle_success``, ``throttle_failure``, ``wait``.
Only ``cache`` is not used: nothing is read or written there.

What is only for this package begins with ``_pawl``, so that no name of a subclass means it.
"""

import functools
import logging
import types
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

from django.core.exceptions import ImproperlyConfigured
from rest_framework import throttling
from rest_framework.settings import api_settings

import pawl
from pawl._rates import COUNT_MAX, WINDOW_MAX_MS
from pawl._types import FAIL_WORDS, Rate

from ..django.conf import settings
from ..django.throttling import (Ask, Outcome, ask, charged, client_ident, give_back, is_exempt,
                                 settle, throttle_key)
from .history import History
from .rounds import begin

_log = logging.getLogger("pawl")

#: What the framework's class has read from the settings when it was made; None if a project has put
#: rates of its own there since.
_AT_IMPORT: Any = throttling.SimpleRateThrottle.THROTTLE_RATES
if _AT_IMPORT is not api_settings.DEFAULT_THROTTLE_RATES:
    _AT_IMPORT = None


def _name_of(limit: Any) -> str:
    """A limit's name; "" for what a class from before pawl may have under that attribute."""
    return limit if isinstance(limit, str) and "/" not in limit else ""


def call(value: Any, request: Any, view: Any) -> Any:
    """What a setting of a class comes to: @value itself, or what it returns as a function
    ``(request, view)`` or as a method of its class, ``(self, request, view)``."""
    if not callable(value):
        return value
    if isinstance(value, types.MethodType):
        code = getattr(value.__func__, "__code__", None)
        if code is not None and code.co_argcount == 2:
            value = value.__func__  # a function of two in a class body was never meant as a method
    return value(request, view)


class SimpleRateThrottle(throttling.SimpleRateThrottle):
    """Drop-in for :class:`rest_framework.throttling.SimpleRateThrottle`: exact in all workers.

    Never raises because of pawld: see ON_ERROR. A ``rate`` is REST Framework's, or ``100/5m``, or
    a list, ``60/minute, 1000/day``; one that cannot be read raises ImproperlyConfigured.
    """

    #: A limit of the daemon's configuration, in place of a rate: counted by who is asking alone
    #: (``pawlctl check api=7``). A rate beside it is what "local" counts against.
    limit: Any = ""
    #: "premium": the limit ``api.premium``, or the rate of ``<scope>.premium`` where there is one.
    #: Also a function (request, view), or a method.
    tier: Any = ""
    #: How much a call takes; 0: nothing. Also a function (request, view), or a method.
    cost: Any = 1
    #: "open", "closed", "local": while no daemon answers, unless ON_ERROR names the scope.
    on_error: str = ""
    algorithm: str = "sliding"
    burst: int = 0  #: of "gcra"; 0: the rate's count
    precision: int = 0  #: events told apart in a window; 0: PRECISION
    #: Of a throttle with several limits: all of them are charged or none, whatever MODE says.
    all_or_none = False
    #: (request, response) -> bool: give the charge back, now that the answer is known.
    refund_when: Any = None

    _pawl_async = False
    _pawl_outcome: Optional[Outcome] = None

    def __init_subclass__(cls, **options: Any) -> None:
        """A rate that cannot be read is said when the class is made."""
        super().__init_subclass__(**options)
        rate = cls.__dict__.get("rate")
        if isinstance(rate, str) and rate and cls.parse_rate in _OUR_PARSERS:
            _parse(rate, cls.__name__)
        if _name_of(cls.limit) and not cls.scope:
            cls.scope = cls.limit
        if isinstance(cls.on_error, str) and cls.on_error and cls.on_error not in FAIL_WORDS:
            raise ImproperlyConfigured(f"{cls.__name__}.on_error is {cls.on_error!r}: write "
                                       f"'open', 'closed' or 'local'")

    # ---- rates ----------------------------------------------------------------------------------

    @property
    def _pawl_limit(self) -> str:
        return _name_of(self.limit)

    def _pawl_table(self) -> Dict[str, Any]:
        """THROTTLE_RATES: a class's own or patched one, else the settings as they are now (the
        framework's class keeps those of its import)."""
        table = self.THROTTLE_RATES
        return api_settings.DEFAULT_THROTTLE_RATES if table is _AT_IMPORT else table

    def get_rate(self) -> Optional[str]:
        """The rate's text. Raises ImproperlyConfigured as the framework does."""
        scope: Any = getattr(self, "scope", None)
        if not scope and not self._pawl_limit:
            raise ImproperlyConfigured(f"You must set either `.scope` or `.rate` for "
                                       f"'{self.__class__.__name__}' throttle")
        try:
            rate: Optional[str] = self._pawl_table()[scope]
        except KeyError:
            if self._pawl_limit:
                return None
            raise ImproperlyConfigured(
                f"No default throttle rate set for '{scope}' scope") from None
        return rate

    def parse_rate(self, rate: Optional[str]) -> Tuple[Any, Any]:
        """``(count, seconds)``, of a list its first rate's. Raises ImproperlyConfigured."""
        if rate is None:
            return (None, None)
        rates = _parse(rate, f"{self.__class__.__name__} (scope {getattr(self, 'scope', None)!r})")
        pair = (rates[0].count, _seconds(rates[0].window_ms))
        self._pawl_lists()[pair] = rates
        return pair

    def _pawl_lists(self) -> Dict[Tuple[Any, Any], Tuple[Rate, ...]]:
        """The whole list by the pair that parse_rate returned: a subclass may parse on its own, or
        set ``num_requests`` and ``duration``, and then has one rate."""
        found: Dict[Tuple[Any, Any], Tuple[Rate, ...]]
        found = self.__dict__.setdefault("_pawl_by_pair", {})
        return found

    def _pawl_rates(self, tier: str) -> Tuple[Rate, ...]:
        if tier and not self._pawl_limit:
            text = self._pawl_table().get(f"{self.scope}.{tier}")
            if text is not None:
                self.rate = text
                self.num_requests, self.duration = self.parse_rate(text)
        count, seconds = getattr(self, "num_requests", None), getattr(self, "duration", None)
        if count is None or seconds is None:
            return ()
        known = self._pawl_lists().get((count, seconds))
        if known:
            return known
        window_ms = round(seconds * 1000)
        if not 1 <= window_ms <= WINDOW_MAX_MS:
            raise ImproperlyConfigured(f"{self.__class__.__name__}: a window of {seconds} s; it "
                                       f"has to be between 1 ms and 45 days")
        return (Rate(min(max(0, int(count)), COUNT_MAX), window_ms),)

    # ---- who is counted -------------------------------------------------------------------------

    def get_ident(self, request: Any) -> str:
        """Who an anonymous caller is: see :func:`pawl.django.throttling.client_ident`."""
        return client_ident(request)

    def pawl_asks(self, request: Any, view: Any) -> List[Ask]:
        """What this throttle wants counted for @request; none: it lets it pass. Raises what
        ``get_cache_key`` raises."""
        if self.rate is None and not self._pawl_limit:
            return []
        return self._pawl_asks_for(request, view)

    def _pawl_asks_for(self, request: Any, view: Any) -> List[Ask]:
        self.key = self.get_cache_key(request, view)
        if self.key is None:
            return []
        cost = call(self.cost, request, view)
        if isinstance(cost, bool) or not isinstance(cost, int) or not 0 <= cost <= COUNT_MAX:
            raise ImproperlyConfigured(f"{self.__class__.__name__}: a cost of {cost!r}; it has to "
                                       f"be a whole number, 0 or more")
        if not cost:
            return []
        return [self._pawl_ask(self.key, cost, str(call(self.tier, request, view) or ""))]

    def _pawl_ask(self, key: Any, cost: int, tier: str) -> Ask:
        limit = self._pawl_limit
        scope = str(getattr(self, "scope", None) or limit)
        start = throttle_key(scope, "")
        ident = str(key)[len(start):] if str(key).startswith(start) else str(key)
        return Ask(scope, ident if limit else key, self._pawl_rates(tier), limit,
                   tier if limit else "", cost, self._pawl_policy(scope), self.algorithm,
                   self.burst if self.algorithm == "gcra" else 0, ident, self.precision)

    def _pawl_policy(self, scope: str) -> str:
        """What is done while no daemon answers."""
        named = settings.ON_ERROR
        if isinstance(self.on_error, str) and self.on_error and not (
                isinstance(named, dict) and scope in named):
            return self.on_error
        return settings.on_error(scope)

    # ---- asking ---------------------------------------------------------------------------------

    def _pawl_plans_ahead(self) -> bool:
        """Whether this throttle is certain to ask for what :meth:`asks` says: see rounds.py."""
        return type(self).allow_request in _OUR_WAYS and not self._pawl_alone()

    def _pawl_alone(self) -> bool:
        """Whether this throttle asks in a request of its own."""
        return self._pawl_charges_later() or (self.all_or_none and settings.MODE != "atomic")

    def _pawl_mode(self) -> str:
        return "atomic" if self.all_or_none or settings.MODE == "atomic" else "each"

    def _pawl_charges_later(self) -> bool:
        """A subclass with a ``throttle_success`` of its own decides whether a call counts: it is
        asked without charging, and the framework's ``throttle_success`` charges."""
        return type(self).throttle_success is not SimpleRateThrottle.throttle_success

    def allow_request(self, request: Any, view: Any) -> bool:
        """Whether @request may go on. What it leaves is said in the class's docstring."""
        if is_exempt(request, view):
            return True
        turn = begin(self, request, view, self._pawl_alone())
        answered: Sequence[Outcome] = ()
        if turn.asks:
            answered = ask(turn.asks, mode=self._pawl_mode(), peek=self._pawl_charges_later())
        outcomes = turn.accept(answered)
        return bool(self._pawl_conclude(request, view, outcomes))

    def _pawl_conclude(self, request: Any, view: Any, outcomes: Sequence[Outcome]) -> Any:
        """Keep what was answered, tell of it, and go on as the framework does."""
        self._pawl_request = request
        if not outcomes:
            return True
        self._pawl_remember(outcomes)
        go_on = [settle(request, outcome, type(self)) for outcome in outcomes]
        if not all(go_on):
            return self.throttle_failure()
        self._pawl_after(request, view, outcomes)
        return self.throttle_success()

    def _pawl_remember(self, outcomes: Sequence[Outcome]) -> None:
        """``now``, ``history``, and of what the daemon knows alone ``num_requests``, ``duration``,
        for :meth:`wait` and for whoever reads them."""
        worst = max(outcomes, key=_severity)
        self._pawl_outcome = worst
        self.scope = worst.ask.scope
        self.now = self.timer()
        row = worst.tightest
        if row is None:
            self.history = History(0, self.now, 0.0, self._pawl_on_insert)
            return
        pair = (row.limit, _seconds(row.window_ms))
        if pair != (getattr(self, "num_requests", None), getattr(self, "duration", None)):
            self._pawl_lists().setdefault(pair, worst.ask.rates)
            self.num_requests, self.duration = pair
        self.history = History(row.count, self.now, row.oldest_age_ms / 1000, self._pawl_on_insert)

    def _pawl_after(self, request: Any, view: Any, outcomes: Sequence[Outcome]) -> None:
        """What is left to do for a call that was allowed."""
        if self.refund_when is None or not any(charged(outcome) for outcome in outcomes):
            return
        finalize = getattr(view, "finalize_response", None)
        if finalize is not None:
            view.finalize_response = _Refund(self, finalize, outcomes)

    def _pawl_give_back(self, outcome: Outcome) -> None:
        """Refund a charge of this throttle."""
        give_back(outcome)

    def throttle_success(self) -> Any:
        """Called when the request is allowed. It is charged by then; for a subclass with a
        ``throttle_success`` of its own, this charges it."""
        outcome = self._pawl_outcome
        if outcome is None or not self._pawl_charges_later():
            return True
        self.__dict__["_pawl_outcome"] = None  # charged once
        return self._pawl_charge(outcome)

    def _pawl_on_insert(self) -> None:
        """A subclass has put a time into the history, as the framework's throttle_success does."""
        outcome = self._pawl_outcome
        if outcome is not None and outcome.allowed and self._pawl_charges_later():
            self.__dict__["_pawl_outcome"] = None
            self._pawl_charge(outcome)

    def _pawl_charge(self, outcome: Outcome) -> Any:
        found = ask([outcome.ask])
        self._pawl_remember(found)
        return True if settle(self._pawl_request, found[0], type(self)) else self.throttle_failure()

    def wait(self) -> Optional[float]:
        """Seconds until the next request would be allowed: as the framework says, and where it
        says None (a limit that was lowered) or does not know (a policy refused) all the same."""
        outcome = self._pawl_outcome
        if outcome is None:
            known: Optional[float] = (super().wait() if hasattr(self, "history")
                                      else settings.RETRY_AFTER_S)
            return known
        if not outcome.allowed:
            retry_after_ms = outcome.retry_after_ms
            if retry_after_ms is None:
                return float(settings.RETRY_AFTER_S)
            return max(retry_after_ms, 1) / 1000
        row = outcome.tightest
        free = row.limit - row.count + 1 if row is not None else 0
        if row is None or free <= 0:
            return None
        age_ms = row.oldest_age_ms if row.count else 0
        return (row.window_ms - age_ms) / 1000 / free


class _Refund:
    """A view's finalize_response, which gives a charge back where the answer says so."""

    def __init__(self, throttle: SimpleRateThrottle, finalize: Any,
                 outcomes: Sequence[Outcome]) -> None:
        self._throttle, self._finalize, self._outcomes = throttle, finalize, outcomes

    def __call__(self, request: Any, response: Any, *arguments: Any, **named: Any) -> Any:
        answer = self._finalize(request, response, *arguments, **named)
        try:
            refund = call(self._throttle.refund_when, request, answer)
        except Exception:
            _log.exception("%s.refund_when raised: the charge stays", type(self._throttle).__name__)
            refund = False
        for outcome in self._outcomes if refund else ():
            self._throttle._pawl_give_back(outcome)
        return answer


def _seconds(window_ms: int) -> Any:
    """Whole seconds as an int, as the framework has them."""
    return window_ms // 1000 if window_ms % 1000 == 0 else window_ms / 1000


def _severity(outcome: Outcome) -> Tuple[bool, float, float]:
    """Refused before allowed, then the longest wait, then the least room."""
    retry_after_ms = outcome.retry_after_ms
    row = outcome.tightest
    return (not outcome.allowed, -1.0 if retry_after_ms is None else retry_after_ms,
            -float(row.remaining) if row is not None else 0.0)


_parse_text = functools.lru_cache(maxsize=1024)(pawl.parse_rates)  # each request reads them


def _parse(text: Any, whose: str) -> Tuple[Rate, ...]:
    """A rate's text in pawl's grammar, else in the framework's. Raises ImproperlyConfigured."""
    try:
        return _parse_text(text)
    except (ValueError, TypeError) as error:
        try:  # any text that the framework reads
            count, seconds = throttling.SimpleRateThrottle.parse_rate(None, text)  # type: ignore
        except Exception:
            raise ImproperlyConfigured(f"{whose}: rate {text!r}: {error}") from None
    return (Rate(min(max(0, count), COUNT_MAX), seconds * 1000),)


_OUR_PARSERS: Set[Any] = {SimpleRateThrottle.parse_rate}
#: allow_request of this module and of aio.py.
_OUR_WAYS: Set[Any] = {SimpleRateThrottle.allow_request}

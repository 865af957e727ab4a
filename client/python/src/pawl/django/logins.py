"""Failed log-ins, limited before anybody is known, however many come at the same time.

A limiter that counts a failure after it has happened lets as many attempts through as arrive while
the first is being checked. Here the attempt is charged first and given back when it succeeds.
"""

import contextvars
import unicodedata
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from django.core.exceptions import PermissionDenied

from pawl._calls import rate_tuple
from pawl._types import Rate

from . import throttling
from .conf import settings
from .requests import plain_request

SCOPE = "failed_login"
#: What is counted: "name", "address", "name+address" (the pair).
BY = ("name", "address")
_NAME_MAX = 256

Rates = Union[str, Sequence[Rate], Mapping[str, Union[str, Sequence[Rate]]]]

_attempt: "contextvars.ContextVar[Optional[Attempt]]" = contextvars.ContextVar(
    "pawl_login_attempt", default=None)


class TooManyAttempts(PermissionDenied):
    """No further attempt now. :class:`pawl.django.middleware` answers it with 429 and Retry-After;
    without that middleware Django answers 403."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("Too many failed attempts. Try again later.")
        self.retry_after_s = retry_after_s


class Attempt:
    """One log-in that is being tried: ``with`` or ``async with``.

    On entering it is charged, or refused with an exception. On leaving it counts as failed if an
    exception leaves with it, if :meth:`failed` was called, or if ``django.contrib.auth`` has found
    the credentials wrong in between (user_login_failed); else it is given back.
    """

    def __init__(self, request: Any, asks: Sequence[throttling.Ask],
                 refusal: Callable[["Attempt"], Exception]) -> None:
        self._request = request
        self._asks = list(asks)
        self._refusal = refusal
        self._outcomes: Tuple[throttling.Outcome, ...] = ()
        self._token: Optional["contextvars.Token[Optional[Attempt]]"] = None
        self.has_failed = False
        self.retry_after_s = 0  #: of a refusal

    def failed(self) -> None:
        """The attempt has failed: it stays charged."""
        self.has_failed = True

    def _enter(self, verdict: throttling.Verdict) -> "Attempt":
        if not verdict.allowed:
            self.retry_after_s = verdict.retry_after_s
            raise self._refusal(self)
        self._outcomes = verdict.outcomes
        self._token = _attempt.set(self)
        return self

    def _leave(self, kind: Any) -> List[throttling.Outcome]:
        """What is to be given back."""
        if self._token is not None:
            _attempt.reset(self._token)
            self._token = None
        return [] if kind is not None or self.has_failed else list(self._outcomes)

    def __enter__(self) -> "Attempt":
        return self._enter(throttling.check(self._request, self._asks, sender=Attempt))

    def __exit__(self, kind: Any, *_: Any) -> None:
        for outcome in self._leave(kind):
            throttling.give_back(outcome)

    async def __aenter__(self) -> "Attempt":
        return self._enter(await throttling.check_async(self._request, self._asks, sender=Attempt))

    async def __aexit__(self, kind: Any, *_: Any) -> None:
        for outcome in self._leave(kind):
            await throttling.give_back_async(outcome)


def user_name(name: Any) -> str:
    """One spelling of a user name: "Alice", "ALICE " and full-width letters are one account to the
    person who tries them."""
    text = unicodedata.normalize("NFKC", str(name or "")[:_NAME_MAX])
    return text.casefold().strip()


def asks(request: Any, name: Any, rates: Rates, scope: str = SCOPE, by: Sequence[str] = BY,
         on_error: str = "") -> List[throttling.Ask]:
    """What counts for an attempt at @name. @rates: of all of @by, or a mapping by its words.
    Raises ValueError for a word that is not in BY's list, or a rate that cannot be read."""
    who = user_name(name)
    address = throttling.client_ident(request)
    # The key says what it is of; who it is reads in events as in those of a failed log-in.
    idents: Dict[str, Tuple[str, str]] = {
        "name": (f"name:{who}" if who else "", who), "address": (f"address:{address}", address),
        "name+address": (f"pair:{address}|{who}", f"{address}|{who}")}
    found = []
    for word in by:
        if word not in idents:
            raise ValueError(f"by {word!r}: write {', '.join(map(repr, idents))}")
        mine = rates.get(word, settings.FAILED_LOGIN_RATE) if isinstance(rates, Mapping) else rates
        key, ident = idents[word]
        if key:
            found.append(throttling.Ask(
                scope, throttling.throttle_key(scope, key), rate_tuple(mine),
                on_error=on_error or settings.on_error(scope), ident=ident))
    return found


def _too_many(attempt: Attempt) -> Exception:
    return TooManyAttempts(attempt.retry_after_s)


def failed_login_limit(request: Any, name: Any, *, rates: Rates = "", scope: str = SCOPE,
                       by: Sequence[str] = BY,
                       refusal: Callable[[Attempt], Exception] = _too_many) -> Attempt:
    """Limit failed attempts to log in as @name from the address of @request::

        with failed_login_limit(request, name):
            user = authenticate(request, username=name, password=password)

    @rates    "": FAILED_LOGIN_RATE; or one for each word of @by, ``{"address": "50/5m"}``.
    @by       "name", "address", "name+address". All hold, all or none is charged.
    @refusal  makes the exception of a refusal; :func:`pawl.drf.failed_login_limit` has REST
              Framework's.

    Raises TooManyAttempts (or what @refusal makes) on entering. While no daemon answers, ON_ERROR
    of @scope decides ("closed" unless set).
    """
    found = asks(request, name, rates or settings.FAILED_LOGIN_RATE, scope, by)
    return Attempt(plain_request(request), found, refusal)


def _on_login_failed(sender: Any, **_: Any) -> None:
    attempt = _attempt.get()
    if attempt is not None:
        attempt.failed()


def _connect() -> None:
    # The module of the signals alone: it needs no app registry.
    from django.contrib.auth.signals import user_login_failed

    user_login_failed.connect(_on_login_failed, dispatch_uid="pawl.django.logins")


_connect()

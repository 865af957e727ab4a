"""Throttles that REST Framework does not have."""

from typing import Any, List, Optional, Sequence, Tuple

from rest_framework.exceptions import Throttled
from rest_framework.permissions import SAFE_METHODS

from ..django import logins
from ..django.conf import settings
from ..django.throttling import Ask, Outcome, charged, when_finished
from .base import SimpleRateThrottle
from .stock import UserRateThrottle


class TokenBucketThrottle(UserRateThrottle):
    """An even flow with bursts (GCRA): ``rate = "10/s"``, ``burst = 40`` lets 40 through at once
    and ten a second from then on. By user, else by address."""

    scope = "token_bucket"
    algorithm = "gcra"


class ConcurrencyThrottle(UserRateThrottle):
    """So many calls at the same time: ``rate = "10/30s"`` is ten, and a slot that is never given
    back (a killed worker) is free again after 30 s. A slot is given back when the response is
    closed, its stream included. By user, else by address.

    Without a daemon there is nobody who knows of the others: "open" unless ON_ERROR names the scope
    ("local" counts calls in this process by window, as it gives nothing back).
    """

    scope = "concurrency"
    algorithm = "concurrency"
    on_error = "open"

    def _pawl_after(self, request: Any, view: Any, outcomes: Sequence[Outcome]) -> None:
        held = [outcome for outcome in outcomes if charged(outcome)]

        def release() -> None:
            for outcome in held:
                self._pawl_give_back(outcome)

        if held:
            when_finished(request, release)
        super()._pawl_after(request, view, outcomes)

    def _pawl_give_back(self, outcome: Outcome) -> None:
        """Always in this thread: Django closes a response in one that may wait."""
        SimpleRateThrottle._pawl_give_back(self, outcome)

    def wait(self) -> Optional[float]:
        """No longer than RETRY_AFTER_S: that a slot expires is the worst case, most are given back
        long before."""
        wait = super().wait()
        return wait if wait is None else min(wait, float(settings.RETRY_AFTER_S))


class FailedLoginThrottle(SimpleRateThrottle):
    """For log-in views: failed attempts by user name and by address. The charge comes before the
    attempt, so that no number of attempts at the same time gets past it, and is given back when
    the answer is no error, or says that no attempt was made (429, 503). GET and its kind are none.

    The rate is that of the scope in DEFAULT_THROTTLE_RATES, else FAILED_LOGIN_RATE. Shares its
    counts with :func:`failed_login_limit`.
    """

    scope = logins.SCOPE
    name_field = "username"  #: of the request's data
    by: Tuple[str, ...] = logins.BY
    all_or_none = True

    def get_rate(self) -> Optional[str]:
        table = self._pawl_table()
        return str(table.get(self.scope) or settings.FAILED_LOGIN_RATE)

    def get_name(self, request: Any) -> str:
        """The user name that is tried; "" if there is none (then only the address counts). A body
        that cannot be read raises as it would in the view."""
        read = getattr(request.data, "get", None)  # a list has none
        return str(read(self.name_field) or "") if read is not None else ""

    def get_cache_key(self, request: Any, view: Any) -> Optional[str]:
        """Not used: there are several."""
        return None

    def pawl_asks(self, request: Any, view: Any) -> List[Ask]:
        if request.method in SAFE_METHODS:
            return []
        return logins.asks(request, self.get_name(request), self._pawl_rates(""), self.scope,
                           self.by, self._pawl_policy(self.scope))

    def refund_when(self, request: Any, response: Any) -> bool:
        """The attempt succeeded, or there was none."""
        return bool(response.status_code < 400 or response.status_code in (429, 503))


def _throttled(attempt: logins.Attempt) -> Exception:
    return Throttled(attempt.retry_after_s)


def failed_login_limit(request: Any, name: Any, **options: Any) -> logins.Attempt:
    """:func:`pawl.django.logins.failed_login_limit`, whose refusal REST Framework answers with 429
    and Retry-After. For authentication classes (before anybody is known) and views::

        def authenticate(self, request):
            name, password = credentials(request)
            with failed_login_limit(request, name):
                return check_password(name, password)  # raises AuthenticationFailed
    """
    options.setdefault("refusal", _throttled)
    return logins.failed_login_limit(request, name, **options)

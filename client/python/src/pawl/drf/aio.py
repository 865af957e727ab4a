"""The throttles for asyncio: ``allow_request`` is a coroutine, ``wait()`` is plain, as adrf has it.

A class of yours that overrides ``allow_request`` has to be a coroutine too.
"""

import asyncio
from typing import Any, List, Set

from ..django.conf import settings
from ..django.throttling import Outcome, ask_async, give_back_async, is_exempt, settle
from . import base, extras, stock
from .rounds import begin

_tasks: Set[Any] = set()  # the loop itself holds tasks weakly


class AsyncSimpleRateThrottle(base.SimpleRateThrottle):
    """:class:`pawl.drf.SimpleRateThrottle` whose allow_request is a coroutine."""

    coroutines = True

    async def allow_request(self, request: Any, view: Any) -> bool:  # type: ignore[override]
        """Whether @request may go on; waits without blocking the event loop."""
        if is_exempt(request, view):
            return True
        later = self._charges_later()
        turn = begin(self, request, view, alone=later)
        answered: List[Outcome] = []
        if turn.asks:
            mode = "atomic" if settings.MODE == "atomic" else "each"
            answered = await ask_async(turn.asks, mode=mode, peek=later)
        result = self.conclude(request, view, turn.accept(answered))
        return bool(await result if asyncio.iscoroutine(result) else result)

    def _charge(self, outcome: Outcome) -> Any:
        return self._charge_async(outcome)

    async def _charge_async(self, outcome: Outcome) -> Any:
        found = await ask_async([outcome.ask])
        self.remember(found)
        return True if settle(self._request, found[0], type(self)) else self.throttle_failure()

    def give_back(self, outcome: Outcome) -> None:
        """Refund a charge, in a task of its own."""
        task = asyncio.ensure_future(give_back_async(outcome))
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)


class AsyncAnonRateThrottle(AsyncSimpleRateThrottle, stock.AnonRateThrottle):
    """:class:`pawl.drf.AnonRateThrottle` for asyncio."""


class AsyncUserRateThrottle(AsyncSimpleRateThrottle, stock.UserRateThrottle):
    """:class:`pawl.drf.UserRateThrottle` for asyncio."""


class AsyncScopedRateThrottle(AsyncSimpleRateThrottle, stock.ScopedRateThrottle):
    """:class:`pawl.drf.ScopedRateThrottle` for asyncio."""


class AsyncTokenBucketThrottle(AsyncSimpleRateThrottle, extras.TokenBucketThrottle):
    """:class:`pawl.drf.TokenBucketThrottle` for asyncio."""


class AsyncConcurrencyThrottle(AsyncSimpleRateThrottle, extras.ConcurrencyThrottle):
    """:class:`pawl.drf.ConcurrencyThrottle` for asyncio."""

    def give_back(self, outcome: Outcome) -> None:
        extras.ConcurrencyThrottle.give_back(self, outcome)


class AsyncFailedLoginThrottle(AsyncSimpleRateThrottle, extras.FailedLoginThrottle):
    """:class:`pawl.drf.FailedLoginThrottle` for asyncio."""


base._OUR_WAYS.add(AsyncSimpleRateThrottle.allow_request)

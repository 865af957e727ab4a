"""The throttles for asyncio: ``allow_request`` is a coroutine, ``wait()`` is plain, as adrf has it.

A class of yours that overrides ``allow_request`` has to be a coroutine too.
"""

import asyncio
from typing import Any, Coroutine, List, Set

from ..django.throttling import Outcome, ask_async, give_back_async, is_exempt, settle
from . import base, extras, stock
from .rounds import begin

_tasks: Set[Any] = set()  # the loop itself holds tasks weakly


def _start(coroutine: Coroutine[Any, Any, Any]) -> None:
    task = asyncio.ensure_future(coroutine)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


class AsyncSimpleRateThrottle(base.SimpleRateThrottle):
    """:class:`pawl.drf.SimpleRateThrottle` whose allow_request is a coroutine."""

    _pawl_async = True

    async def allow_request(self, request: Any, view: Any) -> bool:  # type: ignore[override]
        """Whether @request may go on; waits without blocking the event loop."""
        if is_exempt(request, view):
            return True
        turn = begin(self, request, view, self._pawl_alone())
        answered: List[Outcome] = []
        if turn.asks:
            answered = await ask_async(turn.asks, mode=self._pawl_mode(),
                                       peek=self._pawl_charges_later())
        result = self._pawl_conclude(request, view, turn.accept(answered))
        return bool(await result if asyncio.iscoroutine(result) else result)

    def _pawl_charge(self, outcome: Outcome) -> Any:
        return self._pawl_charge_async(outcome)

    async def _pawl_charge_async(self, outcome: Outcome) -> Any:
        found = await ask_async([outcome.ask])
        self._pawl_remember(found)
        return True if settle(self._pawl_request, found[0], type(self)) else self.throttle_failure()

    def _pawl_give_back(self, outcome: Outcome) -> None:
        """Refund a charge, in a task of its own; a view that blocks runs in a thread, and waits."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            super()._pawl_give_back(outcome)
        else:
            _start(give_back_async(outcome))

    def _pawl_on_insert(self) -> None:
        outcome = self._pawl_outcome
        if outcome is not None and outcome.allowed and self._pawl_charges_later():
            self.__dict__["_pawl_outcome"] = None
            _start(self._pawl_charge_async(outcome))


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

    def _pawl_give_back(self, outcome: Outcome) -> None:
        extras.ConcurrencyThrottle._pawl_give_back(self, outcome)


class AsyncFailedLoginThrottle(AsyncSimpleRateThrottle, extras.FailedLoginThrottle):
    """:class:`pawl.drf.FailedLoginThrottle` for asyncio."""


base._OUR_WAYS.add(AsyncSimpleRateThrottle.allow_request)

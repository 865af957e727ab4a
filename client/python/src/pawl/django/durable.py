"""Writes to pawld that are worth a second try: log-ins, log-outs, refreshes.

A daemon that restarts, a connection that broke: the next try, some milliseconds later, often finds
what the first did not. All tries together take no longer than ``DURABLE_DEADLINE_MS``.
"""

import time
from typing import Any, Callable, TypeVar, Union

import pawl
from pawl import errors
from pawl._types import LEVELS

from . import events
from .conf import get_client, settings
from .verdicts import ServiceUnavailable

Answer = TypeVar("Answer")

PAUSE_MS = 20  #: before the second try; each further one waits twice as long
PAUSE_MAX_MS = 200


class Budget:
    """The time that all tries of one write share. Not shared between threads.

    Where the daemon was known to be away already there is one try: in an outage that lasts, waiting
    would keep workers from requests that can be served.
    """

    def __init__(self, total_ms: int = 0) -> None:
        self._may_wait = not get_client().is_away
        self._end = time.monotonic() + (total_ms or settings.DURABLE_DEADLINE_MS) / 1000
        self._pause_ms = PAUSE_MS

    def left_ms(self) -> int:
        """For the next try; at least 1, for 0 would be the client's own deadline."""
        return max(1, int((self._end - time.monotonic()) * 1000))

    def pause(self, wanted_ms: int = 0) -> bool:
        """Wait a little, or as long as the daemon asks. False: the time is over."""
        wait_s = max(self._pause_ms, wanted_ms) / 1000
        self._pause_ms = min(self._pause_ms * 2, PAUSE_MAX_MS)
        if not self._may_wait or time.monotonic() + wait_s >= self._end:
            return False
        time.sleep(wait_s)
        return True


def insist(write: Callable[[int], Answer]) -> Answer:
    """What @write(deadline_ms) returns, tried while the time lasts.

    Raises ServiceUnavailable where no daemon did it; errors.NotPermitted and errors.Refused as
    they are, for they say what is wrong with the set-up.
    """
    budget = Budget()
    while True:
        try:
            return write(budget.left_ms())
        except errors.Unavailable as error:
            if not budget.pause():
                events.backend_error(error.cause, str(error))
                raise ServiceUnavailable() from error


def is_short(answer: Any) -> bool:
    """Whether a revocation was acknowledged at less than the level that was asked for."""
    return LEVELS.index(answer.acknowledged) < LEVELS.index(answer.asked)


def revoke(scope: str, value: Union[str, bytes], *, reason: str, exp_s: int = 0, actor: Any = "",
           hashed: bool = False, request: Any = None, sender: Any = None) -> None:
    """Revoke, durably, and say so in the log. Safe to repeat.

    @scope   one of pawl's; "family" ends it. @value, @hashed: as in :meth:`pawl.Client.revoke`.
    @exp_s   of the token, seconds since 1970; 0: not known, or never.

    Raises ServiceUnavailable where nobody acknowledged it, or fewer than were asked for: it may
    act by now, but could be forgotten.
    """
    client = get_client()
    actor = str(actor or "").encode()[:128].decode(errors="ignore")  # what pawld keeps of it

    def write(deadline_ms: int) -> pawl.RevokeAnswer:
        if scope == "family":
            assert isinstance(value, str)
            return client.family_end(value, issuer=settings.ISSUER, reason=reason, actor=actor,
                                     exp_s=exp_s, deadline_ms=deadline_ms)
        return client.revoke(scope, value, issuer=settings.ISSUER, reason=reason, exp_s=exp_s,
                             actor=actor, hashed=hashed, deadline_ms=deadline_ms)

    answer = insist(write)
    if is_short(answer):
        events.backend_error("unavailable", f"acknowledged as {answer.acknowledged}, asked for "
                                            f"{answer.asked}")
        raise ServiceUnavailable()
    shown = value if isinstance(value, str) else ""  # bytes are an opaque token or its hash
    events.revoked(scope, shown, reason=reason, actor=actor, request=request, sender=sender)

"""A login as pawld knows it: a family of refresh tokens begins, goes on and ends.

Here is what is asked of pawld and what its words mean for an OAuth client; the validator says when.
"""

import datetime
import logging
import time
from typing import Any, NamedTuple, NoReturn, Optional

import pawl
from oauth2_provider.settings import oauth2_settings
from pawl import errors as pawl_errors
from pawl.django import events
from pawl.django.conf import get_client, settings
from pawl.django.durable import Budget, insist
from pawl.django.verdicts import ServiceUnavailable, TokenRefused, require_good

from . import texts
from .errors import InvalidGrant, Misconfigured, Raced, Unavailable
from .texts import Place

_log = logging.getLogger("pawl")


class Presented(NamedTuple):
    """A refresh token that a client showed."""

    text: str
    place: Optional[Place]  #: None: issued before pawl, known by its row alone
    subject: str = ""
    client: str = ""
    iat_s: int = 0  #: for those from before pawl
    exp_s: int = 0

    def token(self) -> pawl.Token:
        name = texts.name_of(self.place.seed) if self.place else self.text.encode()
        return pawl.Token(issuer=settings.ISSUER, opaque=name, subject=self.subject,
                          client=self.client, sid=self.place.sid if self.place else "",
                          iat_s=self.iat_s, exp_s=self.place.exp_s if self.place else self.exp_s)


def subject_of(user: Any) -> str:
    """What pawld knows a user by: the primary key as text, as in simplejwt's tokens."""
    return str(user.pk) if user is not None and user.pk is not None else ""


def seconds(value: Any) -> int:
    return int(value.total_seconds() if isinstance(value, datetime.timedelta) else value or 0)


def lifetime_s() -> int:
    """How long a refresh token lives unused: REFRESH_TOKEN_EXPIRE_SECONDS after its access token,
    as with the toolkit, but no longer than OAUTH_REFRESH_S."""
    longest = int(settings.OAUTH_REFRESH_S)
    after = seconds(oauth2_settings.REFRESH_TOKEN_EXPIRE_SECONDS)
    access = oauth2_settings.ACCESS_TOKEN_EXPIRE_SECONDS
    return min(longest, after + (0 if callable(access) else seconds(access))) if after else longest


def open_family(subject: str, client: str) -> Optional[Place]:
    """A log-in: the place of the first refresh token.

    None where pawld does not answer and ON_UNAVAILABLE["refresh"] is "open": tokens without a
    family then, which cannot be refreshed. Else raises Unavailable; Misconfigured where pawld
    refuses.
    """
    seed = texts.new_seed()
    exp_s = int(time.time()) + lifetime_s()

    def write(deadline_ms: int) -> pawl.FamilyOpenAnswer:
        return get_client().family_open(subject, exp_s, opaque=texts.name_of(seed), client=client,
                                        issuer=settings.ISSUER, deadline_ms=deadline_ms)

    try:
        answer = insist(write)
    except ServiceUnavailable:
        if settings.ON_UNAVAILABLE.get("refresh") == "open":
            return None
        raise Unavailable() from None
    except pawl_errors.PawlError as error:
        _misconfigured("family_open", str(error))
    return Place(answer.sid, 0, answer.exp_s or exp_s, seed)


def _misconfigured(what: str, text: str) -> NoReturn:
    _log.error("pawld refuses %s for the OAuth token endpoint: %s", what, text)
    raise Misconfigured()


def ask_rotation(presented: Presented) -> pawl.RotateAnswer:
    """Ask pawld for the successor until it says something or the time is over; then the result is
    "unavailable". One proposal for all tries: so a try whose answer was lost is known again."""
    seed = texts.new_seed()
    budget = Budget()
    place = presented.place
    while True:
        answer = get_client().rotate(
            presented.token(), int(time.time()) + lifetime_s(), next_opaque=texts.name_of(seed),
            next_seed=seed, generation=place.generation if place else None,
            verified=place is not None or _may_adopt(presented), adopt=_may_adopt(presented),
            deadline_ms=budget.left_ms())
        if answer.result != "unavailable" or not budget.pause(answer.retry_after_ms):
            return answer


def _may_adopt(presented: Presented) -> bool:
    """A token from before pawl was verified by its row; whether it is taken is settled twice, here
    and by the daemon's rotation.adopt_before."""
    return presented.place is None and 0 < presented.iat_s < settings.ADOPT_BEFORE_S


def successor(presented: Presented, answer: pawl.RotateAnswer) -> Place:
    """The place that the answer gives to the client, or the OAuth error that it means."""
    if answer.result in ("rotated", "grace", "adopted"):
        sid = answer.sid or (presented.place.sid if presented.place else "")
        return Place(sid, answer.generation, answer.successor_exp_s, answer.successor_seed)
    note(presented, answer)
    if answer.result == "unavailable":
        raise Unavailable(wait_s=None if answer.retry_after_ms < 1000
                          else answer.retry_after_ms // 1000)
    if answer.result == "raced":
        raise Raced()
    if answer.result in ("invalid", "denied", ""):
        _misconfigured("rotate", answer.info.text or answer.result)
    raise InvalidGrant(description="The refresh token is not valid any more.")


def note(presented: Presented, answer: pawl.RotateAnswer) -> None:
    """Log a refusal; theft as what it is."""
    sid = presented.place.sid if presented.place else answer.sid
    if answer.result == "reuse":
        events.reuse_detected(None, presented.subject or answer.subject, sid, sender=successor)
    elif answer.result == "unavailable":
        cause = answer.info.cause if answer.info.cause != "ok" else "unavailable"
        events.backend_error(cause, answer.info.text or f"row {answer.row} of the decision table")
    elif answer.result in ("revoked", "expired", "mismatch", "unknown", "family_expired",
                           "not_yet_valid"):
        status = {"revoked": "revoked", "expired": "expired"}.get(answer.result, "invalid")
        events.token_refused(None, "refresh", status, reason=answer.reason or answer.result,
                             subject=presented.subject, sid=sid)


def is_good(presented: Presented) -> bool:
    """Whether a refresh token that is not rotated (ROTATE_REFRESH_TOKEN False) may be used.
    Raises Unavailable where nobody can tell and the policy is "closed"."""
    place = presented.place
    if place is not None and place.exp_s <= time.time():
        return False
    answer = get_client().token_check(presented.token()._replace(exp_s=0))
    try:
        require_good(answer, "refresh")
    except ServiceUnavailable:
        raise Unavailable() from None
    except TokenRefused:
        events.token_refused(None, "refresh", answer.token.status, reason=answer.token.reason,
                             subject=presented.subject, sid=place.sid if place else "")
        return False
    return True

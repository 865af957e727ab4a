"""Refresh: exchange a refresh token for its one successor.

The decision is pawld's (its table of a family's states); here stands what a token is made of the
answer, and which answer a client gets. Of N concurrent refreshes one wins, and all get the same
successor: only its jti, iat and exp are kept, and the rest of it is the presented token's, so that
every worker builds the same text (with HS*, RS*; an ES* or PS* signature differs each time, the
token is the same).
"""

import secrets
import time
from typing import Any, Callable, Dict

import pawl
from pawl.django import events
from pawl.django.conf import get_client, settings
from pawl.django.durable import Budget

from . import claims, sessions
from .answers import (RefreshRaced, RefusedTokenError, ServiceUnavailable, TokenError,
                      TokenMalformed)

JTI_BYTES = 16  #: 128 random bits: a successor's jti is fresh for each HTTP request

MINTED = ("rotated", "grace", "adopted")
_CODES = {
    "reuse": "token_reuse", "revoked": "token_revoked", "expired": "token_expired",
    "family_expired": "token_expired", "not_yet_valid": "token_not_yet_valid",
    "mismatch": "token_mismatch", "unknown": "token_unknown",
}


def _generation(token: Any) -> Any:
    found = token.payload.get(claims.GENERATION_CLAIM)
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None


def _may_adopt(token: Any, described: pawl.Token) -> bool:
    """Whether the token may be one from before pawl: the operator's deadline on its iat."""
    if claims.SID_CLAIM in token.payload or not settings.ADOPT_BEFORE_S:
        return False
    return 0 < described.iat_s <= int(settings.ADOPT_BEFORE_S)


def ask(token: Any) -> pawl.RotateAnswer:
    """Let pawld rotate @token, which was read and verified; asks again while the time lasts, with
    the same proposal, so that a second try finds what the first one did."""
    described = claims.describe(token)
    now_s = int(time.time())
    proposal: Dict[str, Any] = {
        "next_jti": secrets.token_hex(JTI_BYTES), "next_iat_s": now_s,
        "generation": _generation(token), "adopt": _may_adopt(token, described), "verified": True,
    }
    next_exp_s = now_s + int(token.lifetime.total_seconds())
    budget = Budget()
    while True:
        try:
            answer = get_client().rotate(described, next_exp_s, deadline_ms=budget.left_ms(),
                                         **proposal)
        except ValueError as error:
            raise TokenMalformed() from error
        if answer.result != "unavailable" or not budget.pause(answer.retry_after_ms):
            return answer


def successor(token: Any, answer: pawl.RotateAnswer) -> None:
    """Make @token its own successor: all of its claims, with another identity and time."""
    token.payload[claims.jti_claim()] = answer.successor
    token.payload["iat"] = answer.successor_iat_s
    token.payload["exp"] = answer.successor_exp_s  # clamped to the family's end
    if answer.sid:
        token.payload[claims.SID_CLAIM] = answer.sid
    token.payload[claims.GENERATION_CLAIM] = answer.generation


def _refuse(token: Any, answer: pawl.RotateAnswer, request: Any) -> None:
    """Raise what the answer means where no pair is to be minted."""
    result = answer.result
    if result == "raced":
        raise RefreshRaced()
    if result == "invalid":
        raise TokenMalformed()
    code = _CODES.get(result)
    if code is None:  # "unavailable", and "denied": our set-up, of which the client knows nothing
        events.backend_error("not_permitted" if result == "denied" else answer.info.cause,
                             answer.info.text or f"a refresh was answered {result}")
        raise ServiceUnavailable(wait=_seconds(answer.retry_after_ms))
    if result == "reuse":
        events.reuse_detected(request, claims.subject_of(token),
                              answer.sid or str(token.payload.get(claims.SID_CLAIM, "")),
                              sender=type(token))
    refused = RefusedTokenError(code, answer.reason or result)
    if result != "reuse":
        sessions.refused(request, token, "refresh", refused)
    raise refused


def _seconds(milliseconds: int) -> Any:
    """Retry-After of an answer that says one; None: the setting's."""
    return (milliseconds + 999) // 1000 or None


def refresh(token_class: Any, text: str, request: Any = None,
            check: Callable[[Any], None] = lambda token: None) -> Dict[str, str]:
    """A new pair for the refresh token @text: ``{"refresh": ..., "access": ...}``.

    @check    called with the verified token before anything is consumed; raises to refuse.
    @request  for the log.

    Raises TokenError (401), RefreshRaced (409), TokenMalformed (400), ServiceUnavailable (503: the
    token is as good as before). Under ``ON_UNAVAILABLE["refresh"]: "open"`` the last is an access
    token and the presented refresh token, not rotated, instead.
    """
    token = None
    try:
        token = token_class.read(text)
        check(token)
    except TokenError as error:
        sessions.refused(request, token, "refresh", error)
        raise
    answer = ask(token)
    if answer.result == "unavailable" and settings.ON_UNAVAILABLE.get("refresh") == "open":
        events.backend_error(answer.info.cause, "a refresh was let through unchecked")
        return {"access": str(token.access_token), "refresh": text}
    if answer.result not in MINTED:
        _refuse(token, answer, request)
    successor(token, answer)
    if answer.result != "grace":
        outstand = getattr(token, "outstand", None)  # simplejwt 5.5: its table of tokens
        if outstand is not None:
            outstand()
    return {"access": str(token.access_token), "refresh": str(token)}

"""From a token's claims to what pawld is asked, and from its answer to a verdict."""

import base64
import functools
import json
import time
from typing import Any, Optional

from django.utils.translation import gettext_lazy as _
from rest_framework_simplejwt.settings import api_settings

import pawl
from pawl.django import events, verdicts
from pawl.django.conf import get_async_client, get_client, settings

from .answers import RefusedTokenError

#: The family (a login), and a refresh token's position in it; both are signed.
SID_CLAIM = "sid"
GENERATION_CLAIM = "gen"


@functools.lru_cache(maxsize=64)
def _key_of(header: bytes) -> str:
    """The kid of a JWT's header. Few headers exist, so they are not read anew for each token."""
    try:
        text = base64.urlsafe_b64decode(header + b"=" * (-len(header) % 4))
        kid = json.loads(text).get("kid", "")
    except (ValueError, AttributeError):
        return ""
    return kid if isinstance(kid, str) else ""


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _seconds(value: Any) -> int:
    try:
        return max(0, int(value))
    except (TypeError, ValueError, OverflowError):
        return 0


def jti_claim() -> str:
    """Where a token's id stands; simplejwt allows None, for issuers that sign none."""
    return api_settings.JTI_CLAIM or "jti"


def subject_of(token: Any) -> str:
    """The user's key as text: 7 and "7" are one (simplejwt wrote a number before 5.5)."""
    return _text(token.payload.get(api_settings.USER_ID_CLAIM))


def subject_of_user(user: Any) -> str:
    """The same for a user object; "" for what is none."""
    return _text(getattr(user, api_settings.USER_ID_FIELD, None))


def expiry(token: Any) -> int:
    """Until when simplejwt takes the token, in seconds since 1970; 0: it does not say.

    Within LEEWAY after exp it is still good here, so pawld must not call it expired."""
    expires = _seconds(token.payload.get("exp"))
    if expires and expires <= time.time():
        expires += int(token.get_token_backend().get_leeway().total_seconds())
    return expires


def last_use(token: Any) -> int:
    """Until when something may come of the token: a sliding one is refreshed after its exp."""
    later = token.payload.get(api_settings.SLIDING_TOKEN_REFRESH_EXP_CLAIM)
    return max(expiry(token), _seconds(later))


def describe(token: Any) -> pawl.Token:
    """The claims of a verified simplejwt token, as pawld is asked about them.

    A token without jti is known by the SHA-256 of its header and payload.
    """
    payload = token.payload
    text = token.token.encode() if isinstance(token.token, str) else (token.token or b"")
    jti = _text(payload.get(jti_claim()))
    return pawl.Token(
        issuer=settings.ISSUER, jti=jti, subject=subject_of(token),
        client=_text(payload.get("client_id") or payload.get("azp")),
        key=_key_of(text.partition(b".")[0]) if text else "",
        sid=_text(payload.get(SID_CLAIM)), iat_s=_seconds(payload.get("iat")),
        exp_s=expiry(token), signed_text=b"" if jti else text.rpartition(b".")[0])


def kind_of(token: Any) -> str:
    """Which policy of ON_UNAVAILABLE and ON_STALE applies: "access" or "refresh". The token's class
    says it, or where that takes any type the token itself."""
    claim = token.payload.get(api_settings.TOKEN_TYPE_CLAIM)
    return "refresh" if "refresh" in (token.token_type, claim) else "access"


#: Causes that say: pawld will never take such a token (a claim over its caps).
_UNFIT = ("invalid", "too_big")


def _judge(answer: pawl.TokenCheckAnswer, kind: str) -> None:
    verdict, info = answer.token, answer.info
    if verdict.status == "undecided" and info.cause in _UNFIT:
        raise _unfit(info.text)
    if info.source != "daemon":
        events.backend_error(info.cause, info.text)
    try:
        verdicts.require_good(answer, kind)
    except verdicts.TokenRefused:
        code = {"revoked": "token_revoked", "expired": "token_expired"}.get(verdict.status)
        if code is None:
            code = "token_not_yet_valid" if verdict.detail == "not_yet_valid" else "token_not_valid"
        raise RefusedTokenError(code, verdict.reason or verdict.detail) from None


def _unfit(text: str) -> RefusedTokenError:
    # It was signed, but what cannot be known cannot be revoked either.
    return RefusedTokenError("token_not_valid", text, _("Token is invalid"))


def ask(token: Any, kind: Optional[str] = None) -> None:
    """Return if pawld knows nothing against the token.

    Raises RefusedTokenError for a known fact, ServiceUnavailable where nobody can tell and the
    policy of @kind (default: the token's) says "closed".
    """
    try:
        answer = get_client().token_check(describe(token))
    except ValueError as error:
        raise _unfit(str(error)) from error
    _judge(answer, kind or kind_of(token))


async def aask(token: Any, kind: Optional[str] = None) -> None:
    """:func:`ask` without blocking the event loop."""
    try:
        answer = await get_async_client().token_check(describe(token))
    except ValueError as error:
        raise _unfit(str(error)) from error
    _judge(answer, kind or kind_of(token))

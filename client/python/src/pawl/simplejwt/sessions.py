"""Logging in and out: families of tokens begin and end."""

import base64
import json
from typing import Any, Dict

from django.core.exceptions import ImproperlyConfigured

import pawl
from pawl.django import durable, events
from pawl.django.conf import get_client, settings

from . import claims
from .answers import ServiceUnavailable, code_of, status_of

#: pawld's default of tokens.max_lifetime, over which it takes no token.
LIFETIME_DEFAULT_S = 30 * 86400


def _require_lifetime(described: pawl.Token) -> None:
    """A log-in whose tokens pawld would call invalid should fail here and not at the refresh."""
    if get_client().token_check(described).token.detail == "lifetime":
        raise ImproperlyConfigured(
            "pawld takes no token that lives as long as this one: shorten SIMPLE_JWT"
            "['REFRESH_TOKEN_LIFETIME'], or raise tokens.max_lifetime in pawld's configuration")


def open_family(token: Any) -> None:
    """A log-in: let the new @token begin a family, and sign its id into it.

    Raises ServiceUnavailable where pawld does not answer. Under ``ON_UNAVAILABLE["refresh"]:
    "open"`` the token is issued without a family instead: its access tokens work, it can be revoked
    by jti and by user, and its refresh asks for a new log-in.
    """
    described = claims.describe(token)
    if described.exp_s - described.iat_s > LIFETIME_DEFAULT_S:
        _require_lifetime(described)

    def write(deadline_ms: int) -> pawl.FamilyOpenAnswer:
        return get_client().family_open(
            described.subject, claims.last_use(token), jti=described.jti, issuer=settings.ISSUER,
            iat_s=described.iat_s, deadline_ms=deadline_ms)

    try:
        answer = durable.insist(write)
    except ServiceUnavailable:
        if settings.ON_UNAVAILABLE.get("refresh") != "open":
            raise
        return
    token[claims.SID_CLAIM] = answer.sid
    token[claims.GENERATION_CLAIM] = 0
    if answer.exp_s and answer.exp_s < claims.expiry(token):
        token["exp"] = answer.exp_s  # rotation.family_max ends the login before


def log_out(token: Any, *, reason: str = "logout", actor: Any = "", request: Any = None) -> None:
    """End the login of @token, a refresh, access or sliding token that was verified: all its
    tokens are refused from now on. One from before pawl has no login: then only it is refused.

    Safe to repeat. Raises ServiceUnavailable where pawld did not take it.
    """
    sid = token.payload.get(claims.SID_CLAIM)
    if sid:
        durable.revoke("family", str(sid), reason=reason, actor=actor, request=request,
                       sender=type(token))
        return
    described = claims.describe(token)
    scope, value = ("token", described.jti) if described.jti else (
        "signed", described.signed_text.decode())
    durable.revoke(scope, value, reason=reason, exp_s=claims.last_use(token), actor=actor,
                   request=request, sender=type(token))


def log_out_everywhere(user: Any, *, reason: str = "logout_all", actor: Any = "",
                       request: Any = None) -> None:
    """Refuse every token of a user that was issued before now; who logs in again is not touched.

    @user    a user object, or the user's key as it stands in the tokens.
    @reason  "logout_all", "password_change", "account_disabled", "compromised", "admin", "other".

    Safe to repeat. Raises ServiceUnavailable where pawld did not take it.
    """
    subject = claims.subject_of_user(user) or str(user)
    durable.revoke("subject", subject, reason=reason, actor=actor, request=request,
                   sender=log_out_everywhere)


def log_out_jti(jti: str, exp_s: int, text: str = "", *, reason: str = "logout",
                actor: Any = "") -> None:
    """Revoke what a row of simplejwt's own blacklist names: the token @jti, and the login that the
    token's @text (from our own table, so it is not verified again) belongs to."""
    sid = payload_of(text).get(claims.SID_CLAIM)
    if sid and isinstance(sid, str):
        durable.revoke("family", sid, reason=reason, actor=actor, sender=log_out_jti)
    durable.revoke("token", jti, reason=reason, exp_s=exp_s, actor=actor,
                   sender=log_out_jti)


def payload_of(text: str) -> Dict[str, Any]:
    """The claims in a JWT's text, unverified; {} where there are none to read."""
    try:
        part = text.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def refused(request: Any, token: Any, kind: str, error: Exception) -> None:
    """Log why a token was refused; @token is None where it could not be read."""
    payload: Dict[str, Any] = token.payload if token is not None else {}
    events.token_refused(
        request, kind, status_of(code_of(error)), reason=getattr(error, "reason", ""),
        subject=claims.subject_of(token) if token is not None else "",
        jti=str(payload.get(claims.jti_claim(), "")), sid=str(payload.get(claims.SID_CLAIM, "")))

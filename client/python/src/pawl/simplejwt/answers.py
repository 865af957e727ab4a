"""What is said of a token, to Python and over HTTP.

In Python a refused token raises simplejwt's ``TokenError``, so that whatever catches that today
keeps working; the subclass here says which fact it was. "Cannot tell" is no fact: it raises
:class:`ServiceUnavailable`, which is no ``TokenError`` on purpose, and which Django REST Framework
turns into 503 with Retry-After wherever it was raised.

==========================  ====  ==================================================================
code                        HTTP  what it means, what a client does
==========================  ====  ==================================================================
``token_not_valid``         401   not ours, malformed, of another type: log in
``token_expired``           401   over: refresh it, or log in
``token_revoked``           401   logged out, or revoked: log in
``token_reuse``             401   a refresh token that was used before: its login is dead; log in
``token_mismatch``          401   of another user than its login: log in
``token_unknown``           401   of no login that pawld knows: log in
``token_not_yet_valid``     401   issued in the future: look at the clocks
``no_active_account``       401   the user is gone or not active
``password_changed``        401   the password changed since (simplejwt's CHECK_REVOKE_TOKEN)
``refresh_raced``           409   another tab won: read your own store again, nothing is lost
``token_malformed``         400   pawld does not take such a token (an identifier over its cap)
``unavailable``             503   nobody can tell now: keep the token and ask again
==========================  ====  ==================================================================
"""

from typing import Any, Optional

import jwt
from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework_simplejwt import exceptions
from rest_framework_simplejwt.exceptions import InvalidToken, TokenError

from pawl.django.verdicts import ServiceUnavailable

__all__ = ["InvalidToken", "RefreshRaced", "RefusedTokenError", "ServiceUnavailable", "TokenError",
           "TokenMalformed", "challenge", "code_of", "http_error", "mark", "status_of"]

TEXTS = {
    "token_not_valid": _("Token is invalid or expired"),
    "token_expired": _("This token is expired."),
    "token_revoked": _("This token was revoked."),
    "token_reuse": _("This refresh token was used before."),
    "token_mismatch": _("This refresh token belongs to another login."),
    "token_unknown": _("This refresh token belongs to no known login."),
    "token_not_yet_valid": _("This token is not valid yet."),
    "no_active_account": _("No active account found for the given token."),
    "password_changed": _("The user's password has been changed."),
}


class RefusedTokenError(TokenError):
    """A known fact about a token: ``code`` is one of the table above, ``reason`` the revocation's
    ("logout", "password_change", ...), "" where there is none."""

    def __init__(self, code: str, reason: str = "", text: Any = None) -> None:
        super().__init__(text or TEXTS.get(code, TEXTS["token_not_valid"]))
        self.code = code
        self.reason = reason


class RefreshRaced(APIException):
    """409: another refresh of the same token won, and pawld is set not to hand its answer out
    twice (``rotation.mode: soft``). Nothing is revoked."""

    status_code = status.HTTP_409_CONFLICT
    default_detail = _("This token was refreshed by another request. Use what that one got.")
    default_code = "refresh_raced"


class TokenMalformed(APIException):
    """400: pawld does not take this token."""

    status_code = status.HTTP_400_BAD_REQUEST
    default_detail = _("This token cannot be refreshed.")
    default_code = "token_malformed"


# Of a later simplejwt than 5.2: what it raises where a token's time is over.
_Expired: Any = getattr(exceptions, "ExpiredTokenError", None)


def _is_expiry(error: Optional[BaseException]) -> bool:
    # simplejwt 5.2 says "invalid or expired"; which of them stands behind its error.
    for _depth in range(4):
        if isinstance(error, jwt.ExpiredSignatureError) or (
                _Expired is not None and isinstance(error, _Expired)):
            return True
        error = error.__cause__ or error.__context__ if error is not None else None
    return False


def code_of(error: Exception) -> str:
    """The code of a ``TokenError``, whoever raised it."""
    if isinstance(error, RefusedTokenError):
        return error.code
    return "token_expired" if _is_expiry(error) else "token_not_valid"


def status_of(code: str) -> str:
    """The same as a word of the security log: "revoked", "expired", "invalid"."""
    return {"token_revoked": "revoked", "token_reuse": "revoked",
            "token_expired": "expired"}.get(code, "invalid")


def http_error(error: Exception, messages: Optional[Any] = None) -> InvalidToken:
    """The 401 for a ``TokenError``. @messages: simplejwt's list of what each class said."""
    code = code_of(error)
    detail = {"detail": error.args[0] if error.args else TEXTS["token_not_valid"], "code": code}
    if messages is not None:
        detail["messages"] = messages
    return InvalidToken(detail)


def mark(request: Any, refused: InvalidToken) -> None:
    """Remember on the request why its token was refused, for :func:`challenge`."""
    detail = refused.detail
    setattr(request, "_pawl_refused", str(detail["code"] if isinstance(detail, dict) else ""))


def challenge(header: str, request: Any) -> str:
    """WWW-Authenticate: @header, and where a token was refused RFC 6750 section 3.1's error."""
    code = getattr(request, "_pawl_refused", "")
    return f'{header}, error="invalid_token", error_description="{code}"' if code else header

"""From a token's verdict to an HTTP answer, in one place for all kinds of token.

A known fact is 401 with a code of its own. "Cannot tell" is 503 with Retry-After, or what the
operator wrote in ON_UNAVAILABLE and ON_STALE; it is never 401.
"""

from typing import Any, Optional

from rest_framework import status
from rest_framework.exceptions import APIException, AuthenticationFailed

import pawl

from .conf import settings


class ServiceUnavailable(APIException):
    """503: no daemon could tell. ``wait`` becomes Retry-After."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "This cannot be decided now. Try again."
    default_code = "unavailable"

    def __init__(self, detail: Optional[str] = None, code: Optional[str] = None,
                 wait: Optional[int] = None) -> None:
        super().__init__(detail, code)
        #: seconds; Django REST Framework's exception handler makes Retry-After of it
        self.wait = settings.RETRY_AFTER_S if wait is None else wait


class TokenRefused(AuthenticationFailed):
    """401: a known fact about the token. Codes: token_revoked, token_expired, token_invalid."""


_TEXTS = {
    "revoked": "This token was revoked.",
    "expired": "This token is expired.",
    "invalid": "This token is not valid.",
}


def require_good(answer: pawl.TokenCheckAnswer, kind: str) -> None:
    """Return if the token may pass, else raise.

    @kind  "access", "refresh", "opaque": which policy applies.

    Raises TokenRefused (401) for a fact, ServiceUnavailable (503) where nothing is known and the
    policy says "closed".
    """
    verdict = answer.token
    if verdict.status == "undecided":
        # A daemon that answers "undecided" (frozen, stale beyond its own policy) knows no more
        # than one that does not answer.
        if settings.ON_UNAVAILABLE.get(kind, "closed") != "open":
            raise ServiceUnavailable()
        return
    if verdict.status != "valid":
        raise TokenRefused(_TEXTS.get(verdict.status, _TEXTS["invalid"]),
                           "token_" + verdict.status)
    if not verdict.fresh and settings.ON_STALE.get(kind, "closed") != "accept":
        raise ServiceUnavailable()


def check(token: pawl.Token, kind: str, client: Any = None) -> None:
    """Ask, and :func:`require_good`."""
    from .conf import get_client

    require_good((client or get_client()).token_check(token), kind)

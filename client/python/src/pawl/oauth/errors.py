"""What the token endpoint answers where a token cannot be given (RFC 6749 section 5.2).

=======================  ====  =====================================================================
error                    HTTP  what it means, what a client does
=======================  ====  =====================================================================
invalid_grant            400   a known fact: expired, revoked, used before, unknown. Log in again
temporarily_unavailable  503   nobody can tell now. Keep the token, ask again after Retry-After
refresh_raced            409   another request of yours won, and its answer is not given twice
                               (``rotation.mode: soft``). Read your own store again
server_error             500   the set-up is wrong: see the log
=======================  ====  =====================================================================
"""

from typing import Any, Dict, Optional

from oauthlib.oauth2.rfc6749 import errors

from pawl.django.conf import settings

InvalidGrant = errors.InvalidGrantError


class Unavailable(errors.TemporarilyUnavailableError):  # type: ignore[misc]  # oauthlib: no hints
    """503, with Retry-After; never invalid_grant."""

    status_code = 503
    description = "This cannot be decided now. Keep the token and try again."

    def __init__(self, *arguments: Any, wait_s: Optional[int] = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.wait_s = max(1, settings.RETRY_AFTER_S if wait_s is None else wait_s)

    @property
    def headers(self) -> Dict[str, str]:
        return {"Retry-After": str(self.wait_s), "Cache-Control": "no-store"}


class Raced(errors.OAuth2Error):  # type: ignore[misc]
    """409: nothing is lost, nothing was revoked."""

    error = "refresh_raced"
    status_code = 409
    description = "Another request has refreshed this token. Use what that one got."


class Misconfigured(errors.OAuth2Error):  # type: ignore[misc]
    """500: pawld does not take such requests from us."""

    error = "server_error"
    status_code = 500
    description = "The authorization server is not set up rightly."

"""REST Framework authentication by OAuth access token."""

from typing import Any

from oauth2_provider.contrib.rest_framework import OAuth2Authentication as _Toolkits
from oauth2_provider.oauth2_backends import get_oauthlib_core


class OAuth2Authentication(_Toolkits):  # type: ignore[misc]
    """The toolkit's, which goes on without a user where a token is not good, and leaves it to the
    view's permissions. This one does so too, except for a token that pawld knows to be revoked:
    that is 401 with the code ``token_revoked`` everywhere, in views open to all as well."""

    def authenticate(self, request: Any) -> Any:
        valid, answer = get_oauthlib_core().verify_request(request, scopes=[])
        if valid:
            return answer.user, answer.access_token
        request.oauth2_error = getattr(answer, "oauth2_error", {})
        refusal = getattr(answer, "pawl_refusal", None)
        if refusal is not None:
            raise refusal
        return None

"""For views that are not REST Framework's: 503 where nobody can tell whether a token is good."""

from typing import Any, Optional

from django.http import HttpResponse
from oauth2_provider.middleware import OAuth2TokenMiddleware as _Toolkits
from pawl.django.verdicts import ServiceUnavailable

from .views import unavailable


class UnavailableMiddleware:
    """Makes the answer where a view with the toolkit's decorators or mixins could not be told
    whether its token is good. (REST Framework answers by itself.)"""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        return self.get_response(request)

    def process_exception(self, request: Any, error: Exception) -> Optional[HttpResponse]:
        return unavailable(error) if isinstance(error, ServiceUnavailable) else None


class OAuth2TokenMiddleware(_Toolkits):  # type: ignore[misc]
    """The toolkit's, which asks for the token before any view does."""

    def __call__(self, request: Any) -> Any:
        try:
            return super().__call__(request)
        except ServiceUnavailable as error:  # of the look-up: views are behind their own handler
            return unavailable(error)

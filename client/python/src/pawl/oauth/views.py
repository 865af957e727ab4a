"""The toolkit's endpoints where pawld changes what they answer. :mod:`pawl.oauth.urls` has them in
the toolkit's places; the others there are the toolkit's own."""

import functools
import json
from typing import Any, Callable, Dict

from django.http import HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from oauth2_provider import views
from oauth2_provider.models import get_access_token_model
from oauth2_provider.oauth2_backends import get_oauthlib_core
from oauthlib.oauth2.rfc6749.errors import OAuth2Error
from pawl.django.conf import get_client
from pawl.django.verdicts import ServiceUnavailable, TokenRefused, require_good

from . import rows
from .errors import Unavailable


def _error(error: OAuth2Error) -> HttpResponse:
    response = HttpResponse(error.json, content_type="application/json", status=error.status_code)
    for name, value in error.headers.items():
        response[name] = value
    return response


def unavailable(error: ServiceUnavailable) -> HttpResponse:
    """503 with Retry-After, in OAuth's words (RFC 7009 section 2.2.1: the token is still there)."""
    return _error(Unavailable(wait_s=error.wait))


def _answering(view: Callable[..., Any]) -> Callable[..., Any]:
    """@view, a method, with our exceptions as answers. Keeps its marks (csrf_exempt and such)."""

    @functools.wraps(view)
    def answer(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            response = view(self, request, *args, **kwargs)
        except ServiceUnavailable as error:
            response = unavailable(error)
        except OAuth2Error as error:
            response = _error(error)
        response["Cache-Control"] = "no-store"
        return response

    return answer


class TokenView(views.TokenView):  # type: ignore[misc]  # no hints there
    """The toolkit's, with errors from the saving of tokens answered as OAuth errors, too."""

    _said: Any = None

    def create_token_response(self, request: Any) -> Any:
        self._said = super().create_token_response(request)
        return self._said

    def _post(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().post(request, *args, **kwargs)
        except get_access_token_model().DoesNotExist:
            # It was revoked while this refresh was on its way: the toolkit looks for its row only
            # to send a signal.
            _, headers, body, status = self._said
            response = HttpResponse(content=body, status=status)
            for name, value in headers.items():
                response[name] = value
            return response

    post = method_decorator(sensitive_post_parameters(
        "password", "client_secret", "refresh_token", "code"))(_answering(_post))


class RevokeTokenView(views.RevokeTokenView):  # type: ignore[misc]
    """RFC 7009. 503 with Retry-After where pawld did not acknowledge it."""

    post = _answering(views.RevokeTokenView.post)


class IntrospectTokenView(views.IntrospectTokenView):  # type: ignore[misc]
    """RFC 7662, asked of pawld each time: a revoked token is ``active: false`` at once, and where
    nobody can tell the answer is 503, for a resource server would believe (and keep) a no.

    Adds ``sub``, ``iat``, ``token_type`` and ``sid``, from which a resource server with
    :class:`pawl.oauth.PawlOAuth2Validator` asks pawld itself while it keeps this answer.
    """

    dispatch = _answering(views.IntrospectTokenView.dispatch)

    @staticmethod
    def get_token_response(token_value: Any = None) -> JsonResponse:
        answer = views.IntrospectTokenView.get_token_response(token_value)
        content = json.loads(answer.content)
        if content.get("active") is not True:
            return answer
        row = rows.by_text(get_access_token_model(), token_value).select_related(
            "user", "application").first()
        if row is None:  # deleted since
            return JsonResponse({"active": False})
        described = get_oauthlib_core().server.request_validator.describe(row.token or token_value,
                                                                           row)
        try:
            require_good(get_client().token_check(described), "oauth")
        except TokenRefused:
            return JsonResponse({"active": False})
        return JsonResponse({**content, **_more(row, described)})


def _more(row: Any, described: Any) -> Dict[str, Any]:
    more = {"token_type": "Bearer", "iat": rows.timestamp(row.created),
            "exp": rows.timestamp(row.expires), "sub": described.subject, "sid": described.sid}
    return {name: value for name, value in more.items() if value}

"""simplejwt's views with pawl's serializers, log-out, and log-out everywhere.

The serializers come from ``SIMPLE_JWT`` as there; where a project has not set one, from here.
"""

from typing import Any, Dict, Type

from django.utils.module_loading import import_string
from rest_framework_simplejwt import views as stock
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.settings import DEFAULTS, api_settings

from . import CLASSES, serializers
from .answers import InvalidToken, TokenError, challenge, http_error, mark


class TokenViewBase(stock.TokenViewBase):
    """simplejwt's base, with the codes of :mod:`pawl.simplejwt.answers` in a refusal."""

    #: The name in ``SIMPLE_JWT`` of the serializer; read when asked, so that tests may change it.
    serializer_setting = ""

    def get_serializer_class(self) -> Type[Any]:
        if self.serializer_class:
            found: Type[Any] = self.serializer_class
            return found
        path = getattr(api_settings, self.serializer_setting)
        if path == DEFAULTS[self.serializer_setting]:
            path = CLASSES[self.serializer_setting]
        found = import_string(path)
        return found

    def post(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """200, or what :mod:`pawl.simplejwt.answers` lists."""
        try:
            return super().post(request, *args, **kwargs)
        except TokenError as error:
            refused = http_error(error)
            mark(request, refused)
            raise refused from error
        except InvalidToken as refused:
            mark(request, refused)
            raise

    def get_authenticate_header(self, request: Any) -> str:
        return challenge(super().get_authenticate_header(request), request)


class TokenObtainPairView(TokenViewBase):
    """Name and password for a refresh and an access token: a login begins."""

    serializer_setting = "TOKEN_OBTAIN_SERIALIZER"


class TokenRefreshView(TokenViewBase):
    """A refresh token for its successor and an access token."""

    serializer_setting = "TOKEN_REFRESH_SERIALIZER"


class TokenVerifyView(TokenViewBase):
    """Whether a token of any type is good."""

    serializer_setting = "TOKEN_VERIFY_SERIALIZER"


class TokenObtainSlidingView(TokenViewBase):
    """Name and password for a sliding token."""

    serializer_setting = "SLIDING_TOKEN_OBTAIN_SERIALIZER"


class TokenRefreshSlidingView(TokenViewBase):
    """A sliding token with a later end."""

    serializer_setting = "SLIDING_TOKEN_REFRESH_SERIALIZER"


class _BearerView(TokenViewBase):
    """Takes tokens from the body, else the one in the Authorization header, which is not
    authenticated before: a log-out by an expired token is one, too."""

    def get_serializer_context(self) -> Dict[str, Any]:
        context: Dict[str, Any] = super().get_serializer_context()
        reader = JWTAuthentication()
        header = reader.get_header(self.request)
        raw = reader.get_raw_token(header) if header is not None else None
        if raw is not None:
            context["bearer"] = raw.decode("latin-1")
        return context


class LogoutView(_BearerView):
    """POST ``{"refresh": ...}``, or with the access token in the header: the login ends, and all
    its tokens are refused by every worker."""

    serializer_class = serializers.LogoutSerializer


class TokenBlacklistView(TokenViewBase):
    """simplejwt's name for a log-out by refresh token."""

    serializer_setting = "TOKEN_BLACKLIST_SERIALIZER"


class LogoutEverywhereView(_BearerView):
    """POST with a good token: every token of its user that was issued before now is refused."""

    serializer_class = serializers.LogoutEverywhereSerializer


token_obtain_pair = TokenObtainPairView.as_view()
token_refresh = TokenRefreshView.as_view()
token_verify = TokenVerifyView.as_view()
token_obtain_sliding = TokenObtainSlidingView.as_view()
token_refresh_sliding = TokenRefreshSlidingView.as_view()
token_blacklist = TokenBlacklistView.as_view()
log_out = LogoutView.as_view()
log_out_everywhere = LogoutEverywhereView.as_view()

"""simplejwt's serializers with pawl's tokens; in its settings by :data:`pawl.simplejwt.CLASSES`.

What a project derived from simplejwt's own (claims added in ``get_token``) works when derived from
these. They work under the stock views; those here tell more (:mod:`pawl.simplejwt.views`).
"""

import copy
import datetime
from typing import Any, Dict, Optional

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from rest_framework import serializers as drf
from rest_framework_simplejwt import serializers as stock
from rest_framework_simplejwt.settings import api_settings

from pawl import errors
from pawl.django import events

from . import claims, rotation, sessions
from .answers import RefusedTokenError, TokenError, TokenMalformed, http_error
from .tokens import RefreshToken, SlidingToken, UntypedToken

#: Expired tokens still name the login that a log-out is to end.
_FOR_EVER = datetime.timedelta(days=365 * 50)


class _ToldLogin:
    """Says in the security log who logged in; Django itself tells of who failed."""

    user: Any
    context: Any

    def validate(self, attrs: Dict[str, Any]) -> Any:
        data = super().validate(attrs)  # type: ignore[misc]
        events.login_succeeded(self.context.get("request"), self.user)
        return data


class TokenObtainPairSerializer(_ToldLogin, stock.TokenObtainPairSerializer):
    """A log-in: name and password for a pair of tokens."""

    token_class = RefreshToken


class TokenObtainSlidingSerializer(_ToldLogin, stock.TokenObtainSlidingSerializer):
    """A log-in: name and password for a sliding token."""

    token_class = SlidingToken


class _RefusingSerializer(drf.Serializer):
    """Turns a refused token into 401 with its own code, under the stock views too."""

    def _request(self) -> Any:
        return self.context.get("request")

    def validate(self, attrs: Dict[str, Any]) -> Dict[str, Any]:
        try:
            return self.decide(attrs)
        except TokenError as error:
            raise http_error(error) from error

    def decide(self, attrs: Dict[str, Any]) -> Dict[str, Any]:
        raise NotImplementedError

    def read(self, token_class: Any, text: str, kind: Optional[str] = None) -> Any:
        """A verified token that pawld was asked about. Raises TokenError, ServiceUnavailable.

        @kind  whose policy applies; None: what the token says it is.
        """
        token = None
        try:
            token = token_class.read(text)
            claims.ask(token, kind)
        except TokenError as error:
            sessions.refused(self._request(), token, kind or "access", error)
            raise
        return token


class TokenRefreshSerializer(_RefusingSerializer):
    """A refresh token for a new pair, or with ``ROTATE_REFRESH_TOKENS`` False for an access token.
    ``BLACKLIST_AFTER_ROTATION`` has no meaning: what was rotated is dead in any case."""

    refresh = drf.CharField()
    access = drf.CharField(read_only=True)
    token_class = RefreshToken
    #: Whether the user has to exist and be active (one query). False where users live elsewhere.
    check_user = True

    def decide(self, attrs: Dict[str, Any]) -> Dict[str, Any]:
        text = attrs["refresh"]
        if api_settings.ROTATE_REFRESH_TOKENS:
            return rotation.refresh(self.token_class, text, self._request(), self.require_user)
        token = self.read(self.token_class, text, "refresh")
        self.require_user(token)
        return {"access": str(token.access_token)}

    def require_user(self, token: Any) -> None:
        """Raise RefusedTokenError if the token's user may not log in any more."""
        user_id = token.payload.get(api_settings.USER_ID_CLAIM)
        if not self.check_user or user_id is None:
            return
        user_model = get_user_model()
        try:
            user = user_model._default_manager.get(**{api_settings.USER_ID_FIELD: user_id})
        except (user_model.DoesNotExist, ValidationError, ValueError, TypeError):
            user = None
        if user is None or not api_settings.USER_AUTHENTICATION_RULE(user):
            raise RefusedTokenError("no_active_account")
        if getattr(api_settings, "CHECK_REVOKE_TOKEN", False):  # later than 5.2
            from rest_framework_simplejwt.utils import get_md5_hash_password

            claim = token.payload.get(api_settings.REVOKE_TOKEN_CLAIM)
            if claim != get_md5_hash_password(user.password):
                raise RefusedTokenError("password_changed")


class TokenRefreshSlidingSerializer(_RefusingSerializer):
    """A sliding token for the same one with a later end."""

    token = drf.CharField()
    token_class = SlidingToken

    def decide(self, attrs: Dict[str, Any]) -> Dict[str, Any]:
        token = self.read(self.token_class, attrs["token"], "refresh")
        try:
            token.check_exp(api_settings.SLIDING_TOKEN_REFRESH_EXP_CLAIM)
        except TokenError as error:
            raise RefusedTokenError("token_expired", text=error.args[0]) from error
        token.set_exp()
        token.set_iat()
        return {"token": str(token)}


class TokenVerifySerializer(_RefusingSerializer):
    """Any token: 200 if it is good, else 401 or 503."""

    token = drf.CharField(write_only=True)
    token_class = UntypedToken

    def decide(self, attrs: Dict[str, Any]) -> Dict[str, Any]:
        self.read(self.token_class, attrs["token"])
        return {}


class _EndedToken(UntypedToken):
    """Signed by us, whatever its time: an old token still names its login."""

    def get_token_backend(self) -> Any:
        backend = copy.copy(super().get_token_backend())
        backend.leeway = _FOR_EVER
        return backend


class LogoutSerializer(_RefusingSerializer):
    """Log out: a refresh token, an access token or both end their login. Expired ones do as well,
    and what is revoked already is fine. The view passes the request's own access token as
    ``context["bearer"]``, used where the body has none."""

    refresh = drf.CharField(required=False, write_only=True)
    access = drf.CharField(required=False, write_only=True)

    def decide(self, attrs: Dict[str, Any]) -> Dict[str, Any]:
        texts = [attrs[name] for name in ("refresh", "access") if name in attrs]
        if not texts and self.context.get("bearer"):
            texts = [self.context["bearer"]]
        if not texts:
            raise drf.ValidationError({"refresh": [self.fields["refresh"].error_messages[
                "required"]]})
        ended = set()
        for token in [_EndedToken.read(text) for text in texts]:  # all are read before one ends
            name = token.payload.get(claims.SID_CLAIM) or id(token)
            if name not in ended:
                self._end(token)
                ended.add(name)
        return {}

    def _end(self, token: Any) -> None:
        try:
            sessions.log_out(token, actor=claims.subject_of(token), request=self._request())
        except (errors.Refused, ValueError) as error:  # a claim over pawld's caps
            raise TokenMalformed() from error


class TokenBlacklistSerializer(LogoutSerializer):
    """simplejwt's: the refresh token is required."""

    refresh = drf.CharField(write_only=True)


class LogoutEverywhereSerializer(_RefusingSerializer):
    """Log out of every device: needs a token that is still good, for it says whose they are."""

    refresh = drf.CharField(required=False, write_only=True)
    access = drf.CharField(required=False, write_only=True)

    def decide(self, attrs: Dict[str, Any]) -> Dict[str, Any]:
        text = attrs.get("refresh") or attrs.get("access") or self.context.get("bearer")
        if not text:
            raise drf.ValidationError({"access": [self.fields["access"].error_messages[
                "required"]]})
        subject = claims.subject_of(self.read(UntypedToken, text))
        if not subject:
            raise RefusedTokenError("token_not_valid")
        sessions.log_out_everywhere(subject, actor=subject, request=self._request())
        return {}

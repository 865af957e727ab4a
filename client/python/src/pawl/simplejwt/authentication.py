"""simplejwt's authentication classes, with answers that say which fact refused a token.

The stock classes refuse revoked tokens as well once ``AUTH_TOKEN_CLASSES`` names pawl's; these add
the codes of :mod:`pawl.simplejwt.answers`, RFC 6750's ``error="invalid_token"``, and the security
log. They ask pawld for other token classes, too. "Cannot tell" is 503 with either.
"""

from typing import Any, List, Optional, Tuple

from asgiref.sync import sync_to_async
from django.utils.translation import gettext_lazy as _
from rest_framework_simplejwt import authentication as stock
from rest_framework_simplejwt.settings import api_settings

from . import claims, sessions
from .answers import (InvalidToken, RefusedTokenError, TokenError, challenge, code_of, http_error,
                      mark)
from .tokens import RevocableMixin


class _Refused(InvalidToken):
    """The 401, and for the log: which token, and which error decided."""

    token: Any = None
    error: Any = None


def _read(token_class: Any, raw_token: bytes) -> Any:
    """The token after all checks but pawld's. Raises TokenError."""
    if issubclass(token_class, RevocableMixin):
        return token_class.read(raw_token)
    return token_class(raw_token)


def _refusal(error: Exception, token: Any, messages: List[Any]) -> _Refused:
    refused = _Refused(http_error(error, messages).detail)
    refused.error, refused.token = error, token
    return refused


def _read_any(raw_token: bytes) -> Any:
    """The token of the first class of AUTH_TOKEN_CLASSES that takes it; raises _Refused."""
    errors: List[TokenError] = []
    messages = []
    for token_class in api_settings.AUTH_TOKEN_CLASSES:
        try:
            return _read(token_class, raw_token)
        except TokenError as error:
            errors.append(error)
            messages.append({"token_class": token_class.__name__,
                             "token_type": token_class.token_type, "message": error.args[0]})
    # "Expired" tells more than "of another type".
    telling = [error for error in errors if code_of(error) != "token_not_valid"]
    raise _refusal(telling[0] if telling else TokenError(
        _("Given token not valid for any token type")), None, messages)


def _message(token: Any, error: RefusedTokenError) -> Any:
    return {"token_class": type(token).__name__, "token_type": token.token_type,
            "message": error.args[0]}


def _note(request: Any, refused: InvalidToken) -> None:
    mark(request, refused)
    error = getattr(refused, "error", None) or TokenError()
    sessions.refused(request, getattr(refused, "token", None), "access", error)


class _Refusing:
    """What all classes here share."""

    def authenticate(self, request: Any) -> Any:
        try:
            return super().authenticate(request)  # type: ignore[misc]
        except InvalidToken as refused:
            _note(request, refused)
            raise

    def authenticate_header(self, request: Any) -> str:
        return challenge(super().authenticate_header(request), request)  # type: ignore[misc]

    def get_validated_token(self, raw_token: bytes) -> Any:
        """The token, read, verified, and asked about. Raises InvalidToken (401) and
        ServiceUnavailable (503)."""
        token = _read_any(raw_token)
        try:
            claims.ask(token, "access")
        except RefusedTokenError as error:
            raise _refusal(error, token, [_message(token, error)]) from error
        return token


class JWTAuthentication(_Refusing, stock.JWTAuthentication):
    """With the user's row: one query, one question to pawld."""


class JWTStatelessUserAuthentication(_Refusing, stock.JWTStatelessUserAuthentication):
    """Without a query: the user is what the token says."""


JWTTokenUserAuthentication = JWTStatelessUserAuthentication


class _AsyncRefusing(_Refusing):
    """The same as coroutines, for adrf and views of your own: ``await authenticate(request)``."""

    async def authenticate(self, request: Any) -> Optional[Tuple[Any, Any]]:
        header = self.get_header(request)  # type: ignore[attr-defined]
        raw = None if header is None else self.get_raw_token(header)  # type: ignore[attr-defined]
        if raw is None:
            return None
        try:
            token = await self.aget_validated_token(raw)
            return await self.aget_user(token), token
        except InvalidToken as refused:
            _note(request, refused)
            raise

    async def aget_validated_token(self, raw_token: bytes) -> Any:
        """:meth:`get_validated_token` without blocking the event loop."""
        token = _read_any(raw_token)
        try:
            await claims.aask(token, "access")
        except RefusedTokenError as error:
            raise _refusal(error, token, [_message(token, error)]) from error
        return token

    async def aget_user(self, token: Any) -> Any:
        """The user's row, read in a thread: Django's own queries block."""
        get_user: Any = sync_to_async(self.get_user)  # type: ignore[attr-defined]
        return await get_user(token)


class AsyncJWTAuthentication(_AsyncRefusing, stock.JWTAuthentication):
    """:class:`JWTAuthentication` whose ``authenticate`` is a coroutine."""


class AsyncJWTStatelessUserAuthentication(_AsyncRefusing,
                                          stock.JWTStatelessUserAuthentication):
    """:class:`JWTStatelessUserAuthentication` whose ``authenticate`` is a coroutine."""

    async def aget_user(self, token: Any) -> Any:
        return self.get_user(token)

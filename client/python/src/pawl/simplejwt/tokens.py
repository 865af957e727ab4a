"""simplejwt's token classes, twins that pawld can refuse: change the import, or the dotted path.

Every one that is made from a text asks pawld after simplejwt's own checks (signature, exp, type)
passed. ``RefreshToken.for_user`` begins a family, a login: its id is the signed claim ``sid``,
which access tokens carry too, and the token's place in it is ``gen``. simplejwt's own blacklist may
be installed or not. Its table is not read any more: see ``pawl_import_blacklist``.
"""

import contextvars
from typing import Any, Tuple, Type, TypeVar

from django.utils.translation import gettext_lazy as _
from rest_framework_simplejwt import tokens as stock
from rest_framework_simplejwt.exceptions import TokenError

from . import bridge, claims, sessions

__all__ = ["AccessToken", "RefreshToken", "SlidingToken", "UntypedToken"]

Self = TypeVar("Self", bound="RevocableMixin")

#: simplejwt's method where its blacklist app is installed, else None.
_stock_blacklist: Any = getattr(stock.BlacklistMixin, "blacklist", None)


_unasked: "contextvars.ContextVar[bool]" = contextvars.ContextVar("pawl_unasked", default=False)


class RevocableMixin:
    """In front of a class of simplejwt's: asks pawld about tokens that are read.

    Made as simplejwt's are: from a text, or new without one; with verify=False nothing is looked
    at. Raises TokenError (mostly :class:`~pawl.simplejwt.answers.RefusedTokenError`) for a known
    fact, ServiceUnavailable (503, no TokenError) where nobody can tell.
    """

    token: Any
    payload: Any
    _is_verifying = False

    def __init__(self, *args: Any, **options: Any) -> None:
        try:
            super().__init__(*args, **options)
        except RecursionError as error:  # PyJWT, of a header that is nested a thousand deep
            raise TokenError(_("Token is invalid or expired")) from error

    @classmethod
    def read(cls: Type[Self], text: Any) -> Self:
        """The token in @text after all checks but pawld's: for who asks it in another way, as a
        refresh does, or an event loop."""
        mark = _unasked.set(True)
        try:
            return cls(text)  # type: ignore[call-arg]
        finally:
            _unasked.reset(mark)

    def verify(self, *args: Any, **options: Any) -> None:
        # BlacklistMixin.verify() asks first; here the cheap checks (exp, type) come first.
        self._is_verifying = True
        try:
            super().verify(*args, **options)  # type: ignore[misc]
        finally:
            self._is_verifying = False
        if not _unasked.get():
            self.check_blacklist()

    def check_blacklist(self) -> None:
        """Raise TokenError if pawld knows that this token is revoked."""
        if not self._is_verifying:
            claims.ask(self)

    async def acheck_blacklist(self) -> None:
        """The same without blocking the event loop; make the token with :meth:`read`."""
        await claims.aask(self)

    def blacklist(self) -> Tuple[Any, bool]:
        """Log out: end the whole login, access tokens too; one without ``sid`` alone.

        Returns simplejwt's row and whether it is new, as there; without its app (None, True).
        Raises ServiceUnavailable where pawld did not take it: then nothing was written.
        """
        sessions.log_out(self)
        if _stock_blacklist is None or not isinstance(self, stock.BlacklistMixin):
            return None, True
        with bridge.silent():  # its row tells pawld what it has just been told
            row: Tuple[Any, bool] = _stock_blacklist(self)
        return row


class _FamilyMixin(stock.Token):
    """Behind a class of simplejwt's: its for_user() stores the text, so the family comes before."""

    @classmethod
    def for_user(cls, user: Any) -> Any:
        """A token of a login that begins now: pawld opens its family, durably.

        Raises ServiceUnavailable where pawld does not answer.
        """
        token = super().for_user(user)
        sessions.open_family(token)
        return token


class AccessToken(RevocableMixin, stock.AccessToken):
    """Refused as soon as its login, its user or itself is revoked.

    One from ``AccessToken.for_user`` belongs to no login, and is revoked by jti or by user.
    """


class RefreshToken(RevocableMixin, stock.RefreshToken, _FamilyMixin):
    """The token of a login. Rotate it with :func:`pawl.simplejwt.rotation.refresh` or the views."""

    access_token_class = AccessToken
    # iat: an access token is as young as it is (simplejwt copied the refresh token's before 5.5).
    no_copy_claims = tuple(dict.fromkeys(
        (*stock.RefreshToken.no_copy_claims, "iat", claims.GENERATION_CLAIM)))


class SlidingToken(RevocableMixin, stock.SlidingToken, _FamilyMixin):
    """A token that is refreshed in place. It has a login, which ends as that of the others does,
    but no rotation: a copy of it is not noticed."""


class UntypedToken(RevocableMixin, stock.UntypedToken):
    """Any of them, for the verify view; its type says which policy applies."""

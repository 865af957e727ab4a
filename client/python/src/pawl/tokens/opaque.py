"""Opaque tokens of a project's own: several for each user, with names and ends, stored hashed. ::

    class ApiToken(OpaqueTokenMixin):
        class Meta:
            ordering = ["-created"]

    class ApiTokenAuthentication(OpaqueTokenAuthentication):
        model = ApiToken

    row, text = ApiToken.issue(user, datetime.timedelta(days=90), name="laptop")
    row.revoke()
"""

import datetime
import secrets
from typing import Any, Optional, Tuple

from django.conf import settings as django_settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from rest_framework.authentication import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed

from . import revoking
from .naming import check_opaque, digests, has_passed

PREFIX = "pwo_"  #: so that secret scanners know one


class OpaqueTokenMixin(models.Model):  # type: ignore[misc]  # no hints there
    """A model of opaque tokens. The text is shown once, by :meth:`issue`; the table has its HMAC
    (:func:`pawl.tokens.naming.digests`), which is also what pawld knows it by."""

    digest = models.CharField(max_length=64, unique=True, editable=False)
    user = models.ForeignKey(django_settings.AUTH_USER_MODEL, on_delete=models.CASCADE,
                             related_name="+")
    name = models.CharField(max_length=100, blank=True)
    created = models.DateTimeField(auto_now_add=True)
    expires = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True

    @classmethod
    def issue(cls, user: Any, lifetime: Optional[datetime.timedelta] = None,
              **fields: Any) -> Tuple[Any, str]:
        """A new token and its text (256 random bits). @lifetime: None: it has no end."""
        text = PREFIX + secrets.token_urlsafe(32)
        expires = timezone.now() + lifetime if lifetime is not None else None
        row = cls.objects.create(digest=digests(text)[0], user=user, expires=expires, **fields)
        return row, text

    @classmethod
    def find(cls, text: str) -> Any:
        """The row of a token that has not ended, or None."""
        row = cls.objects.select_related("user").filter(digest__in=digests(text)).first()
        return None if row is None or has_passed(row.expires) else row

    def revoke(self, *, reason: str = "logout", actor: Any = "", request: Any = None) -> None:
        """See :func:`pawl.tokens.revoke`: refused everywhere, and the row goes."""
        revoking.revoke(self, reason=reason, actor=actor, request=request)


class OpaqueTokenAuthentication(TokenAuthentication):  # type: ignore[misc]
    """``Authorization: Bearer pwo_...`` against the table of ``model``, and pawld."""

    keyword = "Bearer"
    model: Any = None  #: a subclass of OpaqueTokenMixin

    def authenticate_credentials(self, key: str) -> Any:
        row = self.get_model().find(key)
        if row is None:
            raise AuthenticationFailed(_("Invalid token."))
        if not row.user.is_active:
            raise AuthenticationFailed(_("User inactive or deleted."))
        check_opaque(row.digest, subject=row.user.pk, issued=row.created)
        return row.user, row

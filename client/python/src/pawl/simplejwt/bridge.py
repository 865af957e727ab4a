"""What the rest of a project does to tokens and users, told to pawld.

``REVOKE_ON`` says which of these revoke:

``blacklist``          a row of simplejwt's blacklist is made, by its admin or by code: the token's
                       login ends.

and what :mod:`pawl.django.accounts` says of users. Where pawld does not take it, the row is not
made, unless ``ON_UNAVAILABLE["revoke"]`` is "open". Changes that send no signals are not seen: call
:func:`pawl.simplejwt.sessions.log_out_everywhere`.
"""

import contextlib
import contextvars
from typing import Any, Iterator

from django.apps import apps
from django.db.models.signals import post_save
from rest_framework_simplejwt.utils import datetime_to_epoch

from pawl.django import accounts
from pawl.django.conf import settings

from . import claims, sessions

BLACKLIST_APP = "rest_framework_simplejwt.token_blacklist"

_silent: "contextvars.ContextVar[bool]" = contextvars.ContextVar("pawl_silent", default=False)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Rows of the blacklist that are made inside are not told to pawld."""
    mark = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(mark)


def connect() -> None:
    """Connect to the models; the app does it. Twice is once."""
    accounts.connect("simplejwt", claims.subject_of_user)
    if apps.is_installed(BLACKLIST_APP):
        row_model = apps.get_model("token_blacklist", "BlacklistedToken")
        post_save.connect(_on_blacklisted, sender=row_model,
                          dispatch_uid="pawl.simplejwt.bridge")


# ---- simplejwt's blacklist ----------------------------------------------------------------------


def _on_blacklisted(sender: Any, instance: Any, created: bool, raw: bool = False,
                    **_: Any) -> None:
    """In the transaction of the row, not after it: where pawld does not take it the row is not
    made either, and the next try makes both. A row that is rolled back later leaves a token
    revoked: its user logs in again."""
    if not created or raw or _silent.get() or "blacklist" not in settings.REVOKE_ON:
        return
    row = instance.token
    accounts.require(lambda: sessions.log_out_jti(
        row.jti, datetime_to_epoch(row.expires_at), row.token, reason="admin"))

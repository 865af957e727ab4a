"""What the rest of a project does to tokens and users, told to pawld.

``REVOKE_ON`` says which of these revoke:

``blacklist``          a row of simplejwt's blacklist is made, by its admin or by code: the token's
                       login ends.
``password_change``    a user's password changes (not when Django only hashes the same one anew):
                       all of the user's tokens from before are refused.
``account_disabled``   ``is_active`` becomes False: the same.
``account_deleted``    the user's row goes: the same.

Where pawld does not take it, the change is refused (ServiceUnavailable, before anything is
written), unless ``ON_UNAVAILABLE["revoke"]`` is "open": then it is logged, and the tokens live on.
Changes that send no signals (``QuerySet.update``, ``bulk_create``, SQL) are not seen: call
:func:`pawl.simplejwt.sessions.log_out_everywhere`.
"""

import contextlib
import contextvars
from typing import Any, Callable, Iterator, Optional, Set

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save
from rest_framework_simplejwt.utils import datetime_to_epoch

from pawl import errors
from pawl.django import events
from pawl.django.conf import settings

from . import claims, sessions
from .answers import ServiceUnavailable

BLACKLIST_APP = "rest_framework_simplejwt.token_blacklist"
_WATCHED = ("password", "is_active")

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
    user_model = get_user_model()
    uid = "pawl.simplejwt.bridge"
    pre_save.connect(_before_save, sender=user_model, dispatch_uid=uid)
    post_save.connect(_after_save, sender=user_model, dispatch_uid=uid)
    pre_delete.connect(_before_delete, sender=user_model, dispatch_uid=uid)
    post_delete.connect(_after_delete, sender=user_model, dispatch_uid=uid)
    if apps.is_installed(BLACKLIST_APP):
        row_model = apps.get_model("token_blacklist", "BlacklistedToken")
        post_save.connect(_on_blacklisted, sender=row_model, dispatch_uid=uid)


def _require(revoke: Callable[[], None]) -> None:
    """Do it, or refuse what is under way, or go on without, as the policy says."""
    try:
        revoke()
    except (ServiceUnavailable, errors.PawlError) as error:
        if settings.ON_UNAVAILABLE.get("revoke") != "open":
            raise
        _missed(error)


def _missed(error: Exception) -> None:
    events.backend_error(getattr(error, "cause", "unavailable"),
                         "tokens that had to be revoked are not")


# ---- simplejwt's blacklist ----------------------------------------------------------------------


def _on_blacklisted(sender: Any, instance: Any, created: bool, raw: bool = False,
                    **_: Any) -> None:
    """In the transaction of the row, not after it: where pawld does not take it the row is not
    made either, and the next try makes both. A row that is rolled back later leaves a token
    revoked: its user logs in again."""
    if not created or raw or _silent.get() or "blacklist" not in settings.REVOKE_ON:
        return
    row = instance.token
    _require(lambda: sessions.log_out_jti(row.jti, datetime_to_epoch(row.expires_at), row.token,
                                          reason="admin"))


# ---- users --------------------------------------------------------------------------------------


def _is_rehash(user: Any, fields: Optional[Any]) -> bool:
    """Whether Django hashes the same password anew at a log-in. AbstractBaseUser marks a real
    change by the raw password in _password, and clears it before it stores a new hash alone. (An
    object whose new password was saved once looks the same when somebody then assigns a hash by
    hand and saves that alone.)"""
    return (fields is not None and set(fields) == {"password"} and "_password" in user.__dict__
            and user._password is None)


def _change(sender: Any, user: Any, using: str, fields: Optional[Any]) -> str:
    """Why the user's tokens are to go once @user is saved; "": they are not."""
    wanted: Set[str] = set()
    if "password_change" in settings.REVOKE_ON and not _is_rehash(user, fields):
        wanted.add("password")
    if "account_disabled" in settings.REVOKE_ON:
        wanted.add("is_active")
    wanted &= {field.attname for field in sender._meta.concrete_fields}
    if fields is not None:
        wanted &= set(fields)
    deferred = user.get_deferred_fields()
    wanted -= deferred
    if not wanted or user._state.adding or user.pk is None:
        return ""
    rows = sender._base_manager.using(using).filter(pk=user.pk)
    before = rows.values(*wanted).first() or {}
    if before.get("is_active") and not user.is_active:
        return "account_disabled"
    return "password_change" if before.get("password", user.password) != user.password else ""


def _before_save(sender: Any, instance: Any, using: str, raw: bool = False,
                 update_fields: Optional[Any] = None, **_: Any) -> None:
    reason = "" if raw else _change(sender, instance, using, update_fields)
    instance._pawl_revoke = reason
    if reason:
        _require(lambda: sessions.log_out_everywhere(instance, reason=reason))


def _after_save(sender: Any, instance: Any, using: str, **_: Any) -> None:
    reason = instance.__dict__.pop("_pawl_revoke", "")
    if reason:
        _again(instance, reason, using)


def _before_delete(sender: Any, instance: Any, **_: Any) -> None:
    if "account_deleted" in settings.REVOKE_ON:
        _require(lambda: sessions.log_out_everywhere(instance, reason="account_disabled"))


def _after_delete(sender: Any, instance: Any, using: str, **_: Any) -> None:
    if "account_deleted" in settings.REVOKE_ON:
        _again(instance, "account_disabled", using)


def _again(user: Any, reason: str, using: str) -> None:
    """Once more when it is committed: until then the old password still opened new logins."""
    subject = claims.subject_of_user(user)  # a deleted user has no key any more by then

    def revoke() -> None:
        try:
            sessions.log_out_everywhere(subject, reason=reason)
        except (ServiceUnavailable, errors.PawlError) as error:
            _missed(error)  # what is committed cannot be refused any more

    transaction.on_commit(revoke, using=using)

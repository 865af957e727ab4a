"""What a project does to its users, told to pawld, for every kind of token that knows them.

``REVOKE_ON`` says which of these revoke all tokens of a user from before:

``password_change``    the password changes (not when Django only hashes the same one anew).
``account_disabled``   ``is_active`` becomes False.
``account_deleted``    the user's row goes.

Where pawld does not take it, the change is refused (ServiceUnavailable, before anything is
written), unless ``ON_UNAVAILABLE["revoke"]`` is "open": then it is logged, and the tokens live on.
Changes that send no signals (``QuerySet.update``, ``bulk_create``, SQL) are not seen.

The apps of tokens (pawl.simplejwt, pawl.oauth, pawl.tokens) connect this, each with what its
tokens call a user.
"""

from typing import Any, Callable, Dict, List, Optional, Set

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save

from pawl import errors

from . import durable, events
from .conf import settings
from .verdicts import ServiceUnavailable

_names: Dict[str, Callable[[Any], str]] = {}


def connect(app: str, subject_of: Callable[[Any], str]) -> None:
    """Let users be revoked as @subject_of(user), too; "": not now. Twice is once."""
    _names[app] = subject_of
    user_model = get_user_model()
    uid = "pawl.django.accounts"
    pre_save.connect(_before_save, sender=user_model, dispatch_uid=uid)
    post_save.connect(_after_save, sender=user_model, dispatch_uid=uid)
    pre_delete.connect(_before_delete, sender=user_model, dispatch_uid=uid)
    post_delete.connect(_after_delete, sender=user_model, dispatch_uid=uid)


def require(revoke: Callable[[], None]) -> None:
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


def _subjects(user: Any) -> List[str]:
    """What tokens call @user; most often that is one."""
    return [name for name in dict.fromkeys(find(user) for find in _names.values()) if name]


def _log_out(subjects: List[str], reason: str) -> None:
    for subject in subjects:
        durable.revoke("subject", subject, reason=reason, sender=_log_out)


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
        require(lambda: _log_out(_subjects(instance), reason))


def _after_save(sender: Any, instance: Any, using: str, **_: Any) -> None:
    reason = instance.__dict__.pop("_pawl_revoke", "")
    if reason:
        _again(instance, reason, using)


def _before_delete(sender: Any, instance: Any, **_: Any) -> None:
    if "account_deleted" in settings.REVOKE_ON:
        require(lambda: _log_out(_subjects(instance), "account_disabled"))


def _after_delete(sender: Any, instance: Any, using: str, **_: Any) -> None:
    if "account_deleted" in settings.REVOKE_ON:
        _again(instance, "account_disabled", using)


def _again(user: Any, reason: str, using: str) -> None:
    """Once more when it is committed: until then the old password still opened new logins."""
    subjects = _subjects(user)  # a deleted user has no key any more by then

    def revoke() -> None:
        try:
            _log_out(subjects, reason)
        except (ServiceUnavailable, errors.PawlError) as error:
            _missed(error)  # what is committed cannot be refused any more

    transaction.on_commit(revoke, using=using)

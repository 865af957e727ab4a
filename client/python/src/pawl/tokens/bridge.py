"""A row that is deleted elsewhere (admin, a log-out view of knox, the shell) is revoked, too. Where
pawld does not acknowledge that, the deletion raises ServiceUnavailable, and is undone with its
transaction."""

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models.signals import pre_delete

from pawl.django import accounts

from . import revoking
from .naming import has_passed, revoke_opaque


def _on_deleted(sender: Any, instance: Any, origin: Any = None, **_: Any) -> None:
    # Django says from 4.1 on that rows go with their user, who is revoked as a whole.
    model = getattr(origin, "model", type(origin))
    if revoking.quiet.get() or issubclass(model, get_user_model()):
        return
    name, expires = revoking.named(instance)
    if not has_passed(expires):
        revoke_opaque(name, expires, reason="admin")


def _subject_of(user: Any) -> str:
    return str(user.pk)


def connect() -> None:
    """The app calls it; twice is once."""
    for model in revoking.models():
        pre_delete.connect(_on_deleted, sender=model, dispatch_uid="pawl.tokens.bridge")
    accounts.connect("tokens", _subject_of)

"""What is done to the toolkit's rows elsewhere (its admin, its "authorized tokens" page, the shell)
reaches pawld, and with it every server that keeps an introspection.

On a resource server apart (RESOURCE_SERVER_INTROSPECTION_URL is set) nothing of that is done: its
rows are kept introspections, and its users have other keys than where the tokens come from.

A signal that pawld does not acknowledge raises ServiceUnavailable, so that the deletion is undone
with its transaction: what was reported as done, is. Bulk ``update()`` sends no signals: use
:mod:`pawl.oauth.revoking` instead.
"""

import time
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models.signals import post_save, pre_delete
from oauth2_provider.models import (get_access_token_model, get_application_model,
                                    get_refresh_token_model)
from oauth2_provider.settings import oauth2_settings
from pawl.django import accounts

from . import families, revoking, rows, texts

_UID = "pawl.oauth.bridge"


def _within(origin: Any, *models: Any) -> bool:
    """Whether a row goes because a user or application goes, who is revoked as a whole. Django
    tells from 4.1 on; before, each row is told for itself, which is slower and right as well."""
    model = getattr(origin, "model", type(origin))
    return isinstance(model, type) and issubclass(model, models)


def _whole(origin: Any) -> bool:
    return _within(origin, get_user_model(), get_application_model())


def _is_off() -> bool:
    return rows.quiet.get() or bool(oauth2_settings.RESOURCE_SERVER_INTROSPECTION_URL)


def _on_access_deleted(sender: Any, instance: Any, origin: Any = None, **_: Any) -> None:
    if not _is_off() and not instance.is_expired() and not _whole(origin):
        revoking.tell(instance, reason="admin")


def _on_refresh_deleted(sender: Any, instance: Any, origin: Any = None, **_: Any) -> None:
    if _is_off() or instance.revoked is not None or _whole(origin):
        return
    place = texts.read_refresh(instance.token or "")
    if place is None or place.exp_s > time.time():  # else it goes with a clean-up
        revoking.tell(instance, reason="admin")


def _on_refresh_saved(sender: Any, instance: Any, raw: bool = False, **_: Any) -> None:
    if instance.revoked is not None and not raw and not _is_off():
        revoking.tell(instance, reason="admin")


def _subject_of(user: Any) -> str:
    return "" if _is_off() else families.subject_of(user)


def _on_application_deleted(sender: Any, instance: Any, **_: Any) -> None:
    if not _is_off():
        revoking.revoke_application(instance)


def connect() -> None:
    """The app calls it; twice is once."""
    access, refresh = get_access_token_model(), get_refresh_token_model()
    pre_delete.connect(_on_access_deleted, sender=access, dispatch_uid=_UID)
    pre_delete.connect(_on_refresh_deleted, sender=refresh, dispatch_uid=_UID)
    post_save.connect(_on_refresh_saved, sender=refresh, dispatch_uid=_UID)
    accounts.connect("oauth", _subject_of)
    pre_delete.connect(_on_application_deleted, sender=get_application_model(), dispatch_uid=_UID)

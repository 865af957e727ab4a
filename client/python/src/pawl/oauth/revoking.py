"""Revoking OAuth tokens: one, all of a user, all of an application. All of it raises
ServiceUnavailable where pawld did not acknowledge it, and has then changed nothing here."""

from typing import Any

from oauth2_provider.models import get_access_token_model, get_refresh_token_model
from pawl.django.durable import revoke

from . import rows, texts
from .families import subject_of


def end(sid: str, *, reason: str = "logout", actor: Any = "") -> None:
    """End a family: its refresh token, and every access token of it, on every server, at the price
    of one record."""
    if sid:
        revoke("family", sid, reason=reason, actor=actor, sender=end)


def revoke_text(text: str, client: Any = None, *, reason: str = "logout", actor: Any = "") -> bool:
    """Revoke a token by its text, whatever kind it is, and the login that it belongs to.

    @client  the application that asks: another's token is not touched (RFC 7009 section 2.1).
             None: whoever's it is.
    Returns whether there was such a token.
    """
    for find in (_access, rows.find_refresh):
        row = find(text)
        if row is not None:
            if client is not None and row.application_id != client.pk:
                return False
            revoke_row(row, reason=reason, actor=actor)
            return True
    place = texts.read_refresh(text)  # authentic, and its row was cleaned up: it may end its login
    if place is None or (client is not None and not rows.has_login(client, place)):
        return False
    end(place.sid, reason=reason, actor=actor)
    return True


def login_of(text: str) -> str:
    """The family of an authentic token, "" if there is none."""
    place = texts.read_refresh(text)
    if place is not None:
        return place.sid
    row = _access(text)
    return rows.sid_of(row) if row is not None else ""


def _access(text: str) -> Any:
    return rows.by_text(get_access_token_model(), text).select_related("application").first()


def revoke_row(row: Any, *, reason: str = "logout", actor: Any = "") -> None:
    """Revoke an AccessToken or RefreshToken of the toolkit: in pawld, then the row."""
    tell(row, reason=reason, actor=actor)
    with rows.quietly():
        for refresh in _heads(row):
            refresh.revoke()  # and its access token
        if isinstance(row, get_access_token_model()) and row.pk is not None:
            type(row).objects.filter(pk=row.pk).delete()


def tell(row: Any, *, reason: str = "logout", actor: Any = "") -> None:
    """Tell pawld that a row's token is revoked. With a family that is the family: without its
    refresh token an access token would be replaced at once (as the toolkit does from 3.4 on)."""
    sid = rows.sid_of(row)
    if sid:
        end(sid, reason=reason, actor=actor)
    if not sid or isinstance(row, get_access_token_model()):
        name, hashed = rows.name_of(row)
        exp_s = rows.timestamp(getattr(row, "expires", None))
        revoke("opaque", name, hashed=hashed, exp_s=exp_s, reason=reason, actor=actor, sender=tell)
    successor = rows.next_access(row) if not sid and _is_refresh(row) else None
    if successor is not None and rows.sid_of(successor):  # from before pawl, adopted since
        end(rows.sid_of(successor), reason=reason, actor=actor)


def _is_refresh(row: Any) -> bool:
    return isinstance(row, get_refresh_token_model())


def _heads(row: Any) -> Any:
    """The refresh tokens to stamp: the row itself, the one of an access token, and the one that a
    superseded one was exchanged for."""
    model = get_refresh_token_model()
    if not _is_refresh(row):
        return list(model.objects.filter(access_token_id=row.pk))
    following = rows.next_access(row)
    return [row, *(model.objects.filter(access_token=following) if following else ())]


def revoke_user(user: Any, *, reason: str = "logout_all", actor: Any = "") -> None:
    """Log a user out everywhere: every token of theirs that was issued before now, of whatever
    application, and tokens of other kinds too (they share the subject). Rows stay: they are
    refused. Who logs in again is not touched."""
    revoke("subject", subject_of(user), reason=reason, actor=actor, sender=revoke_user)


def revoke_application(application: Any, *, reason: str = "admin", actor: Any = "") -> None:
    """Refuse every token that was issued to an application before now."""
    revoke("client", str(application.client_id), reason=reason, actor=actor,
           sender=revoke_application)

"""The toolkit's rows: what is read from and written to its tables.

Its releases differ in three ways that matter here. From 2.4 on access tokens, and from 3.3 on
refresh tokens, are found by ``token_checksum``, SHA-256 of the text; with its hashed storage
(COMPLIANT_BCP_RFC9700_TOKEN_STORAGE) the text is not there at all; and refresh tokens have a
``token_family``, into which we write pawld's family id.
"""

import contextlib
import contextvars
import datetime
import hashlib
import uuid
from typing import Any, Dict, Iterator, Optional, Sequence, Tuple

from django.core.exceptions import FieldDoesNotExist
from django.db.models.functions import Coalesce
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from . import texts
from .texts import Pair, Place

#: Set while rows change because pawld said so: the bridge has nothing to tell it then.
quiet: "contextvars.ContextVar[bool]" = contextvars.ContextVar("pawl_oauth_quiet", default=False)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    token = quiet.set(True)
    try:
        yield
    finally:
        quiet.reset(token)


def has_field(model: Any, name: str) -> bool:
    try:
        model._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True


def by_text(model: Any, *wanted: str) -> Any:
    """The rows of tokens with these texts. No token has a NUL, for which PostgreSQL's driver raises
    ValueError."""
    wanted = tuple(text for text in wanted if "\0" not in text)
    if has_field(model, "token_checksum"):
        return model.objects.filter(
            token_checksum__in=[hashlib.sha256(text.encode()).hexdigest() for text in wanted])
    return model.objects.filter(token__in=wanted)


def find_refresh(text: str) -> Any:
    """The row of a refresh token, or None. Several rows may share a text (it is unique together
    with ``revoked``): the one that is not revoked, else the one revoked last."""
    found = [row for row in by_text(get_refresh_token_model(), text).select_related(
        "access_token", "application", "user") if row.token in ("", text)]  # to the letter
    living = [row for row in found if row.revoked is None]
    return (living or sorted(found, key=lambda row: row.revoked, reverse=True) or [None])[0]


def has_login(application: Any, place: Place) -> bool:
    """Whether @application has a refresh token of this family."""
    model = get_refresh_token_model()
    mine: Dict[str, Any] = {"token__startswith": texts.refresh_prefix(place)}
    if has_field(model, "token_family"):
        mine = {"token_family": uuid.UUID(place.sid)}
    return bool(model.objects.filter(application_id=application.pk, **mine).exists())


def next_access(row: Any) -> Any:
    """The access token that refresh token @row was exchanged for, or None."""
    return get_access_token_model().objects.filter(source_refresh_token_id=row.pk).first()


def is_dead(row: Any) -> bool:
    """Whether a refresh token was revoked, and not only superseded: the toolkit stamps both into
    one column. A superseded one has the access token that it was exchanged for; one that was
    revoked, or whose access token somebody deleted, has none."""
    if row.revoked is None and row.access_token_id is not None:
        return False
    return next_access(row) is None


def timestamp(moment: Optional[datetime.datetime]) -> int:
    """Seconds since 1970; 0 for None."""
    if moment is None:
        return 0
    return int(moment.timestamp())  # a naive one (USE_TZ False) is local time, to Python too


def client_id_of(row: Any) -> str:
    return str(row.application.client_id) if row.application_id is not None else ""


def sid_of(row: Any) -> str:
    """The family of a row of either kind, or ""."""
    sid = texts.family_of(row.token or "")
    if sid or row.token:
        return sid
    # Hashed storage: the row has no text, but its family's id in the refresh token's column.
    if isinstance(row, get_access_token_model()):
        row = get_refresh_token_model().objects.filter(access_token=row).first()
    family = getattr(row, "token_family", None)
    return str(family) if family is not None else ""


def name_of(row: Any) -> Tuple[bytes, bool]:
    """What pawld knows a row's token by, and whether that is the SHA-256 already."""
    if row.token:
        return row.token.encode(), False
    return bytes.fromhex(row.token_checksum), True


def supersede(row: Any) -> None:
    """Begin to write a refresh: stamp the predecessor. The first statement of the transaction and
    a write, so that whoever saves the same refresh waits here on every database (SQLite included,
    which has no SELECT FOR UPDATE)."""
    type(row).objects.filter(pk=row.pk).update(
        revoked=Coalesce("revoked", timezone.now()), updated=timezone.now())


def drop_access(row: Any) -> None:
    """The predecessor's access token goes, as with the toolkit."""
    if row.access_token_id is None:
        return
    type(row).objects.filter(pk=row.pk).update(access_token=None)
    with quietly():
        get_access_token_model().objects.filter(pk=row.access_token_id).delete()


def saved_pair(row: Any, candidates: Sequence[Pair]) -> Optional[Tuple[Pair, Any]]:
    """The pair that @row was exchanged for, if somebody saved it, and its access token's row
    (None: it was revoked since)."""
    for pair in candidates:
        if find_refresh(pair.refresh) is not None:
            return pair, next_access(row)
    return None


def set_family(refresh: Any, place: Place) -> None:
    """Write the family into the toolkit's column, where it has one."""
    if has_field(type(refresh), "token_family"):
        refresh.token_family = uuid.UUID(place.sid)
        type(refresh).objects.filter(pk=refresh.pk).update(token_family=refresh.token_family)

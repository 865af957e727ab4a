"""``revoke(token)``: whatever kind of opaque token it is."""

import contextlib
import contextvars
from typing import Any, Iterator, List, Tuple

from django.apps import apps
from pawl.django import durable

from .naming import Text, revoke_opaque

#: Set while rows go because they were revoked: the bridge has nothing to tell then.
quiet: "contextvars.ContextVar[bool]" = contextvars.ContextVar("pawl_tokens_quiet", default=False)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    token = quiet.set(True)
    try:
        yield
    finally:
        quiet.reset(token)


#: Models of other packages; subclasses of OpaqueTokenMixin are found by themselves.
MODELS = ("authtoken.Token", "authtoken.TokenProxy", "knox.AuthToken")


def models() -> List[Any]:
    """The installed models of opaque tokens."""
    from .opaque import OpaqueTokenMixin

    return [model for model in apps.get_models()
            if issubclass(model, OpaqueTokenMixin) or model._meta.label in MODELS]


def named(token: Any) -> Tuple[Text, Any]:
    """What a row's token is known by, and when it ends: of REST Framework's Token its key; of
    knox's AuthToken, and of ours, the digest, for the token itself is nowhere."""
    if hasattr(token, "digest"):
        return str(token.digest), getattr(token, "expiry", getattr(token, "expires", None))
    return str(token.key), None


def revoke(token: Any, *, reason: str = "logout", actor: Any = "", request: Any = None) -> None:
    """Revoke a token: a row (REST Framework's, knox's, :class:`pawl.tokens.OpaqueTokenMixin`), or
    the text of one of REST Framework's.

    In pawld first, on every server; then the row goes, because pawld does not remember for ever.
    Raises ServiceUnavailable, and changes nothing, where pawld did not acknowledge it.
    """
    if isinstance(token, (str, bytes)):
        revoke_opaque(token, reason=reason, actor=actor, request=request)
        return
    name, expires = named(token)
    revoke_opaque(name, expires, reason=reason, actor=actor, request=request)
    with quietly():
        token.delete()


def revoke_user(user: Any, *, reason: str = "logout_all", actor: Any = "",
                request: Any = None) -> None:
    """Log a user out everywhere: every token of theirs from before now, of every kind (JWT and
    OAuth too, which share the subject); the rows of opaque tokens go."""
    durable.revoke("subject", str(user.pk), reason=reason, actor=actor, request=request,
                   sender=revoke_user)
    with quietly():
        for model in models():
            model.objects.filter(user=user).delete()

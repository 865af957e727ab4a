"""System checks: settings under which a log-out would reach less than it says."""

import datetime
from typing import Any, List

from django.core import checks
from django.utils.module_loading import import_string
from rest_framework_simplejwt.settings import api_settings

from .sessions import LIFETIME_DEFAULT_S


def register() -> None:
    """Let ``manage.py check`` run these; the app does it."""
    checks.register(check_classes, "pawl")
    checks.register(check_lifetimes, "pawl")


def _token_class(setting: str) -> Any:
    """The token class of a configured serializer, or None."""
    try:
        return getattr(import_string(getattr(api_settings, setting)), "token_class", None)
    except (ImportError, AttributeError):
        return None


def _is_ours(token_class: Any) -> bool:
    from .tokens import RevocableMixin

    return isinstance(token_class, type) and issubclass(token_class, RevocableMixin)


def check_classes(**_: Any) -> List[Any]:
    """Stock classes beside pawl's."""
    from .serializers import TokenRefreshSerializer

    found: List[Any] = []
    stock = [one.__name__ for one in api_settings.AUTH_TOKEN_CLASSES if not _is_ours(one)]
    if stock:
        found.append(checks.Warning(
            f"SIMPLE_JWT['AUTH_TOKEN_CLASSES'] has {', '.join(stock)}, which does not ask pawld: "
            f"such tokens outlive a log-out under simplejwt's own authentication classes.",
            hint="Write 'pawl.simplejwt.tokens.AccessToken', or {**pawl.simplejwt.CLASSES, ...}.",
            id="pawl.W501"))
    if not _is_ours(_token_class("TOKEN_OBTAIN_SERIALIZER")):
        found.append(checks.Warning(
            "SIMPLE_JWT['TOKEN_OBTAIN_SERIALIZER'] issues tokens without a login (sid): a log-out "
            "ends one token of them and no other.",
            hint="Derive it from pawl.simplejwt.serializers.TokenObtainPairSerializer. (Not needed "
                 "where only pawl.simplejwt.views issue tokens.)", id="pawl.W502"))
    refresh = import_string(api_settings.TOKEN_REFRESH_SERIALIZER)
    if (api_settings.ROTATE_REFRESH_TOKENS and _is_ours(getattr(refresh, "token_class", None))
            and not issubclass(refresh, TokenRefreshSerializer)):
        found.append(checks.Error(
            "SIMPLE_JWT['TOKEN_REFRESH_SERIALIZER'] rotates pawl's refresh tokens without pawld: "
            "their successors are unknown to it and would be refused.",
            hint="Derive it from pawl.simplejwt.serializers.TokenRefreshSerializer.",
            id="pawl.E503"))
    return found


def check_lifetimes(**_: Any) -> List[Any]:
    """Tokens that live longer than pawld takes by default."""
    lifetime = api_settings.REFRESH_TOKEN_LIFETIME
    if lifetime <= datetime.timedelta(seconds=LIFETIME_DEFAULT_S):
        return []
    return [checks.Warning(
        f"SIMPLE_JWT['REFRESH_TOKEN_LIFETIME'] is {lifetime}; pawld takes no token that lives "
        f"longer than its tokens.max_lifetime, by default 30 days.",
        hint="Raise tokens.max_lifetime in pawld's configuration, then silence this check.",
        id="pawl.W504")]

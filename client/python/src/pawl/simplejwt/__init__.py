"""djangorestframework-simplejwt with log-out that works: tokens that pawld can revoke.

In a project that uses simplejwt already, its settings change to::

    import pawl.simplejwt

    INSTALLED_APPS = [..., "pawl.django", "pawl.simplejwt"]
    SIMPLE_JWT = {**pawl.simplejwt.CLASSES, ...}

and the stock views issue, refresh, verify and end tokens through pawld. The views here add log-out
everywhere, and answers whose ``code`` tells a revoked token from an expired one. See
:mod:`pawl.simplejwt.tokens` (classes), :mod:`pawl.simplejwt.authentication`,
:mod:`pawl.simplejwt.rotation` (refresh), :mod:`pawl.simplejwt.sessions` (log-out),
:mod:`pawl.simplejwt.views`, :mod:`pawl.simplejwt.bridge` (stock blacklist, password change) and the
command ``pawl_import_blacklist``.

Importing this package imports neither Django nor simplejwt, so that settings can.
"""

import importlib
from typing import Any, Dict

#: For ``SIMPLE_JWT``: the classes of simplejwt that this package takes the place of.
CLASSES: Dict[str, Any] = {
    "AUTH_TOKEN_CLASSES": ("pawl.simplejwt.tokens.AccessToken",),
    "TOKEN_OBTAIN_SERIALIZER": "pawl.simplejwt.serializers.TokenObtainPairSerializer",
    "TOKEN_REFRESH_SERIALIZER": "pawl.simplejwt.serializers.TokenRefreshSerializer",
    "TOKEN_VERIFY_SERIALIZER": "pawl.simplejwt.serializers.TokenVerifySerializer",
    "TOKEN_BLACKLIST_SERIALIZER": "pawl.simplejwt.serializers.TokenBlacklistSerializer",
    "SLIDING_TOKEN_OBTAIN_SERIALIZER":
        "pawl.simplejwt.serializers.TokenObtainSlidingSerializer",
    "SLIDING_TOKEN_REFRESH_SERIALIZER":
        "pawl.simplejwt.serializers.TokenRefreshSlidingSerializer",
}

_HOMES = {"AccessToken": "tokens", "RefreshToken": "tokens", "SlidingToken": "tokens",
          "UntypedToken": "tokens", "JWTAuthentication": "authentication",
          "JWTStatelessUserAuthentication": "authentication", "log_out": "sessions",
          "log_out_everywhere": "sessions"}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)

"""django-oauth-toolkit with log-out that works: OAuth tokens that pawld can revoke.

In a project that uses the toolkit already::

    INSTALLED_APPS = [..., "oauth2_provider", "pawl.django", "pawl.oauth"]
    OAUTH2_PROVIDER = {..., "OAUTH2_VALIDATOR_CLASS": "pawl.oauth.PawlOAuth2Validator"}
    urlpatterns = [path("o/", include("pawl.oauth.urls")), ...]   # was oauth2_provider.urls

Then one of several concurrent refreshes wins and the others get the same answer, a refresh token
that was used before kills its login, and a revoked token is refused by every server at once,
however long it keeps an introspection. The toolkit's view decorators take its own validator
whatever the settings say: import them from :mod:`pawl.oauth.decorators`.

See :mod:`.validators`, :mod:`.texts` (what is in a token), :mod:`.remote` (resource servers),
:mod:`.revoking`, :mod:`.bridge` (admin), :mod:`.errors`.

Importing this package imports neither Django nor the toolkit.
"""

import importlib
from typing import Any

_HOMES = {"PawlOAuth2Validator": "validators", "OAuth2Authentication": "authentication",
          "OAuth2TokenMiddleware": "middleware", "UnavailableMiddleware": "middleware",
          "revoke_text": "revoking", "revoke_user": "revoking", "revoke_application": "revoking"}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)

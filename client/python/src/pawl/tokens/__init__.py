"""Opaque tokens that pawld can revoke: REST Framework's ``authtoken``, knox's, and your own.

::

    INSTALLED_APPS = [..., "rest_framework.authtoken", "pawl.django", "pawl.tokens"]
    REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": ["pawl.tokens.TokenAuthentication"]}

    pawl.tokens.revoke(token)          # one
    pawl.tokens.revoke_user(user)      # all of a user

See :mod:`.naming` (what leaves the process), :mod:`.authtoken`, :mod:`.knox`, :mod:`.opaque` (a
model for tokens of your own), :mod:`.bridge` (deleted rows).
"""

import importlib
from typing import Any

_HOMES = {"TokenAuthentication": "authtoken", "ObtainAuthToken": "authtoken",
          "obtain_auth_token": "authtoken", "KnoxTokenAuthentication": "knox",
          "OpaqueTokenMixin": "opaque", "OpaqueTokenAuthentication": "opaque",
          "revoke": "revoking", "revoke_user": "revoking", "revoke_opaque": "naming",
          "check_opaque": "naming"}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)

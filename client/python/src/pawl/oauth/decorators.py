"""The toolkit's decorators for plain views, with the validator of the settings.

The toolkit's own take its own validator, whatever OAUTH2_VALIDATOR_CLASS says, and so never ask
pawld: import them from here.
"""

import functools
from typing import Any

from oauth2_provider import decorators as _toolkits
from oauth2_provider.settings import oauth2_settings


def _with_our_validator(decorator: Any) -> Any:
    @functools.wraps(decorator)
    def decorate(scopes: Any = None, **options: Any) -> Any:
        options.setdefault("validator_cls", oauth2_settings.OAUTH2_VALIDATOR_CLASS)
        return decorator(scopes, **options)

    return decorate


protected_resource = _with_our_validator(_toolkits.protected_resource)
rw_protected_resource = _with_our_validator(_toolkits.rw_protected_resource)

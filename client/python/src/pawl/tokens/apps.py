"""``INSTALLED_APPS = [..., "pawl.tokens"]``: deleted rows are revoked."""

from typing import List, Tuple

from django.apps import AppConfig


class PawlTokensConfig(AppConfig):
    """It has no models."""

    name = "pawl.tokens"
    label = "pawl_tokens"
    verbose_name = "pawl for opaque tokens"
    default = True

    def ready(self) -> None:
        from . import bridge

        bridge.connect()

    def pawl_names(self, text: str) -> List[Tuple[str, bytes]]:
        """For ``manage.py pawl_revoke --opaque``: what a token of any kind here is known by."""
        from . import naming

        known = text, *naming.digests(text), naming.knox_digest(text)
        return [("opaque", name) for one in known if one for name in naming.names(one)]

"""``INSTALLED_APPS = [..., "pawl.tokens"]``: deleted rows are revoked."""

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

"""``INSTALLED_APPS = [..., "oauth2_provider", "pawl.oauth"]``: deletions reach pawld."""

from django.apps import AppConfig


class PawlOAuthConfig(AppConfig):
    """It has no models."""

    name = "pawl.oauth"
    label = "pawl_oauth"
    verbose_name = "pawl for OAuth"
    default = True

    def ready(self) -> None:
        from . import bridge, checks

        checks.connect()
        bridge.connect()

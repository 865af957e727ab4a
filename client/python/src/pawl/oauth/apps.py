"""``INSTALLED_APPS = [..., "oauth2_provider", "pawl.oauth"]``: deletions reach pawld."""

from typing import List, Tuple

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

    def pawl_names(self, text: str) -> List[Tuple[str, str]]:
        """For ``manage.py pawl_revoke --opaque``: the login that an OAuth token belongs to. Without
        its refresh token an access token would be replaced at once."""
        from . import revoking

        sid = revoking.login_of(text)
        return [("family", sid)] if sid else []

"""The app: the bridge, system checks, the import of a blacklist."""

from django.apps import AppConfig


class PawlSimpleJWTConfig(AppConfig):
    """``INSTALLED_APPS = [..., "pawl.simplejwt"]``. It has no models."""

    name = "pawl.simplejwt"
    label = "pawl_simplejwt"
    verbose_name = "pawl for simplejwt"
    default = True

    def ready(self) -> None:
        from . import bridge, checks

        checks.register()
        bridge.connect()

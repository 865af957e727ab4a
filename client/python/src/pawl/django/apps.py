"""The app: system checks, security events, management commands."""

from django.apps import AppConfig


class PawlConfig(AppConfig):
    """``INSTALLED_APPS = [..., "pawl.django"]``. It has no models."""

    name = "pawl.django"
    label = "pawl"
    verbose_name = "pawl"
    default = True

    def ready(self) -> None:
        from . import checks, events  # noqa: F401  (checks register themselves)

        events.connect()

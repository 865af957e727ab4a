"""The app: system checks, security events, management commands."""

import importlib

from django.apps import AppConfig


class PawlConfig(AppConfig):
    """``INSTALLED_APPS = [..., "pawl.django"]``. It has no models."""

    name = "pawl.django"
    label = "pawl"
    verbose_name = "pawl"
    default = True

    def ready(self) -> None:
        from . import events

        importlib.import_module("pawl.django.checks")  # they register themselves
        events.connect()

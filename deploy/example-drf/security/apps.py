from django.apps import AppConfig


class SecurityConfig(AppConfig):
    name = "security"

    def ready(self):
        from . import cors  # noqa: F401  (connects itself)

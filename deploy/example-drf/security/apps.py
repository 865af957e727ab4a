from django.apps import AppConfig


class SecurityConfig(AppConfig):
    name = "security"

    def ready(self):
        from corsheaders.signals import check_request_enabled

        from .cors import open_path

        check_request_enabled.connect(open_path, dispatch_uid="security.cors")

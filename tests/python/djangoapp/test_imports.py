"""Any module of the package may be the first that a project imports, under any of its settings.

REST Framework imports the classes named in its settings while its own modules are being imported:
a module of ours that needs one of those at its top would find itself half made.
"""

import subprocess
import sys

import pytest

PROJECT = """
import importlib, django
from django.conf import settings
settings.configure(
    SECRET_KEY="a key of the tests",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework",
                    "pawl.django"],
    REST_FRAMEWORK={
        "DEFAULT_THROTTLE_CLASSES": ["pawl.drf.AnonRateThrottle", "pawl.drf.UserRateThrottle"],
        "DEFAULT_THROTTLE_RATES": {"anon": "5/m", "user": "9/m"}, "NUM_PROXIES": 0,
        "EXCEPTION_HANDLER": "pawl.django.handlers.problem_json",
    },
    MIDDLEWARE=["pawl.django.middleware.RateLimitHeadersMiddleware"],
)
"""


@pytest.mark.parametrize("first", [
    "pawl.django.middleware", "pawl.django.decorators", "pawl.django.handlers",
    "pawl.django.events", "pawl.django.throttling", "pawl.django.logins", "pawl.drf",
    "pawl.testing", "pawl.pytest_plugin", "rest_framework.views"])
def test_a_project_may_begin_with_any_module(first):
    code = PROJECT + f"""
importlib.import_module({first!r})
django.setup()
from rest_framework.views import APIView
assert [cls.__module__.split(".")[0] for cls in APIView.throttle_classes] == ["pawl", "pawl"]
from django.core.management import call_command
call_command("check", fail_level="ERROR")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

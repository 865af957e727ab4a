"""The dotted paths of the README in a project's settings: whatever is imported first, it works."""

import os
import subprocess
import sys

import pytest

import rig

PROJECT = """
import django
from django.conf import settings

settings.configure(SECRET_KEY="x" * 50, INSTALLED_APPS=[
    "django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "pawl.django"],
    REST_FRAMEWORK={"DEFAULT_THROTTLE_CLASSES": ["pawl.drf.UserRateThrottle"]})
django.setup()
%s
from rest_framework.views import APIView
print(APIView.throttle_classes[0].__module__)
"""


@pytest.mark.parametrize("first", [
    "import rest_framework.views", "import pawl.drf", "import pawl.drf.rounds",
    "from pawl.drf import UserRateThrottle", "import pawl.simplejwt.views"])
def test_throttles_in_the_default_settings_load_whatever_is_imported_first(first):
    env = dict(os.environ, PYTHONPATH=str(rig.PACKAGE))
    env.pop("DJANGO_SETTINGS_MODULE", None)
    done = subprocess.run([sys.executable, "-c", PROJECT % first], env=env, text=True,
                          capture_output=True, timeout=rig.PATIENCE_S)
    assert done.stdout == "pawl.drf.stock\n", done.stderr[-1500:]

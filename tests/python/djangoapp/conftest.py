"""The project of these tests is configured once, when the folder is collected."""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
os.environ["DJANGO_SETTINGS_MODULE"] = "djangoapp_settings"

import rig  # noqa: E402

rig.use_package()
os.environ.setdefault("PAWLD", str(rig.BUILD / "pawld"))

import django  # noqa: E402

django.setup()
# Workers of pytest-xdist inherit the environment, and look for the settings before this file.
del os.environ["DJANGO_SETTINGS_MODULE"]

from pawl import pytest_plugin  # noqa: E402

# Fixtures become visible here by their names.
pawl_clock = pytest_plugin.pawl_clock
pawl_daemon = pytest_plugin.pawl_daemon
pawl_memory = pytest_plugin.pawl_memory


class Lines:
    """The security log of a test, parsed."""

    def __init__(self, caplog):
        self._caplog = caplog

    def __call__(self, event=None):
        records = [record for record in self._caplog.records if hasattr(record, "event")]
        return [dict(record.fields, event=record.event, level=record.levelname)
                for record in records if event is None or record.event == event]


@pytest.fixture
def events(caplog):
    """events("throttled"): the fields of those records, in order."""
    from pawl.django import events as module

    module._repeats.reset()
    caplog.set_level("INFO", "pawl.security")
    return Lines(caplog)

"""One pawld on a clock to turn for all tests of a worker; keys of their own keep them apart."""

import pathlib
import sys
import uuid

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import rig  # noqa: E402

rig.use_package()

import django  # noqa: E402
import drf_settings  # noqa: E402
from django.conf import settings  # noqa: E402

# Not by DJANGO_SETTINGS_MODULE: parallel workers would look for it before this file is read.
settings.configure(**{name: value for name, value in vars(drf_settings).items()
                      if name.isupper()})
django.setup()

from pawl import testing  # noqa: E402
from pawl.django import conf  # noqa: E402

CONFIG = """
limits:
  api: {rate: [4/minute, 6/hour], on_error: closed}
  api.gold: {rate: 8/minute}
  quiet: {rate: 1/minute, shadow: true}
  partners: {rate: 1/minute, bypass: ["7"]}
"""


@pytest.fixture(scope="session")
def daemon(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "pawld.yaml"
    path.write_text(CONFIG)
    with testing.TestDaemon(str(rig.BUILD / "pawld"), ["--config", str(path)]) as started:
        yield started


@pytest.fixture
def clock(daemon):
    """Time stands still; clock.advance(seconds). It begins where nothing of other tests counts."""
    daemon.clock.advance(1)
    return daemon.clock


@pytest.fixture
def settings_of(daemon, clock):
    """A context manager: PAWL changed by its arguments, clients of this daemon."""
    prefix = uuid.uuid4().hex[:8] + "|"

    def change(**more):
        return testing.override_daemon(daemon, **{
            "KEY_PREFIX": prefix, "DEADLINE_MS": 5000, **more})
    return change


@pytest.fixture
def counted(settings_of):
    """Throttles ask the daemon, under keys of this test."""
    with settings_of():
        yield


@pytest.fixture
def asked(counted):
    """How many requests went to the daemon since: asked()."""
    client = conf.get_client()

    def checks():
        return client.stats("requests_checks")["requests_checks"]
    begun = checks()
    return lambda: checks() - begun


@pytest.fixture
def events(caplog):
    """events("throttled"): the fields of those records, in order."""
    from pawl.django import events as module

    module._repeats.reset()
    caplog.set_level("INFO", "pawl.security")

    def found(name=None):
        return [dict(record.fields, event=record.event) for record in caplog.records
                if hasattr(record, "event") and name in (None, record.event)]
    return found

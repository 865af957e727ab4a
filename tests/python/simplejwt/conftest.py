"""The project of these tests is configured once, when the folder is collected."""

import contextlib
import os
import pathlib
import signal
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
os.environ["DJANGO_SETTINGS_MODULE"] = "simplejwt_settings"

import rig  # noqa: E402

rig.use_package()

import django  # noqa: E402

django.setup()
# Workers of pytest-xdist inherit the environment, and look for the settings before this file.
del os.environ["DJANGO_SETTINGS_MODULE"]

from rest_framework.test import APIClient  # noqa: E402

PASSWORD = "a long password"


@pytest.fixture
def shop(daemon, settings, transactional_db):
    """A running pawld, the project that asks it, and a user."""
    return Shop(daemon, settings)


class Shop:
    """What a client of the API does, in short words; each returns the response."""

    def __init__(self, daemon, settings):
        self.daemon = daemon
        self.settings = settings
        self.use()
        from django.contrib.auth import get_user_model

        self.user = get_user_model().objects.create_user("alice", "alice@example.org", PASSWORD)

    def use(self, **pawl):
        """Change PAWL. Deadlines are those of a machine with much else to do."""
        self.settings.PAWL = {"ADDR": self.daemon.unix, "DEADLINE_MS": 5000,
                              "DURABLE_DEADLINE_MS": 20_000, **pawl}

    def lose_daemon(self, **pawl):
        """End the daemon, and do not wait long for it."""
        self.daemon.kill()
        self.use(DURABLE_DEADLINE_MS=150, **pawl)

    def start_daemon(self):
        self.daemon.start()
        self.use()

    @contextlib.contextmanager
    def hanging_daemon(self):
        """The daemon stands still, with all its threads, and is there."""
        rig.stop(self.daemon)
        try:
            yield
        finally:
            self.daemon.process.send_signal(signal.SIGCONT)

    def post(self, path, bearer=None, **body):
        return self._client(bearer).post(path, body, format="json")

    def get(self, path, bearer=None):
        return self._client(bearer).get(path)

    @staticmethod
    def _client(bearer):
        client = APIClient()
        if bearer is not None:
            client.credentials(HTTP_AUTHORIZATION=f"Bearer {bearer}")
        return client

    def login(self, path="/token/", name="alice"):
        """The tokens of a log-in that works."""
        answer = self.post(path, username=name, password=PASSWORD)
        assert answer.status_code == 200, answer.data
        return answer.data

    def refresh(self, text, path="/token/refresh/"):
        return self.post(path, refresh=text)

    def me(self, access, path="/me/"):
        return self.get(path, access)

    def together(self, count, call):
        """The results of @call in @count threads that begin at the same moment."""
        gate = threading.Barrier(count)

        def one(_):
            from django.db import connection
            gate.wait(rig.PATIENCE_S)
            try:
                return call()
            finally:
                connection.close()
        return rig.in_parallel(count, one)


@pytest.fixture
def events(caplog):
    """events("reuse_detected"): the fields of those records, in order."""
    from pawl.django import events as module

    module._repeats.reset()
    caplog.set_level("INFO", "pawl.security")

    def found(name=None):
        return [dict(record.fields, event=record.event) for record in caplog.records
                if hasattr(record, "event") and name in (None, record.event)]
    return found

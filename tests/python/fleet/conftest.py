"""The project of tests/bench/django under real application servers."""

import contextlib
import json
import sys

import pytest

import rig

sys.path.insert(0, str(rig.ROOT / "tests" / "bench" / "django"))
import servers  # noqa: E402

#: For what is not about deadlines: a busy machine may let pawld wait, and then the policy answers.
PATIENT = {"DEADLINE_MS": 10_000}


@pytest.fixture
def site(tmp_path):
    """A factory: site(daemon, server="gunicorn", pawl={...}, ...) gives a running Site."""
    with contextlib.ExitStack() as stack:
        def make(address, server="gunicorn", pawl=None, redis=False, database=False, **options):
            url = stack.enter_context(servers.redis_server(tmp_path)) if redis else ""
            env = servers.environment(tmp_path, address, url, json.dumps(pawl or {}))
            if database:
                servers.manage(env, "migrate", "--run-syncdb", "-v", "0")
            start = getattr(servers, server)
            made = stack.enter_context(start(tmp_path, env, **options))
            made.env = env
            return made
        yield make

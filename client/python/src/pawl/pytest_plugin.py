"""pytest fixtures of pawl; loaded by the entry point ``pytest11`` of the package, or by
``pytest_plugins = ["pawl.pytest_plugin"]``. Imports neither Django nor a client until one is used.

``pawl_clock``   a clock to turn: ``pawl_clock.advance(seconds)``.
``pawl_memory``  a client without a daemon on that clock; where Django is configured, its throttles,
                 decorators and tokens are answered from it for the length of the test.
``pawl_daemon``  a real pawld on that clock, where one is found (PAWLD of the environment, or PATH;
                 else the test is skipped); ``pawl_daemon.address``, ``pawl_daemon.client()``. Where
                 Django is configured, its clients ask this daemon.
"""

import contextlib
from typing import Any, Iterator

import pytest


def _django_is_configured() -> bool:
    import sys

    conf = sys.modules.get("django.conf")  # who did not import it does not use it
    return conf is not None and bool(conf.settings.configured)


@pytest.fixture
def pawl_clock() -> Any:
    from pawl.testing import Clock

    return Clock()


@pytest.fixture
def pawl_memory(pawl_clock: Any) -> Iterator[Any]:
    from pawl import testing

    if not _django_is_configured():
        yield testing.MemoryClient(pawl_clock)
        return
    with testing.override_pawl(clock=pawl_clock) as memory:
        yield memory


@pytest.fixture
def pawl_daemon(pawl_clock: Any) -> Iterator[Any]:
    from pawl import testing

    if not testing.find_pawld():
        pytest.skip("no pawld: put it into PATH, or name it in PAWLD")
    daemon = testing.TestDaemon()
    daemon.clock = pawl_clock
    with contextlib.ExitStack() as stack:
        stack.enter_context(daemon)
        if _django_is_configured():
            stack.enter_context(testing.override_daemon(daemon))
        yield daemon

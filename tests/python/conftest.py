"""Fixtures of the Python package's tests; the daemons are those of tests/integration.

Run one folder at a time: each may configure Django, which works once in a process. ::

    ./dev python && /usr/bin/python3 -m pytest -q tests/python/binding

PAWL_BUILD names the folder of pawld, PAWL_PYTHON that of the package (default: the source, with
the extension built in place). A missing extension skips its tests, or with PAWL_REQUIRE_NATIVE=1,
as in ``./dev test``, fails them.
"""

import pytest

import rig

rig.use_package()

# Fixtures become visible here by their names.
make_daemon = rig.integration.make_daemon
pawld = rig.integration.pawld
wire = rig.integration.wire
connect = rig.integration.connect


def pytest_configure(config):
    rig.integration.pytest_configure(config)


@pytest.fixture
def daemon(make_daemon):
    """A pawld without settings, on a Unix socket (``daemon.unix``) and TCP (``daemon.tcp_uri``)."""
    return make_daemon()


@pytest.fixture(params=("native", "pure"))
def backend(request):
    """The name of each backend in turn: a test that takes it runs with both."""
    rig.backend_class(request.param)
    return request.param


@pytest.fixture
def make_handle(backend):
    """A factory of handles of the backend, closed when the test ends: make_handle(addresses=...)"""
    from pawl._types import HandleOptions
    made = []

    def make(addresses="", **options):
        made.append(rig.backend_class(backend)(HandleOptions(addresses, **options)))
        return made[-1]

    yield make
    for handle in made:
        handle.close()

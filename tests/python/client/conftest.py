import pytest

import pawl


@pytest.fixture
def make_client(backend):
    """A factory of blocking clients of the backend, closed when the test ends."""
    made = []

    def make(addresses, **options):
        options.setdefault("check_deadline_ms", 20_000)  # a busy machine is not what is tested
        options.setdefault("durable_deadline_ms", 20_000)
        made.append(pawl.Client(addresses, backend=backend, **options))
        return made[-1]
    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(make_client, daemon):
    return make_client(daemon.unix)

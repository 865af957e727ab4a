"""A project's own tests: OAuth without a daemon, answered from memory."""

import pytest

import pawl.oauth
from pawl.testing import override_pawl


@pytest.fixture
def memory(transactional_db):
    with override_pawl() as memory:
        yield memory


def test_a_login_lives_and_dies_in_memory_as_beside_a_daemon(memory, make_server):
    server = make_server()
    first = server.log_in()
    second, again = (server.refreshed(first["refresh_token"]) for _ in range(2))
    assert again["refresh_token"] == second["refresh_token"]
    third = server.refreshed(second["refresh_token"])
    assert server.get("/who/", third["access_token"]).status_code == 200
    assert server.refresh(first["refresh_token"]).status_code == 400  # theft
    assert server.get("/who/", third["access_token"]).status_code == 401


def test_log_out_and_an_outage_can_be_played(memory, make_server):
    server = make_server()
    tokens, others = server.log_in(), server.log_in()
    assert server.revoke(tokens["refresh_token"]).status_code == 200
    assert server.get("/who/", tokens["access_token"]).status_code == 401
    memory.away = True
    assert server.get("/who/", others["access_token"]).status_code == 503
    memory.away = False
    pawl.oauth.revoke_user(server.user)
    assert server.get("/who/", others["access_token"]).status_code == 401

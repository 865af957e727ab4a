"""A project's own tests, without a daemon: pawl.testing."""

import pytest

from conftest import PASSWORD
from pawl.testing import override_pawl


@pytest.fixture
def alice(transactional_db):
    from django.contrib.auth import get_user_model

    return get_user_model().objects.create_user("alice", password=PASSWORD)


def test_a_session_without_a_daemon(alice, client):
    def post(path, **body):
        return client.post(path, body, content_type="application/json")

    def me(access):
        return client.get("/me/", HTTP_AUTHORIZATION=f"Bearer {access}")

    with override_pawl() as memory:
        first = post("/token/", username="alice", password=PASSWORD).json()
        assert me(first["access"]).status_code == 200
        second = post("/token/refresh/", refresh=first["refresh"]).json()
        assert post("/token/refresh/", refresh=first["refresh"]).json()["refresh"] == (
            second["refresh"])
        assert post("/token/refresh/", refresh=second["refresh"]).status_code == 200
        assert post("/token/refresh/", refresh=first["refresh"]).json()["code"] == "token_reuse"
        assert me(first["access"]).json()["code"] == "token_revoked"
        third = post("/token/", username="alice", password=PASSWORD).json()
        alice.set_password("another password")
        alice.save()
        assert me(third["access"]).status_code == 401
        memory.away = True
        assert me(third["access"]).status_code == 503

"""Refresh tokens under gunicorn: one winner, healed retries, theft, log-out on every worker."""

import concurrent.futures
import json

import pytest

import conftest
import servers

FORM = {"Content-Type": "application/json"}
ROUNDS = 50


def post(site, path, **body):
    status, headers, data = site.request("POST", path, json.dumps(body), FORM)
    return status, json.loads(data or b"null")


def me(site, access):
    return site.request("GET", "/me/", headers={"Authorization": f"Bearer {access}"})[0]


@pytest.fixture
def shop(daemon, site):
    made = site(daemon.unix, workers=4, threads=8, database=True, pawl=conftest.PATIENT)
    servers.manage(dict(made.env, DJANGO_SUPERUSER_PASSWORD="a long password"), "createsuperuser",
                   "--noinput", "--username", "alice", "--email", "alice@example.org")
    made.login = lambda: post(made, "/token/", username="alice", password="a long password")[1]
    return made


def everywhere(site, access, times=24):
    """The statuses of a token seen by the workers, and how many workers answered."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return set(pool.map(lambda _: me(site, access), range(times)))


def test_concurrent_refreshes_have_one_head_and_all_hold_it(shop):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for _ in range(ROUNDS):
            pair = shop.login()
            answers = list(pool.map(
                lambda _: post(shop, "/token/refresh/", refresh=pair["refresh"]), range(16)))
            assert {status for status, _ in answers} == {200}, answers
            heads = {body["refresh"] for _, body in answers}
            assert len(heads) == 1, "the family has branched"
            head = heads.pop()
            assert head != pair["refresh"]
            status, after = post(shop, "/token/refresh/", refresh=head)
            assert status == 200, "a client was logged out"
            assert me(shop, after["access"]) == 200


def test_a_replay_two_generations_later_kills_the_family_on_every_worker(shop):
    first = shop.login()
    second = post(shop, "/token/refresh/", refresh=first["refresh"])[1]
    third = post(shop, "/token/refresh/", refresh=second["refresh"])[1]
    assert everywhere(shop, third["access"]) == {200}
    status, body = post(shop, "/token/refresh/", refresh=first["refresh"])
    assert status == 401 and body["code"] == "token_reuse"
    for pair in (first, second, third):
        assert everywhere(shop, pair["access"]) == {401}
        assert post(shop, "/token/refresh/", refresh=pair["refresh"])[0] == 401


def test_a_log_out_on_one_worker_is_known_to_all(shop):
    pair = shop.login()
    assert everywhere(shop, pair["access"]) == {200}
    assert post(shop, "/logout/", refresh=pair["refresh"])[0] in (200, 204, 205)
    assert everywhere(shop, pair["access"]) == {401}


def test_a_daemon_that_is_away_logs_nobody_out(shop, daemon):
    pair = shop.login()
    daemon.kill()
    assert post(shop, "/token/refresh/", refresh=pair["refresh"])[0] == 503
    assert me(shop, pair["access"]) == 503
    daemon.start()
    servers.wait_for(lambda: me(shop, pair["access"]) == 200, "the daemon is asked again")
    assert post(shop, "/token/refresh/", refresh=pair["refresh"])[0] == 200

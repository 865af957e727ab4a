"""Log-out views, on simplejwt's addresses and on ours."""

import datetime

import jwt
import pytest

from pawl.simplejwt.tokens import AccessToken, RefreshToken


def claims(text):
    return jwt.decode(text, options={"verify_signature": False})


def is_dead(shop, pair):
    refused = shop.me(pair["access"])
    assert refused.status_code == 401 and refused.data["code"] == "token_revoked"
    assert shop.me(pair["access"], "/me/stock/").status_code == 401
    assert shop.refresh(pair["refresh"]).status_code == 401
    assert shop.refresh(pair["refresh"], "/stock/token/refresh/").status_code == 401
    assert shop.post("/token/verify/", token=pair["access"]).status_code == 401
    assert shop.post("/stock/token/verify/", token=pair["refresh"]).status_code == 401
    return True


@pytest.mark.parametrize("way", ["refresh", "access", "header", "blacklist", "stock", "both"])
def test_a_log_out_ends_both_tokens_by_whichever_is_given(shop, way, events):
    pair, other = shop.login(), shop.login()
    answer = {
        "refresh": lambda: shop.post("/token/logout/", refresh=pair["refresh"]),
        "access": lambda: shop.post("/token/logout/", access=pair["access"]),
        "header": lambda: shop.post("/token/logout/", pair["access"]),
        "blacklist": lambda: shop.post("/token/blacklist/", refresh=pair["refresh"]),
        "stock": lambda: shop.post("/stock/token/blacklist/", refresh=pair["refresh"]),
        "both": lambda: shop.post("/token/logout/", **pair),
    }[way]()
    assert answer.status_code == 200, answer.data
    assert is_dead(shop, pair)
    assert shop.me(other["access"]).status_code == 200, "another login lives"
    assert [line["scope"] for line in events("revoked")] == ["family"]


def test_a_log_out_twice_is_fine_and_rubbish_is_not(shop):
    pair = shop.login()
    for _ in range(2):
        assert shop.post("/token/logout/", refresh=pair["refresh"]).status_code == 200
    assert shop.post("/token/logout/", refresh="a.b.c").status_code == 401
    assert shop.post("/token/logout/").status_code == 400
    forged = pair["access"][:-4] + "AAAA"
    assert shop.post("/token/logout/", forged).status_code == 401


def test_a_log_out_by_a_superseded_or_expired_token_ends_the_login_too(shop):
    first = shop.login()
    second = shop.refresh(first["refresh"]).data
    assert shop.post("/token/logout/", refresh=first["refresh"]).status_code == 200
    assert is_dead(shop, second)
    refresh = RefreshToken.for_user(shop.user)
    access = refresh.access_token
    live = str(refresh.access_token)
    access.set_exp(lifetime=datetime.timedelta(minutes=-30))
    assert shop.post("/token/logout/", str(access)).status_code == 200
    assert shop.me(live).status_code == 401


def test_a_rotated_login_is_ended_with_all_its_access_tokens(shop):
    first = shop.login()
    second = shop.refresh(first["refresh"]).data
    shop.post("/token/logout/", refresh=second["refresh"])
    assert shop.me(first["access"]).status_code == 401
    assert shop.me(second["access"]).status_code == 401
    # After a log-out a refresh is no theft.
    assert shop.refresh(first["refresh"]).data["code"] == "token_revoked"


def test_a_token_without_login_is_ended_alone(shop):
    token = AccessToken.for_user(shop.user)
    other = shop.login()
    assert shop.post("/token/logout/", str(token)).status_code == 200
    assert shop.me(str(token)).status_code == 401
    assert shop.me(other["access"]).status_code == 200


def test_log_out_everywhere_ends_all_logins_and_spares_the_next(shop):
    from django.contrib.auth import get_user_model

    from conftest import PASSWORD

    get_user_model().objects.create_user("bob", password=PASSWORD)
    pairs, bob = [shop.login() for _ in range(3)], shop.login(name="bob")
    assert shop.post("/token/logout-everywhere/", pairs[1]["access"]).status_code == 200
    after = shop.login()
    assert all(is_dead(shop, pair) for pair in pairs)
    assert shop.me(bob["access"]).status_code == 200
    assert shop.me(after["access"]).status_code == 200
    assert shop.post("/token/logout-everywhere/", refresh=after["refresh"]).status_code == 200
    assert is_dead(shop, after)


def test_log_out_everywhere_needs_a_token_that_is_good(shop):
    pair, other = shop.login(), shop.login()
    shop.post("/token/logout/", refresh=pair["refresh"])
    refused = shop.post("/token/logout-everywhere/", pair["access"])
    assert refused.status_code == 401 and refused.data["code"] == "token_revoked"
    assert shop.post("/token/logout-everywhere/").status_code == 400
    assert shop.me(other["access"]).status_code == 200


def test_a_log_out_that_nobody_took_is_503_and_not_done(shop):
    pair = shop.login()
    shop.lose_daemon()
    for path in ("/token/logout/", "/token/logout-everywhere/"):
        answer = shop.post(path, refresh=pair["refresh"])
        assert answer.status_code == 503 and int(answer["Retry-After"]) >= 1
    shop.start_daemon()
    assert shop.me(pair["access"]).status_code == 200
    assert shop.post("/token/logout/", refresh=pair["refresh"]).status_code == 200
    assert is_dead(shop, pair)


def test_a_log_out_outlives_a_crash_of_the_daemon(shop):
    pair = shop.login()
    shop.post("/token/logout/", refresh=pair["refresh"])
    shop.daemon.kill()
    shop.daemon.start()
    assert is_dead(shop, pair)


def test_the_stock_views_work_with_pawl_s_serializers(shop):
    pair = shop.login("/stock/token/")
    second = shop.refresh(pair["refresh"], "/stock/token/refresh/")
    assert second.status_code == 200
    assert claims(second.data["refresh"])["gen"] == 1
    third = shop.refresh(second.data["refresh"], "/stock/token/refresh/").data
    stolen = shop.refresh(pair["refresh"], "/stock/token/refresh/")
    assert stolen.status_code == 401 and stolen.data["code"] == "token_reuse"
    assert shop.me(third["access"], "/me/stock/").status_code == 401


def test_a_good_token_is_verified_whatever_its_type(shop):
    pair = shop.login()
    for text in pair.values():
        assert shop.post("/token/verify/", token=text).status_code == 200
    assert shop.post("/token/verify/", token="a.b.c").data["code"] == "token_not_valid"

"""Refresh through the views: one successor for all, healed retries, detected theft."""

import time

import jwt
import pytest

from pawl.django import signals


def claims(text):
    return jwt.decode(text, options={"verify_signature": False})


def test_a_refresh_gives_a_successor_that_works_and_keeps_the_claims(shop):
    first = shop.login("/token/named/")
    second = shop.refresh(first["refresh"]).data
    before, after = claims(first["refresh"]), claims(second["refresh"])
    assert after["name"] == "alice" and after["roles"] == ["reader", "writer"]
    assert after["sid"] == before["sid"] and (before["gen"], after["gen"]) == (0, 1)
    assert after["jti"] != before["jti"] and len(after["jti"]) == 32
    assert after["user_id"] == before["user_id"]
    assert set(after) == set(before)
    access = claims(second["access"])
    assert access["sid"] == before["sid"] and access["name"] == "alice"
    assert "gen" not in access and access["token_type"] == "access"
    assert shop.me(second["access"]).status_code == 200
    assert shop.refresh(second["refresh"]).status_code == 200


def test_sixteen_refreshes_at_once_have_one_head_and_all_hold_it(shop):
    for _ in range(5):
        first = shop.login()
        answers = shop.together(16, lambda: shop.refresh(first["refresh"]))
        assert {answer.status_code for answer in answers} == {200}, [a.data for a in answers]
        heads = {answer.data["refresh"] for answer in answers}
        assert len(heads) == 1, "the family has branched"
        after = shop.refresh(heads.pop())
        assert after.status_code == 200, "a client was logged out"
        assert {shop.me(answer.data["access"]).status_code for answer in answers} == {200}


def test_a_lost_answer_is_healed_with_the_same_text(shop):
    first = shop.login()
    lost = shop.refresh(first["refresh"]).data
    again = shop.refresh(first["refresh"])
    assert again.status_code == 200 and again.data["refresh"] == lost["refresh"]


def test_a_replay_two_generations_later_kills_the_family_and_its_access_tokens(shop, events):
    heard = []

    def receiver(sender, **told):
        heard.append(told)

    signals.reuse_detected.connect(receiver)
    first = shop.login()
    second = shop.refresh(first["refresh"]).data
    third = shop.refresh(second["refresh"]).data
    other = shop.login()
    stolen = shop.refresh(first["refresh"])
    assert stolen.status_code == 401 and stolen.data["code"] == "token_reuse"
    assert stolen["WWW-Authenticate"] == (
        'Bearer realm="api", error="invalid_token", error_description="token_reuse"')
    for pair in (first, second, third):
        refused = shop.me(pair["access"])
        assert refused.status_code == 401 and refused.data["code"] == "token_revoked"
        assert shop.refresh(pair["refresh"]).status_code == 401
    assert shop.me(other["access"]).status_code == 200, "another login of the user is untouched"
    assert len(heard) == 1 and heard[0]["subject"] == str(shop.user.pk)
    assert heard[0]["sid"] == claims(first["refresh"])["sid"]
    assert len(events("reuse_detected")) == 1


def test_the_tab_that_lost_in_soft_mode_is_told_409_and_nothing_is_revoked(
        make_daemon, settings, transactional_db):
    from conftest import Shop

    shop = Shop(make_daemon("--set", "rotation.mode=soft"), settings)
    first = shop.login()
    second = shop.refresh(first["refresh"]).data
    raced = shop.refresh(first["refresh"])
    assert raced.status_code == 409 and raced.data["detail"].code == "refresh_raced"
    assert shop.refresh(second["refresh"]).status_code == 200


def test_without_a_daemon_a_refresh_is_503_and_consumes_nothing(shop):
    first = shop.login()
    shop.lose_daemon()
    away = shop.refresh(first["refresh"])
    assert away.status_code == 503 and int(away["Retry-After"]) >= 1
    shop.start_daemon()
    assert shop.refresh(first["refresh"]).status_code == 200


def test_a_daemon_that_hangs_costs_the_deadline_and_nobody_their_login(shop):
    first = shop.login()
    shop.use(DEADLINE_MS=50, DURABLE_DEADLINE_MS=200)
    with shop.hanging_daemon():
        assert shop.me(first["access"]).status_code == 503
        assert shop.refresh(first["refresh"]).status_code == 503
    shop.use()
    assert shop.me(first["access"]).status_code == 200
    assert shop.refresh(first["refresh"]).status_code == 200


def test_open_lets_a_refresh_through_without_rotating(shop):
    first = shop.login()
    shop.lose_daemon(ON_UNAVAILABLE={"refresh": "open", "access": "open"})
    answer = shop.refresh(first["refresh"])
    assert answer.status_code == 200 and answer.data["refresh"] == first["refresh"]
    assert shop.me(answer.data["access"]).status_code == 200
    shop.start_daemon()
    assert shop.refresh(first["refresh"]).status_code == 200


def test_a_retry_within_the_request_makes_the_same_proposal(shop, monkeypatch):
    from pawl.django import conf

    client = conf.get_client()
    proposals = []
    real = client.rotate

    def losing(presented, next_exp_s, **options):
        answer = real(presented, next_exp_s, **options)
        proposals.append(options["next_jti"])
        return answer._replace(result="unavailable") if len(proposals) < 3 else answer

    monkeypatch.setattr(client, "rotate", losing)
    first = shop.login()
    second = shop.refresh(first["refresh"])
    assert second.status_code == 200
    assert len(proposals) == 3 and len(set(proposals)) == 1
    assert claims(second.data["refresh"])["jti"] == proposals[0]
    shop.refresh(second.data["refresh"])
    assert proposals[3] != proposals[0], "fresh for each HTTP request"


def test_tokens_from_before_pawl_are_adopted_until_the_deadline_only(
        make_daemon, settings, transactional_db):
    from rest_framework_simplejwt.tokens import RefreshToken as Stock

    from conftest import Shop

    now = int(time.time())
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + 60))
    shop = Shop(make_daemon("--set", f"rotation.adopt_before={until}"), settings)
    old = str(Stock.for_user(shop.user))
    refused = shop.refresh(old)
    assert refused.status_code == 401 and refused.data["code"] == "token_unknown"
    shop.use(ADOPT_BEFORE_S=now - 3600)
    assert shop.refresh(old).status_code == 401
    shop.use(ADOPT_BEFORE_S=now + 60)
    answers = shop.together(8, lambda: shop.refresh(old))
    assert {answer.status_code for answer in answers} == {200}, [a.data for a in answers]
    heads = {answer.data["refresh"] for answer in answers}
    assert len(heads) == 1
    head = heads.pop()
    assert claims(head)["sid"] and claims(head)["gen"] == 1
    second = shop.refresh(head)
    assert second.status_code == 200
    assert shop.refresh(old).data["code"] == "token_reuse"
    assert shop.me(second.data["access"]).status_code == 401


def test_without_rotation_a_refresh_only_asks(shop, monkeypatch):
    from rest_framework_simplejwt.settings import api_settings

    monkeypatch.setattr(api_settings, "ROTATE_REFRESH_TOKENS", False)
    first = shop.login()
    for _ in range(2):
        answer = shop.refresh(first["refresh"])
        assert answer.status_code == 200 and set(answer.data) == {"access"}
    shop.post("/token/logout/", refresh=first["refresh"])
    refused = shop.refresh(first["refresh"])
    assert refused.status_code == 401 and refused.data["code"] == "token_revoked"


def test_the_family_s_end_is_signed_into_the_successor(make_daemon, settings, transactional_db):
    from conftest import Shop

    shop = Shop(make_daemon("--set", "rotation.family_max=1h"), settings)
    first = shop.login()
    assert claims(first["refresh"])["exp"] <= time.time() + 3601
    second = shop.refresh(first["refresh"]).data
    assert claims(second["refresh"])["exp"] <= time.time() + 3601


@pytest.mark.parametrize("loss", ["inactive", "gone"])
def test_who_may_not_log_in_may_not_refresh(shop, loss):
    from django.contrib.auth import get_user_model

    shop.use(REVOKE_ON=())  # as if it had happened behind Django's back
    first = shop.login()
    if loss == "gone":
        shop.user.delete()
    else:
        get_user_model().objects.filter(pk=shop.user.pk).update(is_active=False)
    refused = shop.refresh(first["refresh"])
    assert refused.status_code == 401 and refused.data["code"] == "no_active_account"


def test_a_token_of_another_user_s_login_is_a_mismatch(shop, events):
    from django.contrib.auth import get_user_model

    from pawl.simplejwt import RefreshToken

    bob = get_user_model().objects.create_user("bob")
    token = RefreshToken.for_user(shop.user)
    token["user_id"] = bob.pk
    refused = shop.refresh(str(token))
    assert refused.status_code == 401 and refused.data["code"] == "token_mismatch"
    assert events("token_refused")[-1]["reason"] == "mismatch"


def test_a_refused_refresh_is_logged_without_names(shop, events):
    pair = shop.login()
    shop.post("/token/logout/", refresh=pair["refresh"])
    shop.refresh(pair["refresh"])
    shop.refresh("a.b.c")
    revoked, invalid = events("token_refused")
    assert (revoked["kind"], revoked["status"], revoked["reason"]) == ("refresh", "revoked",
                                                                      "logout")
    assert invalid["status"] == "invalid" and revoked["sid"] != claims(pair["refresh"])["sid"]


def test_an_access_token_and_rubbish_refresh_nothing(shop):
    pair = shop.login()
    for text in (pair["access"], "x.y.z", pair["refresh"][:-4] + "AAAA"):
        refused = shop.refresh(text)
        assert refused.status_code == 401 and refused.data["code"] == "token_not_valid"
    assert shop.refresh("").status_code == 400
    assert shop.refresh(pair["refresh"]).status_code == 200


def test_a_token_that_is_to_live_longer_than_others_is_refreshed(shop):
    import datetime

    from pawl.simplejwt import RefreshToken

    token = RefreshToken.for_user(shop.user)
    token.set_exp(lifetime=datetime.timedelta(days=20))  # "remember me"
    assert shop.refresh(str(token)).status_code == 200


def test_an_expired_refresh_token_says_so(shop):
    import datetime

    from pawl.simplejwt import RefreshToken

    token = RefreshToken.for_user(shop.user)
    token.set_exp(lifetime=datetime.timedelta(seconds=-60))
    refused = shop.refresh(str(token))
    assert refused.status_code == 401 and refused.data["code"] == "token_expired"


def test_a_role_that_is_missing_is_our_fault_and_not_the_client_s(shop):
    first = shop.login()
    shop.use(ADDR=shop.daemon.tcp_uri)  # grants check and read
    answer = shop.refresh(first["refresh"])
    assert answer.status_code == 503
    shop.use()
    assert shop.refresh(first["refresh"]).status_code == 200

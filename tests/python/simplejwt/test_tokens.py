"""Token classes and authentication: what is refused, with which code, and what is not known."""

import base64
import datetime
import time

import jwt
import pytest
from rest_framework_simplejwt.exceptions import TokenError

import pawl
from pawl.simplejwt import claims as claims_module
from pawl.simplejwt import log_out, log_out_everywhere
from pawl.simplejwt.answers import RefusedTokenError, ServiceUnavailable
from pawl.simplejwt.tokens import AccessToken, RefreshToken, SlidingToken, UntypedToken

PAGES = ("/me/", "/me/stateless/", "/me/stock/")


def claims(text):
    return jwt.decode(str(text), options={"verify_signature": False})


def test_a_login_begins_a_family_that_its_access_tokens_belong_to(shop):
    refresh = RefreshToken.for_user(shop.user)
    access = refresh.access_token
    sid = claims(refresh)["sid"]
    assert sid and claims(access)["sid"] == sid and claims(refresh)["gen"] == 0
    shop.daemon.ctl("token", "check", "--jti", claims(access)["jti"], "--sid", sid,
                    "--exp", claims(access)["exp"], check=0)
    AccessToken(str(access))
    shop.daemon.ctl("family", "end", "--sid", sid, check=0)
    for token_class, text in ((AccessToken, access), (RefreshToken, refresh)):
        with pytest.raises(RefusedTokenError) as caught:
            token_class(str(text))
        assert (caught.value.code, caught.value.reason) == ("token_revoked", "logout")


def test_a_token_that_was_refused_is_a_token_error_to_old_code(shop):
    refresh = RefreshToken.for_user(shop.user)
    log_out(refresh)
    with pytest.raises(TokenError):
        UntypedToken(str(refresh))
    with pytest.raises(TokenError):
        refresh.check_blacklist()
    with pytest.raises(TokenError):
        refresh.verify()


def test_blacklist_is_a_log_out(shop):
    refresh = RefreshToken.for_user(shop.user)
    access = str(refresh.access_token)
    _, created = refresh.blacklist()
    assert created
    with pytest.raises(RefusedTokenError):
        AccessToken(access)
    refresh.blacklist()  # once more is fine


@pytest.mark.parametrize("page", PAGES)
def test_a_revoked_access_token_is_401_everywhere(shop, page):
    pair = shop.login()
    assert shop.me(pair["access"], page).status_code == 200
    shop.daemon.ctl("revoke", "token", "--jti", claims(pair["access"])["jti"],
                    "--exp", claims(pair["access"])["exp"], check=0)
    refused = shop.me(pair["access"], page)
    assert refused.status_code == 401
    assert refused["WWW-Authenticate"].startswith('Bearer realm="api"')
    assert shop.refresh(pair["refresh"]).status_code == 200, "only that one token was revoked"


def test_each_refusal_has_its_code(shop, events):
    pair = shop.login()
    expired = AccessToken.for_user(shop.user)
    expired.set_exp(lifetime=datetime.timedelta(seconds=-1))
    log_out(AccessToken(pair["access"]))
    for text, code, status in ((str(expired), "token_expired", "expired"),
                               (pair["access"], "token_revoked", "revoked"),
                               ("a.b.c", "token_not_valid", "invalid"),
                               (pair["refresh"], "token_not_valid", "invalid")):
        refused = shop.me(text)
        assert refused.status_code == 401 and refused.data["code"] == code
        assert refused["WWW-Authenticate"] == (
            f'Bearer realm="api", error="invalid_token", error_description="{code}"')
        assert refused.data["messages"][0]["token_class"] == "AccessToken"
        logged = events("token_refused")[-1]
        assert logged["status"] == status and logged["kind"] == "access"
    missing = shop.me(None)
    assert missing.status_code == 401 and "error" not in missing["WWW-Authenticate"]
    assert pair["access"] not in str(events()) and str(shop.user.pk) not in [
        line.get("subject") for line in events()]


@pytest.mark.parametrize("page", PAGES)
def test_without_a_daemon_an_access_token_is_503_or_what_the_policy_says(shop, page):
    pair = shop.login()
    shop.lose_daemon()
    away = shop.me(pair["access"], page)
    assert away.status_code == 503 and int(away["Retry-After"]) >= 1
    assert "WWW-Authenticate" not in away
    shop.use(ON_UNAVAILABLE={"access": "open"})
    assert shop.me(pair["access"], page).status_code == 200
    with pytest.raises(ServiceUnavailable):
        RefreshToken(pair["refresh"])  # the other kind is still closed


def test_a_signature_or_time_that_is_wrong_is_401_without_a_daemon(shop):
    pair = shop.login()
    shop.lose_daemon()
    assert shop.me(pair["access"][:-4] + "AAAA").status_code == 401


def stale(status="valid", fresh=False):
    answer = pawl.TokenCheckAnswer(pawl.Info("daemon", "ok", "none"),
                                   pawl.TokenAnswer(status, fresh=fresh, staleness_ms=60_000))

    class Client:
        def token_check(self, token, **_):
            return answer
    return lambda: Client()


@pytest.mark.parametrize("page", PAGES)
def test_a_header_that_is_nested_a_thousand_deep_is_401(shop, page):
    header = b'{"alg":"HS256","x":' + b"[" * 4000 + b"]" * 4000 + b"}"
    text = base64.urlsafe_b64encode(header).decode().rstrip("=") + ".e30.e30"
    assert shop.me(text, page).status_code == 401
    assert shop.refresh(text).data["code"] == "token_not_valid"
    assert shop.post("/token/logout/", refresh=text).status_code == 401
    assert shop.post("/token/verify/", token=text).status_code == 401


def test_stale_data_is_accepted_or_503_by_kind(shop, monkeypatch):
    pair = shop.login()
    monkeypatch.setattr(claims_module, "get_client", stale())
    assert shop.me(pair["access"]).status_code == 200
    with pytest.raises(ServiceUnavailable):
        RefreshToken(pair["refresh"])
    shop.use(ON_STALE={"access": "closed", "refresh": "accept"})
    assert shop.me(pair["access"]).status_code == 503
    RefreshToken(pair["refresh"])
    monkeypatch.setattr(claims_module, "get_client", stale("undecided"))
    assert shop.me(pair["access"]).status_code == 503
    monkeypatch.setattr(claims_module, "get_client", stale("revoked"))
    assert shop.me(pair["access"]).status_code == 401, "a known fact is one, however old"


def test_a_frozen_daemon_knows_no_token_is_good(shop):
    pair = shop.login()
    shop.daemon.stop()
    shop.daemon.arguments.append("--frozen")
    shop.daemon.start()
    assert shop.me(pair["access"]).status_code == 503
    shop.use(DURABLE_DEADLINE_MS=500)
    assert shop.refresh(pair["refresh"]).status_code == 503
    assert shop.post("/token/verify/", token=pair["access"]).status_code == 503


def test_a_user_id_as_number_and_as_text_is_one_subject(shop):
    def with_id(value):
        token = AccessToken()
        token["user_id"] = value
        return str(token)

    number, text = with_id(shop.user.pk), with_id(str(shop.user.pk))
    assert claims(number)["user_id"] != claims(text)["user_id"]
    for key in (shop.user, shop.user.pk, str(shop.user.pk)):
        for token in (number, text):
            AccessToken(token)
        log_out_everywhere(key)
        for token in (number, text):
            with pytest.raises(RefusedTokenError):
                AccessToken(token)
        time.sleep(1.1)  # iat is whole seconds: these have no login that would spare them
        number, text = with_id(shop.user.pk), with_id(str(shop.user.pk))


def test_who_logs_in_again_in_the_same_second_is_not_refused(shop):
    old = shop.login()
    log_out_everywhere(shop.user)
    new = shop.login()
    assert shop.me(old["access"]).status_code == 401
    assert shop.refresh(old["refresh"]).status_code == 401
    assert shop.me(new["access"]).status_code == 200
    assert shop.refresh(new["refresh"]).status_code == 200


def test_a_key_id_is_told_so_that_a_whole_key_can_be_revoked(shop):
    from rest_framework_simplejwt.state import token_backend as backend

    text = jwt.encode(dict(AccessToken.for_user(shop.user).payload), backend.signing_key,
                      algorithm=backend.algorithm, headers={"kid": "k7"})
    assert claims_module.describe(AccessToken(text)).key == "k7"
    shop.daemon.ctl("revoke", "key", "--kid", "k7", check=0)
    with pytest.raises(RefusedTokenError):
        AccessToken(text)


def test_a_token_without_jti_is_known_by_its_text(shop, monkeypatch):
    from rest_framework_simplejwt.settings import api_settings

    monkeypatch.setattr(api_settings, "JTI_CLAIM", None)
    token = AccessToken.for_user(shop.user)
    del token.payload[None]
    text = str(token)
    log_out(AccessToken(text))
    with pytest.raises(RefusedTokenError):
        AccessToken(text)


def test_leeway_is_on_both_sides(shop, monkeypatch):
    from rest_framework_simplejwt import state

    token = AccessToken.for_user(shop.user)
    token.set_exp(lifetime=datetime.timedelta(seconds=-20))
    text = str(token)
    with pytest.raises(TokenError):
        AccessToken(text)
    monkeypatch.setattr(state.token_backend, "leeway", 60)
    AccessToken(text)  # pawld's own skew is 5 s
    log_out(AccessToken(text))
    with pytest.raises(RefusedTokenError) as caught:
        AccessToken(text)
    assert caught.value.code == "token_revoked"


def test_a_claim_over_the_cap_is_refused_and_no_error(shop):
    token = AccessToken.for_user(shop.user)
    token["jti"] = "j" * 2000
    assert shop.me(str(token)).status_code == 401
    assert shop.post("/token/logout/", str(token)).status_code == 400
    refresh = RefreshToken.for_user(shop.user)
    refresh["jti"] = "j" * 256
    assert shop.refresh(str(refresh)).status_code == 400


def test_a_login_is_503_without_a_daemon_and_open_gives_tokens_without_family(shop):
    shop.lose_daemon()
    away = shop.post("/token/", username="alice", password="a long password")
    assert away.status_code == 503 and int(away["Retry-After"]) >= 1
    shop.use(ON_UNAVAILABLE={"refresh": "open", "access": "open"}, DURABLE_DEADLINE_MS=100)
    pair = shop.login()
    assert "sid" not in claims(pair["refresh"])
    assert shop.me(pair["access"]).status_code == 200
    shop.start_daemon()
    assert shop.me(pair["access"]).status_code == 200
    assert shop.refresh(pair["refresh"]).data["code"] == "token_unknown"


def test_log_ins_that_work_and_fail_are_logged(shop, events):
    shop.login()
    shop.post("/token/", username="alice", password="wrong")
    assert len(events("login_succeeded")) == len(events("login_failed")) == 1
    assert "alice" not in str(events())


def test_a_refused_login_asks_nothing_of_the_daemon(shop):
    shop.lose_daemon()
    refused = shop.post("/token/", username="alice", password="wrong")
    assert refused.status_code == 401


def test_a_login_whose_token_lives_too_long_says_what_to_do(shop, monkeypatch):
    from django.core.exceptions import ImproperlyConfigured

    monkeypatch.setattr(RefreshToken, "lifetime", datetime.timedelta(days=90))
    with pytest.raises(ImproperlyConfigured, match="max_lifetime"):
        RefreshToken.for_user(shop.user)
    monkeypatch.setattr(RefreshToken, "lifetime", datetime.timedelta(days=30))
    RefreshToken(str(RefreshToken.for_user(shop.user)))


def test_longer_lives_are_taken_where_the_daemon_is_told(
        make_daemon, settings, transactional_db, monkeypatch):
    from conftest import Shop

    shop = Shop(make_daemon("--set", "tokens.max_lifetime=100d"), settings)
    monkeypatch.setattr(RefreshToken, "lifetime", datetime.timedelta(days=90))
    pair = shop.login()
    assert shop.refresh(pair["refresh"]).status_code == 200


def test_a_sliding_token_has_a_login_and_a_log_out(shop):
    first = shop.login("/sliding/")["token"]
    SlidingToken(first)
    second = shop.post("/sliding/refresh/", token=first)
    assert second.status_code == 200
    assert claims(second.data["token"])["sid"] == claims(first)["sid"]
    assert shop.post("/token/logout/", access=second.data["token"]).status_code == 200
    refused = shop.post("/sliding/refresh/", token=first)
    assert refused.status_code == 401 and refused.data["code"] == "token_revoked"


def test_last_login_is_kept_as_simplejwt_does(shop):
    before = shop.user.last_login
    shop.login()
    shop.user.refresh_from_db()
    assert shop.user.last_login is not None and shop.user.last_login != before

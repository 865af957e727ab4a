"""Who are you: tokens of every kind, log-in and log-out, the second factor."""

import base64
import datetime
import json
import os
import subprocess
import sys
import time
import urllib.parse

import jwt
import pyotp
import pytest
from conftest import EXAMPLE, PASSWORD
from django.conf import settings
from django.utils import timezone

import rig


def claims_of(token):
    return jwt.decode(token, options={"verify_signature": False})


# ---- service tokens -----------------------------------------------------------------------------


def test_service_tokens_are_several_hashed_and_revocable(api):
    user = api.person()
    access, _ = api.with_factor(api.access())
    ends = (timezone.now() + datetime.timedelta(days=30)).isoformat()
    made = [api.ask("POST", "/me/tokens/", {"name": name, "expires": ends}, access).json()
            for name in ("backup", "report")]
    assert [api.status("GET", "/me/", bearer=one["token"]) for one in made] == [200, 200]
    kept = [row.digest for row in user.service_tokens.all()]
    assert not any(one["token"] in "".join(kept) for one in made)
    listed = api.ask("GET", "/me/tokens/", bearer=access)
    assert {one["name"] for one in listed.json()["results"]} == {"backup", "report"}
    assert made[0]["token"] not in listed.content.decode()

    assert api.status("DELETE", f"/me/tokens/{made[0]['id']}/", bearer=access) == 204
    refused = api.me(made[0]["token"])
    assert (refused.status_code, refused.json()["code"]) == (401, "token_revoked")
    assert api.me(made[1]["token"]).status_code == 200


def test_a_service_token_ends_by_itself_and_within_a_year(api):
    user = api.person()
    row, token = api.service_token(user)
    row.expires = timezone.now() - datetime.timedelta(seconds=1)
    row.save()
    assert api.me(token).json()["code"] == "token_expired"
    access, _ = api.with_factor(api.access())
    for days in (-1, 366):
        ends = (timezone.now() + datetime.timedelta(days=days)).isoformat()
        assert api.status("POST", "/me/tokens/", {"name": "x", "expires": ends}, access) == 400


def test_a_service_token_does_what_its_scopes_say_and_nothing_with_the_account(api):
    user = api.person()
    _, reads = api.service_token(user, "read")
    _, writes = api.service_token(user, "read write")
    assert api.status("PATCH", "/me/", {"first_name": "Anna"}, reads) == 403
    assert api.status("PATCH", "/me/", {"first_name": "Anna"}, writes) == 200
    for path in ("/auth/password/", "/auth/second-factor/", "/me/tokens/",
                 "/auth/logout-everywhere/"):
        assert api.status("POST", path, {}, writes) == 403, path


def test_somebody_has_so_many_service_tokens_and_no_more(api):
    user = api.person()
    for _ in range(20):
        api.service_token(user)
    access, _ = api.with_factor(api.access())
    ends = (timezone.now() + datetime.timedelta(days=30)).isoformat()
    assert api.status("POST", "/me/tokens/", {"name": "x", "expires": ends}, access) == 400


# ---- JWT ----------------------------------------------------------------------------------------


def test_a_log_in_gives_a_pair_with_claims_and_lifetimes(api):
    user = api.role(api.person(first_name="Anna", last_name="Ratchet"), "editor")
    pair = api.login().json()
    access, refresh = claims_of(pair["access"]), claims_of(pair["refresh"])
    assert access["exp"] - access["iat"] == 15 * 60
    assert refresh["exp"] - refresh["iat"] == 7 * 86_400
    assert (access["name"], access["email"], access["staff"], access["roles"]) == (
        "Anna Ratchet", "a***@example.org", False, ["editor"])
    assert access["user_id"] == str(user.pk)
    user.refresh_from_db()
    assert user.last_login is not None
    assert jwt.get_unverified_header(pair["access"])["alg"] == "HS256"


def test_a_refresh_rotates_and_the_old_token_dies_with_the_next(api):
    api.person()
    first = api.login().json()["refresh"]
    second = api.refresh(first).json()["refresh"]
    third = api.refresh(second).json()
    assert api.me(third["access"]).status_code == 200
    assert api.refresh(first).json()["code"] == "token_reuse"


def test_verify_and_blacklist_are_there(api):
    api.person()
    pair = api.login().json()
    assert api.status("POST", "/auth/verify/", {"token": pair["access"]}) == 200
    assert api.status("POST", "/auth/blacklist/", {"refresh": pair["refresh"]}) == 200
    assert api.status("POST", "/auth/verify/", {"token": pair["access"]}) == 401
    assert api.refresh(pair["refresh"]).status_code == 401


_SIGN = """
import django; django.setup()
from rest_framework_simplejwt.tokens import AccessToken
print(AccessToken())
"""


def test_with_a_key_file_tokens_are_signed_by_rs256(tmp_path):
    key, public = tmp_path / "key.pem", tmp_path / "key.pem.pub"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    subprocess.run(["openssl", "rsa", "-in", key, "-pubout", "-out", public], check=True,
                   capture_output=True)
    env = dict(os.environ, EXAMPLE_JWT_KEY_FILE=str(key), EXAMPLE_DATA=str(tmp_path),
               DJANGO_SETTINGS_MODULE="project.settings")
    done = subprocess.run([sys.executable, "-c", _SIGN], env=env, cwd=EXAMPLE, check=True,
                          capture_output=True, text=True, timeout=rig.PATIENCE_S)
    token = done.stdout.strip()
    assert jwt.decode(token, public.read_text(), algorithms=["RS256"])["token_type"] == "access"


# ---- log-out ------------------------------------------------------------------------------------


def test_log_out_refuses_both_tokens_of_the_log_in_and_no_other(api):
    api.person()
    pair, other = api.login().json(), api.login().json()
    assert api.status("POST", "/auth/logout/", {"refresh": pair["refresh"]}) == 200
    assert api.me(pair["access"]).json()["code"] == "token_revoked"
    assert api.refresh(pair["refresh"]).json()["code"] == "token_revoked"
    assert api.me(other["access"]).status_code == 200


def test_log_out_everywhere_ends_tokens_and_sessions_of_every_kind(api):
    user = api.person()
    phone, laptop = api.login().json(), api.login().json()
    browser = api.browser()
    _, script = api.service_token(user)
    assert browser.get("/me/").status_code == 200
    assert api.status("POST", "/auth/logout-everywhere/", {}, phone["access"]) == 204
    for token in (phone["access"], laptop["access"], script):
        assert api.me(token).json()["code"] == "token_revoked"
    assert api.refresh(laptop["refresh"]).status_code == 401
    assert browser.get("/me/").status_code == 401
    assert api.me(api.access()).status_code == 200  # in the same second


def test_a_password_change_ends_what_was_before_and_answers_with_what_goes_on(api):
    api.person()
    thief, mine = api.login().json(), api.login().json()
    new = "another long password"
    answer = api.ask("POST", "/auth/password/", {"old_password": PASSWORD, "new_password": new},
                     mine["access"])
    assert answer.status_code == 200
    assert api.me(answer.json()["access"]).status_code == 200
    for old in (thief, mine):
        assert api.me(old["access"]).json()["code"] == "token_revoked"
        assert api.refresh(old["refresh"]).status_code == 401
    assert api.login(password=PASSWORD).status_code == 401
    assert api.login(password=new).status_code == 200


def test_a_browser_that_changes_the_password_stays_and_others_do_not(api):
    api.person()
    here, there = api.browser(), api.browser()
    answer = api.ask("POST", "/auth/password/", {
        "old_password": PASSWORD, "new_password": "another long password"}, client=here)
    assert answer.status_code == 204
    assert here.get("/me/").status_code == 200
    assert there.get("/me/").status_code == 401


def test_a_password_reset_comes_by_mail_works_once_and_ends_what_was_before(api, mailoutbox):
    user = api.person()
    old = api.login().json()
    for address in ("anna@example.org", "nobody@example.org"):
        assert api.status("POST", "/auth/password/reset/", {"email": address}) == 202
    assert [one.to for one in mailoutbox] == [["anna@example.org"]]
    token = mailoutbox[0].body.split("token: ")[1].strip()
    form = {"user": str(user.pk), "token": token, "new_password": "another long password"}
    assert api.status("POST", "/auth/password/reset/confirm/", {**form, "new_password": "x"}) == 400
    assert api.status("POST", "/auth/password/reset/confirm/", form) == 204
    assert api.status("POST", "/auth/password/reset/confirm/", form) == 400
    assert api.me(old["access"]).json()["code"] == "token_revoked"


def test_a_closed_account_is_refused_at_once(api):
    user = api.person()
    old = api.login().json()
    api.person("root", is_staff=True)
    staff, _ = api.with_factor(api.access("root"))
    assert api.status("POST", f"/users/{user.pk}/disable/", {}, api.bearer("bert")) == 403
    assert api.status("POST", f"/users/{user.pk}/disable/", {}, staff) == 204
    assert api.me(old["access"]).status_code == 401
    assert api.refresh(old["refresh"]).status_code == 401
    assert api.login().status_code == 401


# ---- a stolen refresh token ---------------------------------------------------------------------


def test_a_stolen_refresh_token_kills_the_log_in_and_is_logged(api, events):
    api.person()
    mine = api.login().json()["refresh"]
    thief = api.refresh(mine).json()
    retry = api.refresh(mine)
    assert retry.status_code == 200 and retry.json()["refresh"] == thief["refresh"]
    theirs = api.refresh(thief["refresh"]).json()
    assert api.refresh(mine).json()["code"] == "token_reuse"
    assert api.me(theirs["access"]).json()["code"] == "token_revoked"
    assert api.refresh(theirs["refresh"]).status_code == 401
    assert len(events("reuse_detected")) == 1


# ---- OAuth2 -------------------------------------------------------------------------------------


def test_an_authorization_code_wants_its_pkce_verifier(api):
    api.person()
    api.application("phone", "authorization-code", "public")
    browser = api.browser()
    without, _ = api.code(browser, challenge=False)
    assert "error=invalid_request" in without["Location"]
    answer, _ = api.code(browser)
    assert api.redeem(answer, "x" * 43).json()["code"] == "invalid_grant"
    tokens = api.redeem(*api.code(browser, "read products:read")).json()
    assert tokens["expires_in"] == 3600
    assert api.me(tokens["access_token"]).status_code == 200
    assert api.status("GET", "/products/", bearer=tokens["access_token"]) == 200
    assert api.status("GET", "/orders/", bearer=tokens["access_token"]) == 403


def test_there_is_no_plain_pkce_no_implicit_grant_and_no_password_grant(api):
    api.person()
    api.application("phone", "authorization-code", "public")
    api.application("old", "implicit")
    api.application("older", "password")
    browser = api.browser()
    asked = {"redirect_uri": "https://app.example/back", "scope": "read"}
    plain = browser.get("/oauth/authorize/", {
        **asked, "response_type": "code", "client_id": "phone", "code_challenge": "x" * 43,
        "code_challenge_method": "plain"})
    implicit = browser.get("/oauth/authorize/", {
        **asked, "response_type": "token", "client_id": "old"})
    for answer in (plain, implicit):
        place = answer.get("Location", "error=")
        assert "error=" in place and "code=" not in place and "access_token" not in place
    password = api.oauth("token", {"grant_type": "password", "username": "anna",
                                   "password": PASSWORD, "scope": "read"}, "older")
    assert password.status_code == 400
    token = api.redeem(*api.code(browser)).json()["access_token"]
    assert api.status("GET", f"/me/?access_token={token}") == 401


def test_oauth_refresh_tokens_rotate_and_a_replay_kills_the_log_in(api):
    api.person()
    api.application("phone", "authorization-code", "public")
    first = api.redeem(*api.code(api.browser())).json()

    def refresh(token):
        return api.oauth("token", {"grant_type": "refresh_token", "refresh_token": token,
                                   "client_id": "phone"}, client=None)
    second = refresh(first["refresh_token"]).json()
    third = refresh(second["refresh_token"]).json()
    assert api.me(third["access_token"]).status_code == 200
    assert refresh(first["refresh_token"]).json()["code"] == "invalid_grant"
    assert api.me(third["access_token"]).json()["code"] == "token_revoked"
    assert settings.OAUTH2_PROVIDER["REFRESH_TOKEN_EXPIRE_SECONDS"] == 86_400


def test_client_credentials_are_nobodys_account(api):
    api.application()
    token = api.client_token("products:read products:write read")
    assert api.status("GET", "/products/", bearer=token) == 200
    assert api.status("POST", "/products/", {"name": "pin", "price_cents": 5}, token) == 201
    for path in ("/me/", "/documents/", "/orders/"):
        assert api.status("GET", path, bearer=token) == 403, path


def test_oauth_revocation_and_introspection_are_answered_by_pawld(api):
    api.application()
    token = api.client_token("products:read")
    told = api.oauth("introspect", {"token": token}).json()
    assert (told["active"], told["scope"], told["client_id"]) == (True, "products:read",
                                                                 "warehouse")
    assert api.oauth("revoke_token", {"token": token}).status_code == 200
    assert api.oauth("introspect", {"token": token}).json() == {"active": False}
    assert api.ask("GET", "/products/", bearer=token).json()["code"] == "token_revoked"
    assert api.oauth("introspect", {"token": token}, client=None).status_code in (401, 403)


def test_nobody_registers_applications_through_the_api(api):
    api.person()
    assert api.browser().get("/oauth/applications/register/").status_code == 404


# ---- sessions -----------------------------------------------------------------------------------


def test_a_browser_session_wants_its_csrf_token(api):
    api.person()
    browser = api.browser(strict=True)
    assert browser.get("/me/").status_code == 200
    refused = api.ask("PATCH", "/me/", {"first_name": "x"}, client=browser)
    assert refused.status_code == 403
    token = browser.cookies["csrftoken"].value
    assert api.status("PATCH", "/me/", {"first_name": "x"}, client=browser,
                      HTTP_X_CSRFTOKEN=token) == 200
    assert browser.post("/auth/session/", {"username": "anna", "password": PASSWORD}).json()[
        "code"] == "csrf_failed"


def test_the_end_of_a_session_is_known_to_pawld(api):
    api.person()
    browser = api.browser()
    kept = browser.cookies["sessionid"].value
    stolen = dict(browser.session.items())
    assert browser.post("/auth/session/end/").status_code in (200, 302)
    assert browser.get("/me/").status_code == 401
    # Somebody who could bring the row back has nothing either.
    from django.contrib.sessions.backends.db import SessionStore
    store = SessionStore(kept)
    store.update(stolen)
    store.save(must_create=True)
    browser.cookies["sessionid"] = kept
    assert browser.get("/me/").status_code == 401


# ---- the second factor --------------------------------------------------------------------------


def verify(api, access, code):
    return api.ask("POST", "/auth/second-factor/verify/", {"code": code}, access)


def test_each_code_is_accepted_once_by_all_workers_together(api):
    from accounts import totp

    user = api.person()
    access, secret = api.with_factor(api.access())
    user.refresh_from_db()
    code = pyotp.TOTP(secret).at(int(time.time()) + 30)  # of the next step
    answers = rig.in_parallel(8, lambda _: totp.accept(user, code))
    assert sorted(answers) == [False] * 7 + [True]
    assert verify(api, access, code).status_code == 400


def test_a_code_may_be_one_step_off_and_no_more(api):
    from accounts import totp

    user = api.person()
    user.totp_secret = pyotp.random_base32()
    now = int(time.time())
    codes = {drift: pyotp.TOTP(user.totp_secret).at(now + 30 * drift) for drift in range(-3, 4)}
    taken = {drift for drift, code in codes.items() if totp.accept(user, code, now)}
    assert taken == {-1, 0, 1}


def test_the_qr_code_is_a_picture_of_the_uri(api):
    made = api.ask("POST", "/auth/second-factor/", {}, api.bearer()).json()
    assert base64.b64decode(made["qr_png"]).startswith(b"\x89PNG")
    uri = urllib.parse.urlparse(made["uri"])
    assert uri.scheme == "otpauth"
    assert urllib.parse.parse_qs(uri.query)["secret"] == [made["secret"]]


def test_tries_of_the_second_factor_are_few(api, events):
    access = api.bearer()
    api.ask("POST", "/auth/second-factor/", {}, access)
    statuses = [verify(api, access, f"{n:06}").status_code for n in range(6)]
    assert statuses == [400] * 5 + [429]
    assert len(events("login_failed")) == 5


def test_sensitive_paths_want_the_factor_of_this_log_in(api):
    api.person()
    access = api.access()
    ends = (timezone.now() + datetime.timedelta(days=1)).isoformat()
    wish = {"name": "x", "expires": ends}
    assert api.ask("POST", "/me/tokens/", wish, access).json()["code"] == "second_factor_needed"
    shown, _ = api.with_factor(access)
    assert api.status("POST", "/me/tokens/", wish, shown) == 201
    other = api.access()  # somebody who has the password alone
    for path, body in (("/me/tokens/", wish), ("/auth/second-factor/", {}), ("/auth/password/", {
            "old_password": PASSWORD, "new_password": "another long password"})):
        assert api.ask("POST", path, body, other).json()["code"] == "second_factor_needed", path


def test_the_factor_is_fresh_for_ten_minutes(api, monkeypatch):
    from accounts import totp

    shown, _ = api.with_factor(api.bearer())
    assert api.status("POST", "/auth/second-factor/", {}, shown) == 201
    monkeypatch.setattr(totp, "FRESH_S", -1)
    assert api.status("POST", "/auth/second-factor/", {}, shown) == 403


def test_a_new_secret_is_in_force_once_a_code_of_it_was_shown(api, monkeypatch):
    access, old = api.with_factor(api.bearer())
    new = api.ask("POST", "/auth/second-factor/", {}, access).json()["secret"]
    later = int(time.time()) + 30
    fresh = api.access()
    assert api.status("POST", "/auth/second-factor/", {}, fresh) == 403  # the old one still is
    assert verify(api, fresh, pyotp.TOTP(new).at(later)).status_code == 200
    assert verify(api, fresh, pyotp.TOTP(old).at(later - 60)).status_code == 400


def test_the_address_of_the_account_wants_the_password_and_the_factor(api):
    user = api.person()
    access = api.access()
    wish = {"email": "new@example.org", "password": PASSWORD}
    assert api.status("POST", "/auth/email/", {**wish, "password": "wrong"}, access) == 400
    assert api.status("POST", "/auth/email/", wish, api.service_token(user, "read write")[1]) == 403
    shown, _ = api.with_factor(access)
    assert api.ask("POST", "/auth/email/", wish, access).json()["code"] == "second_factor_needed"
    assert api.status("POST", "/auth/email/", wish, shown) == 204
    user.refresh_from_db()
    assert user.email == "new@example.org"
    assert api.status("POST", "/auth/signup/", {"username": "x", "password": PASSWORD,
                                                "email": "NEW@example.org"}) == 400


def test_without_pawld_no_code_is_accepted_and_none_is_called_wrong(api):
    access = api.bearer()
    secret = api.ask("POST", "/auth/second-factor/", {}, access).json()["secret"]
    api.settings.PAWL = {**api.settings.PAWL, "ON_UNAVAILABLE": {"access": "open"},
                         "ON_ERROR": {"totp": "open"}, "DURABLE_DEADLINE_MS": 300}
    api.daemon.kill()
    assert verify(api, access, pyotp.TOTP(secret).now()).status_code == 503


# ---- refusals -----------------------------------------------------------------------------------


def refused(answer):
    return answer.status_code, answer.json()["code"], answer["WWW-Authenticate"]


def test_a_missing_token_is_401_with_a_challenge_and_no_error(api):
    assert refused(api.ask("GET", "/me/")) == (401, "not_authenticated", 'Bearer realm="api"')


@pytest.mark.parametrize("header, code", [
    ("Bearer", "token_malformed"), ("Bearer a b", "token_malformed"),
    ("Bearer " + "x" * 5000, "token_malformed"), ("Bearer x.y.z", "token_not_valid"),
    ("Bearer pwo_unknown", "token_not_valid"), ("Bearer pwa_unknown", "token_not_valid"),
    ("Bearer unknown", "token_not_valid")])
def test_a_malformed_or_unknown_token_is_401_with_its_own_code(api, header, code):
    answer = api.ask("GET", "/me/", HTTP_AUTHORIZATION=header)
    assert refused(answer) == (
        401, code, f'Bearer realm="api", error="invalid_token", error_description="{code}"')


def expired_jwt(api, user):
    from pawl.simplejwt import AccessToken

    token = AccessToken.for_user(user)
    token.set_exp(from_time=timezone.now() - datetime.timedelta(hours=1))
    return str(token)


def expired_oauth(api, user):
    from oauth2_provider.models import AccessToken

    api.application()
    text = api.client_token("products:read")
    AccessToken.objects.update(expires=timezone.now() - datetime.timedelta(seconds=1))
    return text


def expired_service(api, user):
    row, text = api.service_token(user)
    type(row).objects.update(expires=timezone.now() - datetime.timedelta(seconds=1))
    return text


@pytest.mark.parametrize("make", [expired_jwt, expired_oauth, expired_service])
def test_an_expired_token_of_each_kind_is_401_and_says_so(api, make):
    answer = api.ask("GET", "/products/", bearer=make(api, api.person()))
    assert refused(answer)[:2] == (401, "token_expired")


def test_without_pawld_every_kind_of_token_is_503_and_never_401(api):
    user = api.person()
    api.application()
    pair = api.login().json()
    tokens = [pair["access"], api.client_token("products:read"), api.service_token(user)[1]]
    browser = api.browser()
    api.settings.PAWL = {**api.settings.PAWL, "DURABLE_DEADLINE_MS": 300}
    api.daemon.kill()
    answers = [api.ask("GET", "/products/", bearer=token) for token in tokens]
    answers += [api.refresh(pair["refresh"]), browser.get("/me/"), api.login(),
                api.oauth("introspect", {"token": tokens[1]})]
    for answer in answers[:5] + answers[6:]:
        assert answer.status_code == 503, answer.content
        assert int(answer["Retry-After"]) > 0
        assert json.loads(answer.content)["request_id"]
    assert answers[5].status_code == 429  # a log-in is counted first, and nobody counts: closed

"""The token endpoint: what a client gets, and what it is told where it gets nothing."""

import datetime
import secrets
import signal

import oauthlib
import pytest
import rig
from django.db import connection
from django.test import Client, override_settings
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_refresh_token_model
from oauth2_provider.oauth2_validators import GRANT_TYPE_MAPPING
from oauth2_provider.settings import oauth2_settings

from pawl.oauth import rows, texts
from pawl.oauth.validators import PawlOAuth2Validator

AccessToken, RefreshToken = get_access_token_model(), get_refresh_token_model()


def change(**settings):
    """The toolkit's settings, changed for a while."""
    from django.conf import settings as current
    return override_settings(OAUTH2_PROVIDER={**current.OAUTH2_PROVIDER, **settings})


def error_of(answer, status=400):
    assert answer.status_code == status, (answer.status_code, answer.content)
    return answer.json()["error"]


# ---- what a client gets -------------------------------------------------------------------------


def test_a_code_is_exchanged_for_tokens_of_one_family(server):
    tokens = server.log_in()
    place = texts.read_refresh(tokens["refresh_token"])
    assert place.generation == 0
    assert texts.family_of(tokens["access_token"]) == place.sid
    answer = server.get("/who/", tokens["access_token"])
    assert answer.json() == {"user": "alice", "scope": "products:read products:write"}


def test_a_code_without_its_verifier_gets_nothing(server):
    code, _ = server.code()
    assert error_of(server.redeem(code, "x" * 50)) == "invalid_grant"


def test_a_service_gets_a_token_without_a_family(server):
    tokens = server.service_token()
    assert "refresh_token" not in tokens
    assert texts.family_of(tokens["access_token"]) == ""
    assert server.get("/plain/", tokens["access_token"]).content == b"in"


def test_a_password_is_exchanged_for_a_family_too(server):
    application = server.make_application("trusted", "password")
    answer = server.post("/o/token/", {"grant_type": "password", "username": "alice",
                                       "password": "secret", "scope": "products:read"}, application)
    assert answer.status_code == 200, answer.content
    assert texts.read_refresh(answer.json()["refresh_token"]).generation == 0


def test_a_refresh_gives_the_next_generation_and_ends_the_access_token(server):
    first = server.log_in()
    second = server.refreshed(first["refresh_token"])
    before, after = (texts.read_refresh(one["refresh_token"]) for one in (first, second))
    assert (after.sid, after.generation) == (before.sid, 1)
    assert second["scope"] == first["scope"]
    assert server.get("/who/", second["access_token"]).status_code == 200
    assert server.get("/who/", first["access_token"]).status_code == 401


def test_a_refresh_may_ask_for_less(server):
    first = server.log_in()
    answer = server.refresh(first["refresh_token"], scope="products:read")
    assert answer.json()["scope"] == "products:read"


def test_without_rotation_the_refresh_token_stays_and_the_family_too(server):
    with change(ROTATE_REFRESH_TOKEN=False):
        first = server.log_in()
        second = server.refreshed(first["refresh_token"])
        assert second["refresh_token"] == first["refresh_token"]
        assert second["access_token"] != first["access_token"]
        assert texts.family_of(second["access_token"]) == texts.family_of(first["access_token"])
        assert server.get("/who/", second["access_token"]).status_code == 200
        server.daemon.ctl("revoke", "family", "--sid", texts.family_of(first["access_token"]),
                          check=0)
        assert error_of(server.refresh(first["refresh_token"])) == "invalid_grant"
        assert server.get("/who/", second["access_token"]).status_code == 401


@pytest.mark.skipif("device_code" not in str(GRANT_TYPE_MAPPING)
                    or oauthlib.__version__.startswith("4."),
                    reason="no device flow, or one that oauthlib 4 is too new for")
def test_a_device_gets_a_family_too(server):
    application = server.make_application("tv", "urn:ietf:params:oauth:grant-type:device_code",
                                          "public")
    from oauth2_provider.models import get_device_grant_model
    get_device_grant_model().objects.create(
        user=server.user, client_id=application.client_id, device_code="d", user_code="u",
        scope="products:read", interval=5, status="authorized",
        expires=timezone.now() + datetime.timedelta(minutes=5))
    with change(OAUTH_DEVICE_VERIFICATION_URI="https://api.example/o/device"):
        answer = Client().post("/o/token/", {
            "grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": "d",
            "client_id": application.client_id})
    assert answer.status_code == 200, answer.content
    tokens = answer.json()
    place = texts.read_refresh(tokens["refresh_token"])
    assert place.generation == 0 and texts.family_of(tokens["access_token"]) == place.sid
    refreshed = Client().post("/o/token/", {
        "grant_type": "refresh_token", "refresh_token": tokens["refresh_token"],
        "client_id": application.client_id})
    assert texts.read_refresh(refreshed.json()["refresh_token"]).generation == 1


def test_an_answer_whose_access_token_was_revoked_meanwhile_is_given_all_the_same(server):
    """A slow loser: the winner's client has used the successor already, or ended its access."""
    first = server.log_in()
    second = server.refreshed(first["refresh_token"])
    stock = rows.saved_pair

    def slow(row, candidates):
        AccessToken.objects.filter(token=second["access_token"]).delete()
        return stock(row, candidates)

    with rows.quietly(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "saved_pair", slow)
        again = server.refreshed(first["refresh_token"])
    assert again["refresh_token"] == second["refresh_token"]


def test_without_rotation_a_token_that_was_rotated_before_is_refused(server):
    first = server.log_in()
    server.refreshed(first["refresh_token"])
    with change(ROTATE_REFRESH_TOKEN=False):
        assert error_of(server.refresh(first["refresh_token"])) == "invalid_grant"


# ---- races --------------------------------------------------------------------------------------


def test_sixteen_concurrent_refreshes_get_one_and_the_same_answer(server):
    first = server.log_in()

    def refresh(_):
        try:
            return server.refresh(first["refresh_token"])
        finally:
            connection.close()

    answers = rig.in_parallel(16, refresh)
    assert [answer.status_code for answer in answers] == [200] * 16, answers[0].content
    pairs = {(one.json()["access_token"], one.json()["refresh_token"]) for one in answers}
    assert len(pairs) == 1
    assert RefreshToken.objects.filter(revoked__isnull=True).count() == 1
    assert AccessToken.objects.count() == 1
    access, refresh_token = pairs.pop()
    assert server.get("/who/", access).status_code == 200
    assert texts.read_refresh(server.refreshed(refresh_token)["refresh_token"]).generation == 2


def test_whoever_lost_the_answer_gets_it_again(server):
    first = server.log_in()
    once, again = server.refreshed(first["refresh_token"]), server.refreshed(first["refresh_token"])
    assert again["refresh_token"] == once["refresh_token"]
    assert again["access_token"] == once["access_token"]
    assert 0 < again["expires_in"] <= 3600


def test_a_refresh_that_was_never_saved_is_saved_by_the_next_try(server, monkeypatch):
    first = server.log_in()

    def full(*_):
        raise OSError("no space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(PawlOAuth2Validator, "_save_refresh", full)
        assert server.refresh(first["refresh_token"]).status_code == 500
    second = server.refreshed(first["refresh_token"])
    assert texts.read_refresh(second["refresh_token"]).generation == 1
    assert server.get("/who/", second["access_token"]).status_code == 200


def test_a_refresh_that_fails_for_its_scope_uses_nothing_up(server, make_daemon, use_daemon):
    use_daemon(make_daemon(config="rotation: {leeway: 0}\n").unix)
    first = server.log_in(scope="products:read")
    answer = server.refresh(first["refresh_token"], scope="products:read products:write")
    assert error_of(answer) == "invalid_scope"
    assert server.refreshed(first["refresh_token"])["scope"] == "products:read"


def test_a_new_key_in_front_does_not_break_the_grace(server, use_daemon):
    use_daemon(server.daemon.unix, TOKEN_KEYS=["old", "new"])
    first = server.log_in()
    once = server.refreshed(first["refresh_token"])
    use_daemon(server.daemon.unix, TOKEN_KEYS=["new", "old"])
    again = server.refreshed(first["refresh_token"])
    assert again["refresh_token"] == once["refresh_token"]
    assert again["access_token"] == once["access_token"]


def test_soft_mode_tells_a_loser_that_it_raced(server, make_daemon, use_daemon):
    use_daemon(make_daemon(config="rotation: {mode: soft}\n").unix)
    first = server.log_in()
    server.refreshed(first["refresh_token"])
    assert error_of(server.refresh(first["refresh_token"]), 409) == "refresh_raced"


@pytest.mark.skipif(not rows.has_field(RefreshToken, "token_checksum"),
                    reason="the toolkit stores no hashes in this release")
def test_the_grace_needs_no_stored_text(server):
    with change(COMPLIANT_BCP_RFC9700_TOKEN_STORAGE=True):
        first = server.log_in()
        once, again = (server.refreshed(first["refresh_token"]) for _ in range(2))
        assert again["refresh_token"] == once["refresh_token"]
        assert again["access_token"] == once["access_token"]
        assert set(RefreshToken.objects.values_list("token", flat=True)) == {""}
        server.revoke(again["access_token"])
        assert error_of(server.refresh(again["refresh_token"])) == "invalid_grant"


def a_kind_of_our_own(request):
    """An ACCESS_TOKEN_GENERATOR, as a project has that makes JWTs."""
    place = getattr(request, "pawl_place", None)
    return f"own-{place.sid if place else 'none'}-{secrets.token_urlsafe(16)}"


class OwnKind(PawlOAuth2Validator):
    def describe(self, text, row):
        return super().describe(text, row)._replace(sid=text[4:40])


def test_access_tokens_of_a_projects_own_kind_keep_their_text_and_have_a_family(server):
    with change(ACCESS_TOKEN_GENERATOR=a_kind_of_our_own, OAUTH2_VALIDATOR_CLASS=OwnKind):
        first = server.log_in()
        once, again = (server.refreshed(first["refresh_token"]) for _ in range(2))
        assert once["access_token"].startswith("own-")
        assert again["refresh_token"] == once["refresh_token"]
        for text in (once["access_token"], again["access_token"]):
            assert server.get("/who/", text).status_code == 200
        server.daemon.ctl("revoke", "family", "--sid", once["access_token"][4:40], check=0)
        assert server.get("/who/", once["access_token"]).status_code == 401


# ---- theft --------------------------------------------------------------------------------------


@pytest.mark.parametrize("clean", (False, True))
def test_a_token_from_two_generations_ago_kills_the_family(server, clean):
    first = server.log_in()
    second = server.refreshed(first["refresh_token"])
    third = server.refreshed(second["refresh_token"])
    if clean:  # cleartokens has run
        rows.by_text(RefreshToken, first["refresh_token"]).delete()
    assert server.get("/who/", third["access_token"]).status_code == 200
    assert error_of(server.refresh(first["refresh_token"])) == "invalid_grant"
    assert error_of(server.refresh(third["refresh_token"])) == "invalid_grant"
    refused = server.get("/who/", third["access_token"])
    assert refused.status_code == 401
    assert refused.json()["detail"] == "This token was revoked."


def test_theft_is_told(server, caplog):
    first = server.log_in()
    server.refreshed(server.refreshed(first["refresh_token"])["refresh_token"])
    caplog.set_level("INFO", "pawl.security")
    server.refresh(first["refresh_token"])
    assert "reuse_detected" in [getattr(record, "event", "") for record in caplog.records]
    assert first["refresh_token"] not in caplog.text


def test_nobody_can_make_up_an_old_generation(server):
    first = server.log_in()
    second = server.refreshed(first["refresh_token"])
    third = server.refreshed(second["refresh_token"])
    place = texts.read_refresh(third["refresh_token"])
    with override_settings(SECRET_KEY="the thief's"):
        forged = texts.pairs(place._replace(generation=0, seed=b"x" * 16))[0].refresh
    assert texts.family_of(forged) == place.sid
    assert error_of(server.refresh(forged)) == "invalid_grant"
    assert server.get("/who/", third["access_token"]).status_code == 200


def test_another_client_cannot_use_the_token_and_does_no_harm(server):
    other = server.make_application("other", "authorization-code")
    first = server.log_in()
    answer = server.post("/o/token/", {"grant_type": "refresh_token",
                                       "refresh_token": first["refresh_token"]}, other)
    assert error_of(answer) == "invalid_grant"
    server.refreshed(first["refresh_token"])


def test_a_revoked_token_never_enjoys_grace(server):
    first = server.log_in()
    server.refreshed(first["refresh_token"])
    assert server.revoke(first["refresh_token"]).status_code == 200
    assert error_of(server.refresh(first["refresh_token"])) == "invalid_grant"


def test_a_token_revoked_behind_the_back_of_pawld_is_refused_and_pawld_told(server):
    first = server.log_in()
    RefreshToken.objects.update(revoked=timezone.now(), access_token=None)  # no signal
    assert error_of(server.refresh(first["refresh_token"])) == "invalid_grant"
    assert server.get("/who/", first["access_token"]).status_code == 401


# ---- no daemon ----------------------------------------------------------------------------------


def unavailable(answer):
    assert error_of(answer, 503) == "temporarily_unavailable"
    assert int(answer["Retry-After"]) > 0
    return True


def test_without_a_daemon_a_refresh_waits_and_the_token_is_kept(server, use_daemon):
    first = server.log_in()
    use_daemon(server.daemon.unix, DURABLE_DEADLINE_MS=200)
    server.daemon.stop(signal.SIGKILL)
    assert unavailable(server.refresh(first["refresh_token"]))
    server.daemon.start()
    use_daemon(server.daemon.unix)
    assert texts.read_refresh(server.refreshed(first["refresh_token"])["refresh_token"])


def test_without_a_daemon_a_code_is_not_used_up(server, use_daemon):
    code = server.code()
    use_daemon(server.daemon.unix, DURABLE_DEADLINE_MS=200)
    server.daemon.stop(signal.SIGKILL)
    assert unavailable(server.redeem(*code))
    assert unavailable(server.redeem(*code, path="/stock/token/"))
    server.daemon.start()
    use_daemon(server.daemon.unix)
    assert server.redeem(*code).status_code == 200


def test_without_a_daemon_log_ins_go_on_where_the_policy_is_open(server, use_daemon):
    use_daemon(server.daemon.unix, DURABLE_DEADLINE_MS=200, DEADLINE_MS=50,
               ON_UNAVAILABLE={"refresh": "open", "oauth": "open"})
    server.daemon.stop(signal.SIGKILL)
    tokens = server.log_in()
    assert texts.family_of(tokens["access_token"]) == ""
    assert server.get("/who/", tokens["access_token"]).status_code == 200


@pytest.mark.parametrize("path", ("/who/", "/plain/"))
def test_without_a_daemon_an_access_token_is_503_and_never_401(server, use_daemon, path):
    tokens = server.log_in()
    use_daemon(server.daemon.unix, DEADLINE_MS=50)
    server.daemon.stop(signal.SIGKILL)
    answer = server.get(path, tokens["access_token"])
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0
    assert server.get("/who/", "no-such-token").status_code == 401  # a fact, whoever is away


def test_a_frozen_daemon_is_no_reason_to_log_anybody_out(server, make_daemon, use_daemon):
    first = server.log_in()
    use_daemon(make_daemon("--frozen").unix, DURABLE_DEADLINE_MS=200)
    assert unavailable(server.refresh(first["refresh_token"]))
    assert server.get("/who/", first["access_token"]).status_code == 503


# ---- from before pawl ---------------------------------------------------------------------------


def stock_log_in(server):
    with change(OAUTH2_VALIDATOR_CLASS="oauth2_provider.oauth2_validators.OAuth2Validator"):
        tokens = server.redeem(*server.code(), path="/stock/token/").json()
    assert oauth2_settings.OAUTH2_VALIDATOR_CLASS is PawlOAuth2Validator
    return tokens


def test_a_token_from_before_pawl_is_adopted_once(server, make_daemon, use_daemon):
    first = stock_log_in(server)
    assert server.get("/who/", first["access_token"]).status_code == 200
    daemon = make_daemon(config='rotation: {adopt_before: "2100-01-01T00:00:00Z"}\n')
    use_daemon(daemon.unix, ADOPT_BEFORE_S=2**31 - 1)

    def refresh(_):
        try:
            return server.refresh(first["refresh_token"])
        finally:
            connection.close()

    answers = rig.in_parallel(8, refresh)
    assert {answer.status_code for answer in answers} == {200}, answers[0].content
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    second = answers[0].json()
    assert texts.read_refresh(second["refresh_token"]).generation == 1
    server.refreshed(second["refresh_token"])
    assert error_of(server.refresh(first["refresh_token"])) == "invalid_grant"  # theft


def test_a_token_from_before_pawl_is_not_adopted_unasked(server):
    first = stock_log_in(server)
    assert error_of(server.refresh(first["refresh_token"])) == "invalid_grant"


# ---- checks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings, wanted", (
    ({}, []),
    ({"OAUTH2_VALIDATOR_CLASS": "oauth2_provider.oauth2_validators.OAuth2Validator"}, ["W001"]),
    ({"REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 60}, ["W002"]),
    ({"ACCESS_TOKEN_GENERATOR": a_kind_of_our_own}, ["W003"]),
    ({"ACCESS_TOKEN_GENERATOR": a_kind_of_our_own, "OAUTH2_VALIDATOR_CLASS": OwnKind}, []),
))
def test_a_set_up_that_does_less_than_it_seems_is_told(settings, wanted):
    from pawl.oauth.checks import check_oauth
    with change(**settings):
        assert [message.id.partition(".")[2] for message in check_oauth()] == wanted

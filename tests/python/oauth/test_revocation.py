"""RFC 7009 and every other way to end a token: refused at once, everywhere, or not acknowledged."""

import signal

import pytest
from django.conf import settings
from django.test import Client, override_settings
from oauth2_provider.models import get_access_token_model, get_refresh_token_model
from oauth2_provider.oauth2_validators import OAuth2Validator

import pawl.oauth
from pawl.django import accounts
from pawl.django.verdicts import ServiceUnavailable
from pawl.oauth import rows, texts

AccessToken, RefreshToken = get_access_token_model(), get_refresh_token_model()


def is_dead(server, tokens):
    return (server.get("/who/", tokens["access_token"]).status_code == 401
            and server.refresh(tokens["refresh_token"]).status_code == 400)


def pawld_says(server, text):
    """What any other server would hear of the token."""
    client = pawl.Client(server.daemon.unix, check_deadline_ms=10000)
    try:
        return client.token_check(
            pawl.Token(opaque=text.encode(), sid=texts.family_of(text))).token.status
    finally:
        client.close()


@pytest.mark.parametrize("which", ("refresh_token", "access_token"))
@pytest.mark.parametrize("hint", ({}, {"token_type_hint": "access_token"},
                                  {"token_type_hint": "refresh_token"},
                                  {"token_type_hint": "nonsense"}))
def test_revoking_either_token_ends_both_whatever_the_hint(server, which, hint):
    tokens = server.log_in()
    assert server.revoke(tokens[which], **hint).status_code == 200
    assert pawld_says(server, tokens["access_token"]) == "revoked"
    assert is_dead(server, tokens)


def test_a_superseded_token_ends_its_login(server):
    first = server.log_in()
    second = server.refreshed(first["refresh_token"])
    assert server.revoke(first["refresh_token"]).status_code == 200
    assert is_dead(server, second)


def test_a_superseded_token_whose_row_was_cleaned_up_ends_its_login(server):
    first = server.log_in()
    second = server.refreshed(first["refresh_token"])
    rows.by_text(RefreshToken, first["refresh_token"]).delete()
    assert server.revoke(first["refresh_token"]).status_code == 200
    assert is_dead(server, second)


def test_another_client_ends_nothing_by_a_token_whose_row_was_cleaned_up(server):
    other = server.make_application("other", "authorization-code")
    first = server.log_in()
    second = server.refreshed(first["refresh_token"])
    rows.by_text(RefreshToken, first["refresh_token"]).delete()
    data = {"token": first["refresh_token"]}
    assert server.post("/o/revoke_token/", data, other).status_code == 200
    assert server.get("/who/", second["access_token"]).status_code == 200
    assert server.refresh(second["refresh_token"]).status_code == 200


def test_a_service_token_is_revoked_by_its_hash(server):
    text = server.service_token()["access_token"]
    service = server.application.__class__.objects.get(name="service")
    assert server.post("/o/revoke_token/", {"token": text}, service).status_code == 200
    assert pawld_says(server, text) == "revoked"
    assert server.get("/plain/", text).status_code == 403  # the toolkit's way to refuse


def test_an_unknown_token_is_nothing_to_do(server):
    assert server.revoke("no such token").status_code == 200


def test_another_clients_token_is_left_alone(server):
    other = server.make_application("other", "authorization-code")
    tokens = server.log_in()
    for text in (tokens["refresh_token"], tokens["access_token"]):
        assert server.post("/o/revoke_token/", {"token": text}, other).status_code == 200
    assert server.get("/who/", tokens["access_token"]).status_code == 200


def test_nobody_revokes_without_credentials(server):
    tokens = server.log_in()
    answer = server.post("/o/revoke_token/", {"token": tokens["access_token"]},
                         HTTP_AUTHORIZATION="Basic bm8=")
    assert answer.status_code == 401


@pytest.mark.parametrize("path", ("/o/revoke_token/", "/stock/revoke_token/"))
def test_without_a_daemon_a_revocation_is_503_and_changes_nothing(server, use_daemon, path):
    tokens = server.log_in()
    use_daemon(server.daemon.unix, DURABLE_DEADLINE_MS=200)
    server.daemon.stop(signal.SIGKILL)
    answer = server.post(path, {"token": tokens["refresh_token"]})
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0
    assert RefreshToken.objects.filter(revoked__isnull=True).count() == 1
    server.daemon.start()
    use_daemon(server.daemon.unix)
    assert server.get("/who/", tokens["access_token"]).status_code == 200
    assert server.post(path, {"token": tokens["refresh_token"]}).status_code == 200
    assert is_dead(server, tokens)


def test_other_letters_are_not_another_token(server, monkeypatch):
    """Where the database compares without regard to case, as MySQL does unless told otherwise."""
    monkeypatch.setattr(OAuth2Validator, "_load_access_token", lambda self, text: (
        AccessToken.objects.filter(token__iexact=text).first()))
    text = server.log_in()["access_token"]
    if not AccessToken.objects.get().token:
        pytest.skip("tokens are stored hashed")
    other = text[:4] + text[4:].swapcase()
    assert server.get("/who/", other).status_code == 200  # the toolkit's affair
    server.daemon.ctl("revoke", "family", "--sid", texts.family_of(text), check=0)
    assert server.get("/who/", other).status_code == 401


# ---- introspection ------------------------------------------------------------------------------


def test_introspection_says_whose_the_token_is(server):
    tokens = server.log_in()
    answer = server.introspect(tokens["access_token"])
    assert answer["Cache-Control"] == "no-store"
    said = answer.json()
    assert said["active"] is True
    assert said["sub"] == str(server.user.pk)
    assert said["sid"] == texts.family_of(tokens["access_token"])
    assert said["client_id"] == "web" and said["iat"] <= said["exp"]


@pytest.mark.parametrize("how", ("family", "subject", "client", "opaque"))
def test_introspection_hears_of_every_kind_of_revocation(server, how):
    tokens = server.log_in()
    text = tokens["access_token"]
    arguments = {"family": ("--sid", texts.family_of(text)), "client": ("--client", "web"),
                 "subject": ("--sub", server.user.pk), "opaque": ()}[how]
    server.daemon.ctl("revoke", how, *arguments, check=0, stdin=text if how == "opaque" else None)
    answer = server.introspect(text)
    assert answer.status_code == 200
    assert answer.json() == {"active": False}


def test_introspection_of_an_unknown_token_is_a_plain_no(server):
    assert server.introspect("no such token").json() == {"active": False}


def test_introspection_says_503_where_nobody_can_tell(server, use_daemon):
    tokens = server.log_in()
    use_daemon(server.daemon.unix, DEADLINE_MS=50)
    server.daemon.stop(signal.SIGKILL)
    answer = server.introspect(tokens["access_token"])
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0


def test_introspection_is_not_for_everybody(server):
    tokens = server.log_in()
    answer = server.post("/o/introspect/", {"token": tokens["access_token"]},
                         HTTP_AUTHORIZATION="Basic bm8=")
    assert answer.status_code == 403


# ---- everything of a user, of an application ----------------------------------------------------


def test_log_out_everywhere_ends_all_tokens_and_spares_the_next_log_in(server):
    tokens = [server.log_in(), server.log_in()]
    pawl.oauth.revoke_user(server.user)
    assert all(is_dead(server, one) for one in tokens)
    again = server.log_in()
    assert server.get("/who/", again["access_token"]).status_code == 200
    assert server.refreshed(again["refresh_token"])


def test_a_revoked_token_is_401_with_a_code_even_where_anybody_may_come(server):
    tokens = server.log_in()
    pawl.oauth.revoke_user(server.user)
    answer = server.get("/anybody/", tokens["access_token"])
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer["WWW-Authenticate"]
    assert server.get("/anybody/", "no-such-token").status_code == 200


def test_deleting_an_application_ends_its_tokens_everywhere(server):
    tokens = server.log_in()
    server.application.delete()
    client = pawl.Client(server.daemon.unix, check_deadline_ms=10000)
    verdict = client.token_check(pawl.Token(opaque=tokens["access_token"].encode(), client="web",
                                            iat_s=1)).token
    client.close()
    assert verdict.status == "revoked"


def test_deleting_a_user_ends_their_tokens_everywhere(server):
    tokens, key = server.log_in(), str(server.user.pk)
    server.user.delete()
    client = pawl.Client(server.daemon.unix, check_deadline_ms=10000)
    verdict = client.token_check(pawl.Token(opaque=tokens["access_token"].encode(), subject=key,
                                            iat_s=1)).token
    client.close()
    assert verdict.status == "revoked"


def change_password(user):
    user.set_password("another secret")
    user.save()


def disable(user):
    user.is_active = False
    user.save(update_fields=["is_active"])


@pytest.mark.parametrize("change", [change_password, disable])
def test_a_changed_password_or_a_disabled_account_ends_their_tokens(server, change):
    tokens = server.log_in()
    server.user.email = "alice@example.org"
    server.user.save()
    assert server.get("/who/", tokens["access_token"]).status_code == 200
    change(server.user)
    assert server.get("/who/", tokens["access_token"]).status_code == 401
    assert server.refresh(tokens["refresh_token"]).status_code == 400


def test_a_text_with_a_nul_is_looked_up_nowhere(server, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert rows.find_refresh("a\0b") is None
    for path in ("/o/revoke_token/", "/o/token/"):
        assert server.post(path, {"token": "a\0b", "grant_type": "refresh_token",
                                  "refresh_token": "a\0b"}).status_code < 500


def test_what_revokes_by_itself_is_a_setting(server, use_daemon):
    use_daemon(server.daemon.unix, REVOKE_ON=["account_deleted"])
    tokens = server.log_in()
    change_password(server.user)
    assert server.get("/who/", tokens["access_token"]).status_code == 200


def test_a_password_that_pawld_cannot_be_told_of_is_not_changed(server, use_daemon):
    use_daemon(server.daemon.unix, DURABLE_DEADLINE_MS=200)
    server.daemon.stop(signal.SIGKILL)
    with pytest.raises(ServiceUnavailable):
        change_password(server.user)
    server.user.refresh_from_db()
    assert server.user.check_password("secret")


def test_the_page_of_authorized_tokens_reaches_every_server(server):
    tokens = server.log_in()
    browser = Client()
    browser.force_login(server.user)
    row = AccessToken.objects.get()
    assert browser.post(f"/o/authorized_tokens/{row.pk}/delete/").status_code == 302
    assert pawld_says(server, tokens["access_token"]) == "revoked"
    assert server.refresh(tokens["refresh_token"]).status_code == 400


def test_a_row_revoked_in_the_shell_reaches_every_server(server):
    tokens = server.log_in()
    RefreshToken.objects.get().revoke()
    assert pawld_says(server, tokens["access_token"]) == "revoked"


def test_a_deletion_that_pawld_does_not_take_is_undone(server, use_daemon):
    server.log_in()
    use_daemon(server.daemon.unix, DURABLE_DEADLINE_MS=200)
    server.daemon.stop(signal.SIGKILL)
    with pytest.raises(ServiceUnavailable):
        AccessToken.objects.all().delete()
    with pytest.raises(ServiceUnavailable):
        RefreshToken.objects.get().revoke()
    assert AccessToken.objects.count() == 1
    assert RefreshToken.objects.get().revoked is None


def test_what_a_resource_server_apart_deletes_is_its_own_affair(server, monkeypatch):
    """Its rows are kept introspections, and its user of the same key may be somebody else."""
    # The project here has tokens of its own, too, which are revoked by the same key.
    monkeypatch.setattr(accounts, "_names", {"oauth": accounts._names["oauth"]})
    tokens, subject = server.log_in(), str(server.user.pk)
    with override_settings(OAUTH2_PROVIDER={
            **settings.OAUTH2_PROVIDER, "RESOURCE_SERVER_INTROSPECTION_URL": "http://as.example/"}):
        AccessToken.objects.all().delete()
        server.user.delete()
        server.application.delete()
    client = pawl.Client(server.daemon.unix, check_deadline_ms=10000)
    text = tokens["access_token"]
    verdict = client.token_check(pawl.Token(
        opaque=text.encode(), sid=texts.family_of(text), subject=subject, client="web",
        iat_s=1)).token
    client.close()
    assert verdict.status == "valid"

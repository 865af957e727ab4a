"""REST Framework's tokens, knox's, and a project's own: revocable, and by a hash alone."""

import datetime
import hashlib
import io
import signal
import types

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from knox.models import AuthToken
from oauth_app.models import ApiToken
from rest_framework.authtoken.models import Token, TokenProxy

import pawl
import pawl.tokens
from pawl.django.verdicts import ServiceUnavailable
from pawl.tokens import naming


class Kind:
    """One kind of opaque token, for the tests that all kinds pass."""

    def __init__(self, path, scheme, issue):
        self.path, self.scheme, self.issue = path, scheme, issue

    def get(self, text):
        return Client(raise_request_exception=False).get(
            self.path, HTTP_AUTHORIZATION=f"{self.scheme} {text}")


def issue_framework(user):
    row = Token.objects.create(user=user)
    return row, row.key


KINDS = {
    "framework": Kind("/token/", "Token", issue_framework),
    "knox": Kind("/knox/", "Token", lambda user: AuthToken.objects.create(user)),
    "own": Kind("/opaque/", "Bearer", lambda user: ApiToken.issue(user)),
}


@pytest.fixture(params=sorted(KINDS))
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def pawld(make_daemon, use_daemon):
    daemon = make_daemon()
    use_daemon(daemon.unix)
    return daemon


@pytest.fixture
def user(transactional_db):
    return get_user_model().objects.create_user("alice", password="secret")


def refusal(answer):
    assert answer.status_code == 401, answer.content
    assert "WWW-Authenticate" in answer
    return answer.data["detail"].code


def test_a_good_token_passes_and_a_revoked_one_does_not(pawld, user, kind):
    row, text = kind.issue(user)
    assert kind.get(text).json() == {"user": "alice"}
    pawl.tokens.revoke(row)
    assert kind.get(text).status_code == 401
    assert not type(row).objects.filter(user=user).exists()


def test_pawld_refuses_a_token_whose_row_is_still_there(pawld, user, kind):
    """What another server sees whose replica of the database is late."""
    row, text = kind.issue(user)
    name, _ = pawl.tokens.revoking.named(row)
    pawl.tokens.revoke_opaque(name)
    assert refusal(kind.get(text)) == "token_revoked"


def test_log_out_everywhere_ends_tokens_of_every_kind(pawld, user):
    made = {name: kind.issue(user) for name, kind in KINDS.items()}
    pawld.ctl("revoke", "subject", "--sub", user.pk, check=0)  # by somebody without our tables
    for name, (_, text) in made.items():
        assert refusal(KINDS[name].get(text)) == "token_revoked"
    pawl.tokens.revoke_user(user)
    for row, _ in made.values():
        assert not type(row).objects.exists()


def test_a_deleted_row_is_revoked_everywhere(pawld, user, kind):
    row, text = kind.issue(user)
    name, _ = pawl.tokens.revoking.named(row)
    row.delete()
    assert naming.is_revoked(name) is True


def test_a_token_deleted_in_the_admin_is_revoked(pawld, user):
    row, text = issue_framework(user)
    TokenProxy.objects.get(pk=row.pk).delete()
    assert naming.is_revoked(text) is True


def test_knoxes_own_log_out_view_reaches_every_server(pawld, user):
    row, text = AuthToken.objects.create(user)
    answer = Client().post("/knox/logout/", HTTP_AUTHORIZATION=f"Token {text}")
    assert answer.status_code == 204
    assert naming.is_revoked(row.digest) is True


def test_a_deletion_that_pawld_does_not_take_is_undone(pawld, user, kind, use_daemon):
    row, text = kind.issue(user)
    use_daemon(pawld.unix, DURABLE_DEADLINE_MS=200)
    pawld.stop(signal.SIGKILL)
    with pytest.raises(ServiceUnavailable):
        row.delete()
    with pytest.raises(ServiceUnavailable):
        pawl.tokens.revoke(row)
    assert type(row).objects.filter(user=user).exists()


def test_without_a_daemon_it_is_503_and_a_wrong_token_still_401(pawld, user, kind, use_daemon):
    _, text = kind.issue(user)
    use_daemon(pawld.unix, DEADLINE_MS=50)
    pawld.stop(signal.SIGKILL)
    answer = kind.get(text)
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0
    assert kind.get("x" * 40).status_code == 401


def test_without_a_daemon_an_open_policy_lets_tokens_pass(pawld, user, kind, use_daemon):
    _, text = kind.issue(user)
    use_daemon(pawld.unix, DEADLINE_MS=50, ON_UNAVAILABLE={"opaque": "open"})
    pawld.stop(signal.SIGKILL)
    assert kind.get(text).status_code == 200


def test_a_refused_token_is_logged_without_its_text(pawld, user, kind, caplog):
    row, text = kind.issue(user)
    pawl.tokens.revoke_opaque(pawl.tokens.revoking.named(row)[0])
    caplog.set_level("INFO", "pawl.security")
    kind.get(text)
    assert "token_refused" in [getattr(record, "event", "") for record in caplog.records]
    assert text not in caplog.text


def test_the_log_in_view_replaces_a_revoked_token(pawld, user):
    def log_in():
        return Client(raise_request_exception=False).post(
            "/login/", {"username": "alice", "password": "secret"})

    first = log_in().json()["token"]
    assert log_in().json()["token"] == first
    naming.revoke_opaque(first)
    second = log_in().json()["token"]
    assert second != first
    assert KINDS["framework"].get(second).status_code == 200


def test_a_user_has_several_tokens_with_names_and_ends(pawld, user):
    laptop, text = ApiToken.issue(user, datetime.timedelta(hours=1), name="laptop")
    _, other = ApiToken.issue(user, name="script")
    laptop.revoke()
    assert KINDS["own"].get(text).status_code == 401
    assert KINDS["own"].get(other).status_code == 200
    ApiToken.objects.update(expires=timezone.now())
    assert KINDS["own"].get(other).status_code == 401


def test_the_table_of_own_tokens_gives_no_token_away(pawld, user):
    row, text = ApiToken.issue(user)
    stored = " ".join(str(value) for value in ApiToken.objects.values().get().values())
    assert text not in stored
    assert hashlib.sha256(text.encode()).hexdigest() not in stored  # nor can guesses be tried
    assert KINDS["own"].get(row.digest).status_code == 401  # what is stored is no token


def test_own_tokens_outlive_a_change_of_key_while_the_old_one_stands_behind(pawld, user,
                                                                           use_daemon):
    use_daemon(pawld.unix, TOKEN_KEYS=["old"])
    row, text = ApiToken.issue(user)
    use_daemon(pawld.unix, TOKEN_KEYS=["new", "old"])
    assert KINDS["own"].get(text).status_code == 200
    row.revoke()
    use_daemon(pawld.unix, TOKEN_KEYS=["new"])
    assert KINDS["own"].get(text).status_code == 401


def test_a_token_is_known_to_everybody_by_its_sha256(pawld, user):
    _, text = issue_framework(user)
    pawld.ctl("revoke", "opaque", stdin=text, check=0)
    assert refusal(KINDS["framework"].get(text)) == "token_revoked"


def revoke_by_command(monkeypatch, text):
    standard_input = types.SimpleNamespace(buffer=io.BytesIO(text.encode()))
    monkeypatch.setattr("sys.stdin", standard_input)
    call_command("pawl_revoke", "--opaque", "--actor", "somebody", stdout=io.StringIO())


@pytest.mark.parametrize("hashing", ["sha256", "keyed"])
def test_the_command_revokes_a_token_of_any_kind_by_its_text(pawld, user, kind, use_daemon, hashing,
                                                             monkeypatch):
    use_daemon(pawld.unix, OPAQUE_HASH=hashing)
    _, text = kind.issue(user)
    assert kind.get(text).status_code == 200
    revoke_by_command(monkeypatch, text)
    assert refusal(kind.get(text)) == "token_revoked"


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
def test_the_command_ends_the_login_of_an_oauth_token(server, monkeypatch, which):
    tokens = server.log_in()
    revoke_by_command(monkeypatch, tokens[which])
    assert server.get("/who/", tokens["access_token"]).status_code == 401
    assert server.refresh(tokens["refresh_token"]).status_code == 400


def test_keyed_names_can_be_tried_out_by_nobody_else(pawld, user, use_daemon):
    use_daemon(pawld.unix, OPAQUE_HASH="keyed")
    _, text = issue_framework(user)
    pawld.ctl("revoke", "opaque", stdin=text, check=0)  # the plain hash is not the name
    assert KINDS["framework"].get(text).status_code == 200
    pawl.tokens.revoke_opaque(text)
    assert refusal(KINDS["framework"].get(text)) == "token_revoked"
    use_daemon(pawld.unix, OPAQUE_HASH="keyed", TOKEN_KEYS=["new", "old"])
    assert KINDS["framework"].get(text).status_code == 200  # another project's, with other keys


def test_keyed_names_outlive_a_change_of_key(pawld, user, use_daemon):
    use_daemon(pawld.unix, OPAQUE_HASH="keyed", TOKEN_KEYS=["old"])
    _, text = issue_framework(user)
    pawl.tokens.revoke_opaque(text)
    use_daemon(pawld.unix, OPAQUE_HASH="keyed", TOKEN_KEYS=["new", "old"])
    assert refusal(KINDS["framework"].get(text)) == "token_revoked"


def test_deleting_a_user_ends_all_their_tokens(pawld, user, kind):
    row, text = kind.issue(user)
    key, created = user.pk, row.created
    name, _ = pawl.tokens.revoking.named(row)
    user.delete()
    assert naming.is_revoked(b"another token of theirs", subject=key, issued=created) is True


def test_raw_tokens_are_in_no_file_of_the_daemon(pawld, user):
    _, text = issue_framework(user)
    pawl.tokens.revoke_opaque(text)
    for path in pawld.data_dir.iterdir():
        assert text.encode() not in path.read_bytes()

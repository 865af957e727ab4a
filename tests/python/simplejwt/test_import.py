"""manage.py pawl_import_blacklist."""

import datetime
import io

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from pawl.simplejwt.answers import RefusedTokenError
from pawl.simplejwt.tokens import RefreshToken

pytest.importorskip("rest_framework_simplejwt.token_blacklist.models")


@pytest.fixture
def rows(shop):
    """A factory of rows: rows(3, 2) gives 3 blacklisted that live and 2 that have expired."""
    from django.apps import apps

    if not apps.is_installed("rest_framework_simplejwt.token_blacklist"):
        pytest.skip("simplejwt's blacklist app is not in this project")
    from rest_framework_simplejwt.token_blacklist.models import (BlacklistedToken,
                                                                 OutstandingToken)

    def make(live, expired=0, outstanding=0):
        now = timezone.now()
        made = []
        for index in range(live + expired + outstanding):
            is_over = live <= index < live + expired
            ends = now + datetime.timedelta(hours=-1 if is_over else 1)
            token = OutstandingToken(jti=f"jti-{index}", token="", expires_at=ends)
            made.append(token)
        OutstandingToken.objects.bulk_create(made)
        made = list(OutstandingToken.objects.order_by("pk"))
        BlacklistedToken.objects.bulk_create(
            [BlacklistedToken(token=token) for token in made[:live + expired]])
        return made
    return make


def run(*arguments):
    out, err = io.StringIO(), io.StringIO()
    call_command("pawl_import_blacklist", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def is_revoked(shop, jti):
    return shop.daemon.ctl("token", "check", "--jti", jti).code == 1


def test_what_lives_is_told_and_what_expired_is_not(shop, rows):
    rows(25, expired=5, outstanding=3)
    out, err = run("--batch", "10", "--in-flight", "4")
    assert out == "25 blacklisted tokens revoked, 5 had expired\n"
    assert err.splitlines()[-1].startswith("25/25 100%")
    assert all(is_revoked(shop, f"jti-{index}") for index in (0, 9, 10, 24))
    assert not any(is_revoked(shop, f"jti-{index}") for index in (25, 29, 30, 32))
    before = shop.daemon.status()["revocations"]
    assert run()[0] == "25 blacklisted tokens revoked, 5 had expired\n"
    assert shop.daemon.status()["revocations"] == before, "sending twice is harmless"


def test_everything_outstanding_may_be_told_too(shop, rows):
    rows(2, expired=1, outstanding=3)
    assert run("--outstanding")[0] == "5 outstanding tokens revoked, 1 had expired\n"
    assert is_revoked(shop, "jti-5")


def test_a_token_that_was_blacklisted_in_sql_only_is_refused_after_it(shop, rows):
    from rest_framework_simplejwt.tokens import RefreshToken as Stock

    shop.use(REVOKE_ON=())
    token = Stock.for_user(shop.user)
    token.blacklist()
    RefreshToken(str(token))
    run()
    with pytest.raises(RefusedTokenError):
        RefreshToken(str(token))


def test_a_dry_run_only_counts(shop, rows):
    rows(4, expired=2)
    assert run("--dry-run")[0] == "4 blacklisted tokens would be revoked, 2 have expired\n"
    assert not is_revoked(shop, "jti-0")
    assert run("--dry-run", "--outstanding")[0].startswith("4 outstanding")


def test_an_import_that_stops_says_where_to_go_on(shop, rows, monkeypatch):
    from pawl import errors
    from pawl.django.conf import get_async_client

    made = rows(30)
    client = get_async_client()
    real, seen = client.revoke, []

    async def failing(scope, value, **options):
        seen.append(value)
        if value == "jti-17":
            raise errors.Unavailable("full", "full")
        return await real(scope, value, **options)

    monkeypatch.setattr(client, "revoke", failing)
    with pytest.raises(CommandError, match="17 of 30 revoked.*full.*--after") as caught:
        run("--batch", "5", "--in-flight", "2")
    after = str(caught.value).rsplit(" ", 1)[1]
    assert int(after) == list(_black(made))[16]
    monkeypatch.setattr(client, "revoke", real)
    assert run("--after", after)[0].startswith("13 blacklisted tokens revoked")
    assert all(is_revoked(shop, f"jti-{index}") for index in range(30))


def _black(made):
    from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken

    return BlacklistedToken.objects.filter(token__in=made).order_by("pk").values_list(
        "pk", flat=True)


def test_a_row_that_pawld_cannot_take_stops_nothing_and_is_named(shop, rows):
    made = rows(3)
    made[1].jti = "\u00fc" * 200  # 400 bytes
    made[1].save()
    keys = list(_black(made))
    with pytest.raises(CommandError, match=f"255 bytes.* {keys[1]}$"):
        run()
    assert is_revoked(shop, "jti-0") and is_revoked(shop, "jti-2")


def test_without_a_daemon_it_fails_with_a_reason(shop, rows):
    rows(3)
    shop.lose_daemon()
    with pytest.raises(CommandError, match="0 of 3 revoked, then pawld said"):
        run()


def test_bad_arguments_are_refused(shop, rows):
    for arguments in (("--batch", "0"), ("--in-flight", "1000")):
        with pytest.raises(CommandError, match="--batch"):
            run(*arguments)


def test_a_terminal_gets_a_bar(shop, rows):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    rows(3)
    err = Terminal()
    call_command("pawl_import_blacklist", stdout=io.StringIO(), stderr=err)
    assert err.getvalue().startswith("\r[####") and err.getvalue().endswith("\n")

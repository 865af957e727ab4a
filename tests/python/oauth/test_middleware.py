"""Views that are not REST Framework's: the toolkit's middleware, and ours around its views."""

import signal

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse
from django.test import RequestFactory, override_settings

from pawl.oauth import OAuth2TokenMiddleware, UnavailableMiddleware


@pytest.fixture
def ask(server):
    """Who the toolkit's middleware finds behind a token."""
    with override_settings(AUTHENTICATION_BACKENDS=["oauth2_provider.backends.OAuth2Backend"]):
        middleware = OAuth2TokenMiddleware(lambda request: HttpResponse(
            getattr(request, "user", AnonymousUser()).get_username()))
        yield lambda token: middleware(RequestFactory().get(
            "/", HTTP_AUTHORIZATION=f"Bearer {token}"))


def test_the_middleware_finds_the_user_of_a_good_token_only(server, ask):
    tokens = server.log_in()
    assert ask(tokens["access_token"]).content == b"alice"
    server.daemon.ctl("revoke", "subject", "--sub", server.user.pk, check=0)
    assert ask(tokens["access_token"]).content == b""


def test_the_middleware_answers_503_where_nobody_can_tell(server, ask, use_daemon):
    tokens = server.log_in()
    use_daemon(server.daemon.unix, DEADLINE_MS=50)
    server.daemon.stop(signal.SIGKILL)
    answer = ask(tokens["access_token"])
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0


def test_other_errors_of_views_are_not_ours_to_answer():
    middleware = UnavailableMiddleware(lambda request: HttpResponse())
    assert middleware.process_exception(RequestFactory().get("/"), ValueError()) is None
    assert settings.MIDDLEWARE[-1] == "pawl.oauth.UnavailableMiddleware"

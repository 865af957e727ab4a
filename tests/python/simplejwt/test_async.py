"""Coroutines for adrf and async views."""

import asyncio

import pytest
from django.test import RequestFactory

from pawl.simplejwt.answers import InvalidToken, ServiceUnavailable
from pawl.simplejwt.authentication import (AsyncJWTAuthentication,
                                           AsyncJWTStatelessUserAuthentication)
from pawl.simplejwt.tokens import AccessToken

CLASSES = (AsyncJWTAuthentication, AsyncJWTStatelessUserAuthentication)


def authenticate(kind, text):
    request = RequestFactory().get("/", HTTP_AUTHORIZATION=f"Bearer {text}")

    async def one():
        from pawl.django.conf import get_async_client
        try:
            return await kind().authenticate(request)
        finally:
            await get_async_client().close()
    return asyncio.run(one())


@pytest.mark.parametrize("kind", CLASSES)
def test_good_revoked_and_unknown(shop, kind):
    pair = shop.login()
    user, token = authenticate(kind, pair["access"])
    assert str(user.pk) == str(shop.user.pk) and isinstance(token, AccessToken)
    shop.post("/token/logout/", refresh=pair["refresh"])
    with pytest.raises(InvalidToken) as refused:
        authenticate(kind, pair["access"])
    assert refused.value.detail["code"] == "token_revoked"
    with pytest.raises(InvalidToken):
        authenticate(kind, "a.b.c")
    shop.lose_daemon()
    with pytest.raises(ServiceUnavailable):
        authenticate(kind, pair["access"])


def test_without_a_header_there_is_nobody(shop):
    assert asyncio.run(AsyncJWTAuthentication().authenticate(RequestFactory().get("/"))) is None


def test_a_token_may_be_asked_about_by_hand(shop):
    pair = shop.login()

    async def ask():
        token = AccessToken.read(pair["access"])
        await token.acheck_blacklist()
        return token
    assert asyncio.run(ask())["user_id"]

"""The twins for asyncio: coroutine allow_request, plain wait(), as adrf asks for them."""

import asyncio
import inspect

import pytest

from drf_rig import User, factory, view_class
from pawl import drf
from pawl.django.throttling import entries
from pawl.drf import (AsyncAnonRateThrottle, AsyncConcurrencyThrottle, AsyncFailedLoginThrottle,
                      AsyncScopedRateThrottle, AsyncTokenBucketThrottle, AsyncUserRateThrottle,
                      failed_login_limit)

TWINS = [name for name in drf.__all__ if name.startswith("Async")]


async def check(view, request):
    """What adrf's check_async_throttles does: the waits of those that refused."""
    waits = []
    for throttle in view.get_throttles():
        if not await throttle.allow_request(request, view):
            waits.append(throttle.wait())
    return waits


def made(view_class_, user=None, method="get", **more):
    view = view_class_()
    plain = getattr(factory, method)("/", REMOTE_ADDR="192.0.2.1", **more)
    request = view.initialize_request(plain)
    if user is not None:
        request.user = user
    view.request, view.kwargs = request, {}
    return view, request


def run(count, view_class_, user=None, **more):
    async def calls():
        return [await check(*made(view_class_, user, **more)) for _ in range(count)]
    return asyncio.run(calls())


@pytest.mark.parametrize("name", TWINS)
def test_each_twin_has_a_coroutine_and_a_plain_wait(name):
    twin = getattr(drf, name)
    assert issubclass(twin, getattr(drf, name[len("Async"):]))
    assert inspect.iscoroutinefunction(twin.allow_request)
    assert not inspect.iscoroutinefunction(twin.wait)


def test_they_count_as_their_twins_do(counted, asked):
    view = view_class(AsyncAnonRateThrottle, AsyncUserRateThrottle, AsyncScopedRateThrottle,
                      throttle_scope="uploads")
    assert run(4, view) == [[], [], [60.0], [60.0, 60.0]]
    assert asked() == 4


def test_they_share_their_counts_with_those_that_block(counted):
    user = User()
    from drf_rig import codes
    assert codes(view_class(drf.UserRateThrottle), 3, user) == [200] * 3
    assert run(3, view_class(AsyncUserRateThrottle), user) == [[], [], [60.0]]


def test_what_they_counted_is_left_on_the_request(counted):
    view, request = made(view_class(AsyncAnonRateThrottle))
    asyncio.run(check(view, request))
    assert [(entry.scope, entry.remaining) for entry in entries(request)] == [("anon", 2)]


def test_a_custom_twin_awaits_its_base(counted):
    class Premium(AsyncUserRateThrottle):
        rate = "1/minute"

        async def allow_request(self, request, view):
            return request.user.is_premium or await super().allow_request(request, view)
    assert run(3, view_class(Premium), User(is_premium=True)) == [[], [], []]
    assert run(2, view_class(Premium), User(is_premium=False)) == [[], [60.0]]


def test_many_at_once_are_exactly_as_many_as_the_rate(counted):
    class Hundred(AsyncUserRateThrottle):
        rate = "100/minute"
    user, view = User(), view_class(Hundred)

    async def calls():
        return await asyncio.gather(*(check(*made(view, user)) for _ in range(150)))
    assert [bool(waits) for waits in asyncio.run(calls())].count(False) == 100


def test_a_slot_is_given_back(counted):
    class Slots(AsyncConcurrencyThrottle):
        rate = "1/30s"
    user, view_class_ = User(), view_class(Slots)

    async def calls():
        view, request = made(view_class_, user)
        assert await check(view, request) == []
        assert await check(*made(view_class_, user)) == [5.0]
        await asyncio.get_running_loop().run_in_executor(None, request._request.close)
        return await check(*made(view_class_, user))
    assert asyncio.run(calls()) == []


def test_a_bucket_and_a_login_limit(counted):
    class Bucket(AsyncTokenBucketThrottle):
        rate, burst = "1/s", 2

    class Login(AsyncFailedLoginThrottle):
        rate = "2/5m"
    assert run(3, view_class(Bucket), User()) == [[], [], [1.0]]
    assert run(3, view_class(Login), method="post") == [[], [], [300.0]]


def test_a_login_that_succeeds_is_given_back(counted):
    from rest_framework.response import Response

    class Login(AsyncFailedLoginThrottle):
        rate = "2/5m"

    async def calls():
        for _ in range(5):
            view, request = made(view_class(Login), method="post")
            view.headers = {}
            assert await check(view, request) == []
            view.finalize_response(request, Response({}))
            await asyncio.sleep(0)
            while True:
                from pawl.drf import aio
                if not aio._tasks:
                    break
                await asyncio.gather(*aio._tasks)
    asyncio.run(calls())


def test_a_view_that_blocks_gives_its_login_back_too(counted):
    from rest_framework.response import Response

    class Login(AsyncFailedLoginThrottle):
        rate = "2/5m"
    for _ in range(5):
        view, request = made(view_class(Login), method="post")
        view.headers = {}
        assert asyncio.run(check(view, request)) == []
        view.finalize_response(request, Response({}))


def test_a_class_that_decides_what_counts_may_be_awaited(counted):
    class OnlyGold(AsyncUserRateThrottle):
        rate = "1/minute"

        async def allow_request(self, request, view):
            self.user = request.user
            return await super().allow_request(request, view)

        def throttle_success(self):
            return super().throttle_success() if self.user.gold else True
    view = view_class(OnlyGold)
    assert run(3, view, User(gold=False)) == [[], [], []]
    assert run(3, view, User(gold=True)) == [[], [60.0], [60.0]]


def test_the_login_limiter_may_be_awaited(counted):
    async def tries(good):
        async with failed_login_limit(factory.post("/"), "alice", rates="2/5m"):
            if not good:
                raise LookupError
    async def calls():
        for _ in range(4):
            await tries(True)
        for _ in range(2):
            with pytest.raises(LookupError):
                await tries(False)
        with pytest.raises(Exception) as caught:
            await tries(True)
        return caught.value.status_code
    assert asyncio.run(calls()) == 429


def test_an_outage_is_the_policys_here_too(settings_of):
    with settings_of(ADDR="unix:/nowhere/at/all", DEADLINE_MS=20, ON_ERROR={"anon": "closed"}):
        assert run(2, view_class(AsyncAnonRateThrottle)) == [[5.0], [5.0]]
        found = run(6, view_class(AsyncUserRateThrottle), User())
        assert found[:5] == [[]] * 5 and 0 < found[5][0] <= 60

"""The decorator for plain views."""

import asyncio

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import AsyncClient, RequestFactory

import pawl
from pawl.django import plans, throttling
from pawl.django.decorators import aget_usage, get_usage, is_ratelimited, ratelimit
from pawl.testing import override_pawl


def statuses(client, path, count, **options):
    return [client.get(path, **options).status_code for _ in range(count)]


def test_the_call_over_the_rate_is_429_with_retry_after_and_room_opens_again(client, pawl_memory,
                                                                             pawl_clock):
    assert statuses(client, "/limited/", 3) == [200, 200, 429]
    refused = client.get("/limited/")
    assert refused["Retry-After"] == "60" and b"60 seconds" in refused.content
    assert client.get("/limited/", HTTP_ACCEPT="application/json").json()["detail"]
    pawl_clock.advance(60)
    assert statuses(client, "/limited/", 1) == [200]


def test_each_address_is_counted_for_itself_and_ipv6_by_its_network(client, pawl_memory):
    assert statuses(client, "/limited/", 2, REMOTE_ADDR="10.0.0.1") == [200, 200]
    assert statuses(client, "/limited/", 1, REMOTE_ADDR="10.0.0.2") == [200]
    assert statuses(client, "/limited/", 2, REMOTE_ADDR="2001:db8::1") == [200, 200]
    assert statuses(client, "/limited/", 1, REMOTE_ADDR="2001:db8::ffff") == [429]
    assert statuses(client, "/limited/", 1, REMOTE_ADDR="2001:db8:0:1::1") == [200]


def test_a_caller_cannot_write_itself_another_address(client, pawl_memory):
    found = [client.get("/limited/", HTTP_X_FORWARDED_FOR=f"9.9.9.{n}").status_code
             for n in range(3)]
    assert found == [200, 200, 429]


def test_several_rates_count_together(client, pawl_memory, pawl_clock):
    for _ in range(5):
        assert statuses(client, "/several/", 2) == [200, 200]
        pawl_clock.advance(60)
    assert statuses(client, "/several/", 1) == [429]


def test_only_the_named_methods_count(client, pawl_memory):
    assert statuses(client, "/unsafe/", 3) == [200, 200, 200]
    assert [client.post("/unsafe/").status_code for _ in range(2)] == [200, 429]
    assert client.put("/unsafe/").status_code == 429
    assert client.get("/unsafe/").status_code == 200


def test_a_head_request_is_a_get(rf, pawl_memory):
    view = ratelimit("2/minute", scope="got", method="GET")(lambda request: HttpResponse("all"))
    found = [view(rf.generic(name, "/")).status_code for name in ("GET", "HEAD", "HEAD", "POST")]
    assert found == [200, 200, 429, 200]


def test_a_field_of_the_form_is_a_key_of_its_own_kind(client, pawl_memory):
    post = [client.post("/signed/", {"name": name}).status_code
            for name in ("alice", "bob", "alice")]
    assert post == [200, 200, 429]
    keys = {item.key for item in pawl_memory.asked}
    assert (b"throttle_sign_post:name:alice",) in keys  # never "throttle_sign_alice"


def test_a_field_of_a_json_body_is_a_key_too_and_who_leaves_it_out_is_counted_by_address(
        client, pawl_memory):
    def post(body, address="127.0.0.1"):
        return client.post("/signed/", body, "application/json", REMOTE_ADDR=address).status_code

    assert [post({"name": name}) for name in ("alice", "bob", "alice")] == [200, 200, 429]
    for body in ("{", "[]", '{"name": ""}', "[" * 100_000, ""):
        pawl_memory.clear()
        assert [post(body), post(body), post(body, "10.0.0.9")] == [200, 429, 200], body[:9]


def test_without_block_the_view_runs_and_is_told(client, pawl_memory):
    assert [client.get("/soft/").json()["limited"] for _ in range(2)] == [False, True]


def test_zero_is_closed_without_asking_anybody(client, pawl_memory):
    response = client.get("/shut/")
    assert (response.status_code, response["Retry-After"]) == (429, "5")
    assert not pawl_memory.asked
    with override_pawl(ENABLED=False):
        assert client.get("/shut/").status_code == 200
    with override_pawl(ENFORCE=False):
        assert client.get("/shut/").status_code == 200


def test_a_rate_may_be_found_for_each_request_and_none_is_unlimited(client, pawl_memory):
    assert statuses(client, "/dynamic/", 3) == [200, 200, 200]
    assert not pawl_memory.asked
    assert statuses(client, "/dynamic/?rate=1/m", 2) == [200, 429]
    assert statuses(client, "/dynamic/?rate=0/s", 1) == [429]


def test_a_call_may_cost_more_or_nothing(client, pawl_memory):
    assert statuses(client, "/costly/?cost=4", 2) == [200, 429]
    assert statuses(client, "/costly/?cost=0", 3) == [200, 200, 200]
    assert statuses(client, "/costly/", 2) == [200, 429]


def test_methods_classes_and_dispatch_can_be_limited(client, pawl_memory):
    for path in ("/method/", "/dispatched/", "/whole/"):
        assert statuses(client, path, 2) == [200, 429], path
    assert client.post("/method/").status_code == 200
    assert client.post("/whole/").status_code == 429
    scopes = {item.key[0].decode() for item in pawl_memory.asked}
    assert "throttle_djangoapp_urls.Method.get_127.0.0.1" in scopes
    assert "throttle_djangoapp_urls.Whole_127.0.0.1" in scopes


def test_the_same_scope_and_ident_count_in_the_record_of_the_framework(client, pawl_memory):
    from rest_framework.throttling import AnonRateThrottle

    request = RequestFactory().get("/")
    request.user = AnonymousUser()
    key = AnonRateThrottle().get_cache_key(request, None)
    statuses(client, "/shares/", 1)
    assert pawl_memory.asked[-1].key == (key.encode(),)
    assert pawl_memory.check(key, "3/minute", peek=True).rates[0].count == 1


def test_decorator_and_drop_in_throttle_use_up_one_limit(client, pawl_daemon):
    assert statuses(client, "/shares/", 2) == [200, 200]
    response = client.get("/ours/")
    assert (response.status_code, response["X-RateLimit-Remaining"]) == (200, "0")
    assert statuses(client, "/ours/", 1) == statuses(client, "/shares/", 1) == [429]
    refused = client.get("/ours/")
    assert refused["Retry-After"] == "60" and refused["X-RateLimit-Resource"] == "anon"


@pytest.mark.django_db
def test_users_are_counted_by_their_key_and_the_anonymous_together(client, pawl_memory,
                                                                   django_user_model):
    user = django_user_model.objects.create_user("alice")
    assert statuses(client, "/several/", 3) == [200, 200, 429]
    client.force_login(user)
    assert statuses(client, "/several/", 1) == [200]
    assert pawl_memory.asked[-1].key == (f"throttle_several_{user.pk}".encode(),)
    request = RequestFactory().get("/")
    request.user = AnonymousUser()
    assert plans._user("g", request) == "anonymous"


@pytest.mark.django_db(transaction=True)
def test_async_views_wait_for_nobody_else(pawl_memory):
    async def play():
        client = AsyncClient()
        return [(await client.get(path)).status_code
                for path in ("/nap/", "/nap/", "/nap-user/", "/nap-user/")]

    assert asyncio.run(play()) == [200, 429, 200, 429]
    assert asyncio.iscoroutinefunction(__import__("djangoapp_urls").nap)


def test_an_outage_follows_the_policy_of_the_scope(client, pawl_memory):
    pawl_memory.away = True
    with override_pawl(pawl_memory, ON_ERROR={"limited": "closed"}):
        refused = client.get("/limited/")
        assert (refused.status_code, refused["Retry-After"]) == (429, "5")
    with override_pawl(pawl_memory, ON_ERROR={"limited": "open"}):
        assert statuses(client, "/limited/", 3) == [200, 200, 200]
    with override_pawl(pawl_memory, ON_ERROR="local"):
        assert statuses(client, "/limited/", 3) == [200, 200, 429]


def test_log_only_mode_refuses_nobody_and_tells(client, pawl_memory, events):
    with override_pawl(pawl_memory, ENFORCE=False, LOG_REPEAT_S=0):
        assert statuses(client, "/limited/", 3) == [200, 200, 200]
    (line,) = events("throttled")
    assert line["enforced"] is False and line["scope"] == "limited"


@pytest.mark.parametrize("arguments, said", [
    ({"rate": "5"}, "no rate"), ({"rate": "5/m", "key": "nobody"}, "'ip'"),
    ({"rate": "5/m", "key": 7}, "neither"), ({"rate": "5/m", "key": "no.such.thing"}, "no.such"),
    ({"rate": "5/m", "group": "a", "scope": "b"}, "same thing"),
    ({"rate": "5/m", "on_error": "maybe"}, "maybe"), ({"rate": (1, 2, 3)}, "ratelimit"),
])
def test_what_can_never_work_is_refused_where_it_stands(arguments, said):
    with pytest.raises(ImproperlyConfigured, match=said):
        ratelimit(**arguments)


def test_keys_and_rates_may_be_callables_or_dotted_paths(pawl_memory):
    request = RequestFactory().get("/?q=1", HTTP_X_TENANT="acme")
    for key, ident in ((lambda group, request: "mine", "mine"), ("header:x-tenant",
                       "header:x-tenant:acme"), ("get:q", "get:q:1")):
        view = ratelimit((9, 60), key=key, scope="keys")(lambda request: HttpResponse())
        view(request)
        assert pawl_memory.asked[-1].key == (f"throttle_keys_{ident}".encode(),)
    view = ratelimit("5/m", key="djangoapp_keys.tenant", scope="x")(lambda _: HttpResponse())
    view(request)
    assert pawl_memory.asked[-1].key == (b"throttle_x_tenant-of-get",)


def test_usage_looks_without_counting_unless_told(pawl_memory):
    request = RequestFactory().get("/")
    options = {"group": "g", "key": "ip", "rate": "2/minute"}
    assert get_usage(request, **options) == {"count": 0, "limit": 2, "remaining": 2,
                                             "should_limit": False, "time_left": 0}
    assert not is_ratelimited(request, increment=True, **options)
    assert not is_ratelimited(request, increment=True, **options)
    assert is_ratelimited(request, **options)
    assert get_usage(request, **options)["count"] == 2
    assert is_ratelimited(request, increment=True, **options) and request.limited
    assert get_usage(request, group="g", rate=None) is None
    assert get_usage(request, group="g", rate="1/m", method="POST") is None
    with pytest.raises(ImproperlyConfigured, match="group"):
        get_usage(request, rate="1/m")


def test_usage_has_an_async_twin(pawl_memory):
    request = RequestFactory().get("/")
    options = {"group": "g", "key": "ip", "rate": "2/minute"}

    async def play():
        first = await aget_usage(request, increment=True, **options)
        return first, await aget_usage(request, **options), await aget_usage(
            request, group="g", rate="0/s")

    first, second, shut = asyncio.run(play())
    assert first["count"] == second["count"] == 1 and shut["should_limit"]
    assert get_usage(request, **options) == second


def test_a_named_limit_of_the_daemon_needs_no_rate(pawl_clock):
    with override_pawl(clock=pawl_clock, limits={"login": "1/minute"}) as memory:
        view = ratelimit(limit="login", scope="login")(lambda request: HttpResponse())
        request = RequestFactory().get("/")
        assert [view(request).status_code for _ in range(2)] == [200, 429]
        assert memory.asked[-1].key == (b"127.0.0.1",)  # as `pawlctl check login=127.0.0.1` counts


def test_a_real_daemon_counts_and_the_rest_is_told(client, pawl_daemon, pawl_clock):
    assert statuses(client, "/limited/", 3) == [200, 200, 429]
    pawl_clock.advance(60)
    assert statuses(client, "/limited/", 1) == [200]
    assert throttling.settings.ADDR == pawl_daemon.address
    assert pawl.format_rate(pawl.Rate(2, 60_000)) == "2/m"

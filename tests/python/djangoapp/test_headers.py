"""Rate-limit headers: on every response, in every dialect, never more than there is."""

import re

import pytest
from django.http import HttpResponse
from django.test import AsyncClient, RequestFactory

from pawl.django import headers, throttling
from pawl.django.middleware import RateLimitHeadersMiddleware
from pawl.testing import override_pawl

LEGACY = headers.LEGACY
NOW_S = 1_800_000_000.25


def entry(scope="api", policy="", limit=10, window_ms=60_000, remaining=4, reset_after_ms=59_001,
          retry_after_ms=0, allowed=True, enforced=True, ident="10.0.0.1", **more):
    return throttling.Entry(scope, policy or scope, limit, window_ms, remaining, reset_after_ms,
                            retry_after_ms, allowed, enforced, ident, **more)


def answered(entries, status=200, request_headers=None, response_headers=None):
    """The response after the middleware, for a request that left @entries."""
    request = RequestFactory().get("/", **(request_headers or {}))
    throttling.record(request, entries)
    response = HttpResponse("x", status=status)
    for name, value in (response_headers or {}).items():
        response[name] = value
    return RateLimitHeadersMiddleware(lambda _: response)(request)


def test_every_response_of_a_limited_view_tells_what_is_left(client, pawl_memory):
    first = client.get("/limited/")
    assert [first[name] for name in LEGACY[:2]] == ["2", "1"]
    assert first["X-RateLimit-Used"] == "1" and first["X-RateLimit-Resource"] == "limited"
    client.get("/limited/")
    third = client.get("/limited/")
    assert third.status_code == 429
    assert (third["X-RateLimit-Remaining"], third["Retry-After"]) == ("0", "60")


def test_a_view_without_limits_has_no_such_headers(client, pawl_memory):
    response = client.get("/plain/")
    assert not any(response.has_header(name) for name in LEGACY + headers.IETF)


def test_the_legacy_headers_are_those_of_the_tightest_limit():
    wide, narrow = entry("wide", remaining=9), entry("narrow", remaining=2)
    assert answered([wide, narrow])["X-RateLimit-Resource"] == "narrow"
    refused = entry("refused", remaining=0, retry_after_ms=1_000, allowed=False)
    longest = entry("longest", remaining=0, retry_after_ms=9_000, allowed=False)
    assert answered([narrow, longest, refused], 429)["X-RateLimit-Resource"] == "longest"


def test_reset_is_an_epoch_or_a_delta_and_rounds_up():
    assert headers.legacy(entry(), NOW_S)["X-RateLimit-Reset"] == str(1_800_000_000 + 60)
    with override_pawl(HEADERS_RESET="delta"):
        assert headers.legacy(entry(), NOW_S)["X-RateLimit-Reset"] == "60"


def test_the_ietf_fields_name_policy_quota_window_rest_time_and_partition():
    with override_pawl(HEADERS="ietf"):
        response = answered([entry(policy="api-m", oldest_age_ms=10_500)])
    assert re.fullmatch(r'"api-m";q=10;w=60;pk=:[A-Za-z0-9+/]{11}=:',
                        response["RateLimit-Policy"])
    assert re.fullmatch(r'"api-m";r=4;t=50;pk=:[A-Za-z0-9+/]{11}=:', response["RateLimit"])
    assert not response.has_header("X-RateLimit-Limit")


def test_both_dialects_or_none():
    with override_pawl(HEADERS="both"):
        response = answered([entry()])
        assert all(response.has_header(name) for name in LEGACY + headers.IETF)
    with override_pawl(HEADERS="off"):
        response = answered([entry()])
        assert not any(response.has_header(name) for name in LEGACY + headers.IETF)


def test_a_partition_key_tells_callers_apart_and_names_none():
    fields = [headers.ietf([entry(ident=ident)])["RateLimit"] for ident in ("10.0.0.1", "alice")]
    assert fields[0] != fields[1]
    assert "alice" not in fields[1] and "10.0.0.1" not in fields[0]


def test_the_fields_never_promise_more_than_there_is():
    odd = entry(limit=10**16, remaining=10**16, window_ms=1_500, reset_after_ms=1_001,
                oldest_age_ms=0)
    fields = headers.ietf([odd])
    assert f"q={headers.INTEGER_MAX};w=2" in fields["RateLimit-Policy"]
    assert f"r={headers.INTEGER_MAX};t=2" in fields["RateLimit"]
    assert "r=10" in headers.ietf([entry(remaining=99)])["RateLimit"]
    refused = entry(remaining=3, allowed=False, retry_after_ms=1, limit=10)  # a cost of 4
    assert "r=0;t=1" in headers.ietf([refused])["RateLimit"]


def test_nothing_contradicts_retry_after():
    refused = entry("a", allowed=False, remaining=0, retry_after_ms=9_500)
    later = entry("b", reset_after_ms=50_000)
    with override_pawl(HEADERS="ietf"):
        response = answered([refused, later], 429)
    assert response["Retry-After"] == "10"
    assert '"a";r=0;t=10' in response["RateLimit"] and '"b";r=4;pk' in response["RateLimit"]


def test_a_name_is_quoted_as_a_structured_field():
    policy = headers.ietf([entry(policy='a"b\\c\u00e9\n', ident="")])["RateLimit-Policy"]
    assert policy == '"a\\"b\\\\c__";q=10;w=60'


def test_one_policy_is_told_once_and_the_list_is_bounded():
    same = [entry(remaining=3), entry(remaining=1), entry(remaining=2)]
    assert headers.ietf(same)["RateLimit"].count('"api"') == 1
    assert "r=1;" in headers.ietf(same)["RateLimit"]
    many = [entry(policy=f"p{number}") for number in range(40)]
    assert headers.ietf(many)["RateLimit"].count(";r=") == headers.POLICIES_MAX


def test_the_names_of_our_code_are_not_told(client, pawl_memory):
    with override_pawl(pawl_memory, HEADERS="both"):
        found = [client.get(path) for path in ("/method/", "/whole/", "/method/", "/whole/")]
    names = [response["X-RateLimit-Resource"] for response in found]
    assert all(re.fullmatch("view-[0-9a-f]{8}", name) for name in names)
    assert names[0] == names[2] != names[1]
    for response in found:
        assert "djangoapp" not in str(response.serialize_headers())
        assert f'"{response["X-RateLimit-Resource"]}";q=1' in response["RateLimit-Policy"]


def test_concurrency_says_its_unit():
    field = headers.ietf([entry(algorithm="concurrency")])["RateLimit-Policy"]
    assert ';qu="concurrent-requests"' in field


def test_hidden_scopes_and_limits_that_are_not_enforced_are_not_told():
    with override_pawl(HEADERS="both", HEADERS_HIDE=["secret"]):
        response = answered([entry("secret", remaining=0), entry("seen")])
        assert response["X-RateLimit-Resource"] == "seen"
        assert "secret" not in response["RateLimit"] + response["RateLimit-Policy"]
        noted = answered([entry("noted", enforced=False)])
        assert not noted.has_header("X-RateLimit-Limit")


def test_exposed_headers_join_those_that_are_exposed_already():
    origin = {"HTTP_ORIGIN": "https://app.example"}
    given = {"Access-Control-Expose-Headers": "X-Request-Id, x-ratelimit-limit"}
    response = answered([entry()], 200, origin, given)
    exposed = response["Access-Control-Expose-Headers"].split(", ")
    assert exposed[:2] == ["X-Request-Id", "x-ratelimit-limit"]
    assert "X-RateLimit-Limit" not in exposed and "X-RateLimit-Remaining" in exposed
    refused = answered([entry(allowed=False)], 429, origin)
    assert "Retry-After" in refused["Access-Control-Expose-Headers"]
    assert not answered([entry()]).has_header("Access-Control-Expose-Headers")
    with override_pawl(HEADERS_EXPOSE=False):
        assert not answered([entry()], 200, origin).has_header("Access-Control-Expose-Headers")


@pytest.mark.parametrize("status, found, expected", [
    (429, [], "5"), (503, [], "5"),
    (429, [entry(allowed=False, retry_after_ms=1)], "1"),
    (429, [entry(allowed=False, retry_after_ms=1_001), entry(allowed=False, retry_after_ms=1)],
     "2"),
    (429, [entry(allowed=False, retry_after_ms=0, window_ms=60_000)], "60"),  # it never fits
])
def test_a_refusal_always_says_when(status, found, expected):
    assert answered(found, status)["Retry-After"] == expected


def test_a_retry_after_of_the_view_stays_and_so_do_its_own_headers(client, pawl_memory):
    assert answered([], 503, None, {"Retry-After": "77"})["Retry-After"] == "77"
    response = client.get("/own/")
    assert response["X-RateLimit-Limit"] == "mine" and response["X-RateLimit-Remaining"] == "1"


def test_too_many_log_ins_are_429_and_not_403(client):
    response = client.get("/attempts/", HTTP_ACCEPT="application/json")
    assert (response.status_code, response["Retry-After"]) == (429, "33")
    assert "33 seconds" in response.json()["detail"]


def test_headers_come_under_asgi_too(pawl_memory):
    import asyncio

    async def play():
        client = AsyncClient()
        return await client.get("/nap/"), await client.get("/nap/")

    first, second = asyncio.run(play())
    assert (first.status_code, first["X-RateLimit-Remaining"]) == (200, "0")
    assert second.status_code == 429 and second["Retry-After"] == "60"

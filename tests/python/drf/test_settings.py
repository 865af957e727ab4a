"""What PAWL changes: exemption, log only, the kill switch, keys, addresses, events."""

import hashlib

import pytest
from django.test import override_settings
from rest_framework.throttling import BaseThrottle

from drf_rig import User, call, codes, factory, view_class
from pawl.django import signals, throttling
from pawl.django.throttling import client_ident, entries, key_bytes, throttle_key
from pawl.drf import AnonRateThrottle, UserRateThrottle


def exempt_health(request, view):
    return request.META["REMOTE_ADDR"] == "192.0.2.99"


def test_who_is_exempt_is_not_even_counted(settings_of):
    for exempt in (exempt_health, "test_settings.exempt_health"):
        with settings_of(EXEMPT=exempt):
            assert codes(view_class(AnonRateThrottle), 5, address="192.0.2.99") == [200] * 5
    assert codes(view_class(AnonRateThrottle), 0) == []


def test_an_exemption_is_asked_once_for_a_view(settings_of):
    asked = []

    def exempt(request, view):
        asked.append(view)
        return False
    with settings_of(EXEMPT=exempt):
        assert codes(view_class(AnonRateThrottle, UserRateThrottle), 2) == [200, 200]
    assert len(asked) == 2


def test_an_exemption_that_raises_exempts_nobody(settings_of):
    with settings_of(EXEMPT=lambda request, view: 1 / 0):
        assert codes(view_class(AnonRateThrottle), 4) == [200] * 3 + [429]


def test_the_kill_switch_asks_nobody(settings_of):
    with settings_of(ENABLED=False, ADDR="unix:/nowhere/at/all"):
        assert codes(view_class(AnonRateThrottle), 9) == [200] * 9


def test_log_only_counts_and_tells_and_refuses_nobody(settings_of, events):
    heard = []

    def listen(sender, **more):
        heard.append((sender, more["scope"], more["ident"], more["rate"], more["enforced"]))
    signals.limited.connect(listen)
    try:
        with settings_of(ENFORCE=False):
            view = view_class(AnonRateThrottle)
            assert codes(view, 5) == [200] * 5
            last = entries(call(view).request_seen)
    finally:
        signals.limited.disconnect(listen)
    assert heard == [(AnonRateThrottle, "anon", "192.0.2.1", "3/m", False)] * 3
    assert [event["enforced"] for event in events("throttled")] == [False] * 3
    assert [(entry.allowed, entry.enforced) for entry in last] == [(False, False)]


def test_a_refusal_is_told_with_its_identity_masked(counted, events):
    assert codes(view_class(AnonRateThrottle), 4) == [200] * 3 + [429]
    (event,) = events("throttled")
    assert (event["scope"], event["rate"], event["enforced"]) == ("anon", "3/m", True)
    assert event["retry_after_s"] == 60
    assert "192.0.2.1" not in str(event)


def test_what_was_counted_is_left_on_the_request(counted, clock):
    view = view_class(AnonRateThrottle, UserRateThrottle)
    call(view)
    clock.advance(15)
    found = entries(call(view).request_seen)
    assert [(one.scope, one.policy, one.limit, one.remaining, one.window_ms, one.reset_after_ms,
             one.allowed, one.enforced) for one in found] == [
        ("anon", "anon", 3, 1, 60_000, 60_000, True, True),
        ("user", "user", 5, 3, 60_000, 60_000, True, True)]


# ---- keys ---------------------------------------------------------------------------------------


def test_a_prefix_keeps_projects_apart(settings_of):
    for prefix in ("shop|", "blog|"):
        with settings_of(KEY_PREFIX=prefix):
            assert codes(view_class(AnonRateThrottle), 4) == [200] * 3 + [429]


def test_keys_may_be_hashed(settings_of):
    key = throttle_key("anon", "192.0.2.1")
    assert key == "throttle_anon_192.0.2.1"
    with settings_of(HASH_KEYS=True, KEY_PREFIX="hashed|"):
        assert key_bytes(key) == b"hashed|" + hashlib.sha256(key.encode()).hexdigest().encode()
        assert codes(view_class(AnonRateThrottle), 4) == [200] * 3 + [429]
    with settings_of(KEY_PREFIX="hashed|"):
        assert codes(view_class(AnonRateThrottle), 1) == [200], "another key"


@pytest.mark.parametrize("ident", ["x" * 100_000, "\ud800", "\0", "ü" * 400, b"\xff\xfe", 7])
def test_no_key_is_too_odd_to_be_counted(counted, ident):
    class Odd(AnonRateThrottle):
        def get_cache_key(self, request, view):
            return ident
    assert codes(view_class(Odd), 4) == [200] * 3 + [429]


# ---- addresses ----------------------------------------------------------------------------------


def ident(remote, forwarded=None):
    meta = {} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded}
    return client_ident(factory.get("/", REMOTE_ADDR=remote, **meta))


def test_addresses_of_one_ipv6_network_are_one_caller(counted):
    view = view_class(AnonRateThrottle)
    found = [call(view, address=f"2001:db8:0:1:{number}::1").status_code for number in range(4)]
    assert found == [200] * 3 + [429]
    assert codes(view, 1, address="2001:db8:0:2::1") == [200]


def test_prefixes_are_settings(settings_of):
    assert ident("2001:db8:1:2:3:4:5:6") == "2001:db8:1:2::/64"
    assert ident("192.0.2.77") == "192.0.2.77"
    assert ident("::ffff:192.0.2.77") == "192.0.2.77"
    with settings_of(IPV6_PREFIX=48, IPV4_PREFIX=24):
        assert ident("2001:db8:1:2:3:4:5:6") == "2001:db8:1::/48"
        assert ident("192.0.2.77") == "192.0.2.0/24"
    with settings_of(IPV6_PREFIX=128):
        assert ident("2001:db8:1:2:3:4:5:6") == "2001:db8:1:2:3:4:5:6"


SPOOFED = "203.0.113.9"


@pytest.mark.parametrize("trusted, remote, forwarded, expected", [
    (0, "192.0.2.1", SPOOFED, "192.0.2.1"),
    (1, "192.0.2.1", None, "192.0.2.1"),
    (1, "192.0.2.1", f"{SPOOFED}, 198.51.100.7", "198.51.100.7"),
    (2, "192.0.2.1", f"{SPOOFED}, 198.51.100.7, 10.0.0.1", "198.51.100.7"),
    (3, "192.0.2.1", "198.51.100.7", "198.51.100.7"),  # fewer than that: the leftmost, as ever
    (1, "192.0.2.1", "198.51.100.7:4711", "198.51.100.7"),
    (1, "192.0.2.1", "[2001:db8::7]:4711", "2001:db8::/64"),
    (1, "192.0.2.1", f"{SPOOFED}, unknown", "192.0.2.1"),
    (1, "192.0.2.1", "", "192.0.2.1"),
    (["10.0.0.0/8"], "192.0.2.1", SPOOFED, "192.0.2.1"),  # a peer that is no proxy of ours
    (["10.0.0.0/8"], "10.0.0.1", f"{SPOOFED}, 198.51.100.7", "198.51.100.7"),
    (["10.0.0.0/8"], "10.0.0.1", f"{SPOOFED}, 198.51.100.7, 10.9.9.9", "198.51.100.7"),
    (["10.0.0.0/8"], "10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
    (["10.0.0.0/8"], "10.0.0.1", f"{SPOOFED}, <script>", "10.0.0.1"),
    (["10.0.0.0/8", "fd00::/8"], "fd00::1", "198.51.100.7", "198.51.100.7"),
    (["10.0.0.0/8"], "10.0.0.1", "198.51.100.7:4711, [fd00::2]:9", "fd00::/64"),
])
def test_only_what_our_own_proxies_wrote_counts(settings_of, trusted, remote, forwarded, expected):
    with settings_of(TRUSTED_PROXIES=trusted):
        assert ident(remote, forwarded) == expected


@pytest.mark.parametrize("proxies", [None, 0, 1, 2, 5])
@pytest.mark.parametrize("forwarded", [None, "198.51.100.7", "203.0.113.9, 198.51.100.7",
                                       "203.0.113.9,198.51.100.7 , 10.0.0.1"])
def test_without_settings_of_ours_an_address_is_what_the_framework_says(settings_of, proxies,
                                                                        forwarded):
    meta = {} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded}
    request = factory.get("/", REMOTE_ADDR="192.0.2.1", **meta)
    with settings_of(), override_settings(REST_FRAMEWORK={"NUM_PROXIES": proxies}):
        assert client_ident(request) == BaseThrottle().get_ident(request)


def test_a_flood_of_forged_addresses_cannot_pass_a_proxy_of_ours(settings_of):
    with settings_of(TRUSTED_PROXIES=1):
        view = view_class(AnonRateThrottle)
        found = [call(view, HTTP_X_FORWARDED_FOR=f"203.0.113.{number}, 198.51.100.7").status_code
                 for number in range(6)]
    assert found == [200] * 3 + [429] * 3


def test_a_caller_without_an_address_is_counted(counted):
    assert ident("") == "unknown"
    assert codes(view_class(AnonRateThrottle), 4, address="") == [200] * 3 + [429]


# ---- shared counts ------------------------------------------------------------------------------


def test_one_scope_and_ident_is_one_count_whatever_asks(counted):
    user = User()
    ask = throttling.Ask("user", throttle_key("user", user.pk), AnonRateThrottle().parse_rate(
        "5/minute") and UserRateThrottle()._pawl_rates(""))
    request = factory.get("/")
    assert codes(view_class(UserRateThrottle), 3, user) == [200] * 3
    assert [throttling.check(request, [ask]).allowed for _ in range(3)] == [True, True, False]
    refused = throttling.check(request, [ask])
    assert (refused.allowed, refused.retry_after_s) == (False, 60)
    assert codes(view_class(UserRateThrottle), 1, user) == [429]

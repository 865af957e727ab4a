"""What people have today works after a change of the dotted path, and nothing else."""

import pickle
import threading
from unittest import mock

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django.utils.module_loading import import_string
from rest_framework import throttling
from rest_framework.permissions import BasePermission
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.settings import api_settings

from drf_rig import User, call, codes, factory, view_class
from pawl import drf
from pawl.drf import (AnonRateThrottle, ScopedRateThrottle, SimpleRateThrottle, UserRateThrottle,
                      throttle_scope)

NAMES = ("SimpleRateThrottle", "AnonRateThrottle", "UserRateThrottle", "ScopedRateThrottle")


@pytest.mark.parametrize("name", NAMES)
def test_each_class_is_one_of_the_framework(name):
    ours, theirs = import_string(f"pawl.drf.{name}"), getattr(throttling, name)
    assert issubclass(ours, theirs)
    assert issubclass(ours, drf.SimpleRateThrottle)
    assert ours.scope == theirs.scope
    assert ours.cache_format == theirs.cache_format
    assert ours.THROTTLE_RATES is theirs.THROTTLE_RATES


def test_the_path_in_the_settings_is_enough(counted):
    with override_settings(REST_FRAMEWORK={
            "DEFAULT_THROTTLE_CLASSES": ["pawl.drf.AnonRateThrottle"], "UNAUTHENTICATED_USER": None,
            "DEFAULT_THROTTLE_RATES": {"anon": "2/day"}, "NUM_PROXIES": 0}):
        view = view_class(*api_settings.DEFAULT_THROTTLE_CLASSES)
        assert codes(view, 3) == [200, 200, 429]


# ---- custom classes, as people write them -------------------------------------------------------


class LoginThrottle(SimpleRateThrottle):
    """By the name that is tried, whoever asks."""

    scope = "login"

    def get_cache_key(self, request, view):
        username = request.data.get("username")
        if not username:
            return None
        return self.cache_format % {"scope": self.scope, "ident": username.lower()}


class SignupThrottle(AnonRateThrottle):
    scope = "signup"


class PasswordResetThrottle(SimpleRateThrottle):
    scope = "password_reset"

    def get_cache_key(self, request, view):
        return self.cache_format % {"scope": self.scope, "ident": self.get_ident(request)}


class PremiumThrottle(UserRateThrottle):
    """Who pays has this rate; for the others it does not ask, and the next one counts."""

    scope = "premium"

    def allow_request(self, request, view):
        if not getattr(request.user, "is_premium", False):
            return True
        return super().allow_request(request, view)


class DefaultThrottle(UserRateThrottle):
    scope = "user"

    def allow_request(self, request, view):
        if getattr(request.user, "is_premium", False):
            return True
        return super().allow_request(request, view)


class BurstRateThrottle(UserRateThrottle):
    scope = "burst"


class SustainedRateThrottle(UserRateThrottle):
    scope = "sustained"


def test_a_login_keyed_by_user_name(counted):
    view = view_class(LoginThrottle)
    tries = dict(method="post", data={"username": "Alice"})
    assert codes(view, 4, **tries) == [200, 200, 200, 429]
    assert call(view, address="198.51.100.7", **tries).status_code == 429
    assert call(view, method="post", data={"username": "bob"}).status_code == 200
    assert codes(view, 5, method="post", data={}) == [200] * 5


def test_signup_and_password_reset_by_address(counted):
    signup, reset = view_class(SignupThrottle), view_class(PasswordResetThrottle)
    assert codes(signup, 4) == [200, 200, 200, 429]
    assert codes(reset, 3) == [200, 200, 429]
    assert codes(reset, 1, User()) == [429], "by address, logged in or not"
    assert codes(signup, 4, User()) == [200] * 4, "the framework's anonymous throttle"
    assert codes(reset, 2, address="198.51.100.7") == [200, 200]


def test_premium_falls_through_to_the_default(counted):
    view = view_class(PremiumThrottle, DefaultThrottle)
    assert codes(view, 7, User(is_premium=True)) == [200] * 6 + [429]
    assert codes(view, 6, User()) == [200] * 5 + [429]


def test_burst_and_sustained_together(counted, clock):
    view, user = view_class(BurstRateThrottle, SustainedRateThrottle), User()
    assert codes(view, 3, user) == [200, 200, 429]
    clock.advance(1)
    # As with the framework's classes, the call that burst refused was counted by sustained.
    assert codes(view, 2, user) == [200, 429]
    refused = call(view, user)
    assert int(refused["Retry-After"]) == 3599


def test_a_rate_of_the_users_own_row(counted):
    class PlanThrottle(UserRateThrottle):
        def allow_request(self, request, view):
            if request.user.is_authenticated:
                self.rate = request.user.plan_rate
                self.num_requests, self.duration = self.parse_rate(self.rate)
            return super().allow_request(request, view)
    view = view_class(PlanThrottle)
    assert codes(view, 4, User(plan_rate="3/hour")) == [200] * 3 + [429]
    assert codes(view, 2, User(plan_rate="1/hour")) == [200, 429]


def test_a_parser_of_ones_own(counted):
    class LongThrottle(UserRateThrottle):
        rate = "2/10min"

        def parse_rate(self, rate):
            return int(rate.split("/")[0]), 600
    view, user = view_class(LongThrottle), User()
    assert codes(view, 2, user) == [200, 200]
    assert call(view, user)["Retry-After"] == "600"


def test_only_failures_count_where_a_class_says_so(counted):
    class OnlyPosts(UserRateThrottle):
        """Written as the framework's own throttle_success is."""
        rate = "2/minute"

        def allow_request(self, request, view):
            self.request = request
            return super().allow_request(request, view)

        def throttle_success(self):
            if self.request.method == "POST":
                self.history.insert(0, self.now)
                self.cache.set(self.key, self.history, self.duration)
            return True
    view, user = view_class(OnlyPosts), User()
    assert codes(view, 3, user) == [200] * 3
    assert codes(view, 3, user, method="post") == [200, 200, 429]
    assert codes(view, 1, user) == [429]


def test_a_failure_of_ones_own_is_called(counted):
    said = []

    class Telling(AnonRateThrottle):
        rate = "1/minute"

        def throttle_failure(self):
            said.append((self.key, len(self.history), self.num_requests))
            return super().throttle_failure()
    assert codes(view_class(Telling), 2) == [200, 429]
    assert said == [("throttle_anon_192.0.2.1", 1, 1)]


def test_what_header_mixins_read_is_there(counted, clock):
    class Seen(UserRateThrottle):
        rate = "5/minute"
        last = None

        def allow_request(self, request, view):
            Seen.last = self
            return super().allow_request(request, view)
    view, user = view_class(Seen), User(7)
    call(view, user)
    clock.advance(2)
    call(view, user)
    seen = Seen.last
    assert (seen.key, seen.num_requests, seen.duration) == ("throttle_user_7", 5, 60)
    assert seen.num_requests - len(seen.history) == 3
    assert seen.now - seen.history[-1] == pytest.approx(2)
    assert seen.history[0] == seen.now
    assert pickle.loads(pickle.dumps(seen.history)) == list(seen.history)
    assert seen.wait() == pytest.approx((60 - 2) / 4)


def test_names_that_a_class_has_for_itself_mean_nothing_here(counted):
    class Old(UserRateThrottle):
        rate, limit, policy, asks, after, tier = "2/minute", 100, "strict", [], None, None

        def on_error(self):
            return "mine"

        def remember(self):
            return "mine"
    assert codes(view_class(Old), 3, User()) == [200, 200, 429]
    Old.limit = "9/minute"
    assert codes(view_class(Old), 3, User()) == [200, 200, 429]


def test_many_threads_get_exactly_the_rate(counted):
    class Hundred(UserRateThrottle):
        rate = "100/minute"
    view, user, found = view_class(Hundred), User(), []

    def calls():
        found.extend(codes(view, 20, user))
    threads = [threading.Thread(target=calls) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found.count(200), found.count(429)) == (100, 220)


def test_what_a_custom_class_raises_is_its_own(counted):
    class Broken(UserRateThrottle):
        def get_cache_key(self, request, view):
            raise LookupError("mine")
    with pytest.raises(LookupError):
        call(view_class(AnonRateThrottle, Broken))


# ---- rates --------------------------------------------------------------------------------------


def parsed(rate):
    throttle = type("Throttle", (SimpleRateThrottle,), {"scope": "x", "rate": rate})()
    return throttle.num_requests, throttle.duration


@pytest.mark.parametrize("rate", ["5/s", "5/sec", "10/m", "10/minutes", "10/month", "5/sunday",
                                  "100/h", "100/hours", "7/day", "7/d", " 5/min", "1_000/day",
                                  "0/min", "10/d!", "3/msec"])
def test_a_rate_of_the_framework_means_what_it_meant(rate):
    theirs = type("Theirs", (throttling.SimpleRateThrottle,), {"rate": rate})()
    assert parsed(rate) == (theirs.num_requests, theirs.duration)


@pytest.mark.parametrize("rate, count, seconds", [
    ("100/5m", 100, 300), ("1/30s", 1, 30), ("100/60", 100, 60), ("5 per 2 hours", 5, 7200),
    ("60/minute, 1000/day", 60, 60), ("3/100ms", 3, 0.1)])
def test_rates_go_further_than_the_framework(rate, count, seconds):
    assert parsed(rate) == (count, seconds)


@pytest.mark.parametrize("rate", ["5", "1/m/2", "1/", "x/m", "5/fortnight", "1/90d", "", 5])
def test_a_rate_that_cannot_be_read_is_said_at_once(rate):
    throttle = type("Throttle", (SimpleRateThrottle,), {"scope": "x",
                                                        "THROTTLE_RATES": {"x": rate}})
    with pytest.raises(ImproperlyConfigured, match="Throttle"):
        throttle()
    if isinstance(rate, str) and rate:
        with pytest.raises(ImproperlyConfigured):
            parsed(rate)


def test_missing_rates_are_said_as_the_framework_says_them():
    for scope in (None, "nowhere"):
        def made(base):
            with pytest.raises(ImproperlyConfigured) as caught:
                type("Throttle", (base,), {"scope": scope})()
            return str(caught.value)
        assert made(SimpleRateThrottle) == made(throttling.SimpleRateThrottle)


def test_no_rate_is_no_limit(counted, asked):
    class Free(UserRateThrottle):
        THROTTLE_RATES = {"user": None}
    assert codes(view_class(Free), 3) == [200] * 3
    assert asked() == 0


def test_a_changed_rate_keeps_the_history(counted, clock):
    class Changing(AnonRateThrottle):
        rate = "3/minute"
    view = view_class(Changing)
    assert codes(view, 3) == [200] * 3
    clock.advance(10)
    Changing.rate = "1/minute"
    assert call(view)["Retry-After"] == "50"
    Changing.rate = "4/minute"
    assert codes(view, 2) == [200, 429]


# ---- the traps of tests -------------------------------------------------------------------------


def test_override_settings_reaches_the_rates(counted):
    class Mine(AnonRateThrottle):
        """Its THROTTLE_RATES was bound when the framework's class was made."""
    with override_settings(REST_FRAMEWORK={"DEFAULT_THROTTLE_RATES": {"anon": "1/hour"},
                                           "UNAUTHENTICATED_USER": None}):
        assert Mine().num_requests == 1
        assert codes(view_class(Mine), 2) == [200, 429]
    assert Mine().num_requests == 3


def test_rates_patched_on_either_class_are_seen():
    with mock.patch.object(throttling.SimpleRateThrottle, "THROTTLE_RATES", {"anon": "8/s"}):
        assert AnonRateThrottle().num_requests == 8
    with mock.patch.object(AnonRateThrottle, "THROTTLE_RATES", {"anon": "9/s"}):
        assert AnonRateThrottle().num_requests == 9
    with mock.patch.dict(throttling.SimpleRateThrottle.THROTTLE_RATES, {"anon": "7/s"}):
        assert AnonRateThrottle().num_requests == 7
    with mock.patch.object(AnonRateThrottle, "get_rate", return_value="6/s"):
        assert AnonRateThrottle().num_requests == 6
    assert AnonRateThrottle().num_requests == 3


def test_a_throttle_may_be_asked_by_hand(counted):
    request = factory.get("/", REMOTE_ADDR="192.0.2.1")
    request.user = None
    throttle = AnonRateThrottle()
    assert [AnonRateThrottle().allow_request(request, None) for _ in range(4)] == [
        True, True, True, False]
    assert throttle.allow_request(request, mock.Mock()) is False
    assert throttle.wait() == 60


# ---- the order of things ------------------------------------------------------------------------


class BadToken(BaseAuthentication):
    def authenticate(self, request):
        raise AuthenticationFailed()


class Nobody(BasePermission):
    def has_permission(self, request, view):
        return False


def test_a_bad_token_and_a_missing_permission_are_never_throttled(counted, asked):
    for members in ({"authentication_classes": [BadToken]}, {"permission_classes": [Nobody]}):
        view = view_class(AnonRateThrottle, **members)
        assert codes(view, 5) == [403] * 5
    assert asked() == 0


# ---- scopes -------------------------------------------------------------------------------------


def test_a_view_is_limited_by_its_scope(counted):
    assert codes(view_class(ScopedRateThrottle, throttle_scope="uploads"), 3) == [200, 200, 429]
    assert codes(view_class(ScopedRateThrottle), 4) == [200] * 4
    with pytest.raises(ImproperlyConfigured):
        call(view_class(ScopedRateThrottle, throttle_scope="nowhere"))


def test_a_scope_is_counted_with_the_classes_of_that_scope(counted):
    user = User()
    assert codes(view_class(ScopedRateThrottle, throttle_scope="user"), 3, user) == [200] * 3
    assert codes(view_class(UserRateThrottle), 3, user) == [200, 200, 429]


def test_several_scopes_hold_together(counted, asked):
    view = view_class(ScopedRateThrottle, throttle_scope=["burst", "uploads", "signup"])
    assert codes(view, 3) == [200, 200, 429]
    assert asked() == 3


def test_a_scope_may_be_found_by_a_function_or_a_method(counted):
    def by_method(request, view):
        return "uploads" if request.method == "POST" else None

    class Method:
        def throttle_scope(self, request):
            return by_method(request, self)
    for view in (view_class(ScopedRateThrottle, throttle_scope=by_method),
                 view_class(ScopedRateThrottle, throttle_scope=staticmethod(by_method)),
                 view_class(ScopedRateThrottle, throttle_scope=Method.throttle_scope)):
        user = User()
        assert codes(view, 3, user) == [200] * 3
        assert codes(view, 3, user, method="post") == [200, 200, 429]


def test_function_views_have_scopes_on_every_version(counted):
    from rest_framework.decorators import api_view, throttle_classes
    from rest_framework.response import Response

    @api_view(["GET"])
    @throttle_classes([ScopedRateThrottle])
    @throttle_scope("uploads")
    def below(request):
        return Response({})

    @throttle_scope(["uploads", "signup"])
    @api_view(["GET"])
    @throttle_classes([ScopedRateThrottle])
    def above(request):
        return Response({})
    @api_view(["GET", "POST"])
    @throttle_classes([ScopedRateThrottle])
    @throttle_scope(lambda asked, _view: "uploads" if asked.method == "GET" else None)
    def found(request):
        return Response({})
    for view in (below, above, found):
        user = User()
        assert codes(view, 3, user) == [200, 200, 429]
    assert codes(found, 3, user, method="post") == [200] * 3

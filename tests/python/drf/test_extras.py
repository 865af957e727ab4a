"""What the framework does not have: lists, named limits, costs, tiers, slots, buckets, log-ins."""

import threading

import pytest
from django.contrib.auth.signals import user_login_failed
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.base import BaseHandler
from django.http import StreamingHttpResponse
from django.test import override_settings
from django.urls import path
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.response import Response

from drf_rig import User, call, codes, factory, view_class
from pawl.django.logins import TooManyAttempts
from pawl.django.logins import failed_login_limit as plain_failed_login_limit
from pawl.drf import (AnonRateThrottle, ConcurrencyThrottle, FailedLoginThrottle,
                      SimpleRateThrottle, TokenBucketThrottle, UserRateThrottle,
                      failed_login_limit)


def user_throttle(**members):
    return type("Throttle", (UserRateThrottle,), members)


# ---- rates and limits ---------------------------------------------------------------------------


def test_a_list_of_rates_holds_as_a_whole(counted, clock, asked):
    view, user = view_class(user_throttle(rate="2/s, 3/minute")), User()
    assert codes(view, 3, user) == [200, 200, 429]
    clock.advance(1)
    assert codes(view, 1, user) == [200]
    refused = call(view, user)
    assert (refused.status_code, refused["Retry-After"]) == (429, "59")
    assert asked() == 5
    # A refusal by one rate charges none: the second one has three, and never had four.
    assert [entry.policy for entry in refused.request_seen._pawl_entries] == ["user-s", "user-m"]


def test_a_limit_of_the_daemon_by_its_name(counted, clock):
    class Named(SimpleRateThrottle):
        limit = "api"

        def get_cache_key(self, request, view):
            return self.cache_format % {"scope": self.scope, "ident": request.user.pk}
    view, user = view_class(Named), User()
    assert codes(view, 5, user) == [200] * 4 + [429]
    clock.advance(60)
    assert codes(view, 3, user) == [200, 200, 429]
    refused = call(view, user)
    assert int(refused["Retry-After"]) == 3540
    assert {(one.scope, one.limit) for one in refused.request_seen._pawl_entries} == {
        ("api", 4), ("api", 6)}


def test_a_named_limit_is_counted_by_who_asks_alone(settings_of):
    with settings_of(KEY_PREFIX=""):  # the bypass list of the daemon's settings names key "7"
        partners = view_class(user_throttle(limit="partners"))
        assert codes(partners, 3, User(7)) == [200] * 3
        assert codes(partners, 2, User("other")) == [200, 429]
        assert call(partners, User(7)).request_seen._pawl_entries == []


def test_a_limit_in_shadow_mode_refuses_nobody_and_is_told(counted, events):
    view, user = view_class(user_throttle(limit="quiet")), User()
    assert codes(view, 3, user) == [200] * 3
    assert [event["enforced"] for event in events("throttled")] == [False, False]


def test_a_tier_has_a_limit_of_its_own(counted):
    named = user_throttle(limit="api", tier=lambda request, view: request.user.tier)
    view = view_class(named)
    assert codes(view, 5, User(tier="")) == [200] * 4 + [429]
    assert codes(view, 9, User(tier="gold")) == [200] * 8 + [429]
    by_scope = user_throttle(tier=lambda request, view: request.user.tier)
    assert codes(view_class(by_scope), 6, User(tier="silver")) == [200] * 5 + [429]
    assert codes(view_class(by_scope), 8, User(tier="gold")) == [200] * 7 + [429]


def test_calls_may_cost_more_than_one(counted):
    class Sized(UserRateThrottle):
        rate = "10/minute"

        def cost(self, request, view):
            return int(request.query_params.get("size", 1))

    user, view = User(), view_class(Sized)

    def sized(size):
        request = factory.get("/", {"size": size}, REMOTE_ADDR="192.0.2.1")
        from rest_framework.test import force_authenticate
        force_authenticate(request, user)
        return view.as_view()(request)
    assert [sized(size).status_code for size in (6, 5, 4, 0, 1)] == [200, 429, 200, 200, 429]
    assert sized(11)["Retry-After"] == "60", "never fits; the window is the honest answer"
    for cost in (3, lambda asked, _view: 3, staticmethod(lambda asked, _view: 3)):
        assert codes(view_class(user_throttle(rate="7/m", cost=cost)), 3, User()) == [200, 200, 429]
    for wrong in (-1, "2", True, 2**40):
        with pytest.raises(ImproperlyConfigured, match="cost"):
            call(view_class(user_throttle(rate="1/m", cost=wrong)), user)


def test_a_policy_that_is_no_word_is_said_when_the_class_is_made():
    with pytest.raises(ImproperlyConfigured, match="on_error"):
        user_throttle(on_error="maybe")


def test_a_token_bucket_lets_bursts_through_and_then_an_even_flow(counted, clock):
    bucket = type("Bucket", (TokenBucketThrottle,), {"rate": "2/s", "burst": 5})
    view, user = view_class(bucket), User()
    assert codes(view, 6, user) == [200] * 5 + [429]
    clock.advance(0.5)
    assert codes(view, 2, user) == [200, 429]
    assert call(view, user)["Retry-After"] == "1"
    clock.advance(10)
    assert codes(view, 6, user) == [200] * 5 + [429]


# ---- slots --------------------------------------------------------------------------------------


class Slots(ConcurrencyThrottle):
    rate = "2/30s"


def handled(view, user):
    """A response that came through Django's handler, not closed yet."""
    from rest_framework.test import force_authenticate

    class Routes:
        urlpatterns = [path("", view.as_view())]
    request = factory.get("/", REMOTE_ADDR="192.0.2.1")
    force_authenticate(request, user)
    with override_settings(ROOT_URLCONF=Routes, MIDDLEWARE=[]):
        handler = BaseHandler()
        handler.load_middleware()
        return handler.get_response(request)


def test_a_slot_is_held_until_the_response_is_closed(counted, clock):
    def stream(self, request):
        return StreamingHttpResponse(iter([b"a", b"b"]))
    view, user = view_class(Slots, get=stream), User()
    first, second = handled(view, user), handled(view, user)
    assert b"".join(first.streaming_content) == b"ab"
    refused = handled(view, user)
    assert (refused.status_code, refused["Retry-After"]) == (429, "5")
    refused.close()
    assert handled(view, user).status_code == 429, "a refusal frees nothing"
    first.close()
    first.close()
    third = handled(view, user)
    assert third.status_code == 200
    assert handled(view, user).status_code == 429, "closed twice is one slot"
    second.close()
    third.close()


def test_a_slot_that_is_never_given_back_expires(counted, clock):
    view, user = view_class(Slots), User()
    assert [handled(view, user).status_code for _ in range(3)] == [200, 200, 429]
    clock.advance(30)
    assert handled(view, user).status_code == 200


def test_a_slot_comes_back_when_another_throttle_refuses(counted):
    view, user = view_class(Slots, user_throttle(rate="1/minute")), User()
    for code in (200, 429, 429, 429):
        response = handled(view, user)
        assert response.status_code == code
        response.close()


# ---- log-ins ------------------------------------------------------------------------------------


RATE = "3/5m"


def try_login(name, good, address="192.0.2.1", limit=failed_login_limit, **options):
    request = factory.post("/", REMOTE_ADDR=address)
    with limit(request, name, rates=RATE, **options):
        if not good:
            raise AuthenticationFailed()


def refusals(tries, limit=failed_login_limit, **options):
    """429 for each try that was not even made."""
    found = []
    for name, good, address in tries:
        try:
            try_login(name, good, address, limit, **options)
            found.append(200)
        except AuthenticationFailed:
            found.append(401)
        except Exception as error:
            found.append(getattr(error, "status_code", type(error).__name__))
    return found


def test_failed_logins_count_by_name_and_by_address(counted):
    one, other = "192.0.2.1", "198.51.100.7"
    assert refusals([("alice", False, one)] * 4) == [401, 401, 401, 429]
    assert refusals([("Alice ", True, other)]) == [429], "the same account, whoever tries"
    assert refusals([("bob", True, one)]) == [429], "the same address, whatever it tries"
    assert refusals([("bob", True, other)] * 5) == [200] * 5


def test_successes_do_not_count(counted):
    tries = [("alice", True, "192.0.2.1")] * 10 + [("alice", False, "192.0.2.1")] * 4
    assert refusals(tries) == [200] * 10 + [401, 401, 401, 429]


def test_the_pair_alone_may_be_counted(counted):
    one, other = "192.0.2.1", "198.51.100.7"
    tries = [("alice", False, one)] * 4 + [("alice", False, other), ("bob", False, one)]
    assert refusals(tries, by=("name+address",)) == [401, 401, 401, 429, 401, 401]


def test_words_and_rates_that_are_none_are_said(counted):
    with pytest.raises(ValueError, match="user"):
        try_login("alice", True, by=("user",))
    with pytest.raises(ValueError, match="no rate"):
        with failed_login_limit(factory.post("/"), "alice", rates="often"):
            pass


def test_a_refused_login_says_when(counted, clock):
    refusals([("alice", False, "192.0.2.1")] * 3)
    clock.advance(100)
    with pytest.raises(TooManyAttempts) as caught:
        try_login("alice", True, limit=plain_failed_login_limit)
    assert caught.value.retry_after_s == 200


def test_no_number_of_attempts_at_once_gets_past(counted):
    inside, results = threading.Barrier(3, timeout=30), []

    def attempt():
        try:
            with failed_login_limit(factory.post("/"), "alice", rates=RATE):
                inside.wait()  # all who were let in are in at the same time
                raise AuthenticationFailed()
        except Exception as error:
            results.append(error.status_code)
    threads = [threading.Thread(target=attempt) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [401] * 3 + [429] * 13


def test_wrong_credentials_are_noticed_without_an_exception(counted):
    def tried():
        with failed_login_limit(factory.post("/"), "alice", rates=RATE):
            # As django.contrib.auth.authenticate() does, which returns None then.
            user_login_failed.send(sender=__name__, credentials={"username": "alice"})
    for _ in range(3):
        tried()
    with pytest.raises(Exception) as caught:
        tried()
    assert caught.value.status_code == 429


class Basic(BaseAuthentication):
    """Limited before anybody is known."""

    def authenticate(self, request):
        name, password = request.META["HTTP_X_LOGIN"].split(":")
        with failed_login_limit(request, name, rates=RATE):
            if password != "good":
                raise AuthenticationFailed()
        return User(name), None

    def authenticate_header(self, request):
        return "Login"


def test_an_authentication_class_is_limited_before_it_knows_anybody(counted):
    view = view_class(authentication_classes=[Basic])

    def found(word):
        return call(view, HTTP_X_LOGIN=f"alice:{word}")
    assert [found("bad").status_code for _ in range(3)] == [401] * 3
    refused = found("good")
    assert (refused.status_code, refused["Retry-After"]) == (429, "300")


def test_a_login_view_gives_the_charge_back_when_it_succeeds(counted):
    class Throttle(FailedLoginThrottle):
        rate = RATE

    def post(self, request):
        return Response({}, status=200 if request.data.get("password") == "good" else 401)
    view = view_class(Throttle, post=post)

    def tries(word, count, name="alice"):
        return codes(view, count, method="post", data={"username": name, "password": word})
    assert tries("good", 8) == [200] * 8
    assert tries("bad", 2) == [401, 401]
    assert tries("good", 3) == [200] * 3
    assert tries("bad", 2) == [401, 429]
    assert refusals([("alice", True, "198.51.100.7")]) == [429], "shared with failed_login_limit"


def test_an_attempt_that_was_not_made_is_given_back(counted):
    class Throttle(FailedLoginThrottle):
        rate = "2/5m"
    view = view_class(Throttle, user_throttle(rate="1/minute"), permission_classes=[])
    tries = dict(method="post", data={"username": "alice", "password": "good"})
    # Refused by another throttle: nobody has looked at the password.
    assert codes(view, 6, **tries) == [200] + [429] * 5
    assert refusals([("alice", False, "192.0.2.1")]) == [401]
    looked = view_class(Throttle, get=lambda self, request: Response(status=401))
    assert codes(looked, 9) == [401] * 9


def test_a_refusal_by_name_charges_no_address(counted):
    class Throttle(FailedLoginThrottle):
        rate = RATE

    def post(self, request):
        return Response({}, status=401)
    view = view_class(AnonRateThrottle, Throttle, throttle_classes=[Throttle], post=post)

    def tried(name, count):
        return codes(view, count, method="post", data={"username": name})
    assert tried("alice", 2) == [401, 401]
    assert codes(view, 3, address="198.51.100.7", method="post",
                 data={"username": "alice"}) == [401, 429, 429]
    assert tried("alice", 5) == [429] * 5
    assert tried("bob", 2) == [401, 429], "the address has had two, and now three"


def test_a_body_that_cannot_be_read_is_the_views_to_refuse(counted):
    class Throttle(FailedLoginThrottle):
        rate = RATE

    def post(self, request):
        return Response(request.data)
    for classes in ([Throttle], [AnonRateThrottle, Throttle]):
        view = view_class(*classes, post=post)
        broken = factory.generic("POST", "/", "{", "application/json")
        assert view.as_view()(broken).status_code == 400
    assert codes(view, 1, method="post", data=[1, 2]) == [200]


def test_the_failed_login_rate_is_the_scopes_else_the_settings(settings_of):
    with settings_of(FAILED_LOGIN_RATE="7/hour"):
        assert FailedLoginThrottle().num_requests == 7
        with override_settings(REST_FRAMEWORK={"DEFAULT_THROTTLE_RATES": {"failed_login": "2/s"}}):
            assert FailedLoginThrottle().num_requests == 2


def test_a_charge_may_be_given_back_by_the_answer(counted):
    class Misses(AnonRateThrottle):
        """Only answers that were not found count."""
        rate = "2/minute"
        refund_when = lambda request, response: response.status_code != 404  # noqa: E731

    def get(self, request):
        return Response({}, status=404 if "miss" in request.query_params else 200)
    view = view_class(Misses, get=get)

    def miss(count):
        return [view.as_view()(factory.get("/?miss")).status_code for _ in range(count)]
    assert codes(view, 5, address="127.0.0.1") == [200] * 5
    assert miss(3) == [404, 404, 429]

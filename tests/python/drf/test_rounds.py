"""All throttles of a view in one request; who is planned ahead, and who is not."""

import pytest
from rest_framework import throttling
from rest_framework.exceptions import ParseError, Throttled

from drf_rig import User, call, codes, view_class
from pawl.django import conf
from pawl.drf import (AnonRateThrottle, ConcurrencyThrottle, ScopedRateThrottle,
                      SimpleRateThrottle, TokenBucketThrottle, UserRateThrottle)


def throttle(name, rate, base=UserRateThrottle, **members):
    return type(name, (base,), {"scope": name, "rate": rate, **members})


FIVE = [throttle(f"t{number}", f"{number}/minute") for number in (9, 8, 2, 7, 6)]


def left(user, *classes):
    """How much of each class's limit is left for @user, without counting."""
    from pawl.django.throttling import Ask, ask, throttle_key
    rates = [Ask(one.scope, throttle_key(one.scope, user.pk), one()._pawl_rates(""))
             for one in classes]
    return [outcome.rows[0].remaining for outcome in ask(rates, peek=True)]


def test_five_throttles_travel_in_one_request(counted, asked):
    view, user = view_class(*FIVE, ScopedRateThrottle, throttle_scope="both"), User()
    assert codes(view, 1, user) == [200]
    assert asked() == 1
    assert len(call(view, user).request_seen._pawl_entries) == 7
    assert asked() == 2


def test_each_counts_for_itself_as_the_framework_does(counted):
    view, user = view_class(*FIVE), User()
    assert codes(view, 3, user) == [200, 200, 429]
    assert left(user, *FIVE) == [6, 5, 0, 4, 3]


def test_all_or_none_where_the_mode_is_atomic(settings_of):
    with settings_of(MODE="atomic"):
        refused = []

        def telling(kind):
            def throttle_failure(self):
                refused.append(kind.scope)
                return False
            return type(kind.__name__, (kind,), {"throttle_failure": throttle_failure})
        view, user = view_class(*map(telling, FIVE)), User()
        assert codes(view, 5, user) == [200, 200, 429, 429, 429]
        assert left(user, *FIVE) == [7, 6, 0, 5, 4]
        assert refused == ["t2"] * 3


def test_an_answer_is_used_once(counted, asked):
    class Twice(view_class(*FIVE)):
        def get(self, request):
            self.check_throttles(request)
            return super().get(request)
    user = User()
    assert codes(Twice, 1, user) == [200]
    assert asked() == 2
    assert left(user, *FIVE) == [7, 6, 0, 5, 4]
    assert codes(Twice, 1, user) == [429]


def test_one_class_twice_in_a_view_counts_twice(counted, asked):
    one = throttle("twice", "4/minute")
    view, user = view_class(one, one), User()
    assert codes(view, 3, user) == [200, 200, 429]
    # The same record twice in a request is refused by the daemon: it goes in a second one.
    assert asked() == 6
    assert left(user, one) == [0]


def test_one_key_and_window_in_two_rates_counts_twice(counted):
    ours = [throttle("same", rate) for rate in ("6/minute", "4/minute")]
    user = User()
    assert codes(view_class(*ours), 3, user) == [200, 200, 429]

    class Memory(throttling.UserRateThrottle):
        scope = "same"
        store = {}
        cache = type("Cache", (), {"get": lambda self, key, default: Memory.store.get(key, default),
                                   "set": lambda self, key, value, _: Memory.store.update(
                                       {key: value})})()
    theirs = [type("Theirs", (Memory,), {"rate": rate}) for rate in ("6/minute", "4/minute")]
    assert codes(view_class(*theirs), 3, user) == [200, 200, 429]


def test_atomic_takes_back_what_an_earlier_request_charged(settings_of):
    with settings_of(MODE="atomic"):
        one, other = throttle("same", "6/minute"), throttle("same", "4/minute")
        view, user = view_class(one, other), User()
        # The fifth place is free for the first class, and not for the second.
        assert codes(view, 4, user) == [200, 200, 429, 429]
        assert left(user, one) == [2]


def test_who_may_not_ask_is_not_asked_ahead(counted, asked):
    class Sometimes(UserRateThrottle):
        scope, rate = "sometimes", "2/minute"

        def allow_request(self, request, view):
            return request.method == "GET" or super().allow_request(request, view)
    view, user = view_class(FIVE[0], Sometimes, FIVE[1]), User()
    assert codes(view, 3, user) == [200] * 3
    assert asked() == 3
    assert left(user, Sometimes) == [2]
    assert codes(view, 3, user, method="post") == [200, 200, 429]
    assert asked() == 9 + 1  # one for what is left, above


def test_a_custom_first_one_takes_the_others_along(counted, asked):
    class Custom(UserRateThrottle):
        scope, rate = "custom", "2/minute"

        def allow_request(self, request, view):
            return super().allow_request(request, view)
    view, user = view_class(Custom, *FIVE), User()
    assert codes(view, 2, user) == [200, 200]
    assert asked() == 2


def test_who_asks_twice_in_its_turn_charges_nobody_else_twice(counted, asked):
    class Both(UserRateThrottle):
        def allow_request(self, request, view):
            allowed = True
            for self.scope, self.rate in (("first", "9/minute"), ("second", "9/hour")):
                self.num_requests, self.duration = self.parse_rate(self.rate)
                allowed = super().allow_request(request, view) and allowed
            return allowed
    view, user = view_class(Both, *FIVE), User()
    assert codes(view, 1, user) == [200]
    assert asked() == 2
    assert left(user, *FIVE) == [8, 7, 1, 6, 5]


def test_the_frameworks_own_class_may_stand_between(counted, asked):
    class Theirs(throttling.AnonRateThrottle):
        rate = "1000/s"
    view, user = view_class(FIVE[0], Theirs, FIVE[1]), User()
    assert codes(view, 1, user) == [200]
    assert asked() == 1


def test_a_view_that_stops_at_the_first_refusal_charges_no_other(counted):
    class Stopping(view_class(*FIVE)):
        def check_throttles(self, request):
            for one in self.get_throttles():
                if not one.allow_request(request, self):
                    raise Throttled(one.wait())
    user = User()
    assert codes(Stopping, 4, user) == [200, 200, 429, 429]
    assert left(user, *FIVE) == [5, 4, 0, 5, 4]


def test_throttles_with_arguments_are_told_apart(counted, asked):
    class Rated(SimpleRateThrottle):
        scope = "rated"

        def __init__(self, rate, window):
            self.rate, self.window = rate, window
            super().__init__()

        def get_cache_key(self, request, view):
            return f"{self.window}-{request.user.pk}"

    class Two(view_class()):
        def get_throttles(self):
            return [Rated("3/minute", "m"), Rated("2/hour", "h")]
    assert codes(Two, 3, User()) == [200, 200, 429]
    assert asked() == 3


def test_what_a_sibling_raises_comes_in_its_turn(counted):
    class Later(UserRateThrottle):
        scope, rate = "later", "5/minute"

        def get_cache_key(self, request, view):
            order.append("asked for a key")
            raise LookupError("mine")

    class First(UserRateThrottle):
        scope, rate = "first", "5/minute"

        def throttle_success(self):
            order.append("first was asked")
            return super().throttle_success()
    order = []
    user = User()
    with pytest.raises(LookupError):
        call(view_class(FIVE[0], First, Later), user)
    assert order[-2:] == ["first was asked", "asked for a key"]
    assert left(user, FIVE[0]) == [8]


def test_what_stands_behind_one_that_raises_is_not_charged(counted):
    class Unreadable(FIVE[1]):
        def get_cache_key(self, request, view):
            raise ParseError("a body that cannot be read")
    slots = throttle("slots", "1/30s", ConcurrencyThrottle)
    user = User()
    assert codes(view_class(FIVE[0], Unreadable, slots, FIVE[3]), 2, user) == [400, 400]
    assert left(user, FIVE[0], FIVE[3]) == [7, 7]
    assert codes(view_class(slots), 1, user) == [200], "a slot was taken that nobody gives back"


def test_a_throttle_from_elsewhere_disturbs_nobody(counted, asked):
    class Asking(view_class(*FIVE)):
        def check_permissions(self, request):
            AnonRateThrottle().allow_request(request, self)
            assert FIVE[0]().allow_request(request, self)
    user = User()
    assert codes(Asking, 1, user) == [200]
    assert left(user, *FIVE) == [7, 7, 1, 6, 5]


def test_other_algorithms_travel_along(counted, asked):
    bucket = throttle("bucket", "2/s", TokenBucketThrottle)
    slots = throttle("slots", "2/30s", ConcurrencyThrottle)
    assert codes(view_class(FIVE[0], bucket, slots), 1, User()) == [200]
    assert asked() == 1


def test_more_than_fit_go_in_several_requests(counted, asked):
    many = [throttle(f"m{number}", "9/s, 9/m, 9/h, 9/d") for number in range(40)]
    user = User()
    found = call(view_class(*many), user)
    assert found.status_code == 200
    assert len(found.request_seen._pawl_entries) == 160
    assert asked() == 3
    assert conf.get_client().figures()["breaker_opens"] == 0

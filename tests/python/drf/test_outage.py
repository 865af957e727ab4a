"""No daemon, a dead one, a stopped one: the policy, within the deadline, and never an exception."""

import os
import signal
import time

import pytest

import rig
from drf_rig import User, call, codes, view_class
from pawl import errors, testing
from pawl.django import asking as asking_module
from pawl.django import conf, logins, signals
from pawl.drf import (AnonRateThrottle, ConcurrencyThrottle, ScopedRateThrottle, UserRateThrottle,
                      failed_login_limit)

NOWHERE = {"ADDR": "unix:/nowhere/at/all", "DEADLINE_MS": 20}


@pytest.fixture
def own():
    """A daemon of this test alone, on the machine's clocks: it is killed and stopped."""
    with testing.TestDaemon(str(rig.BUILD / "pawld"), clock=False) as started:
        yield started


def asking(daemon, **more):
    return testing.override_daemon(daemon, **{"DEADLINE_MS": 20, **more})


def scoped(scope, **members):
    return view_class(type("Throttle", (AnonRateThrottle,), {"scope": scope, "rate": "4/hour",
                                                             **members}))


def policies(count):
    """What becomes of so many calls under each policy."""
    return {policy: codes(scoped(policy), count) for policy in ("open", "closed", "local")}


def warm():
    """Wait until the daemon answers within the deadline: a busy machine may take a few calls."""
    view = scoped("warm", rate="1000000/minute", on_error="closed")
    rig.wait_for(lambda: call(view).status_code == 200, "an answer")


POLICIES = {"ON_ERROR": {"open": "open", "closed": "closed", "local": "local"},
            "EXPECTED_WORKERS": 2}
EXPECTED = {"open": [200] * 4, "closed": [429] * 4, "local": [200, 200, 429, 429]}


def test_each_scope_has_its_policy_while_no_daemon_is_there(settings_of):
    with settings_of(**NOWHERE, **POLICIES):
        assert policies(4) == EXPECTED


def test_a_killed_daemon_leaves_the_policy_and_no_exception(own):
    with asking(own, **POLICIES):
        warm()
        own.kill()
        assert policies(4) == EXPECTED


def test_a_stopped_daemon_costs_no_call_more_than_the_deadline(own):
    with asking(own, **POLICIES):
        warm()
        os.kill(own.pid, signal.SIGSTOP)
        rig.wait_for(lambda: ") T " in open(f"/proc/{own.pid}/stat").read(), "the stop")
        try:
            took = []
            for _ in range(30):
                begun = time.monotonic()
                assert codes(scoped("closed"), 1) == [429]
                took.append(time.monotonic() - begun)
            took.sort()
            # Most meet an open breaker and wait for nobody; the others wait for the deadline. The
            # bounds are for a busy machine: tests/python/fleet measures.
            assert took[len(took) // 2] < 0.1 and took[-1] < 1, took
        finally:
            os.kill(own.pid, signal.SIGCONT)
        warm()


def test_a_daemon_that_is_back_is_asked_again(own):
    with asking(own, **POLICIES):
        own.kill()
        assert codes(scoped("closed"), 8) == [429] * 8
        own.start()
        warm()


def test_a_refusal_without_a_time_has_one_all_the_same(settings_of):
    with settings_of(**NOWHERE, **POLICIES, RETRY_AFTER_S=7):
        refused = call(scoped("closed"))
        assert (refused.status_code, refused["Retry-After"]) == (429, "7")
        assert refused.request_seen._pawl_entries == [], "nobody counted: no header lies"


def test_local_counts_are_told_with_their_own_limit(settings_of):
    with settings_of(**NOWHERE, EXPECTED_WORKERS=4):
        class Throttle(UserRateThrottle):
            rate = "100/minute"
        user = User()
        found = codes(view_class(Throttle), 30, user)
        assert found == [200] * 25 + [429] * 5
        refused = call(view_class(Throttle), user)
        assert 0 < int(refused["Retry-After"]) <= 60
        (entry,) = refused.request_seen._pawl_entries
        assert (entry.limit, entry.remaining, entry.allowed) == (25, 0, False)


def test_local_counts_hold_for_all_throttles_of_a_view(settings_of):
    with settings_of(**NOWHERE):
        view = view_class(UserRateThrottle, ScopedRateThrottle, throttle_scope="uploads")
        user = User()
        assert codes(view, 3, user) == [200, 200, 429]


def test_what_cannot_be_counted_at_all_follows_the_word(settings_of):
    named = {"limit": "nobody_knows", "rate": None}
    with settings_of(**NOWHERE, **POLICIES):
        assert codes(scoped("local", **named), 2) == [200, 200]
        assert codes(scoped("open", **named), 1) == [200]
        assert codes(scoped("closed", **named), 1) == [429]


def test_a_limit_that_the_daemon_does_not_know_follows_the_word(settings_of, events):
    with settings_of(**POLICIES):
        assert codes(scoped("local", limit="nobody_knows", rate="4/hour"), 3) == [200, 200, 429]
        assert codes(scoped("open", limit="nobody_knows"), 1) == [200]
        assert codes(scoped("closed", limit="nobody_knows"), 1) == [429]
    assert {event["cause"] for event in events("backend_error")} == {"not_found"}


def test_one_wrong_limit_disarms_no_other(settings_of):
    with settings_of():
        view = view_class(type("Wrong", (UserRateThrottle,), {"limit": "nobody_knows_this"}),
                          UserRateThrottle, AnonRateThrottle)
        user = User()
        # Counted in this process, twice in the first call, which has to find out which one it is.
        assert codes(view, 6, user) == [200] * 4 + [429] * 2
        assert codes(view_class(UserRateThrottle), 1, user) == [429], "the daemon has six"
        (answered,) = {one.source for one in throttling_outcomes(user)}
        assert answered == "daemon"


def throttling_outcomes(user):
    from pawl.django.throttling import Ask, ask, throttle_key
    one = Ask("user", throttle_key("user", user.pk), UserRateThrottle()._pawl_rates(""))
    return ask([one], peek=True)


def test_a_class_has_a_policy_that_the_settings_overrule(settings_of):
    with settings_of(**NOWHERE, ON_ERROR={"named": "open"}):
        assert codes(scoped("unnamed", on_error="closed"), 1) == [429]
        assert codes(scoped("named", on_error="closed"), 1) == [200]
        slots = view_class(type("Slots", (ConcurrencyThrottle,), {"rate": "1/h"}))
        assert codes(slots, 3, User()) == [200] * 3, "open by itself"


def test_what_the_daemon_said_of_a_limit_wins_while_it_is_away(tmp_path):
    (tmp_path / "pawld.yaml").write_text("limits: {api: {rate: 9/hour, on_error: closed}}\n")
    with testing.TestDaemon(str(rig.BUILD / "pawld"),
                            ["--config", str(tmp_path / "pawld.yaml")]) as daemon:
        with asking(daemon, ON_ERROR="open"):
            view = scoped("any", limit="api", rate=None)
            rig.wait_for(lambda: call(view).request_seen._pawl_entries, "an answer")
            daemon.kill()
            assert codes(view, 2) == [429, 429]


def test_a_client_that_refuses_one_item_still_counts_the_others():
    with testing.override_pawl() as memory:  # it has no slots
        view = view_class(type("Slots", (ConcurrencyThrottle,), {"rate": "1/h"}),
                          AnonRateThrottle)
        assert codes(view, 4) == [200] * 3 + [429]
        assert len(memory.asked) > 4


def test_log_ins_are_closed_by_default(settings_of):
    with settings_of(**NOWHERE):
        assert codes(scoped("login"), 1) == [429]
        from drf_rig import factory
        with pytest.raises(Exception) as caught:
            with failed_login_limit(factory.post("/"), "alice"):
                pass
        assert caught.value.status_code == 429
        with pytest.raises(logins.TooManyAttempts) as plain:
            with logins.failed_login_limit(factory.post("/"), "alice"):
                pass
        assert plain.value.retry_after_s == 5


def test_log_only_refuses_nobody_in_an_outage(settings_of):
    with settings_of(**NOWHERE, ENFORCE=False, ON_ERROR="closed"):
        assert codes(scoped("closed"), 2) == [200, 200]


@pytest.mark.parametrize("wrong", [{"ADDR": "nonsense:"}, {"TLS": {"CA": "/nowhere"},
                                                           "ADDR": "tls:localhost:1"}])
def test_a_client_that_cannot_be_made_follows_the_policy_too(settings_of, wrong, caplog):
    with settings_of(**{**POLICIES, **wrong, "DEADLINE_MS": 20}):
        assert policies(4) == EXPECTED
    assert "Traceback" not in str(caplog.messages)


class Raising:
    """A client as nobody has seen one."""

    def __init__(self, error):
        self.error = error

    def check_many(self, *_, **__):
        raise self.error

    refund = check_many


@pytest.mark.parametrize("error", [
    ValueError("a rate"), OSError(24, "too many open files"), RuntimeError("no"), KeyError("x"),
    RecursionError(), MemoryError(), BufferError(), errors.Refused("no", "invalid"),
    errors.Unavailable("no", "timeout")], ids=lambda error: type(error).__name__)
def test_nothing_that_a_client_raises_leaves_a_throttle(settings_of, error):
    with settings_of(**POLICIES):
        before = conf.use(lambda **_: Raising(error), lambda **_: Raising(error))
        try:
            asking_module._own.clear()
            assert policies(4) == EXPECTED
            view = view_class(UserRateThrottle, AnonRateThrottle)
            assert codes(view, 2) == [200, 429], "three for two workers, one each"
        finally:
            conf.use(*before)


def test_an_outage_is_told_by_signals(settings_of):
    heard = []

    def listen(sender, cause, **_):
        heard.append(cause)
    signals.backend_error.connect(listen)
    try:
        with settings_of(**NOWHERE, ON_ERROR="open"):
            assert codes(scoped("open"), 9) == [200] * 9
            assert conf.get_client().is_away
    finally:
        signals.backend_error.disconnect(listen)
    # Told while the daemon is asked; once the breaker is open nobody asks.
    assert set(heard) == {"connect"} and len(heard) < 9


def test_a_charge_that_cannot_be_given_back_disturbs_nobody(own):
    from drf_rig import factory
    with asking(own, FAILED_LOGIN_RATE="3/hour", DEADLINE_MS=5000):
        warm()
        with failed_login_limit(factory.post("/"), "alice"):
            own.kill()

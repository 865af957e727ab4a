"""System checks: each red on what it is for, and green when that is put right."""

import pytest
from django.core import checks as framework
from django.test import override_settings

from pawl import _backend
from pawl.django import checks

RATES = {"anon": "100/hour"}


def found(deploy=False, **settings):
    """The ids of pawl's messages under these settings."""
    with override_settings(**settings):
        messages = framework.run_checks(tags=[checks.TAG], include_deployment_checks=deploy)
    for message in messages:
        assert message.hint or message.id == "pawl.E003", message
    return {message.id for message in messages} - {"pawl.W002"}


def rates(**more):
    return {"NUM_PROXIES": 0, "DEFAULT_THROTTLE_RATES": more}


def test_a_sound_project_is_silent():
    assert found() == set()


@pytest.mark.parametrize("wrong, right", [
    ({"DEADLINE": 20}, {"DEADLINE_MS": 20}),
    ({"DEADLINE_MS": "20"}, {"DEADLINE_MS": 20}),
    ({"DEADLINE_MS": 0}, {"DEADLINE_MS": 1}),
    ({"ENABLED": 1}, {"ENABLED": True}),
    ({"HEADERS": "draft-7"}, {"HEADERS": "off"}),
    ({"ON_ERROR": {"login": "fail"}}, {"ON_ERROR": {"any_scope": "closed"}}),
    ({"ON_ERROR": "maybe"}, {"ON_ERROR": "open"}),
    ({"ON_STALE": {"access": "open"}}, {"ON_STALE": {"access": "accept"}}),
    ({"PRECISION": 1}, {"PRECISION": 2}),
    ({"TRUSTED_PROXIES": ["10.0.0.1/99"]}, {"TRUSTED_PROXIES": ["10.0.0.0/8", "fd00::/8"]}),
    ({"FAILED_LOGIN_RATE": "five"}, {"FAILED_LOGIN_RATE": "5/5m"}),
    ({"TLS": {"CERT": "x"}}, {"TLS": {"CERTIFICATE": "x"}}),
    ([], {}),
])
def test_a_wrong_setting_is_an_error(wrong, right):
    assert found(PAWL=wrong) == {"pawl.E001"}
    assert found(PAWL=right) == set()


@pytest.mark.parametrize("rate", ["100", "1/", "5/fortnight/2", "x/m", 5, "1/m, 2/m"])
def test_a_rate_that_cannot_be_read_is_an_error(rate):
    assert found(REST_FRAMEWORK=rates(anon=rate)) == {"pawl.E002"}


@pytest.mark.parametrize("rate", ["100/hour", "100/5m", "60/minute, 1000/day", "0/min", None])
def test_a_rate_that_can_be_read_is_none(rate):
    assert found(REST_FRAMEWORK=rates(anon=rate)) == set()


@pytest.mark.parametrize("wrong, right", [("10/month", "10/30d"), ("3/msec", "3/s"),
                                          ("5/sunday", "5/d")])
def test_a_rate_that_does_not_mean_what_it_seems_to_is_a_warning(wrong, right):
    assert found(REST_FRAMEWORK=rates(anon=wrong)) == {"pawl.W003"}
    assert found(REST_FRAMEWORK=rates(anon=right)) == set()


class Odd:
    """A throttle class whose rate cannot be read."""

    rate = "often"


class Fine:
    rate = "5/m"


def test_the_rates_of_throttle_classes_are_looked_at():
    def with_class(name):
        return {"NUM_PROXIES": 0, "DEFAULT_THROTTLE_CLASSES": [f"test_checks.{name}"]}

    assert found(REST_FRAMEWORK=with_class("Odd")) == {"pawl.E002"}
    assert found(REST_FRAMEWORK=with_class("Fine")) == set()


def test_an_exemption_that_is_not_there_is_an_error():
    assert found(PAWL={"EXEMPT": "no.such.function"}) == {"pawl.E003"}
    assert found(PAWL={"EXEMPT": "djangoapp_keys.tenant"}) == set()


def test_a_missing_extension_is_an_error_where_it_is_asked_for(monkeypatch):
    monkeypatch.delenv("PAWL_BACKEND", raising=False)
    monkeypatch.setattr(_backend, "_native", None)
    monkeypatch.setattr(_backend, "native_missing", "not built here")
    assert found(PAWL={"BACKEND": "native"}) == {"pawl.E004"}
    assert found(PAWL={"BACKEND": "auto"}) == set()


def test_the_pure_client_is_a_warning_and_the_extension_none(monkeypatch):
    def ids():
        return [message.id for message in checks.check_backend()]

    monkeypatch.delenv("PAWL_BACKEND", raising=False)
    monkeypatch.setattr(_backend, "_native", None)
    monkeypatch.setattr(_backend, "native_missing", "not built here")
    (message,) = checks.check_backend()
    assert message.id == "pawl.W002" and "not built here" in message.msg and message.hint

    class Extension:
        Handle = object

    monkeypatch.setattr(_backend, "_native", Extension)
    assert ids() == []


@pytest.mark.parametrize("sign", [{"USE_X_FORWARDED_HOST": True}, {"USE_X_FORWARDED_PORT": True},
                                  {"SECURE_PROXY_SSL_HEADER": ("HTTP_X_PROTO", "https")}])
def test_a_proxy_that_nobody_counted_is_a_warning(sign):
    unset = {"DEFAULT_THROTTLE_RATES": RATES}
    assert found(REST_FRAMEWORK=unset, **sign) == {"pawl.W001"}
    assert found(REST_FRAMEWORK=unset) == set()
    assert found(REST_FRAMEWORK=unset, PAWL={"TRUSTED_PROXIES": 1}, **sign) == set()
    assert found(REST_FRAMEWORK={"NUM_PROXIES": 1}, **sign) == set()


def test_before_a_roll_out_somebody_has_to_say_whether_there_is_a_proxy():
    unset = {"DEFAULT_THROTTLE_RATES": RATES}
    workers = {"EXPECTED_WORKERS": 4}
    assert found(deploy=True, REST_FRAMEWORK=unset, PAWL=workers) == {"pawl.W006"}
    assert found(deploy=True, REST_FRAMEWORK={"NUM_PROXIES": 0}, PAWL=workers) == set()
    assert found(deploy=True, REST_FRAMEWORK=unset,
                 PAWL={"TRUSTED_PROXIES": 0, **workers}) == set()
    assert found(deploy=True, REST_FRAMEWORK=unset, PAWL=workers,
                 USE_X_FORWARDED_HOST=True) == {"pawl.W001"}


def test_the_throttles_of_the_framework_beside_ours_are_a_warning():
    def with_classes(*paths):
        return {"NUM_PROXIES": 0, "DEFAULT_THROTTLE_CLASSES": paths}

    stock, ours = "rest_framework.throttling.UserRateThrottle", "pawl.drf.AnonRateThrottle"
    assert found(REST_FRAMEWORK=with_classes(stock, ours)) == {"pawl.W004"}
    assert found(REST_FRAMEWORK=with_classes(ours)) == set()
    assert found(REST_FRAMEWORK=with_classes(stock)) == set()  # not there yet


def test_the_blacklist_without_our_token_classes_is_told():
    apps = ["rest_framework", "pawl.django", "rest_framework_simplejwt.token_blacklist"]

    def ids(**settings):
        # The check reads the list; the app itself need not be installed for that.
        with pytest.MonkeyPatch.context() as patch:
            from django.conf import settings as django_settings
            patch.setattr(django_settings, "INSTALLED_APPS", apps)
            with override_settings(**settings):
                return [message.id for message in checks.check_blacklist()]

    assert ids() == ["pawl.I001"]
    assert ids(SIMPLE_JWT={"AUTH_TOKEN_CLASSES": ("pawl.simplejwt.AccessToken",)}) == []
    assert checks.check_blacklist() == []


def test_one_expected_worker_is_told_before_a_deployment():
    assert found(deploy=True) == {"pawl.I002"}
    assert found(deploy=True, PAWL={"EXPECTED_WORKERS": 4}) == set()
    assert found(deploy=True, PAWL={"ON_ERROR": "closed"}) == set()
    assert found(PAWL={"EXPECTED_WORKERS": 1}) == set()


def test_a_middleware_that_would_overwrite_what_is_exposed_is_told():
    ours, theirs = checks._MIDDLEWARE, "corsheaders.middleware.CorsMiddleware"
    exposing = {"CORS_EXPOSE_HEADERS": ["x-request-id"]}
    assert found(MIDDLEWARE=[theirs, ours], **exposing) == {"pawl.W005"}
    assert found(MIDDLEWARE=[ours, theirs], **exposing) == set()
    assert found(MIDDLEWARE=[theirs, ours]) == set()
    assert found(MIDDLEWARE=[theirs, ours], PAWL={"HEADERS_EXPOSE": False}, **exposing) == set()


def test_headers_without_the_middleware_are_told():
    assert found(PAWL={"HEADERS": "both"}, MIDDLEWARE=[]) == {"pawl.I003"}
    assert found(PAWL={"HEADERS": "both"}) == set()
    assert found(PAWL={"HEADERS": "off"}, MIDDLEWARE=[]) == set()

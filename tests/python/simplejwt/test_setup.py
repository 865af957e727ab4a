"""Settings: system checks, simplejwt's own, and what imports what."""

import subprocess
import sys

import pytest
from rest_framework_simplejwt.settings import api_settings

from pawl.simplejwt import CLASSES
from pawl.simplejwt.checks import check_classes, check_lifetimes
from pawl.simplejwt.tokens import AccessToken, RefreshToken


def ids(messages):
    return [message.id for message in messages]


def test_a_project_that_is_wired_whole_has_no_warning():
    assert check_classes() == [] and check_lifetimes() == []


def test_stock_classes_are_told(monkeypatch):
    from rest_framework_simplejwt.tokens import AccessToken as Stock

    monkeypatch.setattr(api_settings, "AUTH_TOKEN_CLASSES", (Stock,))
    assert ids(check_classes()) == ["pawl.W501"]
    path = "rest_framework_simplejwt.serializers.TokenObtainPairSerializer"
    monkeypatch.setattr(api_settings, "TOKEN_OBTAIN_SERIALIZER", path)
    assert ids(check_classes()) == ["pawl.W501", "pawl.W502"]


def test_a_rotation_without_pawld_is_an_error(monkeypatch):
    import types

    from rest_framework_simplejwt.serializers import TokenRefreshSerializer as Stock

    module = types.ModuleType("rotates_alone")
    module.Mine = type("Mine", (Stock,), {"token_class": RefreshToken})
    monkeypatch.setitem(sys.modules, "rotates_alone", module)
    monkeypatch.setattr(api_settings, "TOKEN_REFRESH_SERIALIZER", "rotates_alone.Mine")
    assert ids(check_classes()) == ["pawl.E503"]


def test_long_lives_are_told(monkeypatch):
    import datetime

    monkeypatch.setattr(api_settings, "REFRESH_TOKEN_LIFETIME", datetime.timedelta(days=31))
    assert ids(check_lifetimes()) == ["pawl.W504"]


def test_settings_may_import_the_package():
    done = subprocess.run(
        [sys.executable, "-c", "import sys, pawl.simplejwt; pawl.simplejwt.CLASSES; "
         "assert not [name for name in sys.modules if 'django' in name or 'framework' in name]"])
    assert done.returncode == 0


def test_every_name_of_the_package_is_there():
    from django.utils.module_loading import import_string

    import pawl.simplejwt

    for value in CLASSES.values():
        for path in value if isinstance(value, tuple) else (value,):
            assert import_string(path)
    for name in pawl.simplejwt._HOMES:
        assert getattr(pawl.simplejwt, name)
    assert import_string("pawl.simplejwt.AccessToken") is AccessToken
    with pytest.raises(AttributeError):
        pawl.simplejwt.nothing


def test_issuer_and_audience_are_simplejwt_s_and_checked_before_pawld(shop, monkeypatch):
    from rest_framework_simplejwt import state

    monkeypatch.setattr(state.token_backend, "issuer", "https://auth.example")
    monkeypatch.setattr(state.token_backend, "audience", "api")
    first = shop.login()
    second = shop.refresh(first["refresh"])
    assert second.status_code == 200
    assert shop.refresh(first["refresh"]).data["refresh"] == second.data["refresh"]
    assert shop.me(second.data["access"]).status_code == 200
    monkeypatch.setattr(state.token_backend, "audience", "another")
    assert shop.me(second.data["access"]).status_code == 401


def test_the_issuer_of_pawl_is_part_of_a_token_s_name(shop):
    shop.use(ISSUER="https://one.example")
    one = shop.login()
    shop.use(ISSUER="https://two.example")
    shop.post("/token/logout/", refresh=one["refresh"])  # another issuer's login of that name
    shop.use(ISSUER="https://one.example")
    assert shop.me(one["access"]).status_code == 200
    shop.post("/token/logout/", refresh=one["refresh"])
    assert shop.me(one["access"]).status_code == 401


@pytest.mark.parametrize("given", [{"REVOKE_ON": ["passwords"]}, {"REVOKE_ON": "blacklist"},
                                   {"ON_UNAVAILABLE": {"access": "maybe"}}])
def test_a_wrong_word_is_refused(settings, given):
    from django.core.exceptions import ImproperlyConfigured

    from pawl.django import conf

    settings.PAWL = given
    with pytest.raises(ImproperlyConfigured):
        conf.settings.ISSUER

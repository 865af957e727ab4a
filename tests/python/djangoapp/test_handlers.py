"""Bodies of refusals: the framework's by default, problem details where they are asked for."""

import pytest
from djangoapp_urls import framework
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.settings import api_settings
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

import pawl
from pawl.django import handlers, throttling


@pytest.fixture
def handler(monkeypatch):
    """handler(function): the exception handler of this test."""
    def use(function):
        monkeypatch.setattr(APIView, "get_exception_handler", lambda self: function)
    return use


def test_a_write_that_no_daemon_took_is_503_with_retry_after(client, handler):
    handler(handlers.exception_handler)
    response = client.get("/framework/?kind=unavailable")
    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert response.json()["code"] == "unavailable"


def test_other_exceptions_keep_the_bodies_of_the_framework(client, handler):
    handler(handlers.exception_handler)
    response = client.get("/framework/?kind=denied")
    assert response.status_code == 403 and list(response.json()) == ["detail"]


def test_a_refusal_as_problem_details_names_the_violated_policies(client, handler, monkeypatch,
                                                                  pawl_memory):
    class Throttle(BaseThrottle):
        def allow_request(self, request, view):
            ask = throttling.Ask("burst", "k", (pawl.Rate(1, 60_000),))
            return throttling.check(request, [ask]).allowed

    handler(handlers.problem_json)
    monkeypatch.setattr(framework.cls, "throttle_classes", [Throttle])
    assert client.get("/framework/").status_code == 200
    response = client.get("/framework/")
    assert response.status_code == 429
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert body["type"].endswith("#quota-exceeded") and body["status"] == 429
    assert body["violated-policies"] == ["burst"] and body["code"] == "throttled"


def test_a_503_is_reduced_capacity_and_a_403_has_a_title(client, handler):
    handler(handlers.problem_json)
    body = client.get("/framework/?kind=unavailable").json()
    assert body["type"].endswith("#temporary-reduced-capacity") and body["code"] == "unavailable"
    body = client.get("/framework/?kind=denied").json()
    assert (body["type"], body["title"]) == ("about:blank", "Forbidden")


def test_a_code_beside_the_detail_is_the_one_that_is_told(rf):
    # As simplejwt's InvalidToken: one code for all in the detail, the fact beside it.
    refused = AuthenticationFailed({"detail": "This token was revoked.", "code": "token_revoked"},
                                   "token_not_valid")
    body = handlers.problem_json(refused, {"request": rf.get("/")}).data
    assert (body["status"], body["code"]) == (401, "token_revoked")


def test_what_is_wrong_with_the_input_stays_readable(client, handler):
    handler(handlers.problem_json)
    body = client.post("/framework/").json()
    assert body["status"] == 400 and body["errors"] == {"name": ["This field is required."]}


def test_the_handlers_can_be_named_in_settings():
    from django.utils.module_loading import import_string

    for name in ("exception_handler", "problem_json"):
        assert callable(import_string(f"pawl.django.handlers.{name}"))
    assert api_settings.EXCEPTION_HANDLER is not handlers.problem_json

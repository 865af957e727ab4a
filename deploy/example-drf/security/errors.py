"""One shape for every error: a code, a sentence, the request's id; nothing of the inside.

    {"code": "throttled", "detail": "...", "request_id": "...", "fields": {...}}

Django REST Framework's errors get it from :func:`exception_handler`, Django's own from
:func:`plain`; :class:`ErrorShapeMiddleware` sees to what neither made: the OAuth endpoints (whose
``error`` and ``error_description`` of RFC 6749 stay), decorators, a wrong method, CSRF.
"""

import json
import logging

from django.core.exceptions import RequestDataTooBig
from django.http import JsonResponse
from pawl.django.handlers import exception_handler as pawl_handler
from rest_framework import exceptions
from rest_framework.response import Response

from .audit import suspicious
from .refusals import BodyTooLong

_log = logging.getLogger("example.errors")

#: By status, for what brings no code of its own.
WORDS = {
    400: ("bad_request", "The request cannot be read."),
    401: ("not_authenticated", "Say who you are."),
    403: ("permission_denied", "This is not for you."),
    404: ("not_found", "There is nothing here."),
    405: ("method_not_allowed", "This cannot be done here."),
    413: ("body_too_long", "The body is too long."),
    429: ("throttled", "Too many requests. Come again later."),
    503: ("unavailable", "This cannot be decided now. Try again."),
}
_ELSE = ("error", "Something went wrong here.")


def body(status, request, code=None, detail=None, fields=None):
    usual, sentence = WORDS.get(status, _ELSE)
    answer = {"code": str(code or usual), "detail": str(detail or sentence),
              "request_id": getattr(request, "request_id", "")}
    if fields:
        answer["fields"] = fields
    return answer


def exception_handler(error, context):
    """For ``EXCEPTION_HANDLER``; what Django REST Framework does not know is a 500 of ours."""
    request = context["request"]._request
    if isinstance(error, RequestDataTooBig):  # Django's own cap, where the framework reads by it
        suspicious(request, "body_too_long")
        error = BodyTooLong()
    response = pawl_handler(error, context)
    if response is None:
        # The trace goes to the log under the request's id, and never to the caller.
        _log.error("unhandled error in request %s", body(500, request)["request_id"],
                   exc_info=error)
        return Response(body(500, request), 500)
    code, detail, fields = _told(error, response.data)
    response.data = body(response.status_code, request, code, detail, fields)
    return response


def _told(error, data):
    """(code, sentence, fields) of an error and of the framework's answer to it."""
    if isinstance(error, exceptions.ValidationError):
        fields = data if isinstance(data, dict) else {"non_field_errors": data}
        return "invalid", "The input is not valid.", fields
    if not isinstance(data, dict):
        return None, None, None
    detail = data.get("detail")
    # simplejwt's errors have a code beside the detail; the framework's are texts that carry one.
    return data.get("code") or getattr(detail, "code", None), detail, None


def plain(status):
    """A handler for what never reaches Django REST Framework (``handler404`` and kin)."""
    def view(request, exception=None, *args, **options):
        return JsonResponse(body(status, request), status=status)
    return view


def csrf_failure(request, reason=""):
    """``CSRF_FAILURE_VIEW``: Django's reason goes to its own log."""
    return JsonResponse(body(403, request, "csrf_failed", "The CSRF token is missing or wrong."),
                        status=403)


class ErrorShapeMiddleware:
    """Gives what came out in another shape this one. Headers and status stay."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        if response.status_code < 400 or getattr(response, "streaming", False):
            return response
        given = _read(response)
        if not {"code", "detail", "request_id"} <= set(given):
            # Of a page nothing is kept: it may be Django's own, with whatever stands on it.
            shaped = body(response.status_code, request,
                          given.get("error"), given.get("error_description", given.get("detail")))
            response.content = json.dumps({**given, **shaped})
            response["Content-Type"] = "application/json"
            if response.has_header("Content-Length"):
                response["Content-Length"] = str(len(response.content))
        return response


def _read(response):
    if "json" not in response.get("Content-Type", ""):
        return {}
    try:
        given = json.loads(response.content)
    except ValueError:
        return {}
    return given if isinstance(given, dict) else {}

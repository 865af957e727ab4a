"""Exception handlers for Django REST Framework (``EXCEPTION_HANDLER``).

:func:`exception_handler` keeps the framework's bodies, ``{"detail": ...}``, and makes 503 with
Retry-After of a write that no daemon took; :func:`problem_json` answers with problem details
(RFC 9457), whose types for quotas are those of draft-ietf-httpapi-ratelimit-headers-11.
"""

from http import HTTPStatus
from typing import Any, Dict, Optional

from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler as framework_handler
from rest_framework.views import set_rollback

from pawl import errors

from . import headers
from .conf import settings
from .throttling import entries

_REGISTRY = "https://iana.org/assignments/http-problem-types#"
QUOTA_EXCEEDED = _REGISTRY + "quota-exceeded"
REDUCED_CAPACITY = _REGISTRY + "temporary-reduced-capacity"
_TITLES = {QUOTA_EXCEEDED: "Request cannot be satisfied as assigned quota has been exceeded",
           REDUCED_CAPACITY: "Request cannot be satisfied due to temporary server capacity "
                             "constraints"}
MEDIA_TYPE = "application/problem+json"


def exception_handler(exc: Exception, context: Dict[str, Any]) -> Optional[Response]:
    """The framework's, and 503 for :class:`pawl.errors.Unavailable` (a log-out, a revocation)."""
    if not isinstance(exc, errors.Unavailable):
        found: Optional[Response] = framework_handler(exc, context)
        return found
    set_rollback()
    return Response({"detail": "This cannot be done now. Try again.", "code": "unavailable"}, 503,
                    headers={"Retry-After": str(settings.RETRY_AFTER_S)})


def problem_json(exc: Exception, context: Dict[str, Any]) -> Optional[Response]:
    """Problem details: type, title, status, detail, code; ``violated-policies`` of a 429, and
    ``errors`` of a validation."""
    response = exception_handler(exc, context)
    if response is None:
        return None
    request = context.get("request")
    response.data = _problem(exc, response, request)
    renderer = getattr(request, "accepted_renderer", None)
    if renderer is None or "json" in (renderer.media_type or ""):
        response.content_type = MEDIA_TYPE
    return response


def _problem(exc: Exception, response: Response, request: Any) -> Dict[str, Any]:
    status = response.status_code
    kind = {429: QUOTA_EXCEEDED, 503: REDUCED_CAPACITY}.get(status, "about:blank")
    title = _TITLES.get(kind)
    if title is None:
        title = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
    body: Dict[str, Any] = {"type": kind, "title": title, "status": status}
    data = response.data
    if isinstance(exc, exceptions.ValidationError):
        body.update(detail="The input is not valid.", code="invalid", errors=data)
    elif isinstance(data, dict):
        body["detail"] = str(data.get("detail", ""))
        # The code beside the detail is the nearer one: simplejwt's says token_not_valid of all.
        code = data.get("code") or getattr(data.get("detail"), "code", None)
        if code:
            body["code"] = str(code)
    if status == 429 and request is not None:
        found = headers.refusing(headers.shown(entries(request)))
        body["violated-policies"] = sorted({headers.policy_name(entry) for entry in found})
    return body

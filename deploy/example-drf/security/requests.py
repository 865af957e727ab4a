"""Each request has an id: the caller's, if it is a sane one, else one of ours."""

import re
import uuid

from django.conf import settings
from django.http import JsonResponse

from .audit import suspicious
from .errors import body

_SANE = re.compile(r"[A-Za-z0-9._-]{8,64}")


class RequestIdMiddleware:
    """``request.request_id``, and the header X-Request-ID of every answer."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        given = request.headers.get("X-Request-ID", "")
        request.request_id = given if _SANE.fullmatch(given) else str(uuid.uuid4())
        response = self.get_response(request)
        response["X-Request-ID"] = request.request_id
        return response


class BodyCapMiddleware:
    """Refuses what is longer than the longest upload before a byte of it is read: Django would
    write a file of any size to its disk first."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        length = request.META.get("CONTENT_LENGTH") or "0"
        if not length.isdecimal() or int(length) > settings.BODY_MAX_BYTES:
            suspicious(request, "body_too_long")
            return JsonResponse(body(413, request), status=413)
        return self.get_response(request)


def healthy(request):
    """For a cluster's probes: this process answers. It asks nobody else."""
    return JsonResponse({"ok": True})

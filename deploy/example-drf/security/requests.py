"""Each request has an id: the caller's, if it is a sane one, else one of ours."""

import re
import uuid

from django.http import JsonResponse

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


def healthy(request):
    """For a cluster's probes: this process answers. It asks nobody else."""
    return JsonResponse({"ok": True})

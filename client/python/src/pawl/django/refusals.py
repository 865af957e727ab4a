"""The answer to who is over a limit: 429 with Retry-After, never 403."""

import json
from typing import Any

from django.http import HttpResponse

from .requests import plain_request


def refuse(request: Any, refusal: Any) -> HttpResponse:
    """429; the body is JSON for who accepts it, else a sentence.

    @refusal  something with ``retry_after_s``: a verdict, an exception.
    """
    wait_s = int(refusal.retry_after_s)
    text = f"Request was throttled. Expected available in {wait_s} second{'s'[:wait_s != 1]}."
    if "json" in plain_request(request).META.get("HTTP_ACCEPT", ""):
        response = HttpResponse(json.dumps({"detail": text}), content_type="application/json")
    else:
        response = HttpResponse(text, content_type="text/plain; charset=utf-8")
    response.status_code = 429
    response["Retry-After"] = str(wait_s)
    return response

"""Middleware: rate-limit headers on every response, and the security log of refusals.

Both work under WSGI and ASGI, and belong near the top of ``MIDDLEWARE``: above CorsMiddleware, so
that what it exposes is completed and not overwritten.
"""

from typing import Any, List, Optional

from django.http import HttpResponse
from django.utils.deprecation import MiddlewareMixin

from pawl.errors import Unavailable

from . import events, headers
from .conf import settings
from .logins import TooManyAttempts
from .refusals import refuse
from .throttling import entries
from .verdicts import ServiceUnavailable


class _AfterResponse(MiddlewareMixin):
    """Middleware that only looks at responses, and never waits: under ASGI it needs no thread."""

    async def __acall__(self, request: Any) -> Any:
        return self.process_response(request, await self.get_response(request))

    def process_response(self, request: Any, response: Any) -> Any:
        raise NotImplementedError


class RateLimitHeadersMiddleware(_AfterResponse):
    """What was counted for this request, as header fields: ``HEADERS`` says which.

    A 429 or 503 without Retry-After gets one; a log-in that was tried too often
    (:class:`pawl.django.logins.TooManyAttempts`) is answered with 429, and a revocation that no
    daemon took (in the admin, say) with 503. Fields that a view wrote itself stay. With
    ``HEADERS_EXPOSE`` a browser's script may read them: they join Access-Control-Expose-Headers.
    """

    def process_exception(self, request: Any, exception: Exception) -> Optional[HttpResponse]:
        if isinstance(exception, (ServiceUnavailable, Unavailable)):
            return HttpResponse("This cannot be done now. Try again.\n", status=503,
                                content_type="text/plain; charset=utf-8")
        return refuse(request, exception) if isinstance(exception, TooManyAttempts) else None

    def process_response(self, request: Any, response: Any) -> Any:
        found = entries(request)
        if response.status_code in (429, 503) and not response.has_header("Retry-After"):
            response["Retry-After"] = str(headers.retry_after_s(found))
        shown = headers.shown(found)
        dialect = settings.HEADERS
        written: List[str] = []
        if shown and dialect in ("legacy", "both"):
            tightest = headers.tightest(shown)
            if tightest is not None:
                written += _write(response, headers.legacy(tightest))
        if shown and dialect in ("ietf", "both"):
            written += _write(response, headers.ietf(shown, _retry_s(response)))
        if response.has_header("Retry-After"):
            written.append("Retry-After")
        if written and settings.HEADERS_EXPOSE and request.META.get("HTTP_ORIGIN"):
            _expose(response, written)
        return response


def _retry_s(response: Any) -> Any:
    value = response.get("Retry-After", "")
    return int(value) if value.isdigit() else None


def _write(response: Any, fields: Any) -> List[str]:
    for name, value in fields.items():
        if not response.has_header(name):
            response[name] = value
    return list(fields)


def _expose(response: Any, names: List[str]) -> None:
    """Add to what is exposed already; nothing twice."""
    known = [name.strip() for name in
             response.get("Access-Control-Expose-Headers", "").split(",") if name.strip()]
    held = {name.lower() for name in known}
    known += [name for name in names if name.lower() not in held]
    response["Access-Control-Expose-Headers"] = ", ".join(known)


class SecurityEventsMiddleware(_AfterResponse):
    """Log what was refused or failed, by :mod:`pawl.django.events`: 403 as permission_denied, any
    other 4xx as request_refused, 5xx as request_failed. What throttles and token classes have told
    of already (429, a revoked token) is not told twice."""

    def process_response(self, request: Any, response: Any) -> Any:
        status = response.status_code
        if status < 400 or events.was_logged(request):
            return response
        if status == 403:
            events.permission_denied(request)
        elif status < 500:
            events.request_refused(request, status)
        else:
            events.request_failed(request, status)
        return response

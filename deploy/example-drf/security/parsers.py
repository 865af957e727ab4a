"""JSON from outside: capped in size and in depth."""

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

from .audit import suspicious
from .refusals import BodyTooLong


class _Capped:
    """A stream that gives no more than the cap: Django's own cap does not see what is streamed, and
    Content-Length may be missing or wrong."""

    def __init__(self, stream):
        self._stream, self._left = stream, settings.DATA_UPLOAD_MAX_MEMORY_SIZE

    def read(self, size=-1):
        data = self._stream.read(self._left + 1 if size is None or size < 0
                                 else min(size, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise BodyTooLong()
        return data


class BoundedJSONParser(JSONParser):
    """Refuses a body that is too long or nested too deeply."""

    def parse(self, stream, media_type=None, parser_context=None):
        request = (parser_context or {}).get("request")
        try:
            data = super().parse(_Capped(stream), media_type, parser_context)
        except BodyTooLong:
            suspicious(request, "body_too_long")
            raise
        except RecursionError:
            data = None
        if data is None or depth(data) > settings.JSON_DEPTH_MAX:
            suspicious(request, "body_too_deep")
            raise ParseError("The body is nested too deeply.", "body_too_deep")
        return data


def depth(value):
    """How deeply lists and objects are nested; walks without recursion."""
    deepest, rest = 0, [(value, 1)]
    while rest:
        value, level = rest.pop()
        if isinstance(value, (dict, list)):
            deepest = max(deepest, level)
            children = value.values() if isinstance(value, dict) else value
            rest.extend((child, level + 1) for child in children)
    return deepest

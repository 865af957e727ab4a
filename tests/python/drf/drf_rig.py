"""Views, requests and users of these tests."""

import itertools

from rest_framework.response import Response
from rest_framework.test import APIRequestFactory, force_authenticate
from rest_framework.views import APIView

factory = APIRequestFactory()
_numbers = itertools.count(1)


class Nobody:
    """Who is not logged in."""

    pk = None
    is_authenticated = False


class User:
    """Who is; every one is another unless a key is given."""

    is_authenticated = True

    def __init__(self, pk=None, **more):
        self.pk = next(_numbers) if pk is None else pk
        self.__dict__.update(more)


def view_class(*throttles, **members):
    """An APIView with these throttles, that answers GET and POST."""
    def handler(self, request, *args, **kwargs):
        return Response({"hello": "world"})
    return type("View", (APIView,), {"throttle_classes": list(throttles), "get": handler,
                                     "post": handler, **members})


def call(view, user=None, *, address="192.0.2.1", method="get", data=None, **meta):
    """One request to a view (a class of view_class, or a function); the response, rendered."""
    view = getattr(view, "as_view", lambda: view)()
    request = getattr(factory, method)("/", data, format="json", REMOTE_ADDR=address, **meta)
    if user is not None:
        force_authenticate(request, user)
    response = view(request)
    response.request_seen = request
    if hasattr(response, "render"):
        response.render()
    return response


def codes(view, count, *args, **named):
    """The status codes of so many requests."""
    return [call(view, *args, **named).status_code for _ in range(count)]

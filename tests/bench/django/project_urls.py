"""The views of the project: one address for each throttle, and the token views."""

import os
import pathlib
import time

from django.http import HttpResponse
from django.urls import path
from rest_framework import throttling
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

import pawl.drf
from pawl.simplejwt import authentication, views

LOG = pathlib.Path(os.environ["FLEET_DIR"])


def watch_work(get_response):
    """Note what each request of this worker took, in microseconds, and what it was answered."""
    file = open(LOG / f"worker.{os.getpid()}", "a", buffering=1)
    owner = os.getpid()

    def middleware(request):
        nonlocal file, owner
        if owner != os.getpid():  # loaded before the fork (--preload)
            file, owner = open(LOG / f"worker.{os.getpid()}", "a", buffering=1), os.getpid()
        begun = time.monotonic_ns()
        response = get_response(request)
        file.write(f"{(time.monotonic_ns() - begun) // 1000} {response.status_code} "
                   f"{request.path}\n")
        return response
    return middleware


class StockThrottle(throttling.AnonRateThrottle):
    pass


class PawlThrottle(pawl.drf.AnonRateThrottle):
    pass


def throttled(name, base):
    """A view with one throttle of the scope @name."""
    throttle = type(name.title(), (base,), {"scope": name})

    class View(APIView):
        throttle_classes = [throttle]

        def get(self, request):
            return Response({"scope": name, "worker": os.getpid()})
    return View.as_view()


class Me(APIView):
    authentication_classes = [authentication.JWTStatelessUserAuthentication]
    permission_classes = [IsAuthenticated]

    def get(self, request):
        return Response({"user": request.user.id, "worker": os.getpid()})


urlpatterns = [
    path("plain/", lambda request: HttpResponse(str(os.getpid()))),
    *(path(f"{name}/", throttled(name, StockThrottle)) for name in ("stock100", "stock1000")),
    *(path(f"{name}/", throttled(name, PawlThrottle))
      for name in ("pawl100", "pawl1000", "open", "closed")),
    path("token/", views.TokenObtainPairView.as_view()),
    path("token/refresh/", views.TokenRefreshView.as_view()),
    path("logout/", views.LogoutView.as_view()),
    path("me/", Me.as_view()),
]

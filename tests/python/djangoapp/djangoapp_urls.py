"""The routes of the project of these tests."""

from django.http import HttpResponse, JsonResponse
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.views import View
from rest_framework.decorators import api_view
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.response import Response
from rest_framework.throttling import AnonRateThrottle, ScopedRateThrottle
from rest_framework.views import APIView

import pawl.drf
from pawl import errors
from pawl.django.decorators import UNSAFE, ratelimit
from pawl.django.logins import TooManyAttempts


def plain(request):
    return HttpResponse("ok")


@ratelimit("2/minute", scope="limited")
def limited(request):
    return HttpResponse("ok")


@ratelimit("2/minute, 10/hour", key="user_or_ip", scope="several")
def several(request):
    return HttpResponse("ok")


@ratelimit("1/minute", key="post:name", method="POST", scope="sign")
def signed(request):
    return HttpResponse("ok")


@ratelimit("1/minute", scope="soft", block=False)
def soft(request):
    return JsonResponse({"limited": request.limited})


@ratelimit("1/minute", scope="unsafe", method=UNSAFE)
def unsafe(request):
    return HttpResponse("ok")


@ratelimit("0/s", scope="shut")
def shut(request):
    return HttpResponse("ok")


@ratelimit(lambda group, request: request.GET.get("rate"), scope="dynamic")
def dynamic(request):
    return HttpResponse("ok")


@ratelimit("5/minute", scope="costly", cost=lambda request: int(request.GET.get("cost", 1)))
def costly(request):
    return HttpResponse("ok")


@ratelimit("1/minute", scope="nap")
async def nap(request):
    return HttpResponse("ok")


@ratelimit("1/minute", key="user", scope="nap-user")
async def nap_user(request):
    return HttpResponse("ok")


class Method(View):
    @method_decorator(ratelimit("1/minute"))
    def get(self, request):
        return HttpResponse("ok")

    def post(self, request):
        return HttpResponse("ok")


@method_decorator(ratelimit("1/minute", scope="dispatched"), name="dispatch")
class Dispatched(View):
    def get(self, request):
        return HttpResponse("ok")


@ratelimit("1/minute")
class Whole(View):
    def get(self, request):
        return HttpResponse("ok")


@ratelimit("3/minute", scope="anon")
def shares_with_anon(request):
    return HttpResponse("ok")


def own_headers(request):
    return HttpResponse("ok", headers={"X-RateLimit-Limit": "mine"})


own_headers = ratelimit("2/minute", scope="own")(own_headers)


def denied(request, secret):
    return HttpResponse("no", status=403)


def unavailable(request):
    return HttpResponse("later", status=503)


def attempts(request):
    raise TooManyAttempts(33)


def broken(request):
    raise RuntimeError("a fault of the view")


@api_view(["GET", "POST"])
def framework(request):
    if request.method == "POST":
        raise ValidationError({"name": ["This field is required."]})
    kind = request.GET.get("kind")
    if kind == "unavailable":
        raise errors.Unavailable("no daemon took it", "connect")
    if kind == "denied":
        raise PermissionDenied()
    return Response({"ok": True})


class Throttled(APIView):
    throttle_classes = [AnonRateThrottle]


class Scoped(APIView):
    throttle_classes = [ScopedRateThrottle]
    throttle_scope = "burst"


class Ours(APIView):
    throttle_classes = [pawl.drf.AnonRateThrottle]

    def get(self, request):
        return Response({"ok": True})


class OursScoped(APIView):
    throttle_classes = [pawl.drf.ScopedRateThrottle]
    throttle_scope = ["burst", "user"]


urlpatterns = [
    path("ours/", Ours.as_view()), path("ours-scoped/", OursScoped.as_view()),
    path("throttled/", Throttled.as_view()), path("scoped/", Scoped.as_view()),
    path("plain/", plain), path("limited/", limited), path("several/", several),
    path("signed/", signed), path("soft/", soft), path("unsafe/", unsafe), path("shut/", shut),
    path("dynamic/", dynamic), path("costly/", costly), path("nap/", nap),
    path("nap-user/", nap_user), path("method/", Method.as_view()),
    path("dispatched/", Dispatched.as_view()), path("whole/", Whole.as_view()),
    path("shares/", shares_with_anon), path("own/", own_headers),
    path("denied/<str:secret>/", denied), path("unavailable/", unavailable),
    path("broken/", broken), path("attempts/", attempts), path("framework/", framework),
    path("nested/", include([path("limited/", limited)])),
]

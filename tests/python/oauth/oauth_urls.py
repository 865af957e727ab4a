from django.http import HttpResponse, JsonResponse
from django.urls import include, path
from rest_framework.decorators import api_view, authentication_classes, permission_classes
from rest_framework.permissions import AllowAny
from rest_framework.response import Response

from knox.views import LogoutView
from oauth_app.models import ApiTokenAuthentication
from pawl.oauth.decorators import protected_resource
from pawl.tokens import KnoxTokenAuthentication, TokenAuthentication, obtain_auth_token


@api_view()
def who(request):
    user = request.user
    return Response({"user": user.get_username() if user is not None else None,
                     "scope": request.auth.scope})


@api_view()
@permission_classes([AllowAny])
def anybody(request):
    return Response({})


@api_view()
@authentication_classes([TokenAuthentication])
def by_token(request):
    return Response({"user": request.user.get_username()})


@api_view()
@authentication_classes([ApiTokenAuthentication])
def by_opaque(request):
    return Response({"user": request.user.get_username()})


@api_view()
@authentication_classes([KnoxTokenAuthentication])
def by_knox(request):
    return Response({"user": request.user.get_username()})


class KnoxLogout(LogoutView):
    authentication_classes = (KnoxTokenAuthentication,)


@protected_resource()
def plain(request):
    return HttpResponse("in")


def ready(request):
    return JsonResponse({})


urlpatterns = [
    path("o/", include("pawl.oauth.urls")),
    path("stock/", include(("oauth2_provider.urls", "stock"))),
    path("who/", who), path("anybody/", anybody), path("plain/", plain), path("ready/", ready),
    path("token/", by_token), path("opaque/", by_opaque), path("knox/", by_knox),
    path("knox/logout/", KnoxLogout.as_view()), path("login/", obtain_auth_token),
]

"""The addresses of the test project: simplejwt's own views, ours, and pages that need a token."""

from django.contrib import admin
from django.urls import include, path
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt import views as stock
from rest_framework_simplejwt.authentication import JWTAuthentication as StockAuthentication

from pawl.simplejwt import views
from pawl.simplejwt.authentication import JWTAuthentication, JWTStatelessUserAuthentication
from pawl.simplejwt.serializers import TokenObtainPairSerializer


class NamedSerializer(TokenObtainPairSerializer):
    @classmethod
    def get_token(cls, user):
        token = super().get_token(user)
        token["name"] = user.username
        token["roles"] = ["reader", "writer"]
        return token


class NamedView(views.TokenObtainPairView):
    serializer_class = NamedSerializer


def page(authentication):
    class Page(APIView):
        authentication_classes = [authentication]
        permission_classes = [IsAuthenticated]

        def get(self, request):
            return Response({"user": str(request.user.pk)})
    return Page.as_view()


urlpatterns = [
    path("me/", page(JWTAuthentication)),
    path("me/stateless/", page(JWTStatelessUserAuthentication)),
    path("me/stock/", page(StockAuthentication)),
    path("token/named/", NamedView.as_view()),
    path("token/", include("pawl.simplejwt.urls")),
    path("token/blacklist/", views.token_blacklist),
    path("sliding/", views.token_obtain_sliding),
    path("sliding/refresh/", views.token_refresh_sliding),
    path("stock/token/", stock.token_obtain_pair),
    path("stock/token/refresh/", stock.token_refresh),
    path("stock/token/verify/", stock.token_verify),
    path("stock/token/blacklist/", stock.token_blacklist),
    path("admin/", admin.site.urls),
]

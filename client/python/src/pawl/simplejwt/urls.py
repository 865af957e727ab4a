"""``path("api/token/", include("pawl.simplejwt.urls"))``: obtain, refresh, verify, log out."""

from django.urls import path

from . import views

urlpatterns = [
    path("", views.token_obtain_pair, name="token_obtain_pair"),
    path("refresh/", views.token_refresh, name="token_refresh"),
    path("verify/", views.token_verify, name="token_verify"),
    path("logout/", views.log_out, name="token_logout"),
    path("logout-everywhere/", views.log_out_everywhere, name="token_logout_everywhere"),
]

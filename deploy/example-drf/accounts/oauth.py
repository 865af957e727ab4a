"""The OAuth2 endpoints that clients need: authorize, token, revoke, introspect, and a page where a
person sees and ends what was allowed. Registering applications is an operator's work, so the
toolkit's pages for that are left out."""

from django.urls import path
from oauth2_provider import views as toolkit
from pawl.django.decorators import ratelimit
from pawl.oauth import views

#: Guessing client secrets, and refreshing in a loop.
slowly = ratelimit("60/minute", key="ip", method="POST", scope="oauth")

urlpatterns = [
    path("authorize/", toolkit.AuthorizationView.as_view(), name="authorize"),
    path("token/", slowly(views.TokenView.as_view()), name="token"),
    path("revoke_token/", slowly(views.RevokeTokenView.as_view()), name="revoke-token"),
    path("introspect/", slowly(views.IntrospectTokenView.as_view()), name="introspect"),
    path("authorized_tokens/", toolkit.AuthorizedTokensListView.as_view(),
         name="authorized-token-list"),
    path("authorized_tokens/<pk>/delete/", toolkit.AuthorizedTokenDeleteView.as_view(),
         name="authorized-token-delete"),
]

"""``path("o/", include("pawl.oauth.urls"))`` in place of ``oauth2_provider.urls``: the same paths
and names, with our views where they differ."""

from typing import Any, List

from django.urls import path
from oauth2_provider.urls import app_name, urlpatterns as _theirs

from . import views

__all__ = ["app_name", "urlpatterns"]

_ours: List[Any] = [
    path("token/", views.TokenView.as_view(), name="token"),
    path("revoke_token/", views.RevokeTokenView.as_view(), name="revoke-token"),
    path("introspect/", views.IntrospectTokenView.as_view(), name="introspect"),
]
_names = {pattern.name for pattern in _ours}

urlpatterns = _ours + [pattern for pattern in _theirs if pattern.name not in _names]

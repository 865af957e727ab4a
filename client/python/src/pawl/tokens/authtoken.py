"""REST Framework's own ``authtoken``, revocable."""

from typing import Any

from rest_framework.authentication import TokenAuthentication as _Frameworks
from rest_framework.authtoken.views import ObtainAuthToken as _ObtainAuthToken
from rest_framework.response import Response

from pawl.django.verdicts import ServiceUnavailable

from .naming import check_opaque, is_revoked
from .revoking import quietly


class TokenAuthentication(_Frameworks):  # type: ignore[misc]  # no hints there
    """REST Framework's TokenAuthentication, which asks pawld after its table. 401 with the code
    ``token_revoked``; 503 where nobody can tell (ON_UNAVAILABLE["opaque"])."""

    def authenticate_credentials(self, key: str) -> Any:
        user, token = super().authenticate_credentials(key)
        # The row's key: a database that compares without regard to case finds other letters, too.
        check_opaque(str(token.key), subject=user.pk, issued=getattr(token, "created", None))
        return user, token


class ObtainAuthToken(_ObtainAuthToken):  # type: ignore[misc]
    """REST Framework's log-in view hands out the user's one token, be it revoked or not. This one
    puts a new one in its place."""

    def post(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        serializer = self.serializer_class(data=request.data, context={
            "request": request, "format": self.format_kwarg, "view": self})
        serializer.is_valid(raise_exception=True)
        return Response({"token": self._living(serializer.validated_data["user"]).key})

    @staticmethod
    def _living(user: Any) -> Any:
        from rest_framework.authtoken.models import Token

        token, created = Token.objects.get_or_create(user=user)
        if not is_revoked(token.key, subject=user.pk, issued=token.created):
            return token
        with quietly():
            token.delete()
        if created:
            # A log-out everywhere in this very second: a cutoff knows whole seconds, and cannot
            # tell this token from those before it.
            raise ServiceUnavailable(wait=1)
        return ObtainAuthToken._living(user)


obtain_auth_token = ObtainAuthToken.as_view()

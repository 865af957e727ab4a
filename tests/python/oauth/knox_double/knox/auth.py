from hmac import compare_digest

from django.utils import timezone
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, get_authorization_header

from .crypto import hash_token
from .models import AuthToken


class TokenAuthentication(BaseAuthentication):
    def authenticate(self, request):
        words = get_authorization_header(request).split()
        if len(words) != 2 or words[0].lower() != b"token":
            return None
        return self.authenticate_credentials(words[1])

    def authenticate_credentials(self, token):
        token = token.decode()
        for row in AuthToken.objects.filter(token_key=token[:15]).select_related("user"):
            if row.expiry is not None and row.expiry < timezone.now():
                row.delete()
                continue
            if compare_digest(hash_token(token), row.digest):
                if not row.user.is_active:
                    raise exceptions.AuthenticationFailed("User inactive or deleted.")
                return row.user, row
        raise exceptions.AuthenticationFailed("Invalid token.")

    def authenticate_header(self, request):
        return "Token"

"""``Authorization: Bearer ...`` for JWTs, OAuth2 access tokens and service tokens.

Each kind is told by its looks and asked of its own library, so that every refusal has one code:
token_malformed, token_not_valid, token_expired, token_revoked (401), unavailable (503).
"""

import pawl
from django.contrib.auth.models import AnonymousUser
from pawl.django import verdicts
from pawl.django.conf import settings as pawl_settings
from pawl.oauth import OAuth2Authentication
from pawl.simplejwt import JWTAuthentication
from pawl.tokens import OpaqueTokenAuthentication, check_opaque
from pawl.tokens.naming import digests, has_passed
from pawl.tokens.opaque import PREFIX
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed

from .models import ServiceToken

REALM = 'Bearer realm="api"'
TOKEN_MAX = 4096


class ClientUser(AnonymousUser):
    """A service that came with its own credentials (OAuth2 client credentials): nobody's account,
    so it has no roles and owns nothing; what it may do is in its scopes."""

    is_authenticated = True
    is_anonymous = False

    def __init__(self, client_id):
        self.pk = self.id = f"client:{client_id}"
        self.username = str(client_id)


class ServiceTokenAuthentication(OpaqueTokenAuthentication):
    """Tells unknown, expired and revoked tokens apart."""

    model = ServiceToken

    def authenticate_credentials(self, key):
        row = ServiceToken.objects.select_related("user").filter(digest__in=digests(key)).first()
        if row is None:
            check_opaque(digests(key)[0])  # its row went when it was revoked: pawld remembers
            raise AuthenticationFailed("This token is not known.", "token_not_valid")
        if has_passed(row.expires):
            raise AuthenticationFailed("This token is expired.", "token_expired")
        if not row.user.is_active:
            raise AuthenticationFailed("This account is closed.", "no_active_account")
        check_opaque(row.digest, subject=row.user.pk, issued=row.created)
        return row.user, row


class OAuthAuthentication(OAuth2Authentication):
    """Refuses what is not good, where the toolkit's goes on without a user."""

    def authenticate(self, request):
        found = super().authenticate(request)
        if found is None:
            # The row of a revoked token may be gone by now: pawld remembers.
            text = get_authorization_header(request).split()[1]
            verdicts.check(pawl.Token(issuer=pawl_settings.ISSUER, opaque=text), "oauth")
            told = (getattr(request, "oauth2_error", None) or {}).get("error_description", "")
            expired = "expired" in told.lower()
            raise AuthenticationFailed("This token is expired." if expired
                                       else "This token is not valid.",
                                       "token_expired" if expired else "token_not_valid")
        user, token = found
        if user is None:
            return ClientUser(token.application.client_id), token
        if not user.is_active:
            raise AuthenticationFailed("This account is closed.", "no_active_account")
        return user, token


class BearerAuthentication(BaseAuthentication):
    """The one class that views have."""

    def authenticate(self, request):
        words = get_authorization_header(request).split()
        if not words or words[0].lower() != b"bearer":
            return None
        try:
            return self._kind(words).authenticate(request)
        except AuthenticationFailed as refused:
            told = refused.detail  # simplejwt's has the code beside the text, others in it
            request._refused_token = str(told["code"] if isinstance(told, dict) else told.code)
            raise

    @staticmethod
    def _kind(words):
        if len(words) != 2 or len(words[1]) > TOKEN_MAX or not words[1].isascii():
            raise AuthenticationFailed("The header is malformed: Bearer, then a token.",
                                       "token_malformed")
        if words[1].startswith(PREFIX.encode()):
            return ServiceTokenAuthentication()
        return JWTAuthentication() if words[1].count(b".") == 2 else OAuthAuthentication()

    def authenticate_header(self, request):
        """RFC 6750 section 3: no error is told to who showed nothing."""
        code = getattr(request, "_refused_token", "")
        return f'{REALM}, error="invalid_token", error_description="{code}"' if code else REALM

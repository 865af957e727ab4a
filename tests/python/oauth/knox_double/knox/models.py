import secrets

from django.conf import settings
from django.db import models
from django.utils import timezone

from .crypto import hash_token


class AuthTokenManager(models.Manager):
    def create(self, user, expiry=None, **kwargs):
        token = secrets.token_hex(32)
        expiry = timezone.now() + expiry if expiry is not None else None
        row = super().create(token_key=token[:15], digest=hash_token(token), user=user,
                             expiry=expiry, **kwargs)
        return row, token


class AuthToken(models.Model):
    objects = AuthTokenManager()

    digest = models.CharField(max_length=128, primary_key=True)
    token_key = models.CharField(max_length=25, db_index=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, related_name="auth_token_set",
                             on_delete=models.CASCADE)
    created = models.DateTimeField(auto_now_add=True)
    expiry = models.DateTimeField(null=True, blank=True)


def get_token_model():
    return AuthToken

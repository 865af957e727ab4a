"""People, and the tokens of their services."""

import uuid

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from pawl.tokens import OpaqueTokenMixin
from security.fields import EncryptedField, digest


class User(AbstractUser):
    """Known by a UUID outside. Mail, phone and second factor are encrypted; the mail address is
    looked up by its digest."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = EncryptedField(blank=True)
    email_digest = models.CharField(max_length=64, null=True, unique=True, editable=False)
    phone = EncryptedField(blank=True)
    is_premium = models.BooleanField(default=False)
    totp_secret = EncryptedField(blank=True)
    totp_pending = EncryptedField(blank=True)  # made, and not yet confirmed with a code

    def save(self, *args, update_fields=None, **options):
        self.email_digest = email_digest(self.email)
        if update_fields is not None and "email" in update_fields:
            update_fields = {*update_fields, "email_digest"}
        super().save(*args, update_fields=update_fields, **options)

    @property
    def anonymous_id(self):
        """The same for one person for ever, and nobody's name: for statistics."""
        return digest("anonymous", str(self.id))[:16]

    @property
    def has_second_factor(self):
        return bool(self.totp_secret)

    @property
    def roles(self):
        return sorted(self.groups.values_list("name", flat=True))


def email_digest(address):
    """What an address is looked up by; None for none, of which there may be many."""
    return digest("email", address.strip().lower()) if address else None


class ServiceToken(OpaqueTokenMixin):
    """An opaque token of a script or service: several for each user, stored hashed, it expires, and
    it has the scopes that it was given. The token itself is shown once, when it is made."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE,
                             related_name="service_tokens")
    scope = models.CharField(max_length=200, default="read")

    class Meta:
        ordering = ["-created"]

"""Personal data at rest: encrypted with Fernet, masked for those who are not staff."""

import functools
import hashlib
import hmac

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models


@functools.lru_cache(maxsize=4)
def _made(keys):
    return MultiFernet([Fernet(key) for key in keys])


def _fernet():
    """Encrypts under the newest key, reads under each."""
    return _made(tuple(settings.FIELD_KEYS))


class EncryptedField(models.TextField):
    """Text that the database never sees. Cannot be searched: see :func:`digest`."""

    def get_prep_value(self, value):
        value = super().get_prep_value(value)
        return value if not value else _fernet().encrypt(value.encode()).decode()

    def from_db_value(self, value, expression, connection):
        if not value:
            return value
        try:
            return _fernet().decrypt(value.encode()).decode()
        except InvalidToken:
            raise ValueError("a personal field was encrypted under a key that is not in "
                             "EXAMPLE_FIELD_KEYS") from None


def digest(purpose, text):
    """A keyed hash to look a personal field up by, or to name somebody without naming them."""
    return hmac.new(settings.DIGEST_KEY.encode(), f"{purpose}:{text}".encode(),
                    hashlib.sha256).hexdigest()


def mask_email(text):
    name, at, host = text.partition("@")
    return f"{name[:1]}***{at}{host}" if at else ""


def mask_phone(text):
    return f"{text[:3]}***{text[-2:]}" if len(text) > 6 else ""

"""The keys that opaque tokens are derived and hashed under: ``TOKEN_KEYS``, else ``SECRET_KEY``."""

import functools
import hashlib
import hmac
from typing import Tuple, Union

from django.conf import settings as django_settings

from .conf import settings


@functools.lru_cache(maxsize=16)
def _derive(purpose: str, secrets: Tuple[bytes, ...]) -> Tuple[bytes, ...]:
    label = b"pawl." + purpose.encode()
    return tuple(hmac.new(secret, label, hashlib.sha256).digest() for secret in secrets)


def _octets(secret: Union[str, bytes]) -> bytes:
    return secret.encode() if isinstance(secret, str) else bytes(secret)


def token_keys(purpose: str) -> Tuple[bytes, ...]:
    """32 bytes for each secret, the one to make new tokens with in front; the others are for
    tokens from before it. Knowing the keys of one @purpose gives no other."""
    given = settings.TOKEN_KEYS
    if not given:
        # SECRET_KEY_FALLBACKS came with Django 4.1.
        given = [django_settings.SECRET_KEY, *getattr(django_settings, "SECRET_KEY_FALLBACKS", [])]
    return _derive(purpose, tuple(_octets(secret) for secret in given))

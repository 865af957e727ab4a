"""The texts of OAuth tokens, and what they say.

An opaque token has no claims, but whoever checks one has to know its family, so that killing the
family kills all its tokens at the price of one record. The family's id therefore stands in the
text itself::

    access    pwa_ base64url(sid 16 bytes, tag 32)                        68 characters
    refresh   pwr_ base64url(sid, generation 8, exp 8, seed 16, tag 32)  111 characters

Both tags are HMAC-SHA256 over (sid, generation, exp, seed) under a key of this project: that is
the secret in a token, 256 bits. A refresh token is believed only with its tag, so nobody who saw a
sid can make up an old generation of it. An access token's tag is not verified here: the text as a
whole is looked up, in the database or by introspection, and a changed sid is another text.

The seed is 16 random bytes, fresh for each refresh, which pawld keeps beside the family. Who asks
again within the grace gets generation, exp and seed of the one successor from pawld, and makes the
same texts from them: no raw token is stored for that, here or there. pawld knows a refresh token
by SHA-256 of its seed under a label, an access token by SHA-256 of its text.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import struct
import uuid
from typing import List, NamedTuple, Optional

from pawl.django.keys import token_keys

ACCESS = "pwa_"
REFRESH = "pwr_"
SEED_BYTES = 16
TEXT_MAX = 128  #: no token of ours is longer
_LABEL = b"pawl.oauth.refresh.v1:"
_BODY = struct.Struct(">16sQQ16s")
_TAG_BYTES = 32


class Place(NamedTuple):
    """Where in which family a refresh token is: all that its text depends on, but for the key."""

    sid: str
    generation: int
    exp_s: int
    seed: bytes

    def body(self) -> bytes:
        return _BODY.pack(uuid.UUID(self.sid).bytes, self.generation, self.exp_s, self.seed)


def new_seed() -> bytes:
    return secrets.token_bytes(SEED_BYTES)


def name_of(seed: bytes) -> bytes:
    """What pawld is given for a refresh token, in place of the text (which holds the family's id,
    and is not known before pawld has said it)."""
    return _LABEL + seed


def _tag(kind: bytes, body: bytes, key: bytes) -> bytes:
    return hmac.new(key, kind + body, hashlib.sha256).digest()


def _write(prefix: str, data: bytes) -> str:
    return prefix + base64.urlsafe_b64encode(data).decode().rstrip("=")


def _read(prefix: str, size: int, text: str) -> Optional[bytes]:
    """The bytes of a text, if it is the one canonical form of @size bytes."""
    if not text.startswith(prefix) or len(text) > TEXT_MAX:
        return None
    try:
        rest = text[len(prefix):]
        data = base64.urlsafe_b64decode(rest + "=" * (-len(rest) % 4))
    except (binascii.Error, ValueError):
        return None
    return data if len(data) == size and _write(prefix, data) == text else None


class Pair(NamedTuple):
    access: str
    refresh: str


def pairs(place: Place) -> List[Pair]:
    """The two tokens of a place, under the newest key first: make that one. The others are what
    another process, which has not the newest key in front yet, made of the same place."""
    body = place.body()
    return [Pair(_write(ACCESS, body[:16] + _tag(b"access", body, key)),
                 _write(REFRESH, body + _tag(b"refresh", body, key)))
            for key in token_keys("oauth")]


def fresh_access_text(sid: str) -> str:
    """An access token of the family that goes with no generation (refresh without rotation)."""
    return _write(ACCESS, uuid.UUID(sid).bytes + secrets.token_bytes(_TAG_BYTES))


def read_refresh(text: str) -> Optional[Place]:
    """What an authentic refresh token says; None: it is not ours, or somebody changed it."""
    data = _read(REFRESH, _BODY.size + _TAG_BYTES, text)
    if data is None:
        return None
    body, tag = data[:_BODY.size], data[_BODY.size:]
    if not any(hmac.compare_digest(_tag(b"refresh", body, key), tag)
               for key in token_keys("oauth")):
        return None
    sid, generation, exp_s, seed = _BODY.unpack(body)
    return Place(str(uuid.UUID(bytes=sid)), generation, exp_s, seed)


def refresh_prefix(place: Place) -> str:
    """What every refresh token of the family begins with: the first 15 bytes of its id."""
    return _write(REFRESH, uuid.UUID(place.sid).bytes[:15])


def family_of(text: str) -> str:
    """The family in a token's text, unverified: for texts that were found in the database or by
    introspection. "": it names none."""
    data = _read(ACCESS, 16 + _TAG_BYTES, text)
    if data is None:
        data = _read(REFRESH, _BODY.size + _TAG_BYTES, text)
    return str(uuid.UUID(bytes=data[:16])) if data is not None else ""

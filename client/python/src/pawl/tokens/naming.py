"""How pawld knows an opaque token, and asking and telling it about one.

Three hashes lie on the way. The client library sends SHA-256 of what it is given, never the thing.
pawld keeps that under a keyed hash in memory, and in its store. That is enough for tokens with 128
random bits or more, as REST Framework's, knox's, the OAuth toolkit's and ours have: nobody counts
through them. It has the merit that everybody makes the same name of the same token: another
service, ``pawlctl revoke opaque`` with the token on standard input, a gateway.

For keys that people chose, a SHA-256 on the wire or in a stolen store could be tried out from a
word list. ``PAWL["OPAQUE_HASH"] = "keyed"`` puts an HMAC under TOKEN_KEYS in front of it; then only
this project can name its tokens.
"""

import hashlib
import hmac
import time
from typing import Any, List, Optional, Union

from django.apps import apps

import pawl
from pawl.django import durable, events
from pawl.django.conf import get_client, settings
from pawl.django.keys import token_keys
from pawl.django.verdicts import ServiceUnavailable, TokenRefused, require_good

KIND = "opaque"  #: in ON_UNAVAILABLE and ON_STALE

Text = Union[str, bytes]


def _octets(text: Text) -> bytes:
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)


def digests(text: Text) -> List[str]:
    """For a column that tokens are found by: HMAC-SHA256 as hexadecimal, under the newest key and
    then under each older one. A stolen table gives no token, and no guess can be tried on it."""
    data = _octets(text)
    return [hmac.new(key, data, hashlib.sha256).hexdigest() for key in token_keys("opaque")]


def knox_digest(text: str) -> str:
    """The digest that django-rest-knox keeps of a token; "" where it is not installed."""
    if not apps.is_installed("knox"):
        return ""
    from knox.crypto import hash_token

    try:
        return str(hash_token(text))
    except (TypeError, ValueError):  # its tokens are hexadecimal
        return ""


def names(text: Text) -> List[bytes]:
    """What pawld is given for a token: one name, or under "keyed" one for each key."""
    if settings.OPAQUE_HASH == "keyed":
        return [bytes.fromhex(digest) for digest in digests(text)]
    return [_octets(text)]


def seconds_of(moment: Any) -> int:
    """Seconds since 1970 of a datetime or a number; 0 for None."""
    if moment is None:
        return 0
    return int(moment if isinstance(moment, (int, float)) else moment.timestamp())


def revoke_opaque(text: Text, exp: Any = None, *, reason: str = "logout", actor: Any = "",
                  request: Any = None) -> None:
    """Revoke one opaque token, on every server.

    @exp     when it ends by itself (datetime, or seconds since 1970); None: never, or not known.
             pawld keeps the revocation until then, and no longer than its ``tokens.max_lifetime``
             (30 days): what lives longer has to be deleted where it is looked up, as well.
    @reason  "logout", "compromised", "admin", "account_disabled", ...

    Safe to repeat. Raises ServiceUnavailable where pawld did not acknowledge it.
    """
    for name in names(text):
        durable.revoke("opaque", name, reason=reason, exp_s=seconds_of(exp), actor=actor,
                       request=request, sender=revoke_opaque)


def check_opaque(text: Text, *, subject: Any = "", issued: Any = None, client: str = "",
                 request: Any = None) -> None:
    """Return if an opaque token, found and not expired, was not revoked either.

    @subject  the user's key, @issued when (datetime, or seconds since 1970): for log-out
              everywhere, which hits all tokens of a user from before it.

    Raises TokenRefused (401, code ``token_revoked``), or ServiceUnavailable (503) where nobody can
    tell and ON_UNAVAILABLE["opaque"] is "closed".
    """
    for name in names(text):
        described = pawl.Token(issuer=settings.ISSUER, opaque=name, subject=str(subject),
                               client=client, iat_s=seconds_of(issued))
        answer = get_client().token_check(described)
        try:
            require_good(answer, KIND)
        except (TokenRefused, ServiceUnavailable):
            events.token_refused(request, KIND, answer.token.status, reason=answer.token.reason,
                                 subject=str(subject), scope=answer.token.scope)
            raise


def is_revoked(text: Text, *, subject: Any = "", issued: Any = None) -> Optional[bool]:
    """Whether pawld knows it to be revoked; None: it cannot tell."""
    verdicts = [get_client().token_check(pawl.Token(
        issuer=settings.ISSUER, opaque=name, subject=str(subject),
        iat_s=seconds_of(issued))).token.status for name in names(text)]
    if "revoked" in verdicts:
        return True
    return None if "undecided" in verdicts else False


def has_passed(moment: Any) -> bool:
    return moment is not None and seconds_of(moment) <= time.time()

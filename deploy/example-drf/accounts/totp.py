"""The second factor: time-based codes (RFC 6238), each accepted once, with few tries.

A code turns a log-in into one "with second factor" for ten minutes: a JWT's access token is
exchanged for one with the claim ``otp_at``, a browser's session remembers it. So it holds for the
log-in that showed the code and for no other of the same user, and ends with it.
"""

import base64
import io
import time

import pyotp
import qrcode
from django.conf import settings as django_settings
from pawl.django import verdicts
from pawl.django.conf import get_client, settings
from rest_framework.exceptions import APIException
from rest_framework_simplejwt.tokens import AccessToken
from security.fields import digest

CLAIM = "otp_at"
FRESH_S = 600
STEP_S = 30
ISSUER = "pawl example"


class SecondFactorNeeded(APIException):
    status_code = 403
    default_detail = "This wants a code of your second factor first."
    default_code = "second_factor_needed"


def provision(user):
    """A new secret: as text, as otpauth URI, as QR code (PNG, base64). The old one is in force
    until a code of the new one was shown."""
    secret = user.totp_pending = pyotp.random_base32()
    user.save(update_fields=["totp_pending"])
    uri = pyotp.TOTP(secret).provisioning_uri(name=user.username, issuer_name=ISSUER)
    picture = io.BytesIO()
    qrcode.make(uri).save(picture)
    return {"secret": secret, "uri": uri,
            "qr_png": base64.b64encode(picture.getvalue()).decode()}


def accept(user, code, now=None):
    """Whether @code is right now, or one step before or after, and is used for the first time.

    @now  seconds since 1970; None: now.

    "Once" is a limit of one in pawld for (user, secret, step), so it holds in all workers at the
    same moment. Raises ServiceUnavailable while no daemon answers: then no code is accepted. The
    first code of a new secret puts it in force.
    """
    for secret in filter(None, (user.totp_secret, user.totp_pending)):
        step = _step_of(secret, code, time.time() if now is None else now)
        if step is not None and _first_use(user, secret, step):
            if secret != user.totp_secret:
                user.totp_secret, user.totp_pending = secret, ""
                user.save(update_fields=["totp_secret", "totp_pending"])
            return True
    return False


def _step_of(secret, code, now):
    """The step around @now that @code belongs to; None: it is wrong."""
    totp, step = pyotp.TOTP(secret), int(now) // STEP_S
    right = [one for one in (step, step - 1, step + 1)
             if pyotp.utils.strings_equal(totp.generate_otp(one), code)]
    return right[0] if right else None


def _first_use(user, secret, step):
    # Five minutes outlive the three steps in which the code is right.
    limit = django_settings.ONE_TIME_LIMIT
    used = get_client().check(("totp", str(user.pk), digest("totp", secret)[:16], str(step)),
                              () if limit else "1/5m", limit=limit, on_error="closed",
                              deadline_ms=settings.DURABLE_DEADLINE_MS)
    if used.info.source != "daemon":
        raise verdicts.ServiceUnavailable()
    return used.allowed


def raise_level(request):
    """Remember that the log-in of @request has shown its factor. Returns the access token to go on
    with, or None where there is no JWT."""
    if not isinstance(request.auth, AccessToken):
        request._request.session[CLAIM] = int(time.time())
        return None
    token = type(request.auth)()
    kept = {name: value for name, value in request.auth.payload.items()
            if name not in ("exp", "iat", "jti")}
    token.payload.update(kept, **{CLAIM: int(time.time())})
    return str(token)


def shown_at(request):
    """When the log-in of @request has shown its factor, in seconds since 1970; 0: never."""
    if isinstance(request.auth, AccessToken):
        return int(request.auth.payload.get(CLAIM, 0))
    return int(request._request.session.get(CLAIM, 0)) if request.auth is None else 0


def require(request, always=True):
    """Raise SecondFactorNeeded unless the log-in has shown a code lately.

    @always  False: who has set up none may pass.
    """
    if not always and not request.user.has_second_factor:
        return
    if time.time() - shown_at(request) > FRESH_S:
        raise SecondFactorNeeded()

"""Browser sessions that end when the user logs out everywhere: each is a family in pawld, as a JWT
log-in is. One question to pawld for each request that brings a session; none for others."""

import time

import pawl
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.dispatch import receiver
from django.http import JsonResponse
from pawl.django import durable, verdicts
from pawl.django.conf import get_client
from security.errors import body

SID = "pawl_sid"


@receiver(user_logged_in, dispatch_uid="accounts.sessions")
def begin(sender, request, user, **_):
    """Open the family. ServiceUnavailable where pawld does not answer: then nobody is logged in."""
    session = getattr(request, "session", None)
    if session is None:
        return
    expires_s = int(time.time()) + settings.SESSION_COOKIE_AGE
    try:
        session[SID] = durable.insist(lambda deadline_ms: get_client().family_open(
            str(user.pk), expires_s, deadline_ms=deadline_ms)).sid
    except verdicts.ServiceUnavailable:
        session.flush()
        raise


@receiver(user_logged_out, dispatch_uid="accounts.sessions")
def end(sender, request, user, **_):
    sid = getattr(request, "session", {}).get(SID)
    if sid:
        durable.revoke("family", sid, reason="logout", request=request, sender=end)


class RevocableSessionMiddleware:
    """After AuthenticationMiddleware: a revoked session is none."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        sid, subject = request.session.get(SID), request.session.get(SESSION_KEY)
        if subject is not None:
            try:
                verdicts.check(pawl.Token(sid=sid or "", subject=str(subject)), "access")
            except verdicts.TokenRefused:
                request.session.flush()
                request.user = AnonymousUser()
            except verdicts.ServiceUnavailable as error:
                return _unavailable(request, error)
        return self.get_response(request)

    def process_exception(self, request, error):
        """A log-in or log-out that pawld did not take, outside of REST Framework."""
        if isinstance(error, verdicts.ServiceUnavailable):
            return _unavailable(request, error)
        return None


def _unavailable(request, error):
    response = JsonResponse(body(503, request), status=503)
    response["Retry-After"] = str(error.wait)
    return response

"""Signals of this app; connect as to any of Django's.

They are sent with ``send_robust``: what a receiver raises is logged and never reaches a request.
Receivers run in the thread, greenlet or task that noticed, so they should be short. ``request`` may
be None where something happened outside of one; ``sender`` is the class or function that noticed.

``limited(sender, request, scope, ident, rate, enforced)``
    A request was over a limit. *scope* and *ident* as the throttle knows them (a raw user key or
    address: mask it, see :func:`pawl.django.events.mask`, before it is stored); *rate* as text;
    *enforced* False where the refusal was only noted (``ENFORCE`` False, a limit in shadow mode).

``revoked(sender, scope, value_masked, reason, actor)``
    A revocation was acknowledged. *scope* is one of :data:`pawl._types.SCOPES`; *value_masked* the
    masked jti, subject, ...; *reason* and *actor* as they were sent.

``reuse_detected(sender, request, subject, sid)``
    A refresh token that had been superseded was presented again: somebody has a copy. Its family
    is dead already. *subject* is the user's key, *sid* the family.

``backend_error(sender, cause, text)``
    One request to pawld had no answer; *cause* is a word of :data:`pawl.errors.CAUSES`.

``backend_away(sender)`` and ``backend_back(sender)``
    The process stops asking (several requests in a row had no answer), and asks again. Once each
    per transition.
"""

from django.dispatch import Signal

limited = Signal()
revoked = Signal()
reuse_detected = Signal()
backend_error = Signal()
backend_away = Signal()
backend_back = Signal()

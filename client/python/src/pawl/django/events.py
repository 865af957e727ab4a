"""Security events: what a SIEM wants to know, as structured log records, identities masked.

Each goes to the logger ``PAWL["LOGGER"]`` (default "pawl.security") with two extra attributes,
``event`` (its name) and ``fields`` (a flat dict); :class:`JsonFormatter` writes one JSON object a
line. The names: login_succeeded, login_failed, logged_out, permission_denied, request_refused,
request_failed, throttled, token_refused, reuse_detected, revoked, backend_error, backend_away,
backend_back, repeats.

User names, addresses, subjects and token ids appear only as :func:`mask` makes them; raw tokens
and request paths (which may hold a reset link) never. The same event of the same identity is
logged once in ``LOG_REPEAT_S`` seconds; the others are counted, and the count is told as
``repeated`` in the next line of that kind, or in a line ``repeats`` if there is none. No function
here raises.
"""

import atexit
import functools
import logging
import os
import re
from typing import Any, Callable, Dict, Optional, Tuple, TypeVar, cast

from django.dispatch import Signal

from . import signals
from .conf import settings
from .records import JsonFormatter, Repeats, mask, tell_owed, write
from .requests import client_address, customer, plain_request

__all__ = ["JsonFormatter", "backend_error", "connect", "emit", "logged_out", "login_failed",
           "login_succeeded", "mask", "permission_denied", "request_failed", "request_refused",
           "reuse_detected", "revoked", "throttled", "token_refused", "transition", "was_logged"]

_own = logging.getLogger("pawl")
Event = TypeVar("Event", bound=Callable[..., None])


_repeats = Repeats()
os.register_at_fork(after_in_child=_repeats.reset)


# ---- records ------------------------------------------------------------------------------------

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def _context(request: Any) -> Dict[str, Any]:
    """What a record says of its request: method, route (never the path), masked address, id."""
    plain = plain_request(request)
    meta = getattr(plain, "META", None)
    if meta is None:
        return {}
    fields = {"method": str(plain.method or "")[:16]}
    match = getattr(plain, "resolver_match", None)
    if match is not None:
        fields["route"] = str(match.route)
    fields["address"] = mask(customer(client_address(plain)))
    request_id = str(getattr(plain, "request_id", "") or meta.get("HTTP_X_REQUEST_ID", ""))
    if _REQUEST_ID.fullmatch(request_id):
        fields["request_id"] = request_id
    return fields


def _said(request: Any) -> None:
    """Remember on the request that its end was logged: the middleware does not log it again."""
    if request is not None:
        try:
            plain_request(request)._pawl_logged = True
        except AttributeError:
            pass


def was_logged(request: Any) -> bool:
    """Whether an event of this request was logged, or counted, already."""
    return bool(getattr(plain_request(request), "_pawl_logged", False))


def emit(event: str, level: int, request: Any = None, about: Tuple[str, ...] = (),
         **fields: Any) -> None:
    """Log @event, or count it. @about: what makes it the same event again (masked). Empty and None
    fields are left out."""
    try:
        logger = logging.getLogger(settings.LOGGER)
        if not logger.isEnabledFor(level):
            return
        found: Optional[int] = 0
        if settings.LOG_REPEAT_S > 0 and about:
            found = _repeats.note((event, *about), settings.LOG_REPEAT_S)
            tell_owed(logger, _repeats.owed())
        if found is None:
            return
        record = {name: value for name, value in fields.items() if value not in (None, "")}
        if request is not None:
            record.update(_context(request))
        if found:
            record["repeated"] = found
        write(logger, event, level, record)
    except Exception:  # a log that cannot be written stops no request
        _own.exception("the event %s could not be logged", event)


def _at_exit() -> None:
    owed = _repeats.owed(everything=True)
    if owed:
        tell_owed(logging.getLogger(settings.LOGGER), owed)


atexit.register(_at_exit)


def _send(signal: Signal, sender: Any, **arguments: Any) -> None:
    for receiver, result in signal.send_robust(sender=sender, **arguments):
        if isinstance(result, Exception):
            _own.error("a receiver of a pawl signal raised: %r", receiver, exc_info=result)


def _quiet(event: Event) -> Event:
    """What goes wrong in telling of an event goes to the log "pawl", and no further."""
    @functools.wraps(event)
    def tell(*args: Any, **kwargs: Any) -> None:
        try:
            event(*args, **kwargs)
        except Exception:
            _own.exception("the event %s could not be told", event.__name__)
    return cast(Event, tell)


# ---- the events ---------------------------------------------------------------------------------


@_quiet
def throttled(request: Any, scope: str, ident: str, rate: str = "", *, enforced: bool = True,
              retry_after_s: Optional[int] = None, sender: Any = None) -> None:
    """A request was over the limit @scope; sends :data:`signals.limited`.

    @ident     who was counted, raw. @rate: as text, for people.
    @enforced  False: noted only, the request went on.
    """
    _send(signals.limited, sender, request=request, scope=scope, ident=ident, rate=rate,
          enforced=enforced)
    masked = mask(ident)
    emit("throttled", logging.WARNING if enforced else logging.INFO, request,
         (scope, masked, str(enforced)), scope=scope, ident=masked, rate=rate, enforced=enforced,
         retry_after_s=retry_after_s)
    _said(request)


@_quiet
def token_refused(request: Any, kind: str, status: str, *, reason: str = "", subject: Any = "",
                  jti: str = "", sid: str = "", scope: str = "") -> None:
    """A token was refused (401), or could not be decided (503).

    @kind    "access", "refresh", "opaque". @status: "revoked", "expired", "invalid", "undecided".
    @reason  of the revocation, or the detail of the rest; @scope: what was revoked.
    @subject, @jti, @sid  raw; an opaque token as its SHA-256, never the token.
    """
    level = logging.INFO if status == "expired" else logging.WARNING
    who = mask(subject or sid or jti)
    emit("token_refused", level, request, (kind, status, who), kind=kind, status=status,
         reason=reason, scope=scope, subject=mask(subject), jti=mask(jti), sid=mask(sid))
    _said(request)


@_quiet
def reuse_detected(request: Any, subject: Any, sid: str, *, sender: Any = None) -> None:
    """A superseded refresh token came back; sends :data:`signals.reuse_detected`."""
    _send(signals.reuse_detected, sender, request=request, subject=subject, sid=sid)
    masked = mask(sid)
    emit("reuse_detected", logging.ERROR, request, (masked,), subject=mask(subject), sid=masked)
    _said(request)


@_quiet
def revoked(scope: str, value: Any, *, reason: str = "", actor: Any = "", request: Any = None,
            sender: Any = None) -> None:
    """A revocation was acknowledged; sends :data:`signals.revoked`. @value: raw; @actor: who asked,
    masked in the log."""
    masked = mask(value)
    _send(signals.revoked, sender, scope=scope, value_masked=masked, reason=reason, actor=actor)
    emit("revoked", logging.INFO, request, (), scope=scope, value=masked, reason=reason,
         actor=mask(actor))


@_quiet
def permission_denied(request: Any) -> None:
    """403: who asked may not do this."""
    user = _user_key(request)
    emit("permission_denied", logging.WARNING, request, (user, _route(request)), user=user,
         status=403)
    _said(request)


@_quiet
def request_refused(request: Any, status: int) -> None:
    """Any other 4xx."""
    emit("request_refused", logging.INFO, request,
         (str(status), _route(request), mask(customer(client_address(request)))),
         user=_user_key(request), status=status)
    _said(request)


@_quiet
def request_failed(request: Any, status: int) -> None:
    """A 5xx."""
    emit("request_failed", logging.ERROR, request, (str(status), _route(request)),
         user=_user_key(request), status=status)
    _said(request)


@_quiet
def login_failed(request: Any, name: Any) -> None:
    """Somebody gave a wrong password, code or key. @name: the user name as given, raw."""
    address = mask(customer(client_address(request))) if request is not None else ""
    masked = mask(name)
    emit("login_failed", logging.WARNING, request, (masked, address), name=masked)


@_quiet
def login_succeeded(request: Any, user: Any) -> None:
    """A log-in, by session or token."""
    emit("login_succeeded", logging.INFO, request, (), user=mask(getattr(user, "pk", None)),
         name=mask(_name(user)))


@_quiet
def logged_out(request: Any, user: Any) -> None:
    """A log-out."""
    emit("logged_out", logging.INFO, request, (), user=mask(getattr(user, "pk", None)),
         name=mask(_name(user)))


@_quiet
def backend_error(cause: str, text: str = "", *, sender: Any = None) -> None:
    """One request to pawld had no answer; sends :data:`signals.backend_error`."""
    _send(signals.backend_error, sender, cause=cause, text=text)
    emit("backend_error", logging.WARNING, None, (cause,), cause=cause, text=text)


@_quiet
def transition(client: str, away: bool) -> None:
    """The clients' ``on_transition``: one line when the daemon is away, one when it is back.
    @client: "blocking" or "async"; a process that uses both hears of both."""
    if away:
        _send(signals.backend_away, None)
        emit("backend_away", logging.ERROR, client=client,
             text="pawld does not answer: policies apply")
    else:
        _send(signals.backend_back, None)
        emit("backend_back", logging.WARNING, client=client, text="pawld answers again")


# ---- hooks --------------------------------------------------------------------------------------


def _name(user: Any) -> Any:
    get = getattr(user, "get_username", None)
    return get() if get is not None else ""


def _route(request: Any) -> str:
    match = getattr(plain_request(request), "resolver_match", None)
    return str(match.route) if match is not None else ""


def _user_key(request: Any) -> str:
    """The masked key of the request's user, if it is known already: asks no database."""
    plain = plain_request(request)
    user = getattr(plain, "_cached_user", None) or plain.__dict__.get("user")
    if user is None or "_wrapped" in getattr(user, "__dict__", {}):  # Django's lazy object
        return ""
    return mask(user.pk) if getattr(user, "is_authenticated", False) else ""


def _on_login_failed(sender: Any, credentials: Dict[str, Any], request: Any = None,
                     **_: Any) -> None:
    name = next((credentials[key] for key in ("username", "email", *credentials)
                 if key in credentials and key != "password"), "")
    login_failed(request, name)


def _on_logged_in(sender: Any, request: Any, user: Any, **_: Any) -> None:
    login_succeeded(request, user)


def _on_logged_out(sender: Any, request: Any, user: Any, **_: Any) -> None:
    if user is not None:
        logged_out(request, user)


def connect() -> None:
    """Hook to the log-in signals of django.contrib.auth. The app calls it; twice is once."""
    from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed

    user_logged_in.connect(_on_logged_in, dispatch_uid="pawl.django.events")
    user_logged_out.connect(_on_logged_out, dispatch_uid="pawl.django.events")
    user_login_failed.connect(_on_login_failed, dispatch_uid="pawl.django.events")

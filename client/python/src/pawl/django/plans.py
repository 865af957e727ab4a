"""What a limit of a plain view is made of: who is counted, how fast, and the asking.

:mod:`pawl.django.decorators` is the way in.
"""

import functools
import inspect
import json
from typing import Any, Callable, Dict, NamedTuple, Optional, Set, Tuple, Union

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.http import RawPostDataException
from django.utils.module_loading import import_string

import pawl
from pawl._types import Rate

from . import throttling
from .conf import settings
from .requests import plain_request

#: Every method counts.
ALL = "ALL"
#: What changes something.
UNSAFE = ("DELETE", "PATCH", "POST", "PUT")

KeyFunction = Callable[[str, Any], Any]
RateGiven = Union[str, Rate, Tuple[int, int], Callable[[str, Any], Any], None]
View = Callable[..., Any]


# ---- who is counted -----------------------------------------------------------------------------


def _user(group: str, request: Any) -> str:
    """Anonymous callers are counted together: leaving them out would be a way round."""
    user = getattr(request, "user", None)
    return str(user.pk) if user is not None and user.is_authenticated else "anonymous"


def _ip(group: str, request: Any) -> str:
    return throttling.client_ident(request)


def _user_or_ip(group: str, request: Any) -> str:
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        return str(user.pk)
    return throttling.client_ident(request)


def _field(kind: str, name: str) -> KeyFunction:
    """A value that the caller writes. The ident says where from, so that nobody can write another
    caller's address or number into it. Who leaves it out is counted by address: strangers without
    one shall not use up each other's limit."""
    def find(group: str, request: Any) -> str:
        plain = plain_request(request)
        values = {"header": lambda: plain.headers, "get": lambda: plain.GET,
                  "post": lambda: _body(request)}[kind]()
        value = values.get(name)
        if value in (None, ""):
            return f"no {kind}:{name}:{throttling.client_ident(request)}"
        return f"{kind}:{name}:{value}"
    return find


def _body(request: Any) -> Any:
    """The fields of a form, or of a JSON object."""
    plain = plain_request(request)
    if plain is not request:  # REST Framework's request has read it
        data = request.data
    elif plain.content_type == "application/json":
        try:
            data = json.loads(plain.body)
        except (ValueError, RecursionError, RawPostDataException):
            data = None
    else:
        data = plain.POST
    return data if hasattr(data, "get") else {}


_NAMED: Dict[str, KeyFunction] = {"ip": _ip, "user": _user, "user_or_ip": _user_or_ip}
#: Keys that may wait for a database: under asyncio they run in a thread.
_MAY_WAIT = (_user, _user_or_ip)


def _key_function(key: Any) -> KeyFunction:
    if callable(key):
        found: KeyFunction = key
        return found
    if not isinstance(key, str):
        raise ImproperlyConfigured(f"ratelimit: key {key!r} is neither text nor callable")
    if key in _NAMED:
        return _NAMED[key]
    kind, _, name = key.partition(":")
    if kind in ("get", "post", "header") and name:
        return _field(kind, name)
    if "." not in key:
        raise ImproperlyConfigured(
            f"ratelimit: key {key!r}: write 'ip', 'user', 'user_or_ip', 'get:x', 'post:x', "
            f"'header:x', or a callable (group, request) or its dotted path")
    try:
        imported: KeyFunction = import_string(key)
    except ImportError as error:
        raise ImproperlyConfigured(f"ratelimit: key {key!r}: {error}") from error
    return imported


# ---- how fast -----------------------------------------------------------------------------------


def _rates(rate: Any) -> Optional[Tuple[Rate, ...]]:
    """None: unlimited. Raises ImproperlyConfigured."""
    if rate is None:
        return None
    if isinstance(rate, Rate):
        return (rate,)
    try:
        if isinstance(rate, (tuple, list)):  # django-ratelimit's (count, seconds)
            count, seconds = rate
            return (Rate(int(count), int(seconds) * 1000),)
        return pawl.parse_rates(rate)
    except (TypeError, ValueError) as error:
        raise ImproperlyConfigured(f"ratelimit: {error}") from error


def _rate_function(rate: Any) -> Callable[[str, Any], Any]:
    if isinstance(rate, str) and "/" not in rate and "." in rate:
        rate = import_string(rate)
    if callable(rate) and not isinstance(rate, tuple):
        found: Callable[[str, Any], Any] = rate
        return found
    fixed = _rates(rate)
    return lambda group, request: fixed


# ---- the plan -----------------------------------------------------------------------------------


#: Scopes that are names of code, because a view named none: headers and bodies do not tell them.
UNNAMED: Set[str] = set()


class Plan(NamedTuple):
    """What a decorator was told."""

    group: Any
    key: KeyFunction
    rate: Callable[[str, Any], Any]
    methods: Tuple[str, ...]  #: (): all
    cost: Any
    limit: str
    tier: Any
    on_error: str

    def applies(self, request: Any) -> bool:
        method = (request.method or "").upper()
        # Django answers HEAD by doing what GET does.
        return not self.methods or method in self.methods or (
            method == "HEAD" and "GET" in self.methods)

    def scope(self, request: Any, view: Optional[View]) -> str:
        group = self.group(request) if callable(self.group) else self.group
        if group:
            return str(group)
        name = view_name(view)
        UNNAMED.add(name)
        return name


def make_plan(rate: RateGiven, key: Any, group: Any, method: Any, cost: Any, limit: str, tier: Any,
              on_error: str) -> Plan:
    """Raises ImproperlyConfigured for what can never work."""
    if on_error not in ("", "open", "closed", "local"):
        raise ImproperlyConfigured(f"ratelimit: on_error {on_error!r}: write open, closed, local")
    named = [method] if isinstance(method, str) else list(method or [ALL])
    methods = () if ALL in named or None in named else tuple(name.upper() for name in named)
    found = _unlimited if rate is None else _rate_function(rate)
    return Plan(group, _key_function(key), found, methods, cost, limit, tier, on_error)


def _unlimited(group: str, request: Any) -> None:
    return None


def view_name(view: Optional[View]) -> str:
    """The group of a view that names none: module and name."""
    if view is None:
        raise ImproperlyConfigured("ratelimit: name a group or scope")
    inner = inspect.unwrap(view)
    while isinstance(inner, functools.partial):
        inner = inner.func
    return f"{inner.__module__}.{getattr(inner, '__qualname__', type(inner).__name__)}"


def ask_of(plan: Plan, scope: str, request: Any, ident: Any) -> Optional[throttling.Ask]:
    """None: this request is not limited."""
    given = plan.rate(scope, request)
    rates = given if given is None or _is_parsed(given) else _rates(given)
    if rates is None and not plan.limit:
        return None
    cost = plan.cost(request) if callable(plan.cost) else plan.cost
    if cost < 1:
        return None
    text = str(ident)
    tier = plan.tier(request) if callable(plan.tier) else plan.tier
    # A limit of the daemon is the same for all who ask: it is counted by who it is alone.
    key = text if plan.limit else throttling.throttle_key(scope, text)
    return throttling.Ask(scope, key, rates or (), plan.limit, str(tier or ""), cost,
                          plan.on_error or settings.on_error(scope), ident=text)


def _is_parsed(given: Any) -> bool:
    return isinstance(given, tuple) and bool(given) and isinstance(given[0], Rate)


def is_closed(ask: throttling.Ask) -> bool:
    """ "0/s": nobody needs to be asked."""
    return any(rate.count == 0 for rate in ask.rates) and not ask.limit


def _closed(request: Any, ask: throttling.Ask, view: Any) -> throttling.Verdict:
    if throttling.is_exempt(request, view):
        return throttling.Verdict(True, 0)
    outcome = throttling.Outcome(ask, throttling.item_of(ask), False, (), "none")
    allowed = throttling.settle(request, outcome, view)
    return throttling.Verdict(allowed, 0 if allowed else throttling.wait_s(outcome), (outcome,))


def decide(plan: Plan, request: Any, view: View) -> throttling.Verdict:
    if not plan.applies(request):
        return throttling.Verdict(True, 0)
    scope = plan.scope(request, view)
    ask = ask_of(plan, scope, request, plan.key(scope, request))
    if ask is None:
        return throttling.Verdict(True, 0)
    if is_closed(ask):
        return _closed(request, ask, view)
    return throttling.check(request, [ask], view=view, sender=view)


async def ident_async(plan: Plan, scope: str, request: Any) -> Any:
    if plan.key in _MAY_WAIT and not hasattr(plain_request(request), "_cached_user"):
        return await sync_to_async(plan.key, thread_sensitive=True)(scope, request)
    ident = plan.key(scope, request)
    return await ident if inspect.isawaitable(ident) else ident


async def decide_async(plan: Plan, request: Any, view: View) -> throttling.Verdict:
    if not plan.applies(request):
        return throttling.Verdict(True, 0)
    scope = plan.scope(request, view)
    ask = ask_of(plan, scope, request, await ident_async(plan, scope, request))
    if ask is None:
        return throttling.Verdict(True, 0)
    if is_closed(ask):
        return _closed(request, ask, view)
    return await throttling.check_async(request, [ask], view=view, sender=view)

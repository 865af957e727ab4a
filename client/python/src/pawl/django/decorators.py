"""Rate limits for plain Django views, counting in the same records as REST Framework's throttles.

    @ratelimit("5/m", key="ip", method="POST", scope="login")
    def login(request): ...

Functions, methods (``method_decorator``), view classes; sync and async. A refusal is 429 with
Retry-After. The words are django-ratelimit's, so that most of its decorators only change their
import (and write ``rate`` and ``key`` by name).
"""

import functools
import inspect
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

try:
    from asgiref.sync import iscoroutinefunction
except ImportError:  # asgiref before 3.6
    from asyncio import iscoroutinefunction

import pawl
from pawl._types import Rate

from . import throttling
from .conf import settings
from .refusals import refuse
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
    caller's address or number into it."""
    def find(group: str, request: Any) -> str:
        plain = plain_request(request)
        if kind == "header":
            value = plain.META.get("HTTP_" + name.upper().replace("-", "_"), "")
        else:
            value = getattr(plain, kind.upper()).get(name, "")
        return f"{kind}:{name}:{value}"
    return find


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
        return not self.methods or (request.method or "").upper() in self.methods

    def scope(self, request: Any, view: Optional[View]) -> str:
        group = self.group(request) if callable(self.group) else self.group
        return str(group or view_name(view))


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


def _ask(plan: Plan, scope: str, request: Any, ident: Any) -> Optional[throttling.Ask]:
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
    return throttling.Ask(scope, throttling.throttle_key(scope, text), rates or (), plan.limit,
                          str(tier or ""), cost, plan.on_error or settings.on_error(scope),
                          ident=text)


def _is_parsed(given: Any) -> bool:
    return isinstance(given, tuple) and bool(given) and isinstance(given[0], Rate)


def _is_closed(ask: throttling.Ask) -> bool:
    """ "0/s": nobody needs to be asked."""
    return any(rate.count == 0 for rate in ask.rates) and not ask.limit


def _closed(request: Any, ask: throttling.Ask, view: Any) -> throttling.Verdict:
    if throttling.is_exempt(request, view):
        return throttling.Verdict(True, 0)
    outcome = throttling.Outcome(ask, throttling.item_of(ask), False, (), "none")
    allowed = throttling.settle(request, outcome, view)
    return throttling.Verdict(allowed, 0 if allowed else throttling.wait_s(outcome), (outcome,))


def _decide(plan: Plan, request: Any, view: View) -> throttling.Verdict:
    if not plan.applies(request):
        return throttling.Verdict(True, 0)
    scope = plan.scope(request, view)
    ask = _ask(plan, scope, request, plan.key(scope, request))
    if ask is None:
        return throttling.Verdict(True, 0)
    if _is_closed(ask):
        return _closed(request, ask, view)
    return throttling.check(request, [ask], view=view, sender=view)


async def _decide_async(plan: Plan, request: Any, view: View) -> throttling.Verdict:
    if not plan.applies(request):
        return throttling.Verdict(True, 0)
    scope = plan.scope(request, view)
    if plan.key in _MAY_WAIT and not hasattr(plain_request(request), "_cached_user"):
        ident = await sync_to_async(plan.key, thread_sensitive=True)(scope, request)
    else:
        ident = plan.key(scope, request)
        if inspect.isawaitable(ident):
            ident = await ident
    ask = _ask(plan, scope, request, ident)
    if ask is None:
        return throttling.Verdict(True, 0)
    if _is_closed(ask):
        return _closed(request, ask, view)
    return await throttling.check_async(request, [ask], view=view, sender=view)


# ---- the decorator ------------------------------------------------------------------------------


def ratelimit(rate: RateGiven = None, key: Any = "ip", *, group: Any = None, scope: Any = None,
              method: Union[str, Sequence[str], None] = ALL, block: bool = True, cost: Any = 1,
              limit: str = "", tier: Any = "", on_error: str = "",
              response: Optional[Callable[[Any, throttling.Verdict], Any]] = None) -> Any:
    """Limit a view.

    @rate    "5/m", "100/5m", "60/minute, 1000/day", (count, seconds), or a callable
             (group, request) that returns one. None: unlimited; "0/s": closed.
    @key     who is counted: "ip", "user" (anonymous callers together), "user_or_ip", "get:x",
             "post:x", "header:x", a callable (group, request), or its dotted path.
    @group, @scope  the same thing: the name that counts are kept under, that ON_ERROR goes by and
             that headers show; a throttle of REST Framework with this scope counts in the same
             records. Default: the view's module and name. May be a callable (request).
    @method  ALL, UNSAFE, a method or several: others pass uncounted.
    @block   False: the view runs, and finds ``request.limited`` True.
    @cost    how much a call takes, or a callable (request); below 1 it is not counted.
    @limit, @tier  a limit of the daemon's configuration, in place of a rate.
    @on_error  while no daemon answers: open, closed, local; default: ON_ERROR of the scope.
    @response  a callable (request, verdict) that makes the refusal; default
               :func:`pawl.django.refusals.refuse`.

    Raises ImproperlyConfigured where it stands, for what can never work; never because of the
    daemon. A rate callable that raises is the view's error.
    """
    if group is not None and scope is not None:
        raise ImproperlyConfigured("ratelimit: group and scope are the same thing: give one")
    plan = make_plan(rate, key, group if scope is None else scope, method, cost, limit, tier,
                     on_error)
    decorate = functools.partial(_decorate, plan, block, response or refuse)
    return functools.partial(_mark, decorate, Told(plan, rate, key))


class Told(NamedTuple):
    """What ``manage.py pawl_limits`` says of a decorated view, in its ``pawl_limits``."""

    plan: Plan
    rate: Any
    key: Any


def _mark(decorate: Any, told: Told, view: Any) -> Any:
    limited = decorate(view)
    try:
        limited.pawl_limits = [told, *getattr(view, "pawl_limits", ())]
    except AttributeError:  # what takes no attributes is only not listed
        pass
    return limited


def _decorate(plan: Plan, block: bool, response: Any, view: Any) -> Any:
    if inspect.isclass(view):
        return _decorate_class(plan, block, response, view)
    if _is_async(view):
        return _decorate_async(plan, block, response, view)

    @functools.wraps(view)
    def limited(request: Any, *args: Any, **kwargs: Any) -> Any:
        verdict = _decide(plan, request, view)
        _tell(request, verdict)
        if block and not verdict.allowed:
            return response(request, verdict)
        return view(request, *args, **kwargs)

    return limited


def _decorate_async(plan: Plan, block: bool, response: Any, view: Any) -> Any:
    @functools.wraps(view)
    async def limited(request: Any, *args: Any, **kwargs: Any) -> Any:
        verdict = await _decide_async(plan, request, view)
        _tell(request, verdict)
        if block and not verdict.allowed:
            return response(request, verdict)
        return await view(request, *args, **kwargs)

    return limited


def _decorate_class(plan: Plan, block: bool, response: Any, cls: Any) -> Any:
    """Limit a view class, at its dispatch."""
    dispatch = cls.dispatch

    @functools.wraps(dispatch)
    def limited(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        bound = functools.wraps(dispatch)(functools.partial(dispatch, self))
        return _decorate(named, block, response, bound)(request, *args, **kwargs)

    named = plan._replace(group=plan.group or f"{cls.__module__}.{cls.__qualname__}")
    cls.dispatch = limited
    return cls


def _tell(request: Any, verdict: throttling.Verdict) -> None:
    """django-ratelimit's habit: any decorator that refused leaves True."""
    plain = plain_request(request)
    plain.limited = getattr(plain, "limited", False) or not verdict.allowed


def _is_async(view: Any) -> bool:
    """A coroutine function, or the dispatch of a class whose handlers are."""
    if iscoroutinefunction(view):
        return True
    while isinstance(view, functools.partial):
        holder = view.args[0] if view.args else None
        if getattr(holder, "view_is_async", False) is True:
            return True
        view = view.func
    return getattr(getattr(view, "__self__", None), "view_is_async", False) is True


# ---- asking without a view ----------------------------------------------------------------------


def get_usage(request: Any, group: Any = None, fn: Optional[View] = None, key: Any = "ip",
              rate: RateGiven = None, method: Any = ALL, increment: bool = False, *,
              scope: Any = None, cost: Any = 1, limit: str = "",
              on_error: str = "") -> Optional[Dict[str, Any]]:
    """How much of a limit is used: count, limit, remaining, should_limit, time_left (seconds until
    a call fits; 0: now). Of several rates, the tightest. None: not limited.

    @increment  True: count this call, too. @fn: the view, in place of a group.
    """
    plan = make_plan(rate, key, group if scope is None else scope, method, cost, limit, "",
                     on_error)
    if not plan.applies(request) or throttling.is_exempt(request, fn):
        return None
    name = plan.scope(request, fn)
    ask = _ask(plan, name, request, plan.key(name, request))
    if ask is None:
        return None
    if _is_closed(ask):
        return {"count": 0, "limit": 0, "remaining": 0, "should_limit": True,
                "time_left": int(settings.RETRY_AFTER_S)}
    outcome: List[throttling.Outcome] = throttling.ask([ask], peek=not increment)
    return _usage(outcome[0])


def _usage(outcome: throttling.Outcome) -> Dict[str, Any]:
    row = outcome.tightest
    return {
        "count": row.count if row is not None else 0,
        "limit": row.limit if row is not None else 0,
        "remaining": row.remaining if row is not None else 0,
        "should_limit": not outcome.allowed,
        "time_left": 0 if outcome.allowed else throttling.wait_s(outcome),
    }


def is_ratelimited(request: Any, group: Any = None, fn: Optional[View] = None, key: Any = "ip",
                   rate: RateGiven = None, method: Any = ALL, increment: bool = False,
                   **more: Any) -> bool:
    """Whether a call would be refused; with @increment, whether this one is. See
    :func:`get_usage`."""
    usage = get_usage(request, group, fn, key, rate, method, increment, **more)
    limited = bool(usage and usage["should_limit"]) and bool(settings.ENFORCE)
    if increment:
        plain = plain_request(request)
        plain.limited = getattr(plain, "limited", False) or limited
    return limited


ratelimit.ALL = ALL  # type: ignore[attr-defined]  # django-ratelimit's spelling
ratelimit.UNSAFE = UNSAFE  # type: ignore[attr-defined]

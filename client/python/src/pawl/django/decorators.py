"""Rate limits for plain Django views, counting in the same records as REST Framework's throttles.

    @ratelimit("5/m", key="ip", method="POST", scope="login")
    def login(request): ...

Functions, methods (``method_decorator``), view classes; sync and async. A refusal is 429 with
Retry-After. The words are django-ratelimit's, so that most of its decorators only change their
import (and write ``rate`` and ``key`` by name).
"""

import functools
import inspect
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Union

from django.core.exceptions import ImproperlyConfigured

try:
    from asgiref.sync import iscoroutinefunction
except ImportError:  # asgiref before 3.6
    from asyncio import iscoroutinefunction

from . import throttling
from .conf import settings
from .plans import (ALL, UNNAMED, UNSAFE, Plan, RateGiven, View, ask_of, decide, decide_async,
                    ident_async, is_closed, make_plan)
from .refusals import refuse
from .requests import plain_request

__all__ = ["ALL", "UNSAFE", "aget_usage", "get_usage", "is_ratelimited", "ratelimit"]

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
    @limit, @tier  a limit of the daemon's configuration, in place of a rate (a rate beside it is
             what "local" counts against): counted by who it is, whatever the scope.
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
        verdict = decide(plan, request, view)
        _tell(request, verdict)
        if block and not verdict.allowed:
            return response(request, verdict)
        return view(request, *args, **kwargs)

    return limited


def _decorate_async(plan: Plan, block: bool, response: Any, view: Any) -> Any:
    @functools.wraps(view)
    async def limited(request: Any, *args: Any, **kwargs: Any) -> Any:
        verdict = await decide_async(plan, request, view)
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

    name = f"{cls.__module__}.{cls.__qualname__}"
    if not plan.group:
        UNNAMED.add(name)
    named = plan._replace(group=plan.group or name)
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
    ask = ask_of(plan, name, request, plan.key(name, request))
    if ask is None or is_closed(ask):
        return None if ask is None else _shut()
    return _usage(throttling.ask([ask], peek=not increment)[0])


def _usage(outcome: throttling.Outcome) -> Dict[str, Any]:
    row = outcome.tightest
    return {
        "count": row.count if row is not None else 0,
        "limit": row.limit if row is not None else 0,
        "remaining": row.remaining if row is not None else 0,
        "should_limit": not outcome.allowed,
        "time_left": 0 if outcome.allowed else throttling.wait_s(outcome),
    }


async def aget_usage(request: Any, group: Any = None, fn: Optional[View] = None, key: Any = "ip",
                     rate: RateGiven = None, method: Any = ALL, increment: bool = False, *,
                     scope: Any = None, cost: Any = 1, limit: str = "",
                     on_error: str = "") -> Optional[Dict[str, Any]]:
    """:func:`get_usage` for async views."""
    plan = make_plan(rate, key, group if scope is None else scope, method, cost, limit, "",
                     on_error)
    if not plan.applies(request) or throttling.is_exempt(request, fn):
        return None
    name = plan.scope(request, fn)
    ask = ask_of(plan, name, request, await ident_async(plan, name, request))
    if ask is None or is_closed(ask):
        return None if ask is None else _shut()
    return _usage((await throttling.ask_async([ask], peek=not increment))[0])


def _shut() -> Dict[str, Any]:
    return {"count": 0, "limit": 0, "remaining": 0, "should_limit": True,
            "time_left": int(settings.RETRY_AFTER_S)}


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

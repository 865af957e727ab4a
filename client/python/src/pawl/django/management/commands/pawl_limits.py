"""Which limit applies where: every route of the project."""

import inspect
from typing import Any, Dict, Iterator, List, Tuple

from django.urls import URLPattern, URLResolver, get_resolver

import pawl
from pawl import Rate
from pawl.django.management.base import PawlCommand, table
from pawl.django.management.keys import rate_of
from pawl.django.plans import view_name


class Command(PawlCommand):
    help = ("Every route, with its throttle classes or decorators, their scopes and rates. Asks no "
            "daemon.")

    def add_arguments(self, parser: Any) -> None:
        super().add_arguments(parser)
        parser.add_argument("--limited", action="store_true", help="only routes with a limit")
        parser.add_argument("--unlimited", action="store_true", help="only routes without one")

    def run(self, **options: Any) -> int:
        rows = [row for route, view in routes(get_resolver()) for row in limits_of(route, view)]
        if options["limited"]:
            rows = [row for row in rows if row["by"]]
        if options["unlimited"]:
            rows = [row for row in rows if not row["by"]]
        self.tell(options["json"], {"routes": rows}, table(rows))
        return 0


def routes(resolver: Any, prefix: str = "") -> Iterator[Tuple[str, Any]]:
    """Every route below @resolver, and its view."""
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, route)
        elif isinstance(pattern, URLPattern):
            yield route, pattern.callback


def _row(route: str, view: Any, by: str = "", scope: Any = "", rate: Any = "") -> Dict[str, Any]:
    return {"route": route, "view": view, "by": by, "scope": scope, "rate": rate}


def limits_of(route: str, view: Any) -> List[Dict[str, Any]]:
    """A row for each limit of @view, or one without."""
    cls = getattr(view, "cls", None) or getattr(view, "view_class", None)
    name = f"{cls.__module__}.{cls.__qualname__}" if cls is not None else view_name(view)
    told = list(getattr(view, "pawl_limits", ()))
    if cls is not None:
        told += [one for one in getattr(cls, "pawl_limits", ()) if one not in told]
        for method in ("dispatch", *getattr(cls, "http_method_names", ())):
            told += [one for one in getattr(getattr(cls, method, None), "pawl_limits", ())
                     if one not in told]
    rows = [_decorated(route, name, one) for one in told]
    rows += [_throttled(route, name, view, cls, throttle) for throttle in _classes(view, cls)]
    return rows or [_row(route, name)]


def _classes(view: Any, cls: Any) -> List[Any]:
    given = getattr(view, "initkwargs", {}).get("throttle_classes")
    if given is None:
        given = getattr(cls, "throttle_classes", ())
    return list(given or ())


def _throttled(route: str, name: str, view: Any, cls: Any, throttle: Any) -> Dict[str, Any]:
    by = f"{throttle.__module__}.{throttle.__qualname__}"
    attribute = getattr(throttle, "scope_attr", None)
    scope = getattr(throttle, "scope", None)
    if attribute and not scope:
        scope = getattr(view, "initkwargs", {}).get(attribute, getattr(cls, attribute, None))
    rate = getattr(throttle, "rate", None)
    if isinstance(rate, property) or inspect.isroutine(rate):
        rate = "(by request)"
    if not rate:
        scopes = scope if isinstance(scope, (list, tuple)) else [scope]
        rate = "; ".join(rate_of(one) for one in scopes if isinstance(one, str))
    if callable(scope):
        scope = "(by request)"
    limit = getattr(throttle, "limit", "")
    if isinstance(limit, str) and limit:
        rate = f"{rate} limit {limit}".strip()
    shown = ", ".join(map(str, scope)) if isinstance(scope, (list, tuple)) else str(scope or "")
    return _row(route, name, by, shown, rate or "")


def _decorated(route: str, name: str, told: Any) -> Dict[str, Any]:
    plan = told.plan
    rate = "(by request)" if callable(told.rate) else told.rate
    if isinstance(rate, Rate):
        rate = pawl.format_rate(rate)
    elif isinstance(rate, (tuple, list)):
        rate = f"{rate[0]}/{rate[1]}"
    if plan.limit:
        rate = f"{rate or ''} limit {plan.limit}".strip()
    scope = "(by request)" if callable(plan.group) else plan.group or name
    key = told.key if isinstance(told.key, str) else getattr(told.key, "__name__", "callable")
    methods = f" {','.join(plan.methods)}" if plan.methods else ""
    return _row(route, name, f"@ratelimit by {key}{methods}", scope, rate or "")

"""A scope and an ident on a command line: what pawl_show and pawl_reset are about."""

from typing import Any, Tuple

from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core.management.base import CommandParser

import pawl
from pawl._types import Item

from .. import throttling
from ..conf import settings
from ..logins import user_name
from ..requests import _parse, customer
from .base import USAGE, give_up


def add_key_arguments(parser: CommandParser) -> None:
    parser.add_argument("scope", help="of the throttle or decorator: anon, user, login, ...")
    parser.add_argument("ident", nargs="?", help="who: a user's key, an address, or what the key "
                        "function of a decorator returns (post:username:alice)")
    parser.add_argument("--user", help="a user name, in place of ident")
    parser.add_argument("--login", metavar="NAME", help="with scope failed_login: the attempts at "
                        "this user name")
    parser.add_argument("--login-address", metavar="ADDRESS", help="the same, from this address")
    parser.add_argument("--rate", help="default: that of the scope in DEFAULT_THROTTLE_RATES")
    parser.add_argument("--limit", default="", help="a limit of the daemon's configuration")
    parser.add_argument("--key", action="store_true", help="ident is the whole key of a class with "
                        "a get_cache_key of its own")


def user_of(name: str) -> Any:
    """The user of that name; ends the command if there is none."""
    model = get_user_model()
    try:
        return model._default_manager.get_by_natural_key(name)
    except model.DoesNotExist:
        give_up(f"no user {name!r}", USAGE)


def rate_of(scope: str) -> str:
    """The configured rate of a scope, or ""."""
    framework = getattr(django_settings, "REST_FRAMEWORK", None)
    rates = framework.get("DEFAULT_THROTTLE_RATES") if isinstance(framework, dict) else None
    rate = rates.get(scope) if isinstance(rates, dict) else None
    if not rate and scope == "failed_login":
        rate = settings.FAILED_LOGIN_RATE
    return str(rate or "")


def _ident(options: Any) -> str:
    """Who the options name, as throttles write it."""
    given = [name for name in ("ident", "user", "login", "login_address")
             if options[name] is not None]
    if len(given) != 1:
        give_up("say who: an ident, --user, --login or --login-address, one of them", USAGE)
    value = options[given[0]]
    if given[0] == "user":
        return str(user_of(value).pk)
    if given[0] == "login":
        return f"name:{user_name(value)}"
    if given[0] == "login_address":
        return f"address:{customer(value)}"
    is_address = _parse(value) is not None
    return customer(value) if is_address else str(value)


def item_of(options: Any) -> Tuple[Item, str]:
    """The item that the options name, and its key as text."""
    scope, ident = options["scope"], _ident(options)
    rate = options["rate"] or ("" if options["limit"] else rate_of(scope))
    if not rate and not options["limit"]:
        give_up(f"no rate for scope {scope!r} in DEFAULT_THROTTLE_RATES: add --rate, as the view "
                f"has it, or --limit", USAGE)
    whole = options["key"] or options["limit"]  # a named limit is counted by who it is alone
    key = ident if whole else throttling.throttle_key(scope, ident)
    ask = throttling.Ask(scope, key, pawl.parse_rates(rate) if rate else (), options["limit"])
    return throttling.item_of(ask), key

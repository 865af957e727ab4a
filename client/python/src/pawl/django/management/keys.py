"""A scope and an ident on a command line: what pawl_show and pawl_reset are about."""

from typing import Any, Tuple

from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core.management.base import CommandParser

import pawl
from pawl._types import Item

from .. import throttling
from ..conf import settings
from ..requests import customer
from .base import USAGE, give_up


def add_key_arguments(parser: CommandParser) -> None:
    parser.add_argument("scope", help="of the throttle or decorator: anon, user, login, ...")
    parser.add_argument("ident", nargs="?", help="who: a user's key, an address, or what the key "
                        "function of a decorator returns (post:username:alice)")
    parser.add_argument("--user", help="a user name, in place of ident")
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


def item_of(options: Any) -> Tuple[Item, str]:
    """The item that the options name, and its key as text."""
    scope, ident = options["scope"], options["ident"]
    if (ident is None) == (options["user"] is None):
        give_up("give an ident or --user, one of them", USAGE)
    if options["user"] is not None:
        ident = str(user_of(options["user"]).pk)
    rate = options["rate"] or ("" if options["limit"] else rate_of(scope))
    if not rate and not options["limit"]:
        give_up(f"no rate for scope {scope!r} in DEFAULT_THROTTLE_RATES: add --rate, as the view "
                f"has it, or --limit", USAGE)
    key = ident if options["key"] else throttling.throttle_key(scope, customer(ident))
    ask = throttling.Ask(scope, key, pawl.parse_rates(rate) if rate else (), options["limit"])
    return throttling.item_of(ask), key

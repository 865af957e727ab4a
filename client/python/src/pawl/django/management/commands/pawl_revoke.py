"""Revoke tokens, log-ins, or everything of somebody."""

import datetime
import getpass
import sys
from typing import Any, Dict, List, Tuple

from django.apps import apps
from django.conf import settings as django_settings
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_naive, make_aware

from pawl._types import LEVELS
from pawl.django import conf, events
from pawl.django.management.base import DEADLINE_MS, UNDECIDED, USAGE, PawlCommand, give_up
from pawl.django.management.keys import user_of

_TOKEN_BYTES_MAX = 8192
_DANGEROUS = {"client": "Every token of client {value!r} stops working.",
              "key": "Every token signed with key {value!r} stops working.",
              "namespace": "EVERY token of this namespace stops working: all users log in again."}


class Command(PawlCommand):
    help = ("Revoke, on every server, in milliseconds. Exit code 0: acknowledged at the level that "
            "was asked for; 3: at less, or no daemon took it.")

    def add_arguments(self, parser: Any) -> None:
        super().add_arguments(parser)
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--user", help="all tokens of this user name, until now")
        what.add_argument("--subject", help="the same, by the tokens' sub or user_id")
        what.add_argument("--jti", help="one token")
        what.add_argument("--sid", help="one log-in: its refresh tokens and their access tokens")
        what.add_argument("--client", help="all tokens of an OAuth client, until now")
        what.add_argument("--kid", help="all tokens signed with this key, until now")
        what.add_argument("--opaque", action="store_true",
                          help="an opaque token or API key, from standard input (never as an "
                          "argument: those can be seen by others)")
        what.add_argument("--everything", action="store_true",
                          help="all tokens of the namespace, until now")
        parser.add_argument("--before", help="only what was issued before this time (ISO 8601)")
        parser.add_argument("--exp", type=int, default=0, help="when the token expires, seconds "
                            "since 1970; default: not known, kept for the longest life")
        parser.add_argument("--reason", default="admin", help="logout, password_change, reuse, "
                            "admin, ...")
        parser.add_argument("--actor", default="", help="who asks; default: who runs this")
        parser.add_argument("--level", default="", choices=LEVELS,
                            help="of acknowledgement; default: what the daemon's store can")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def run(self, **options: Any) -> int:
        scope, value = _what(options)
        if scope in _DANGEROUS:
            word = "everything" if scope == "namespace" else str(value)
            self.confirm(word, _DANGEROUS[scope].format(value=value), options["yes"])
        actor = options["actor"] or _who()
        before_ms = _before_ms(options["before"], scope)
        answers = []
        for each, name in _names(value) if scope == "opaque" else [(scope, value)]:
            answers.append(conf.get_client().revoke(
                each, name, reason=options["reason"], issuer=conf.settings.ISSUER,
                before_ms=before_ms, exp_s=options["exp"], actor=actor, level=options["level"],
                deadline_ms=DEADLINE_MS))
            shown = name if each != "opaque" else ""
            events.revoked(each, shown, reason=options["reason"], actor=actor, sender=type(self))
        answer = min(answers, key=lambda one: LEVELS.index(one.acknowledged))
        short = LEVELS.index(answer.acknowledged) < LEVELS.index(answer.asked)
        data: Dict[str, Any] = {
            "scope": scope, "acknowledged": answer.acknowledged, "asked": answer.asked,
            "id": f"{answer.id.origin.hex()}:{answer.id.sequence}", "until": answer.until_s}
        text = f"revoked: {scope}, acknowledged at level {answer.acknowledged}"
        if short:
            text += f", which is LESS than {answer.asked}: ask again"
        self.tell(options["json"], data, [text, f"id {data['id']}"])
        return UNDECIDED if short else 0


def _what(options: Any) -> Tuple[str, Any]:
    """The scope and its value."""
    if options["user"] is not None:
        jwt = getattr(django_settings, "SIMPLE_JWT", None)
        field = jwt.get("USER_ID_FIELD", "id") if isinstance(jwt, dict) else "id"
        user = user_of(options["user"])
        return "subject", str(getattr(user, field, user.pk))
    if options["everything"]:
        return "namespace", ""
    if options["opaque"]:
        token = sys.stdin.buffer.read(_TOKEN_BYTES_MAX + 1).strip()
        if not 0 < len(token) <= _TOKEN_BYTES_MAX:
            give_up("no token on standard input, or one that is too long", USAGE)
        return "opaque", token
    for name, scope in (("subject", "subject"), ("jti", "token"), ("sid", "family"),
                        ("client", "client"), ("kid", "key")):
        if options[name] is not None:
            if not options[name]:
                give_up(f"--{name} is empty", USAGE)
            return scope, options[name]
    raise AssertionError("argparse wants one of them")


def _names(token: bytes) -> List[Tuple[str, Any]]:
    """All that pawld may know an opaque token by: its text, and what the apps that issue such
    tokens tell it (``pawl_names`` of their AppConfig: scopes and values)."""
    found: List[Tuple[str, Any]] = [("opaque", token)]
    for app in apps.get_app_configs():
        names = getattr(app, "pawl_names", None)
        found += names(token.decode("utf-8", "replace")) if names is not None else []
    return list(dict.fromkeys(found))


def _before_ms(text: Any, scope: str) -> int:
    if not text:
        return 0
    if scope in ("token", "family", "opaque"):
        give_up(f"--before does not go with a {scope}", USAGE)
    found = parse_datetime(text)
    if found is None:
        give_up(f"--before {text!r}: write 2026-01-31T12:00:00+00:00", USAGE)
    if is_naive(found):
        found = make_aware(found)
    return int((found - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc))
               / datetime.timedelta(milliseconds=1))


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without users
        return "manage.py"

"""The settings, ``PAWL = {...}``: one table, and the clients made from them.

All are optional: with ``PAWL_ADDR`` in the environment, or a pawld on this machine, no setting is
needed. A name that is not in the table is an error (and a system check says so).
"""

import functools
import ipaddress
import os
import threading
from typing import Any, Callable, Dict, NamedTuple, Tuple

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

import pawl


class Setting(NamedTuple):
    default: Any
    kinds: Tuple[type, ...]
    help: str
    words: Tuple[str, ...] = ()  #: the closed list, where there is one
    imported: bool = False  #: a dotted path is imported
    bounds: Tuple[int, int] = (0, 2**31 - 1)  #: of a number, both included


_TEXT, _FLAG, _NUMBER = (str,), (bool,), (int,)

TABLE: Dict[str, Setting] = {
    # ---- the daemon
    "ADDR": Setting("", (str, list, tuple), "addresses of pawld; empty: PAWL_ADDR of the "
                    "environment, else where a pawld without settings listens"),
    "NAMESPACE": Setting("", _TEXT, "the tenant; empty: the daemon's default"),
    "TLS": Setting({}, (dict,), "CA, CERTIFICATE, KEY (PEM files) and NAME, for tls: addresses"),
    "CREDENTIAL": Setting({}, (dict,), "ID and SECRET or FILE: the shared secret of this service"),
    "INSECURE": Setting(False, _FLAG, "send the credential in clear to another machine, too"),
    "DEADLINE_MS": Setting(20, _NUMBER, "of a check; what then happens is ON_ERROR",
                           bounds=(1, 60_000)),
    "DURABLE_DEADLINE_MS": Setting(1000, _NUMBER, "of revocations, rotations, log-ins",
                                   bounds=(1, 600_000)),
    "BACKEND": Setting("auto", _TEXT, "which client", ("auto", "native", "pure")),
    # ---- limits
    "ENABLED": Setting(True, _FLAG, "False: the kill switch; nothing is asked, all is allowed"),
    "ENFORCE": Setting(True, _FLAG, "False: log only; all is asked and counted, none is refused"),
    "MODE": Setting("compat", _TEXT, "several throttles of a view: each for itself, as Django REST "
                    "Framework does (compat), or all or none charged (atomic)",
                    ("compat", "atomic")),
    "ON_ERROR": Setting({"default": "local", "login": "closed", "failed_login": "closed",
                         "password_reset": "closed"}, (dict, str),
                        "by scope, what is done while no daemon answers: open, closed, local"),
    "EXPECTED_WORKERS": Setting(1, _NUMBER, "processes of the fleet: local counts against "
                                "limit / workers", bounds=(1, 100_000)),
    "PRECISION": Setting(64, _NUMBER, "events told apart in a window, 2 to 4096",
                         bounds=(2, 4096)),
    "KEY_PREFIX": Setting("", _TEXT, "in front of every key: projects that share a namespace"),
    "HASH_KEYS": Setting(False, _FLAG, "send keys as SHA-256, so that pawld never sees a name"),
    "TRUSTED_PROXIES": Setting(None, (int, list, tuple, type(None)),
                               "how many proxies of ours stand in front (counted from the right "
                               "of X-Forwarded-For), or their networks as CIDR; None: REST "
                               "Framework's NUM_PROXIES"),
    "IPV6_PREFIX": Setting(64, _NUMBER, "addresses of one customer, in bits of network",
                           bounds=(1, 128)),
    "IPV4_PREFIX": Setting(32, _NUMBER, "the same for IPv4", bounds=(1, 32)),
    "EXEMPT": Setting(None, (str, type(None)), "(request, view) -> bool: never limited; a callable "
                      "or its dotted path", imported=True),
    "RETRY_AFTER_S": Setting(5, _NUMBER, "Retry-After of a refusal whose time nobody knows",
                             bounds=(1, 86_400)),
    "FAILED_LOGIN_RATE": Setting("5/5m, 20/hour", _TEXT, "failed log-ins of a name and address"),
    # ---- headers
    "HEADERS": Setting("legacy", _TEXT, "X-RateLimit-* (legacy), RateLimit and RateLimit-Policy "
                       "(ietf), both, off", ("legacy", "ietf", "both", "off")),
    "HEADERS_RESET": Setting("epoch", _TEXT, "X-RateLimit-Reset as seconds since 1970 or until "
                             "then", ("epoch", "delta")),
    "HEADERS_EXPOSE": Setting(True, _FLAG, "name them in Access-Control-Expose-Headers"),
    "HEADERS_HIDE": Setting((), (list, tuple), "scopes that no header shows"),
    # ---- tokens
    "ISSUER": Setting("", _TEXT, "of our tokens in pawld; empty: the only one configured"),
    "ON_UNAVAILABLE": Setting({"access": "closed", "refresh": "closed", "opaque": "closed",
                               "oauth": "closed", "revoke": "closed"}, (dict,), "by token kind, "
                              "what is done while no daemon can tell: closed (503), open; revoke: "
                              "a password change that cannot revoke is refused (closed) or made"),
    "ON_STALE": Setting({"access": "accept", "refresh": "closed", "opaque": "accept",
                         "oauth": "accept"}, (dict,),
                        "by token kind, what is done when the daemon's data is older than its "
                        "bound: accept, closed (503)"),
    "ADOPT_BEFORE_S": Setting(0, _NUMBER, "refresh tokens from before pawl are adopted if issued "
                              "before this time (seconds since 1970); 0: never"),
    "REVOKE_ON": Setting(("blacklist", "password_change", "account_disabled", "account_deleted"),
                         (list, tuple), "what revokes by itself, see pawl.django.accounts"),
    "TOKEN_KEYS": Setting((), (list, tuple), "secrets that opaque tokens are derived and hashed "
                          "under, the newest first; empty: SECRET_KEY and SECRET_KEY_FALLBACKS"),
    "OPAQUE_HASH": Setting("sha256", _TEXT, "how pawld knows the tokens of pawl.tokens: by their "
                           "SHA-256, or by that of an HMAC under TOKEN_KEYS (keyed), for tokens "
                           "that people chose", ("sha256", "keyed")),
    "OAUTH_REFRESH_S": Setting(29 * 86400, _NUMBER, "how long an OAuth refresh token lives unused; "
                               "stay below tokens.max_lifetime of the daemon (30 days)"),
    # ---- what is logged
    "LOGGER": Setting("pawl.security", _TEXT, "the logger of security events"),
    "MASK_KEY": Setting("", _TEXT, "identities in the log are a keyed hash under this; empty: "
                        "SECRET_KEY"),
    "LOG_REPEAT_S": Setting(60, _NUMBER, "the same event of the same identity is logged once in so "
                            "many seconds, the others are counted; 0: each is logged"),
}

_WORDS_BY_KEY = {"ON_ERROR": ("open", "closed", "local"), "ON_UNAVAILABLE": ("closed", "open"),
                 "ON_STALE": ("accept", "closed"),
                 "REVOKE_ON": ("blacklist", "password_change", "account_disabled",
                               "account_deleted")}


def _networks_problem(value: Any) -> str:
    try:
        for text in value if isinstance(value, (list, tuple)) else ():
            ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        return f"{error}; write networks as '10.0.0.0/8'"
    return ""


def _rate_problem(value: Any) -> str:
    try:
        pawl.parse_rates(value)
    except ValueError as error:
        return str(error)
    return ""


def _keys_problem(*known: str) -> Callable[[Any], str]:
    def problem(value: Any) -> str:
        unknown = [str(key) for key in value if key not in known]
        return f"no key {unknown[0]!r}: write {', '.join(known)}" if unknown else ""
    return problem


#: What is looked at beyond the type.
_DEEPER: Dict[str, Callable[[Any], str]] = {
    "TRUSTED_PROXIES": _networks_problem, "FAILED_LOGIN_RATE": _rate_problem,
    "TLS": _keys_problem("CA", "CERTIFICATE", "KEY", "NAME"),
    "CREDENTIAL": _keys_problem("ID", "SECRET", "FILE"),
}


def _problem(name: str, value: Any) -> str:
    setting = TABLE.get(name)
    if setting is None:
        return f"PAWL has no setting {name!r}: {', '.join(sorted(TABLE))}"
    if setting.imported and callable(value):
        return ""
    if not isinstance(value, setting.kinds) or (isinstance(value, bool)
                                                and bool not in setting.kinds):
        kinds = " or ".join(kind.__name__ for kind in setting.kinds)
        return f"PAWL[{name!r}] has to be {kinds}, not {value!r}"
    if setting.words and value not in setting.words:
        return f"PAWL[{name!r}] is {value!r}: write {', '.join(setting.words)}"
    low, high = setting.bounds
    if isinstance(value, int) and not low <= value <= high:
        return f"PAWL[{name!r}] is {value}: it has to be from {low} to {high}"
    words = _WORDS_BY_KEY.get(name, ())
    several = value.values() if isinstance(value, dict) else (
        value if isinstance(value, (list, tuple)) else (value,))
    for word in several if words else ():
        if word not in words:
            return f"PAWL[{name!r}] says {word!r}: write {', '.join(words)}"
    text = _DEEPER[name](value) if name in _DEEPER else ""
    return f"PAWL[{name!r}]: {text}" if text else ""


def problems(given: Any) -> Dict[str, str]:
    """What is wrong with ``PAWL``, by the name of the setting. Empty: nothing."""
    if not isinstance(given, dict):
        return {"PAWL": f"PAWL has to be a dict, not {type(given).__name__}"}
    found = {name: _problem(name, value) for name, value in given.items()}
    return {name: text for name, text in found.items() if text}


def reference() -> str:
    """The table as Markdown, for the package's README."""
    lines = ["| setting | default | what it does |", "|---|---|---|"]
    for name, setting in TABLE.items():
        text = setting.help
        if setting.words:
            text += "; one of " + ", ".join(f"`{word}`" for word in setting.words)
        default = repr(setting.default).replace("|", "\\|").replace("'", '"')
        lines.append(f"| `{name}` | `{default}` | {text} |")
    return "\n".join(lines)


class Settings:
    """``settings.DEADLINE_MS`` and the other names of :data:`TABLE`. Reads Django's settings when
    first asked, and anew after ``override_settings``. Any thread."""

    def _read(self) -> Dict[str, Any]:
        given = getattr(django_settings, "PAWL", {})
        wrong = problems(given)
        if wrong:
            raise ImproperlyConfigured("; ".join(wrong.values()))
        values = {}
        for name, setting in TABLE.items():
            value = given.get(name, setting.default)
            if isinstance(setting.default, dict) and isinstance(value, dict):
                value = {**setting.default, **value}
            if setting.imported and isinstance(value, str):
                try:
                    value = import_string(value)
                except ImportError as error:
                    raise ImproperlyConfigured(f"PAWL[{name!r}]: {error}") from error
            values[name] = value
        return values

    def __getattr__(self, name: str) -> Any:
        # Asked only for what is not there: once read, the values are plain attributes.
        if name.startswith("_") or name not in TABLE:
            raise AttributeError(f"PAWL has no setting {name!r}")
        values = self._read()
        self.__dict__.update(values)
        return values[name]

    def on_error(self, scope: str) -> str:
        """The policy of a scope: "open", "closed", "local"."""
        policy = self.ON_ERROR
        if isinstance(policy, str):
            return policy
        return str(policy.get(scope) or policy["default"])

    def reload(self) -> None:
        for name in TABLE:
            self.__dict__.pop(name, None)


settings = Settings()

_clients: Dict[str, Any] = {}
_lock = threading.Lock()


def _on_transition(kind: str, away: bool) -> None:
    from . import events  # which read these settings

    events.transition(kind, away)


def client_options() -> Dict[str, Any]:
    """The arguments of :class:`pawl.Client` that the settings ask for."""
    tls, credential = settings.TLS, settings.CREDENTIAL
    return {
        "addresses": settings.ADDR, "namespace": settings.NAMESPACE, "name": "pawl-django",
        "check_deadline_ms": settings.DEADLINE_MS,
        "durable_deadline_ms": settings.DURABLE_DEADLINE_MS,
        "expected_workers": settings.EXPECTED_WORKERS, "insecure": settings.INSECURE,
        "backend": settings.BACKEND, "tls_ca": tls.get("CA", ""),
        "tls_certificate": tls.get("CERTIFICATE", ""), "tls_key": tls.get("KEY", ""),
        "tls_name": tls.get("NAME", ""), "credential_id": credential.get("ID", ""),
        "credential": credential.get("SECRET", ""), "credential_file": credential.get("FILE", ""),
    }


#: What makes a client of the options; tests put others in their place.
_makers: Dict[str, Callable[..., Any]] = {"blocking": pawl.Client, "async": pawl.AsyncClient}


def use(blocking: Callable[..., Any], asynchronous: Callable[..., Any]) -> Tuple[
        Callable[..., Any], Callable[..., Any]]:
    """Make clients by these from now on; returns what made them before. For tests, see
    :mod:`pawl.testing`."""
    before = _makers["blocking"], _makers["async"]
    _makers.update({"blocking": blocking, "async": asynchronous})
    reload()
    return before


def _get(kind: str) -> Any:
    client = _clients.get(kind)
    if client is None:
        with _lock:
            client = _clients.get(kind)
            if client is None:
                client = _clients[kind] = _makers[kind](
                    on_transition=functools.partial(_on_transition, kind), **client_options())
    return client


def get_client() -> pawl.Client:
    """The process's blocking client. Made when first asked; one for all threads."""
    client: pawl.Client = _get("blocking")
    return client


def get_async_client() -> pawl.AsyncClient:
    """The process's asyncio client."""
    client: pawl.AsyncClient = _get("async")
    return client


def _forked() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forked)


def reload(**_: Any) -> None:
    """Read the settings anew; the next call makes new clients."""
    settings.reload()
    with _lock:
        clients = list(_clients.values())
        _clients.clear()
    for client in clients:
        if isinstance(client, pawl.Client):
            client.close()


def _on_setting_changed(setting: str, **_: Any) -> None:
    if setting == "PAWL":
        reload()


setting_changed.connect(_on_setting_changed, dispatch_uid="pawl.django.conf")

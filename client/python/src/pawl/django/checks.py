"""System checks (``manage.py check``): what would go wrong later, said now, with what to do.

========  ====  ==================================================================================
id        when  what
========  ====  ==================================================================================
pawl.E001       a setting of PAWL is unknown or has a wrong value
pawl.E002       a rate of REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"], or of a throttle class, cannot
                be read
pawl.E003       PAWL["EXEMPT"] cannot be imported
pawl.E004       PAWL["BACKEND"] is "native" and the extension is not installed
pawl.W001       requests come through a proxy, and nothing says how many are ours
pawl.W002       the pure-Python client is in use
pawl.W003       a rate does not mean what it seems to: "10/month" is 10 a minute
pawl.W004       throttles of REST Framework itself are configured beside ours
pawl.W005       CorsMiddleware stands above ours, and overwrites which headers a browser may read
pawl.W006 deploy  nothing says whether a proxy is in front: X-Forwarded-For is believed
pawl.I001       simplejwt's blacklist app is installed, and pawl's token classes are not used
pawl.I002 deploy  "local" with EXPECTED_WORKERS 1: every worker would admit the whole limit
pawl.I003       PAWL["HEADERS"] is set, and no middleware writes headers
========  ====  ==================================================================================

None of them asks a daemon: ``manage.py pawl_status`` does.
"""

from typing import Any, Dict, Iterator, List, Tuple

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Info, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

import pawl
from pawl import _backend
from pawl._rates import trap

from . import conf

TAG = "pawl"
_MIDDLEWARE = "pawl.django.middleware.RateLimitHeadersMiddleware"
_CORS = "corsheaders.middleware.CorsMiddleware"
_STOCK = "rest_framework.throttling."


def _framework() -> Dict[str, Any]:
    found = getattr(django_settings, "REST_FRAMEWORK", None)
    return found if isinstance(found, dict) else {}


def _sound() -> bool:
    """Whether PAWL can be read; where not, pawl.E001 or E003 says so, and others are silent."""
    try:
        return bool(conf.settings.BACKEND)
    except ImproperlyConfigured:
        return False


@register(TAG)
def check_settings(app_configs: Any = None, **_: Any) -> List[CheckMessage]:
    given = getattr(django_settings, "PAWL", {})
    messages: List[CheckMessage] = [
        Error(text, hint="See the settings table in the README of the package pawl, or "
              "pawl/django/conf.py.", obj=f"PAWL[{name!r}]", id="pawl.E001")
        for name, text in conf.problems(given).items()]
    exempt = given.get("EXEMPT") if isinstance(given, dict) else None
    if isinstance(exempt, str):
        try:
            import_string(exempt)
        except ImportError as error:
            messages.append(Error(f"PAWL['EXEMPT'] cannot be imported: {error}",
                                  hint="Write the dotted path of a callable (request, view) -> "
                                  "bool.", id="pawl.E003"))
    return messages


def _rates() -> Iterator[Tuple[str, Any]]:
    """Every configured rate, and where it stands."""
    rates = _framework().get("DEFAULT_THROTTLE_RATES")
    if isinstance(rates, dict):
        for scope, rate in rates.items():
            yield f"REST_FRAMEWORK['DEFAULT_THROTTLE_RATES'][{scope!r}]", rate
    for path in _throttles():
        try:
            rate = getattr(import_string(path), "rate", None)
        except ImportError:  # REST Framework says that itself
            continue
        if rate is not None:
            yield f"{path}.rate", rate
    given = getattr(django_settings, "PAWL", {})
    if "FAILED_LOGIN_RATE" in given:
        yield "PAWL['FAILED_LOGIN_RATE']", given["FAILED_LOGIN_RATE"]


@register(TAG)
def check_rates(app_configs: Any = None, **_: Any) -> List[CheckMessage]:
    if not _sound():
        return []
    messages: List[CheckMessage] = []
    for place, rate in _rates():
        if rate is None or not isinstance(rate, (str, property)):
            if rate is not None and not callable(rate):
                messages.append(_bad_rate(place, f"{rate!r} is no text"))
            continue
        if isinstance(rate, property):
            continue
        try:
            pawl.parse_rates(rate)
        except ValueError as error:
            messages.append(_bad_rate(place, str(error)))
            continue
        said = trap(rate)
        if said:
            messages.append(Warning(f"{place}: {said}.", id="pawl.W003", hint="Only the first "
                                    "letter of the period counts. Write 's', 'm', 'h', 'd', 'w', "
                                    "or days for a month: '10/30d'."))
    return messages


def _bad_rate(place: str, text: str) -> CheckMessage:
    return Error(f"{place}: {text}.", id="pawl.E002",
                 hint="Write '100/minute', '100/5m', '60/minute, 1000/day', or None for no limit.")


def _throttles() -> List[str]:
    classes = _framework().get("DEFAULT_THROTTLE_CLASSES")
    return [path for path in classes or () if isinstance(path, str)]


@register(TAG)
def check_throttles(app_configs: Any = None, **_: Any) -> List[CheckMessage]:
    paths = _throttles()
    stock = [path for path in paths if path.startswith(_STOCK)]
    if not stock or not any(path.startswith("pawl.") for path in paths):
        return []
    return [Warning(f"REST_FRAMEWORK['DEFAULT_THROTTLE_CLASSES'] has {', '.join(stock)} beside "
                    f"those of pawl: they count for themselves, in the cache, and not exactly.",
                    hint="Write pawl.drf. in place of rest_framework.throttling. in every path.",
                    id="pawl.W004")]


@register(TAG)
def check_proxies(app_configs: Any = None, **_: Any) -> List[CheckMessage]:
    signs = [name for name in ("SECURE_PROXY_SSL_HEADER", "USE_X_FORWARDED_HOST",
                               "USE_X_FORWARDED_PORT") if getattr(django_settings, name, None)]
    if not signs or not _sound() or conf.settings.TRUSTED_PROXIES is not None:
        return []
    if _framework().get("NUM_PROXIES") is not None:
        return []
    return [Warning(f"{signs[0]} tells of a proxy in front, and neither PAWL['TRUSTED_PROXIES'] "
                    f"nor REST_FRAMEWORK['NUM_PROXIES'] is set: REST Framework's throttles then "
                    f"count by a header that the caller writes, or all callers are one address.",
                    hint="PAWL = {'TRUSTED_PROXIES': 1} for one proxy of yours, or the networks "
                    "that they are in.", id="pawl.W001")]


@register(TAG, deploy=True)
def check_forwarded(app_configs: Any = None, **_: Any) -> List[CheckMessage]:
    if not _sound() or conf.settings.TRUSTED_PROXIES is not None or check_proxies():
        return []
    if _framework().get("NUM_PROXIES") is not None:
        return []
    return [Warning("Neither PAWL['TRUSTED_PROXIES'] nor REST_FRAMEWORK['NUM_PROXIES'] is set: as "
                    "with REST Framework alone, X-Forwarded-For is believed, and who writes "
                    "another address into it in each request passes every limit by address, that "
                    "of failed log-ins too.",
                    hint="PAWL = {'TRUSTED_PROXIES': 0} where no proxy is in front, else how many, "
                    "or the networks that they are in.", id="pawl.W006")]


@register(TAG)
def check_backend(app_configs: Any = None, **_: Any) -> List[CheckMessage]:
    if not _sound():
        return []
    try:
        name, _class = _backend.handle_class(conf.settings.BACKEND)
    except (RuntimeError, ImportError) as error:
        return [Error(f"PAWL['BACKEND'] is {conf.settings.BACKEND!r}: {error}",
                      hint="Install the wheel of pawl for this platform, or write 'auto'.",
                      id="pawl.E004")]
    if name == "native":
        return []
    missing = _backend.native_missing
    why = f" ({missing})" if missing else ""
    return [Warning(f"pawl's pure-Python client is in use{why}: it is exact, but slower.",
                    hint="Install a wheel of pawl with the extension, or a compiler, the headers "
                    "of Python and libpawl-dev, and install pawl again.", id="pawl.W002")]


@register(TAG)
def check_blacklist(app_configs: Any = None, **_: Any) -> List[CheckMessage]:
    apps = django_settings.INSTALLED_APPS
    if "rest_framework_simplejwt.token_blacklist" not in apps:
        return []
    given = getattr(django_settings, "SIMPLE_JWT", {})
    classes = given.get("AUTH_TOKEN_CLASSES", ()) if isinstance(given, dict) else ()
    used = any(str(path).startswith("pawl.") for path in classes)
    if used or "pawl.simplejwt" in apps:
        return []
    return [Info("simplejwt's blacklist refuses refresh tokens only: a log-out leaves the access "
                 "token good until it expires.",
                 hint="SIMPLE_JWT = {'AUTH_TOKEN_CLASSES': ('pawl.simplejwt.AccessToken',)}, and "
                 "the views and classes of pawl.simplejwt.", id="pawl.I001")]


@register(TAG, deploy=True)
def check_workers(app_configs: Any = None, **_: Any) -> List[CheckMessage]:
    if not _sound() or conf.settings.EXPECTED_WORKERS > 1:
        return []
    policy = conf.settings.ON_ERROR
    if "local" not in (policy.values() if isinstance(policy, dict) else (policy,)):
        return []
    return [Info("PAWL['EXPECTED_WORKERS'] is 1: while no daemon answers, every worker of the "
                 "fleet would admit the whole limit by itself.",
                 hint="Write the number of processes of all servers together: limits are shared "
                 "out among them.", id="pawl.I002")]


@register(TAG)
def check_cors(app_configs: Any = None, **_: Any) -> List[CheckMessage]:
    middleware = list(django_settings.MIDDLEWARE or ())
    if not _sound() or not conf.settings.HEADERS_EXPOSE or _CORS not in middleware:
        return []
    if not getattr(django_settings, "CORS_EXPOSE_HEADERS", ()) or _MIDDLEWARE not in middleware:
        return []
    if middleware.index(_MIDDLEWARE) < middleware.index(_CORS):
        return []
    return [Warning("CorsMiddleware stands above RateLimitHeadersMiddleware: its "
                    "CORS_EXPOSE_HEADERS overwrite the rate headers that browsers may read.",
                    hint=f"Put '{_MIDDLEWARE}' above it in MIDDLEWARE.", id="pawl.W005")]


@register(TAG)
def check_headers(app_configs: Any = None, **_: Any) -> List[CheckMessage]:
    given = getattr(django_settings, "PAWL", {})
    if not _sound() or given.get("HEADERS", "off") == "off":
        return []
    if any(path == _MIDDLEWARE for path in django_settings.MIDDLEWARE or ()):
        return []
    return [Info(f"PAWL['HEADERS'] is {given['HEADERS']!r}, and no middleware writes headers.",
                 hint=f"Add '{_MIDDLEWARE}' to MIDDLEWARE, near the top.", id="pawl.I003")]

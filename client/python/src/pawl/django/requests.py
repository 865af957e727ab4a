"""Who asks: the address of a request's client, and which addresses are one customer.

Throttles, the decorator and the security log take it from here, so that they mean the same.
"""

import functools
import ipaddress
from typing import Any, Sequence, Tuple, Union

from django.conf import settings as django_settings

from .conf import settings

ADDRESS_CHARS_MAX = 80  #: an IPv6 address with zone, brackets and port

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


def plain_request(request: Any) -> Any:
    """Django's own request under REST Framework's, or the request itself."""
    return getattr(request, "_request", request)


@functools.lru_cache(maxsize=16)
def _networks(texts: Tuple[str, ...]) -> Tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def _parse(text: str) -> Any:
    """The address in @text, which may carry a port or brackets; None if it is none."""
    return _parse_short(text) if len(text) <= ADDRESS_CHARS_MAX else None


@functools.lru_cache(maxsize=4096)  # callers come again, and ipaddress takes 5 us each time
def _parse_short(text: str) -> Any:
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _behind(networks: Tuple[Network, ...], remote: str, forwarded: Sequence[str]) -> str:
    """Walk from our own proxies to the left, until an address that is none of them."""
    current = remote
    for text in reversed(forwarded):
        address = _parse(current)
        local = not current  # a Unix socket: what connects to it is ours
        if not local and (address is None or not any(address in network for network in networks
                                                     if network.version == address.version)):
            break
        if _parse(text) is None:  # what a stranger wrote: the last one that we trust counts
            break
        current = text
    return current


def _proxies() -> Any:
    """TRUSTED_PROXIES, else REST Framework's NUM_PROXIES."""
    trusted = settings.TRUSTED_PROXIES
    if trusted is None:
        framework = getattr(django_settings, "REST_FRAMEWORK", None)
        trusted = framework.get("NUM_PROXIES") if isinstance(framework, dict) else None
    return trusted


def client_address(request: Any) -> str:
    """The address of the client, as text: as far to the left in X-Forwarded-For as our own proxies
    wrote it. Without TRUSTED_PROXIES and NUM_PROXIES nothing that a caller can write is believed:
    it is REMOTE_ADDR. (REST Framework takes the whole header then; its throttles, and our drop-in
    ones, keep that.) "" when there is none (a Unix socket)."""
    meta = plain_request(request).META
    remote = str(meta.get("REMOTE_ADDR") or "")
    trusted = _proxies()
    if trusted is None or trusted == 0:
        return remote
    header = meta.get("HTTP_X_FORWARDED_FOR")
    if not header:
        return remote
    forwarded = [part.strip() for part in str(header).split(",")]
    if isinstance(trusted, int):
        return forwarded[-min(trusted, len(forwarded))]
    return _behind(_networks(tuple(trusted)), remote, forwarded)


def customer(address: str) -> str:
    """What counts as one client: an IPv6 address by its /64 (IPV6_PREFIX), IPv4 by IPV4_PREFIX
    (32: itself). Text that is no address comes back as it is, shortened to 64 characters."""
    parsed = _parse(address)
    if parsed is None:
        return address[:64]
    prefix = settings.IPV6_PREFIX if parsed.version == 6 else settings.IPV4_PREFIX
    if prefix >= parsed.max_prefixlen:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, prefix), strict=False))

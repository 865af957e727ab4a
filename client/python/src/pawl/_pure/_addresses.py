"""The address list: parsed once, looked up when the handle is made and on request, tried in order.

A place that failed comes last for a jittered, growing while; so does one that said goaway or fell
silent. They are tried all the same when nothing else is left: how often to ask a daemon that is
away is for the breaker of the process to say. One whose backlog was full is asked again a moment
later.

A round begins when a connection is wanted and ends when one answers, or when each place has been
tried once: then whoever waits is told so.
"""

import ipaddress
import os
import random
import re
import socket
from typing import Any, List, NamedTuple, Optional, Tuple

ADDRESSES_MAX = 8
PLACES_MAX = 16
PER_NAME_MAX = 4  # places taken from one name
PATH_MAX = 107  # bytes: sun_path of Linux less its zero
HOST_MAX = 253
NS_PER_MS = 1_000_000
BACKOFF_FIRST_MS = 10
BACKOFF_MAX_MS = 1000
GOAWAY_AVOID_NS = 1000 * NS_PER_MS
SILENT_AVOID_NS = 5000 * NS_PER_MS
BUSY_RETRY_NS = NS_PER_MS

OF_THE_MACHINE = "unix:/run/pawl/pawld.sock,tcp:127.0.0.1:7401"
_KINDS = "write unix:/path, unix:@name, tcp:host:port or tls:host:port"
_BRACKETED = re.compile(r"\[([0-9A-Za-z:.%_-]*)\](.*)", re.S)
_PLAIN = re.compile(r"([0-9A-Za-z._-]*)(.*)", re.S)


class Address(NamedTuple):
    """One of the list, as it was written."""

    kind: str  #: "unix", "tcp", "tls"
    text: str
    path: str = ""  #: of unix; "@name" has no file
    host: str = ""
    port: int = 0


class Place:
    """Somewhere to connect to."""

    def __init__(self, address: Address, family: int, where: Any) -> None:
        self.address = address
        self.family = family
        self.where = where
        self.tried = False  #: in this round
        self.backoff_ms = 0
        self.turned_away = 0  #: times in a row that a goaway was all that came
        self.busy_ns = 0  #: its backlog was full: not before
        self.avoid_ns = 0  #: the others first until then

    def failed(self, now_ns: int) -> None:
        """It did not answer: the others first for a while, a longer one each time."""
        self.tried = True
        self.backoff_ms = min(max(BACKOFF_FIRST_MS, 2 * self.backoff_ms), BACKOFF_MAX_MS)
        wait_ns = int(self.backoff_ms * NS_PER_MS * random.uniform(0.75, 1.25))
        self.avoid_ns = max(self.avoid_ns, now_ns + wait_ns)

    def may_be_told(self, insecure: bool) -> bool:
        """Whether a credential may go there: not in clear to another machine."""
        return self.address.kind != "tcp" or insecure or _is_loopback(str(self.where[0]))


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback


# ---- parsing -------------------------------------------------------------------------------------


def default_addresses() -> str:
    """Where a pawld without settings listens: for all but root its socket in the runtime
    directory, or without one in the state directory; then those of the machine."""
    runtime, state, home = (os.environ.get(name, "")
                            for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "HOME"))
    if runtime.startswith("/"):
        path = f"{runtime}/pawl/pawld.sock"
    elif state.startswith("/"):
        path = f"{state}/pawl/pawld.sock"
    else:
        path = f"{home}/.local/state/pawl/pawld.sock"
    # A path that no socket can have, or that the list could not hold, has no pawld.
    fits = path.startswith("/") and "," not in path and len(os.fsencode(path)) <= PATH_MAX
    return f"unix:{path},{OF_THE_MACHINE}" if fits and os.geteuid() != 0 else OF_THE_MACHINE


def parse(text: str) -> List[Address]:
    """The list; raises ValueError saying which address is wrong and what to write."""
    parts = text.split(",")
    if len(parts) > ADDRESSES_MAX:
        raise ValueError(f"addresses: at most {ADDRESSES_MAX}")
    found = []
    for index, part in enumerate(parts, 1):
        try:
            found.append(_parse_one(part))
        except ValueError as error:
            raise ValueError(f"address {index}: address \"{part[:80]}\": {error}") from None
    return found


def _parse_one(text: str) -> Address:
    if not text:
        raise ValueError(f"empty; {_KINDS}")
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
        raise ValueError(f"a control character; {_KINDS}")
    kind, _, rest = text.partition(":")
    if kind == "unix":
        return Address(kind, text, path=_parse_path(rest))
    if kind in ("tcp", "tls"):
        host, port = _parse_host(rest)
        return Address(kind, text, host=host, port=port)
    raise ValueError(f"unknown kind; {_KINDS}")


def _parse_path(path: str) -> str:
    if path in ("", "@"):
        raise ValueError("no name after \"@\"; write unix:@name" if path
                         else "no path; write unix:/run/pawl/pawld.sock")
    if len(os.fsencode(path[1:] if path.startswith("@") else path)) > PATH_MAX:
        raise ValueError(f"the path of a Unix socket has at most {PATH_MAX} bytes; choose a "
                         f"shorter one")
    return path


def _parse_host(text: str) -> Tuple[str, int]:
    in_brackets = text.startswith("[")
    match = (_BRACKETED if in_brackets else _PLAIN).match(text)
    if match is None:
        raise ValueError("what stands in brackets is no IPv6 number; write [::1]:7401")
    host, rest = match.groups()
    if in_brackets and host and ":" not in host:
        raise ValueError("brackets hold an IPv6 number; write [::1]:7401, or leave them out")
    if rest and not rest.startswith(":"):
        raise ValueError("the host holds a byte that no host name or number has")
    if not rest:
        raise ValueError("no port; write 127.0.0.1:7401 for host and port")
    if not host:
        raise ValueError("no host; write 127.0.0.1:7401")
    if not in_brackets and ":" in rest[1:]:
        raise ValueError("an IPv6 number stands in brackets; write [::1]:7401")
    if len(host) > HOST_MAX:
        raise ValueError(f"a host name has at most {HOST_MAX} bytes")
    if not re.fullmatch(r"[0-9]{1,5}", rest[1:]) or not 1 <= int(rest[1:]) <= 65535:
        raise ValueError("a client needs a port from 1 to 65535")
    return host, int(rest[1:])


# ---- looking up ----------------------------------------------------------------------------------


def _look_up(address: Address) -> List[Tuple[int, Any]]:
    """A number is taken as it is; only a name goes to the name server."""
    for flags in (socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                  socket.AI_ADDRCONFIG | socket.AI_NUMERICSERV):
        try:
            found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM,
                                       flags=flags)
            return [(one[0], one[4]) for one in found[:PER_NAME_MAX]]
        except (OSError, UnicodeError):  # UnicodeError: a label that IDNA refuses
            continue
    return []


def look_up(addresses: List[Address], before: List[Place]) -> List[Place]:
    """Places of all addresses; blocks on names. One that cannot be resolved keeps what it had."""
    places: List[Place] = []
    for address in addresses:
        if address.kind == "unix":
            is_abstract = address.path.startswith("@")
            where = b"\0" + os.fsencode(address.path[1:]) if is_abstract else address.path
            places.append(Place(address, socket.AF_UNIX, where))
            continue
        found = _look_up(address)
        old = [place for place in before if place.address == address]
        places += [Place(address, family, where) for family, where in found] if found else old
    return places[:PLACES_MAX]


# ---- choosing ------------------------------------------------------------------------------------


def next_place(places: List[Place], now_ns: int) -> Tuple[Optional[Place], int]:
    """The next to try in this round, or None; and when a busy one may be tried, or 0."""
    avoided: Optional[Place] = None
    busy_ns = 0
    for place in places:
        if place.tried:
            continue
        if place.busy_ns > now_ns:
            busy_ns = min(busy_ns or place.busy_ns, place.busy_ns)
        elif place.avoid_ns <= now_ns:
            return place, busy_ns
        elif avoided is None or place.avoid_ns < avoided.avoid_ns:
            avoided = place
    return avoided, busy_ns


def new_round(places: List[Place]) -> None:
    for place in places:
        place.tried = False

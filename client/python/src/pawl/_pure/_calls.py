"""The kinds of requests, as a table: how each is encoded, and what is made of its answer."""

from typing import Any, Callable, List, NamedTuple, Optional, Tuple, Type

from .._types import (CancelRequest, CheckRequest, CommitAnswer, CommitRequest, FamilyEndRequest,
                      FamilyOpenRequest, Info, LimitsAnswer, LimitsRequest, PingAnswer,
                      PingRequest, RefundAnswer, RefundRequest, ReserveRequest, ResetAnswer,
                      ResetRequest, RevokeAnswer, RevokeRequest, RotateRequest, StatsAnswer,
                      StatsRequest, TokenCheckRequest, UnrevokeAnswer, UnrevokeRequest)
from . import _answers, _requests
from . import _tables as tables
from ._connection import Connection, frame
from ._shapes import expect
from ._wire import sized, to_bytes, varint, write

NS_PER_MS = 1_000_000
ENVELOPE_BYTES = 17  # of a request's id and budget, at most
BUDGET_MAX = (1 << 32) - 1


class Kind(NamedTuple):
    """One kind of request."""

    body: int  #: its number in both envelopes
    request: Type[Any]
    quick: bool  #: has the deadline of checks
    writes: bool  #: changes something in the daemon
    encode: Callable[[Any], Tuple[bytes, str]]
    decode: Callable[[List[Any], str], Any]
    unanswered: Callable[[Info, str], Any]
    is_check: bool = False


def _plain(answer: Type[Any]) -> Callable[[Info, str], Any]:
    return lambda info, _: answer(info)


def _check_decoder(peek: bool, each: bool) -> Callable[[List[Any], str], Any]:
    return lambda values, _: _answers.check(values, peek, each)


def _check_kind(peek: bool, each: bool) -> Kind:
    return Kind(16, CheckRequest, True, not peek, _requests.check, _check_decoder(peek, each),
                _answers.no_check, True)


CHECK = {(peek, each): _check_kind(peek, each) for peek in (False, True) for each in (False, True)}
TOKEN_CHECK = Kind(17, TokenCheckRequest, True, False, _requests.token_check, _answers.token_check,
                   _answers.no_token_check)
REFUND = Kind(18, RefundRequest, True, True, _requests.refund, _answers.refund,
              _plain(RefundAnswer))
RESET = Kind(19, ResetRequest, False, True, _requests.reset, _answers.reset,
             _plain(ResetAnswer))
REVOKE = Kind(20, RevokeRequest, False, True, _requests.revoke, _answers.revoke,
              _plain(RevokeAnswer))
UNREVOKE = Kind(21, UnrevokeRequest, False, True, _requests.unrevoke, _answers.unrevoke,
                _plain(UnrevokeAnswer))
ROTATE = Kind(22, RotateRequest, False, True, _requests.rotate, _answers.rotate,
              _answers.no_rotate)
FAMILY_OPEN = Kind(23, FamilyOpenRequest, False, True, _requests.family_open, _answers.family_open,
                   _answers.no_family_open)
FAMILY_END = Kind(24, FamilyEndRequest, False, True, _requests.family_end, _answers.revoke,
                  _plain(RevokeAnswer))
STATS = Kind(27, StatsRequest, False, False, _requests.stats, _answers.stats,
             _plain(StatsAnswer))
LIMITS = Kind(28, LimitsRequest, False, False, _requests.limits, _answers.limits,
              _plain(LimitsAnswer))
PING = Kind(30, PingRequest, False, False, _requests.ping, _answers.ping,
            _plain(PingAnswer))
RESERVE = Kind(31, ReserveRequest, True, True, _requests.reserve, _answers.reserve,
               _answers.no_reserve)
COMMIT = Kind(32, CommitRequest, True, True, _requests.commit, _answers.commit,
              _plain(CommitAnswer))
CANCEL_LEASE = Kind(33, CancelRequest, True, True, _requests.cancel_lease, _answers.commit,
                    _plain(CommitAnswer))

# Tags of a request's fields.
_ID, _BUDGET, _NAMESPACE, _NOW, _HELLO = b"\x08", b"\x10", b"\x1a", b"\x20", b"\x2a"
_BODIES = {number: varint(number << 3 | 2) for number in range(16, 40)}


def encode(kind: Kind, request: Any, now_ms: int) -> Tuple[bytes, str]:
    """The message but for id and budget, and what the answer repeats. Raises ValueError."""
    expect(request, kind.request, "request")
    body, note = kind.encode(request)
    rest = _BODIES[kind.body] + sized(body)
    if now_ms:
        if not 0 < now_ms < 1 << 64:
            raise ValueError("now_ms: milliseconds since 1970")
        rest = _NOW + varint(now_ms) + rest
    if request.namespace:
        namespace = to_bytes(request.namespace)
        if len(namespace) > tables.NAMESPACE_MAX:
            raise ValueError(f"namespace: at most {tables.NAMESPACE_MAX} bytes")
        rest = _NAMESPACE + sized(namespace) + rest
    if len(rest) + ENVELOPE_BYTES > tables.REQUEST_BYTES_MAX:
        raise ValueError(f"too big: a request has at most {tables.REQUEST_BYTES_MAX} bytes")
    return rest, note


def hello_frame(wire_id: int, namespace: str, name: str, credential: Tuple[str, bytes]) -> bytes:
    """What begins a connection: who asks, with a ping for the body that every request has."""
    credential_id, secret = credential
    hello = write(tables.HELLO, (1, 1, 0, b"", to_bytes(namespace), to_bytes(credential_id),
                                 secret, to_bytes(name)))
    return frame(_ID + varint(wire_id) + _HELLO + sized(hello) + _BODIES[PING.body] + sized(b""))


class Call:
    """A request that is under way."""

    __slots__ = ("id", "kind", "rest", "note", "deadline_ns", "connection", "wire_id")

    def __init__(self, call_id: int, kind: Kind, rest: bytes, note: str, deadline_ns: int) -> None:
        self.id = call_id
        self.kind = kind
        self.rest = rest  #: the message, but for id and budget
        self.note = note  #: what the answer repeats
        self.deadline_ns = deadline_ns
        self.connection: Optional[Connection] = None  #: that it was sent on; None: QUEUED
        self.wire_id = 0

    def frame(self, now_ns: int) -> bytes:
        """As it leaves: with an id that rises on each connection, and the budget that is left."""
        budget_ms = min(max(1, -(-(self.deadline_ns - now_ns) // NS_PER_MS)), BUDGET_MAX)
        return frame(_ID + varint(self.wire_id) + _BUDGET + varint(budget_ms) + self.rest)

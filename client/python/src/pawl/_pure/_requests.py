"""Requests as bytes: what of them can be seen to be wrong is refused here, with ValueError.

An encoder returns the message of the request's body, and the word that its answer repeats: the
jti that was proposed. Raw opaque tokens and signed texts end here: only their SHA-256 goes on.
"""

import base64
import hashlib
import os
from typing import Mapping, Sequence, Tuple

from .._types import (CancelRequest, CheckRequest, CommitRequest, FamilyEndRequest,
                      FamilyOpenRequest, Item, LimitsRequest, PingRequest, RefundRequest,
                      ReserveRequest, ResetRequest, RevokeRequest, RotateRequest, StatsRequest,
                      Token, TokenCheckRequest, UnrevokeRequest)
from . import _tables as tables
from ._wire import to_bytes, write

SHA256_BYTES = 32
LEASE_BYTES = 16
ORIGIN_BYTES = 16
JTI_MAX = 512
MINTED_BYTES = 16  # 128 random bits, 22 characters

Encoded = Tuple[bytes, str]


def _numbers(words: Mapping[int, str]) -> Mapping[str, int]:
    return {word: number for number, word in sorted(words.items(), reverse=True)}


_ALGORITHMS = {word: number for word, number in _numbers(tables.ALGORITHMS).items()
               if word != "calendar"}
_ON_ERRORS = _numbers(tables.ON_ERRORS)
_REASONS = _numbers(tables.REASONS)
_LEVELS = _numbers(tables.LEVELS)
_SCOPES = {word: number for word, number in _numbers(tables.SCOPES).items() if word}
_RAW_SCOPES = {"jwt": _SCOPES["token"], "jwt_family": _SCOPES["family"]}


def _number_of(word: str, numbers: Mapping[str, int], what: str) -> int:
    number = numbers.get(word)
    if number is None:
        known = ", ".join(repr(name) for name in sorted(numbers))
        raise ValueError(f"{what}: {word!r} is none of {known}")
    return number


def _sha256(value: bytes) -> bytes:
    return hashlib.sha256(value).digest() if value else b""


def _mint() -> str:
    return base64.urlsafe_b64encode(os.urandom(MINTED_BYTES)).rstrip(b"=").decode()


# ---- limits --------------------------------------------------------------------------------------


def _rates(item: Item, where: str) -> Sequence[bytes]:
    """Inline rates; those beside a limit's name are for the fallback alone and not sent."""
    if len(item.rates) > tables.RATES_MAX:
        raise ValueError(f"{where}at most {tables.RATES_MAX} rates")
    algorithm = _number_of(item.algorithm, _ALGORITHMS, f"{where}algorithm")
    if not 0 <= item.burst <= tables.COUNT_MAX:
        raise ValueError(f"{where}a burst is below 2^40")
    out = []
    for count, window_ms in item.rates:
        if not 1 <= window_ms <= tables.WINDOW_MS_MAX or not 0 <= count <= tables.COUNT_MAX:
            raise ValueError(f"{where}rates: a window is 1 ms to 45 days, a count below 2^40")
        out.append(write(tables.RATE, (count, window_ms, algorithm, item.burst)))
    return () if item.limit else out


def _key(item: Item, where: str) -> Sequence[bytes]:
    if not 1 <= len(item.key) <= tables.KEY_PARTS_MAX:
        raise ValueError(f"{where}a key has 1 to {tables.KEY_PARTS_MAX} parts")
    for part in item.key:
        if len(part) > tables.KEY_BYTES_MAX:
            raise ValueError(f"{where}a part of a key has at most {tables.KEY_BYTES_MAX} bytes")
    return item.key


def _limit(item: Item, where: str) -> Tuple[bytes, bytes]:
    limit, tier = to_bytes(item.limit), to_bytes(item.tier)
    if len(limit) > tables.LIMIT_NAME_MAX or len(tier) > tables.LIMIT_NAME_MAX:
        raise ValueError(f"{where}the name of a limit or tier has at most "
                         f"{tables.LIMIT_NAME_MAX} bytes")
    return limit, tier


def _cost(item: Item, where: str) -> int:
    if not 0 <= item.cost <= tables.COUNT_MAX:
        raise ValueError(f"{where}a cost is below 2^40")
    return item.cost


def _item(item: Item, index: int, with_cost: bool = True) -> bytes:
    where = f"item {index}: "
    key = _key(item, where)
    limit, tier = _limit(item, where)
    rates = _rates(item, where)
    if not limit and not rates:
        raise ValueError(f"{where}name a limit or give rates")
    if item.precision and not tables.PRECISION_MIN <= item.precision <= tables.PRECISION_MAX:
        raise ValueError(f"{where}precision is 2 to 4096")
    cost = _cost(item, where) if with_cost else 0
    on_error = _ON_ERRORS.get(item.on_error, 0) if with_cost else 0
    return write(tables.CHECK_ITEM, (limit, key, cost, rates, item.precision, on_error, tier))


def check(request: CheckRequest) -> Encoded:
    if len(request.items) > tables.ITEMS_MAX:
        raise ValueError(f"a check has at most {tables.ITEMS_MAX} items")
    if not request.items and request.token is None:
        raise ValueError("a check has an item or a token")
    items = [_item(item, index) for index, item in enumerate(request.items)]
    token = None if request.token is None else _token(request.token)
    return write(tables.CHECK, (items, bool(request.peek), bool(request.each), token)), ""


def refund(request: RefundRequest) -> Encoded:
    if not 1 <= len(request.items) <= tables.ITEMS_MAX:
        raise ValueError(f"a refund has 1 to {tables.ITEMS_MAX} items")
    items = []
    for index, (item, charges) in enumerate(request.items):
        where = f"item {index}: "
        if len(charges) > tables.RATES_MAX:
            raise ValueError(f"{where}at most {tables.RATES_MAX} charges, one for each rate")
        items.append(write(tables.REFUND_ITEM,
                           (_limit(item, where)[0], _key(item, where), _cost(item, where),
                            _rates(item, where), charges)))
    return write(tables.REFUND, (items,)), ""


def reset(request: ResetRequest) -> Encoded:
    item = request.item
    return write(tables.RESET, (_limit(item, "")[0], _key(item, ""), _rates(item, ""))), ""


def reserve(request: ReserveRequest) -> Encoded:
    if not 1 <= len(request.items) <= tables.ITEMS_MAX:
        raise ValueError(f"a reservation has 1 to {tables.ITEMS_MAX} items")
    if (not 0 <= request.min <= tables.COUNT_MAX or not 0 <= request.max <= tables.COUNT_MAX
            or 0 != request.max < request.min):
        raise ValueError("min and max are below 2^40, and max is not below min")
    items = [_item(item, index, with_cost=False) for index, item in enumerate(request.items)]
    return write(tables.RESERVE, (items, request.min, request.max, request.lease_ms)), ""


def _lease(lease: bytes) -> bytes:
    if len(lease) != LEASE_BYTES:
        raise ValueError(f"a lease has {LEASE_BYTES} bytes: it is ReserveAnswer.lease of a "
                         f"reservation that was granted")
    return lease


def commit(request: CommitRequest) -> Encoded:
    return write(tables.COMMIT, (_lease(request.lease), request.used)), ""


def cancel_lease(request: CancelRequest) -> Encoded:
    return write(tables.CANCEL, (_lease(request.lease),)), ""


# ---- tokens --------------------------------------------------------------------------------------


def _token(token: Token) -> bytes:
    return write(tables.TOKEN, (
        to_bytes(token.issuer), to_bytes(token.jti), to_bytes(token.subject),
        to_bytes(token.client), to_bytes(token.key), to_bytes(token.sid), token.iat_s,
        token.exp_s, _sha256(token.opaque), _sha256(token.signed_text), token.raw,
        to_bytes(token.audience), to_bytes(token.type)))


def token_check(request: TokenCheckRequest) -> Encoded:
    return write(tables.TOKEN_CHECK, (_token(request.token),)), ""


def _revoked(request: RevokeRequest) -> Tuple[int, bytes, bytes]:
    """Scope, value and raw token as they are sent."""
    if request.scope in _RAW_SCOPES:
        scope, value, raw = _RAW_SCOPES[request.scope], b"", request.value
    else:
        scope = _number_of(request.scope, {**_SCOPES, **_RAW_SCOPES}, "scope")
        value, raw = request.value, b""
    if request.scope != "namespace" and not request.value:
        raise ValueError(f"a revocation of scope {request.scope!r} needs a value")
    if request.scope in ("opaque", "signed"):
        if not request.hashed:
            value = _sha256(value)
        elif len(value) != SHA256_BYTES:
            raise ValueError("a SHA-256 has 32 bytes")
    return scope, value, raw


def revoke(request: RevokeRequest) -> Encoded:
    scope, value, raw = _revoked(request)
    return write(tables.REVOKE, (
        scope, to_bytes(request.issuer), value, request.before_ms, request.exp_s,
        _number_of(request.reason, _REASONS, "reason"), to_bytes(request.actor),
        _number_of(request.level, _LEVELS, "level"), raw)), ""


def unrevoke(request: UnrevokeRequest) -> Encoded:
    if not 1 <= len(request.ids) <= tables.FACT_IDS_MAX:
        raise ValueError(f"an unrevoke names 1 to {tables.FACT_IDS_MAX} facts")
    ids = []
    for origin, sequence in request.ids:
        if len(origin) > ORIGIN_BYTES:
            raise ValueError(f"the origin of a fact has {ORIGIN_BYTES} bytes")
        ids.append(write(tables.FACT_ID, (origin, sequence)))
    return write(tables.UNREVOKE, (ids, to_bytes(request.actor),
                                   _number_of(request.level, _LEVELS, "level"))), ""


def _proposed(jti: str, opaque: bytes, what: str) -> str:
    """The jti that is sent: as given, or a fresh one; "" where an opaque token stands for it."""
    if opaque:
        return ""
    if len(to_bytes(jti)) > JTI_MAX:
        raise ValueError(f"{what} has at most {JTI_MAX} bytes")
    return jti or _mint()


def family_open(request: FamilyOpenRequest) -> Encoded:
    jti = _proposed(request.jti, request.opaque, "jti")
    return write(tables.FAMILY_OPEN, (
        to_bytes(request.issuer), to_bytes(request.subject), to_bytes(request.client),
        request.binding, to_bytes(jti), request.iat_s, request.exp_s,
        _number_of(request.level, _LEVELS, "level"), _sha256(request.opaque))), jti


def family_end(request: FamilyEndRequest) -> Encoded:
    if not request.sid:
        raise ValueError("sid: which family ends?")
    return write(tables.FAMILY_END, (
        to_bytes(request.issuer), to_bytes(request.sid),
        _number_of(request.reason or "logout", _REASONS, "reason"), to_bytes(request.actor),
        _number_of(request.level, _LEVELS, "level"), request.exp_s)), ""


def rotate(request: RotateRequest) -> Encoded:
    jti = _proposed(request.next_jti, request.next_opaque, "next_jti")
    return write(tables.ROTATE, (
        _token(request.presented), request.generation or 0, request.generation is not None,
        to_bytes(jti), request.next_iat_s, request.next_exp_s, request.binding,
        request.leeway_ms or 0, request.leeway_ms is not None, bool(request.adopt),
        bool(request.verified), request.request_id, _number_of(request.level, _LEVELS, "level"),
        _sha256(request.next_opaque), request.next_seed if request.next_opaque else b"")), jti


# ---- listings ------------------------------------------------------------------------------------


def limits(request: LimitsRequest) -> Encoded:
    return write(tables.LIMITS, (to_bytes(request.limit), to_bytes(request.after))), ""


def stats(request: StatsRequest) -> Encoded:
    return write(tables.STATS, (to_bytes(request.prefix),)), ""


def ping(request: PingRequest) -> Encoded:
    return b"", ""

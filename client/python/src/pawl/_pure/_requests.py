"""Requests as bytes: what of them can be seen to be wrong is refused here, with ValueError.

An encoder returns the message of the request's body, and the word that its answer repeats: the
jti that was proposed. Raw opaque tokens and signed texts end here: only their SHA-256 goes on.
"""

import base64
import functools
import hashlib
import os
from typing import Mapping, Sequence, Tuple

from .._types import (CancelRequest, CheckRequest, CommitRequest, FactName, FamilyEndRequest,
                      FamilyOpenRequest, Item, LimitsRequest, PingRequest, Rate, RefundItem,
                      RefundRequest, ReserveRequest, ResetRequest, RevokeRequest, RotateRequest,
                      StatsRequest, Token, TokenCheckRequest, UnrevokeRequest)
from . import _tables as tables
from ._shapes import expect
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


@functools.lru_cache(maxsize=1024)  # a program has few of them, and asks each of them often
def _encoded_rates(rates: Tuple[Rate, ...], algorithm: str, burst: int) -> Tuple[bytes, ...]:
    """Raises ValueError, with the field's name first."""
    if len(rates) > tables.RATES_MAX:
        raise ValueError(f"rates: at most {tables.RATES_MAX}")
    number = _number_of(algorithm, _ALGORITHMS, "algorithm")
    if not 0 <= burst <= tables.COUNT_MAX:
        raise ValueError("burst: below 2^40")
    for rate in rates:
        expect(rate, Rate, "rates")
        if not 1 <= rate.window_ms <= tables.WINDOW_MS_MAX or not (
                0 <= rate.count <= tables.COUNT_MAX):
            raise ValueError("rates: a window is 1 ms to 45 days, a count below 2^40")
    return tuple(write(tables.RATE, (count, window_ms, number, burst))
                 for count, window_ms in rates)


def _rates(item: Item, where: str) -> Tuple[bytes, ...]:
    """Inline rates; those beside a limit's name are for the fallback alone and not sent."""
    try:
        encoded = _encoded_rates(item.rates, item.algorithm, item.burst)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}{error}") from None
    return () if item.limit else encoded


def _key(item: Item, where: str) -> Sequence[bytes]:
    if not 1 <= len(item.key) <= tables.KEY_PARTS_MAX:
        raise ValueError(f"{where}key: a key has 1 to {tables.KEY_PARTS_MAX} parts")
    for part in item.key:
        if type(part) is not bytes:
            expect(part, bytes, f"{where}key")
        if len(part) > tables.KEY_BYTES_MAX:
            raise ValueError(f"{where}key: a part has at most {tables.KEY_BYTES_MAX} bytes")
    return item.key


def _parts(item: Item, where: str) -> Tuple[bytes, bytes, Sequence[bytes], Sequence[bytes]]:
    """Limit, tier, key and rates of what counts."""
    expect(item, Item, where[:-1])
    limit, tier = to_bytes(item.limit), to_bytes(item.tier)
    for name, value in (("limit", limit), ("tier", tier)):
        if len(value) > tables.LIMIT_NAME_MAX:
            raise ValueError(f"{where}{name}: a name has at most {tables.LIMIT_NAME_MAX} bytes")
    if item.cost < 1:
        raise ValueError(f"{where}cost: at least 1; to look without charging use peek")
    if item.cost > tables.COUNT_MAX:
        raise ValueError(f"{where}cost: below 2^40")
    return limit, tier, _key(item, where), _rates(item, where)


def _item(item: Item, index: int, with_cost: bool = True) -> bytes:
    where = f"items[{index}]."
    limit, tier, key, rates = _parts(item, where)
    if not limit and not rates:
        raise ValueError(f"{where}limit: name a limit or give rates")
    if item.precision and not tables.PRECISION_MIN <= item.precision <= tables.PRECISION_MAX:
        raise ValueError(f"{where}precision: 2 to 4096, or 0")
    # on_error is for this process, and stays in it
    return write(tables.CHECK_ITEM,
                 (limit, key, item.cost if with_cost else 0, rates, item.precision, 0, tier))


def check(request: CheckRequest) -> Encoded:
    if len(request.items) > tables.ITEMS_MAX:
        raise ValueError(f"items: at most {tables.ITEMS_MAX}")
    if not request.items and request.token is None:
        raise ValueError("items: a check has an item or a token")
    items = [_item(item, index) for index, item in enumerate(request.items)]
    token = None if request.token is None else _token(request.token)
    return write(tables.CHECK, (items, request.peek, request.each, token)), ""


def refund(request: RefundRequest) -> Encoded:
    if not 1 <= len(request.items) <= tables.ITEMS_MAX:
        raise ValueError(f"items: a refund has 1 to {tables.ITEMS_MAX}")
    items = []
    for index, one in enumerate(request.items):
        where = f"items[{index}]."
        expect(one, RefundItem, where[:-1])
        item, charges = one
        limit, _, key, rates = _parts(item, where)
        if len(charges) > tables.RATES_MAX:
            raise ValueError(f"{where}charges: at most {tables.RATES_MAX}, one for each rate")
        for charge in charges:
            expect(charge, int, f"{where}charges")
        items.append(write(tables.REFUND_ITEM, (limit, key, item.cost, rates, charges)))
    return write(tables.REFUND, (items,)), ""


def reset(request: ResetRequest) -> Encoded:
    limit, _, key, rates = _parts(request.item, "item.")
    return write(tables.RESET, (limit, key, rates)), ""


def reserve(request: ReserveRequest) -> Encoded:
    if not 1 <= len(request.items) <= tables.ITEMS_MAX:
        raise ValueError(f"items: a reservation has 1 to {tables.ITEMS_MAX}")
    if (not 0 <= request.min <= tables.COUNT_MAX or not 0 <= request.max <= tables.COUNT_MAX
            or 0 != request.max < request.min):
        raise ValueError("min and max are below 2^40, and max is not below min")
    items = [_item(item, index, with_cost=False) for index, item in enumerate(request.items)]
    return write(tables.RESERVE, (items, request.min, request.max, request.lease_ms)), ""


def _exactly(value: bytes, size: int, name: str) -> bytes:
    if len(value) != size:
        raise ValueError(f"{name}: {size} bytes are wanted, not {len(value)}")
    return value


def commit(request: CommitRequest) -> Encoded:
    return write(tables.COMMIT, (_exactly(request.lease, LEASE_BYTES, "lease"), request.used)), ""


def cancel_lease(request: CancelRequest) -> Encoded:
    return write(tables.CANCEL, (_exactly(request.lease, LEASE_BYTES, "lease"),)), ""


# ---- tokens --------------------------------------------------------------------------------------


def _token(token: Token) -> bytes:
    expect(token, Token, "token")
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
        raise ValueError(f"value: a revocation of scope {request.scope!r} needs one")
    if request.scope in ("opaque", "signed"):
        value = _exactly(value, SHA256_BYTES, "value") if request.hashed else _sha256(value)
    return scope, value, raw


def revoke(request: RevokeRequest) -> Encoded:
    scope, value, raw = _revoked(request)
    return write(tables.REVOKE, (
        scope, to_bytes(request.issuer), value, request.before_ms, request.exp_s,
        _number_of(request.reason, _REASONS, "reason"), to_bytes(request.actor),
        _number_of(request.level, _LEVELS, "level"), raw)), ""


def unrevoke(request: UnrevokeRequest) -> Encoded:
    if not 1 <= len(request.ids) <= tables.FACT_IDS_MAX:
        raise ValueError(f"ids: an unrevoke names 1 to {tables.FACT_IDS_MAX} facts")
    ids = []
    for index, name in enumerate(request.ids):
        expect(name, FactName, f"ids[{index}]")
        _exactly(name.origin, ORIGIN_BYTES, f"ids[{index}].origin")
        ids.append(write(tables.FACT_ID, name))
    return write(tables.UNREVOKE, (ids, to_bytes(request.actor),
                                   _number_of(request.level, _LEVELS, "level"))), ""


def _proposed(jti: str, opaque: bytes, what: str) -> str:
    """The jti that is sent: as given, or a fresh one; "" where an opaque token stands for it."""
    if opaque:
        return ""
    if len(to_bytes(jti)) > JTI_MAX:
        raise ValueError(f"{what}: at most {JTI_MAX} bytes")
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
        request.leeway_ms or 0, request.leeway_ms is not None, request.adopt, request.verified,
        request.request_id, _number_of(request.level, _LEVELS, "level"),
        _sha256(request.next_opaque), request.next_seed if request.next_opaque else b"")), jti


# ---- listings ------------------------------------------------------------------------------------


def limits(request: LimitsRequest) -> Encoded:
    return write(tables.LIMITS, (to_bytes(request.limit), to_bytes(request.after))), ""


def stats(request: StatsRequest) -> Encoded:
    return write(tables.STATS, (to_bytes(request.prefix),)), ""


def ping(request: PingRequest) -> Encoded:
    return b"", ""

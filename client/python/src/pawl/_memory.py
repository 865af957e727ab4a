"""A client without a daemon, for a project's unit tests: see :mod:`pawl.testing`.

It keeps what pawld keeps, in dictionaries of this process: exact sliding logs, revocations by
scope, families of refresh tokens with grace and reuse. It follows the decisions of pawld that a
project's code can see; what needs a daemon (leases, clusters, raw JWTs, GCRA, calendar and
concurrency limits) it refuses by :class:`pawl.errors.Refused`.
"""

import hashlib
import secrets
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple, Union

from . import errors
from ._calls import BREAKER_OPEN, Key, Rates, item, no_rotation, no_token_check, rate_tuple
from ._policy import Fallback, LocalWindows
from ._types import (CheckAnswer, FactName, FamilyOpenAnswer, Info, Item, LimitInfo, RateAnswer,
                     ReserveAnswer, RevokeAnswer, RotateAnswer, Token, TokenAnswer,
                     TokenCheckAnswer, UnrevokeAnswer)

_OK = Info("daemon", "ok", "done")
_LEEWAY_MS = 10_000
_KEYS_MAX = 100_000


class _Windows(LocalWindows):
    """With charges that can be given back, and keys that can be forgotten."""

    def _answer(self, row: Any, now: int, charged: bool) -> RateAnswer:
        answer = super()._answer(row, now, charged)
        return answer._replace(charge=now) if charged else answer

    def _logs_of(self, one: Item) -> List[Any]:
        wanted = [(one.limit, one.tier, one.key, index if one.limit else rate.window_ms)
                  for index, rate in enumerate(one.rates)]
        return [(name, self._logs[name][1]) for name in wanted if name in self._logs]

    def refund(self, one: Item, charges: Sequence[int]) -> int:
        """Lower the entries of @charges, else the oldest; returns what the first rate got back."""
        given: List[int] = []
        with self._lock:
            for index, (_, log) in enumerate(self._logs_of(one)):
                at = charges[index] if index < len(charges) else 0
                place = next((n for n, event in enumerate(log.events) if event[0] == at), 0)
                if not log.events:
                    continue
                when, count = log.events[place]
                given.append(min(count, one.cost))
                log.events[place] = (when, count - given[-1])
                if not log.events[place][1]:
                    del log.events[place]
        return given[0] if given else 0

    def forget(self, one: Item) -> int:
        with self._lock:
            names = [name for name, _ in self._logs_of(one)]
            for name in names:
                del self._logs[name]
        return len(names)


class _Family(NamedTuple):
    subject: str
    jtis: Tuple[str, ...]  #: oldest first; the last is current
    iat_s: int
    exp_s: int
    superseded_ms: int
    generation: int
    seed: bytes = b""  #: what an opaque current token was derived from


def _opaque(token: bytes) -> str:
    return hashlib.sha256(token).hexdigest()


class MemoryClient:
    """:class:`pawl.Client`'s calls, answered from this process's memory. One thread.

    @now_ms   the time, in milliseconds since 1970; :class:`pawl.testing.Clock` is one.
    @limits   named limits: ``{"api": "60/minute, 1000/day"}``.

    ``away = True`` plays an outage: checks follow ``on_error``, tokens are undecided, rotations
    unavailable, writes raise :class:`pawl.errors.Unavailable`. ``asked`` lists the items of all
    checks, in order, for assertions.
    """

    backend = "memory"
    ASKED_MAX = 10_000

    def __init__(self, now_ms: Callable[[], int], limits: Optional[Dict[str, Rates]] = None,
                 expected_workers: int = 1) -> None:
        self._now_ms = now_ms
        self._limits = {name: rate_tuple(rates) for name, rates in (limits or {}).items()}
        self._workers = expected_workers
        self.away = False
        self.clear()

    def clear(self) -> None:
        """Forget all: counts, revocations, families."""
        self._windows = _Windows(1, _KEYS_MAX, self._now_ms)
        self._fallback = Fallback(LocalWindows(self._workers, 1024, self._now_ms))
        self._facts: Dict[Tuple[str, str, str], Tuple[str, int, int]] = {}
        self._families: Dict[str, _Family] = {}
        self._sequence = 0
        self.asked: List[Item] = []

    @property
    def is_away(self) -> bool:
        return self.away

    def close(self) -> None:
        """Nothing to close."""

    resolve = close

    def figures(self) -> Dict[str, int]:
        return {"connections": 0, "local_keys": self._fallback.local.keys, "breaker_opens": 0,
                "breaker_open": int(self.away)}

    # ---- limits ---------------------------------------------------------------------------------

    def _known(self, one: Item) -> Item:
        if one.algorithm != "sliding":
            raise errors.Refused(f"the memory client has no {one.algorithm} limits", "unsupported")
        if not one.limit:
            return one
        name = f"{one.limit}.{one.tier}" if one.tier else one.limit
        rates = self._limits.get(name) or self._limits.get(one.limit)
        if rates is None:
            raise errors.NotFound(f"no limit {one.limit!r}: give it to the memory client",
                                  "not_found")
        return one._replace(rates=rates)

    def check(self, key: Key, rates: Rates = (), *, limit: str = "", cost: int = 1,
              on_error: str = "local", peek: bool = False, deadline_ms: int = 0,
              **more: Any) -> CheckAnswer:
        one = item(key, rates, limit=limit, cost=cost, on_error=on_error, **more)
        return self.check_many((one,), peek=peek)

    def check_many(self, items: Iterable[Item], *, token: Optional[Token] = None,
                   peek: bool = False, mode: str = "atomic", deadline_ms: int = 0) -> CheckAnswer:
        given = tuple(items)
        self.asked = (self.asked + list(given))[-self.ASKED_MAX:]
        if self.away:
            if token is not None:
                return CheckAnswer("undecided", BREAKER_OPEN, (), TokenAnswer("undecided"))
            return self._fallback.answer(given, peek, mode == "each", BREAKER_OPEN)
        verdict = self._verdict(token) if token is not None else None
        refused = verdict is not None and verdict.status != "valid"
        known = [self._known(one) for one in given]
        pairs = [(index, place, one, rate) for index, one in enumerate(known)
                 for place, rate in enumerate(one.rates)]
        rows = self._windows.ask(pairs, peek or refused, mode == "each") or []
        denied = [row for row in rows if not row.allowed]
        return CheckAnswer("deny" if denied or refused else "allow", _OK, tuple(rows), verdict,
                           max((row.retry_after_ms for row in denied), default=0),
                           any(row.never for row in denied))

    def refund(self, charged: Item, rates: Sequence[RateAnswer] = (), *,
               deadline_ms: int = 0) -> int:
        self._require()
        charges = [row.charge for row in sorted(rates, key=lambda row: row.rate_index)]
        return self._windows.refund(self._known(charged), charges)

    def reset(self, key: Key, rates: Rates = (), *, limit: str = "", deadline_ms: int = 0,
              **more: Any) -> int:
        self._require()
        return self._windows.forget(self._known(item(key, rates, limit=limit, **more)))

    def reserve(self, items: Iterable[Item], **_: Any) -> ReserveAnswer:
        raise errors.Refused("the memory client has no leases", "unsupported")

    # ---- tokens ---------------------------------------------------------------------------------

    def _require(self) -> None:
        if self.away:
            raise errors.Unavailable("the memory client plays an outage", "connect")

    def _hit(self, token: Token) -> Optional[Tuple[str, str]]:
        """The scope and reason of the revocation that hits @token."""
        names = [("token", token.jti), ("family", token.sid), ("subject", token.subject),
                 ("client", token.client), ("key", token.key), ("namespace", "")]
        names += [("opaque", _opaque(token.opaque))] if token.opaque else []
        names += [("signed", _opaque(token.signed_text))] if token.signed_text else []
        for scope, value in names:
            fact = self._facts.get((scope, token.issuer, value))
            if fact is None or (not value and scope != "namespace"):
                continue
            reason, before_ms, sequence = fact
            if scope in ("token", "family", "opaque", "signed"):
                return scope, reason
            family = self._families.get(token.sid)
            born = int(token.sid.rpartition("-")[2], 16) if family else 0
            if born <= sequence if family else token.iat_s <= before_ms // 1000:
                return scope, reason
        return None

    def _verdict(self, token: Token) -> TokenAnswer:
        if token.raw:
            raise errors.Refused("the memory client verifies no JWT", "unsupported")
        if token.exp_s and token.exp_s * 1000 <= self._now_ms():
            return TokenAnswer("expired", fresh=True)
        hit = self._hit(token)
        if hit is not None:
            return TokenAnswer("revoked", hit[1], hit[0], True)
        return TokenAnswer("valid", fresh=True)

    def token_check(self, token: Token, *, deadline_ms: int = 0) -> TokenCheckAnswer:
        if self.away:
            return no_token_check(BREAKER_OPEN)
        return TokenCheckAnswer(_OK, self._verdict(token))

    def revoke(self, scope: str, value: Union[str, bytes] = b"", *, reason: str = "",
               issuer: str = "", before_ms: int = 0, exp_s: int = 0, actor: str = "",
               level: str = "", hashed: bool = False, deadline_ms: int = 0) -> RevokeAnswer:
        self._require()
        data = value.encode() if isinstance(value, str) else value
        if not data and scope != "namespace":
            raise ValueError(f"revoke {scope}: no value")
        if scope in ("opaque", "signed"):
            name = data.hex() if hashed else _opaque(data)
        else:
            name = data.decode()
        self._sequence += 1
        self._facts[(scope, issuer, name)] = (reason or "admin", before_ms or self._now_ms(),
                                              self._sequence)
        return RevokeAnswer(_OK, "memory", level or "memory", FactName(b"m" * 16, self._sequence),
                            exp_s)

    def unrevoke(self, ids: Sequence[FactName], **_: Any) -> UnrevokeAnswer:
        self._require()
        wanted = {one.sequence for one in ids}
        gone = [name for name, fact in self._facts.items()
                if fact[2] in wanted and name[0] in ("token", "opaque", "signed")]
        for name in gone:
            del self._facts[name]
        return UnrevokeAnswer(_OK, "memory", len(gone))

    def family_open(self, subject: str, exp_s: int, *, jti: str = "", opaque: bytes = b"",
                    deadline_ms: int = 0, **_: Any) -> FamilyOpenAnswer:
        self._require()
        name = _opaque(opaque) if opaque else jti or secrets.token_hex(16)
        self._sequence += 1
        sid = f"00000000-0000-7000-8000-{self._sequence:012x}"  # of the form of pawld's
        now_s = self._now_ms() // 1000
        self._families[sid] = _Family(subject, (name,), now_s, exp_s, 0, 0)
        return FamilyOpenAnswer(_OK, "memory", sid, "" if opaque else name, exp_s)

    def family_end(self, sid: str, *, reason: str = "logout", deadline_ms: int = 0,
                   **more: Any) -> RevokeAnswer:
        return self.revoke("family", sid, reason=reason or "logout", issuer=more.get("issuer", ""))

    def rotate(self, presented: Token, next_exp_s: int, *, next_jti: str = "",
               next_opaque: bytes = b"", next_seed: bytes = b"", next_iat_s: int = 0,
               leeway_ms: Optional[int] = None,
               generation: Optional[int] = None, verified: bool = False, adopt: bool = False,
               deadline_ms: int = 0, **_: Any) -> RotateAnswer:
        if self.away:
            return no_rotation(BREAKER_OPEN)
        now = self._now_ms()
        proposed = _opaque(next_opaque) if next_opaque else next_jti or secrets.token_hex(16)
        name = _opaque(presented.opaque) if presented.opaque else presented.jti
        sid = presented.sid or next((sid for sid, one in self._families.items()
                                     if name in one.jtis), "")
        family = self._families.get(sid)
        newest_first = family.jtis[::-1] if family is not None else ()
        position = newest_first.index(name) if name in newest_first else -1
        is_retry = position > 0 and newest_first[position - 1] == proposed
        if proposed == name or (proposed in newest_first and not is_retry):
            return RotateAnswer(_OK, "invalid", row=2)
        if presented.exp_s and presented.exp_s * 1000 <= now:
            return RotateAnswer(_OK, "expired", row=3)
        if family and presented.subject and presented.subject != family.subject:
            return RotateAnswer(_OK, "mismatch", row=5)
        hit = self._hit(presented._replace(sid=sid))
        if hit is not None:
            return RotateAnswer(_OK, "revoked", hit[1], row=6)
        iat_s = next_iat_s or now // 1000
        if family is None:
            if not adopt:
                return RotateAnswer(_OK, "unknown", row=14)
            opened = self.family_open(presented.subject, presented.exp_s, jti=name)
            answer = self._turn(opened.sid, proposed, iat_s, next_exp_s, next_seed)
            return answer._replace(result="adopted", row=15)
        if position == 0:
            return self._turn(sid, proposed, iat_s, next_exp_s, next_seed)
        if position > 0:
            return self._superseded(sid, family, position, is_retry, proposed, leeway_ms)
        return self._stranger(sid, family, generation, verified and bool(presented.sid))

    def _turn(self, sid: str, proposed: str, iat_s: int, exp_s: int, seed: bytes) -> RotateAnswer:
        """The current token is exchanged for @proposed."""
        family = self._families[sid]
        family = family._replace(jtis=(*family.jtis, proposed)[-8:], iat_s=iat_s, exp_s=exp_s,
                                 superseded_ms=self._now_ms(), generation=family.generation + 1,
                                 seed=seed)
        self._families[sid] = family
        return RotateAnswer(_OK, "rotated", "", family.generation, proposed, iat_s, exp_s, sid,
                            family.subject, proposed, row=9, successor_seed=seed)

    def _superseded(self, sid: str, family: _Family, position: int, is_retry: bool, proposed: str,
                    leeway_ms: Optional[int]) -> RotateAnswer:
        """A token that is not current any more: a retry, or a theft."""
        successor = RotateAnswer(_OK, "grace", "", family.generation, family.jtis[-1],
                                 family.iat_s, family.exp_s, sid, family.subject, proposed, row=11,
                                 successor_seed=family.seed)
        if is_retry and position > 1:
            return RotateAnswer(_OK, "raced", row=10)
        if is_retry:
            return successor._replace(result="rotated", row=10)
        leeway = _LEEWAY_MS if leeway_ms is None else min(leeway_ms, _LEEWAY_MS)
        if position == 1 and leeway and self._now_ms() - family.superseded_ms <= leeway:
            return successor
        return self._reuse(sid, family, 12)

    def _stranger(self, sid: str, family: _Family, generation: Optional[int],
                  carries_sid: bool) -> RotateAnswer:
        """A token of a known family, too old for its record, or of nobody."""
        if generation is not None and generation > family.generation:
            return RotateAnswer(_OK, "unavailable", row=13)
        older = carries_sid if generation is None else family.generation - generation > 1
        return self._reuse(sid, family, 13) if older else RotateAnswer(_OK, "unknown", row=13)

    def _reuse(self, sid: str, family: _Family, row: int) -> RotateAnswer:
        self.family_end(sid, reason="reuse")
        return RotateAnswer(_OK, "reuse", "reuse", family.generation, sid=sid,
                            subject=family.subject, row=row)

    # ---- the daemon -----------------------------------------------------------------------------

    def limits(self, *, deadline_ms: int = 0) -> List[LimitInfo]:
        self._require()
        return [LimitInfo(name, "default", rates, 64, "local", False, False, "sliding", "overflow")
                for name, rates in sorted(self._limits.items())]

    def stats(self, prefix: str = "", *, deadline_ms: int = 0) -> Dict[str, Any]:
        self._require()
        figures = {"version": "memory", "keys": self._windows.keys,
                   "revocations": len(self._facts), "frozen": False}
        return {name: value for name, value in figures.items() if name.startswith(prefix)}

    def ping(self, *, deadline_ms: int = 0) -> None:
        self._require()


class AsyncMemoryClient:
    """The coroutines of :class:`pawl.AsyncClient` over the memory of a :class:`MemoryClient`."""

    _PLAIN = ("figures", "is_away", "backend", "asked", "away", "clear")

    def __init__(self, memory: MemoryClient) -> None:
        self._memory = memory

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._memory, name)
        if name in self._PLAIN or not callable(found):
            return found

        async def call(*arguments: Any, **options: Any) -> Any:
            return found(*arguments, **options)

        return call

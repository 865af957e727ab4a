"""What a request asks and what an answer says, shared by both backends.

Plain named tuples: the native extension reads and makes them by position, the pure-Python client
by name. Words are lower case, as pawlctl prints them. Fields are only ever added at the end, with
a default. A number's unit ends its name: ``_ms`` milliseconds, ``_s`` seconds since 1970.
"""

from typing import Any, Dict, List, NamedTuple, Optional, Protocol, Tuple

#: What becomes of a check that no daemon answers.
FAIL_WORDS = ("open", "closed", "local")
#: How a rate counts.
ALGORITHMS = ("sliding", "gcra", "concurrency")
#: What a revocation is about (the words of pawlctl).
SCOPES = ("token", "signed", "opaque", "family", "subject", "client", "key", "namespace", "jwt",
          "jwt_family")
#: Acknowledgement levels; "" is what the daemon's store can.
LEVELS = ("", "memory", "durable", "quorum", "everywhere")


def _without(values: Any, *secrets: str) -> str:
    """The repr of a named tuple without its @secrets: pages of errors and their collectors show
    what a function held."""
    shown = (f"{name}={'...' if name in secrets and value else repr(value)}"
             for name, value in zip(values._fields, values))
    return f"{type(values).__name__}({', '.join(shown)})"


class Rate(NamedTuple):
    """So many in each window."""

    count: int  # type: ignore[assignment]  # hides tuple.count(), which nobody misses
    window_ms: int


class Item(NamedTuple):
    """One thing to count: a key under a named limit, or under rates said here."""

    key: Tuple[bytes, ...]  #: 1 to 8 parts; ("a_b", "c") and ("a", "b_c") differ
    rates: Tuple[Rate, ...] = ()  #: inline; beside a limit's name only what "local" counts against
    limit: str = ""  #: a limit of the daemon's configuration
    cost: int = 1  #: at least 1
    on_error: str = "local"  #: one of FAIL_WORDS; the handles below do not look at it
    precision: int = 0  #: of inline rates, 2 to 4096; 0: the daemon's default, 64
    tier: str = ""  #: "premium": the limit api.premium
    algorithm: str = "sliding"  #: of inline rates, one of ALGORITHMS
    burst: int = 0  #: of inline GCRA rates; 0: their count


class Token(NamedTuple):
    """The claims of a token that the caller has verified, or a raw one for pawld to verify."""

    issuer: str = ""  #: "": the only one configured
    jti: str = ""
    subject: str = ""
    client: str = ""
    key: str = ""  #: kid
    sid: str = ""  #: family
    iat_s: int = 0  #: 0: it has none
    exp_s: int = 0  #: 0: not said
    opaque: bytes = b""  #: an opaque token or API key; only its SHA-256 leaves the process
    signed_text: bytes = b""  #: header.payload of a JWT without jti; only its SHA-256 leaves
    raw: bytes = b""  #: a JWT that pawld verifies; then leave out the claims
    audience: str = ""  #: expected, with raw
    type: str = ""  #: expected typ or token_type, with raw

    def __repr__(self) -> str:
        return _without(self, "opaque", "signed_text", "raw")


class CheckRequest(NamedTuple):
    items: Tuple[Item, ...]  #: 1 to 64
    token: Optional[Token] = None
    peek: bool = False  #: ask without charging
    each: bool = False  #: each limit for itself; else all or none
    namespace: str = ""  #: "": the handle's, in every request


class TokenCheckRequest(NamedTuple):
    token: Token
    namespace: str = ""


class RefundItem(NamedTuple):
    item: Item
    charges: Tuple[int, ...] = ()  #: RateAnswer.charge by rate index; (): the oldest entry


class RefundRequest(NamedTuple):
    items: Tuple[RefundItem, ...]
    namespace: str = ""


class ResetRequest(NamedTuple):
    item: Item
    namespace: str = ""


class ReserveRequest(NamedTuple):
    items: Tuple[Item, ...]
    min: int = 1
    max: int = 0  #: 0: min
    lease_ms: int = 0  #: 0: 60 s; at most 1 h
    namespace: str = ""


class CommitRequest(NamedTuple):
    lease: bytes
    used: int
    namespace: str = ""


class CancelRequest(NamedTuple):
    lease: bytes
    namespace: str = ""


class RevokeRequest(NamedTuple):
    scope: str  #: one of SCOPES
    value: bytes = b""  #: jti, sid, sub, client, kid, token, header.payload; none: namespace
    reason: str = ""  #: "logout", "password_change", ...; "": the daemon's default for the scope
    issuer: str = ""
    before_ms: int = 0  #: cutoffs: milliseconds since 1970; 0: now
    exp_s: int = 0  #: of the token; 0: not known (kept for the longest life)
    actor: str = ""  #: who asks, for the audit log
    level: str = ""  #: one of LEVELS
    hashed: bool = False  #: value is the SHA-256 of the opaque or signed text already
    namespace: str = ""

    def __repr__(self) -> str:
        return _without(self, "value")


class FactName(NamedTuple):
    """A revocation's own name."""

    origin: bytes  #: 16 bytes
    sequence: int


class UnrevokeRequest(NamedTuple):
    ids: Tuple[FactName, ...]  #: 1 to 64
    actor: str = ""
    level: str = ""
    namespace: str = ""


class FamilyOpenRequest(NamedTuple):
    subject: str
    exp_s: int
    jti: str = ""  #: of the first refresh token; "": minted
    opaque: bytes = b""  #: in place of jti
    issuer: str = ""
    client: str = ""
    binding: bytes = b""  #: hash of what the family is bound to
    iat_s: int = 0  #: 0: now
    level: str = ""
    namespace: str = ""

    def __repr__(self) -> str:
        return _without(self, "opaque", "binding")


class FamilyEndRequest(NamedTuple):
    sid: str
    issuer: str = ""
    reason: str = ""  #: "": logout
    actor: str = ""
    exp_s: int = 0
    level: str = ""
    namespace: str = ""


class RotateRequest(NamedTuple):
    presented: Token
    next_exp_s: int
    next_jti: str = ""  #: "": minted, 128 random bits; see RotateAnswer.proposed
    next_opaque: bytes = b""  #: in place of next_jti
    next_seed: bytes = b""  #: 16 bytes that next_opaque was derived from, or none
    next_iat_s: int = 0  #: 0: now, by the daemon
    generation: Optional[int] = None  #: a claim of the presented token
    leeway_ms: Optional[int] = None  #: narrows the daemon's
    adopt: bool = False  #: adopt a family from before pawl
    verified: bool = False  #: signature and sid claim were verified by the caller
    binding: bytes = b""
    request_id: bytes = b""
    level: str = ""
    namespace: str = ""

    def __repr__(self) -> str:
        return _without(self, "next_opaque", "next_seed", "binding")


class LimitsRequest(NamedTuple):
    limit: str = ""  #: only this one; "": all
    after: str = ""  #: the last name of the page before
    namespace: str = ""


class StatsRequest(NamedTuple):
    prefix: str = ""
    namespace: str = ""


class PingRequest(NamedTuple):
    namespace: str = ""


# ---- answers ------------------------------------------------------------------------------------


class Info(NamedTuple):
    """Where an answer comes from."""

    source: str  #: "daemon", "fallback" (on_error, in this process), "none"
    cause: str  #: "ok", else why it is not the daemon's answer: CAUSES of pawl.errors
    effect: str  #: whether something was charged or written: "none", "done", "unknown"
    text: str = ""  #: for a person, where cause is not "ok"; never a secret


class RateAnswer(NamedTuple):
    """The answer for one rate of one item."""

    item: int  #: index in the request's items
    rate_index: int
    window_ms: int
    limit: int
    count: int  # type: ignore[assignment]  #: in the window, this call included where charged
    remaining: int
    oldest_age_ms: int  #: 0: none, or just now
    reset_after_ms: int  #: until the window is empty
    retry_after_ms: int  #: until this cost fits; 0: it did, or see never
    charge: int  #: for a refund; 0: nothing was charged
    never: bool  #: the cost is above the limit
    allowed: bool
    shadow: bool = False  #: decided and counted, never denied
    overflow: bool = False  #: counted in a cell shared with other keys
    contended: bool = False  #: denied because of a reservation of another check
    bypass: bool = False  #: the key is never limited: nothing was counted
    full: bool = False  #: no room to count in: the limit's when_full decided
    on_error: str = ""  #: the daemon's for this limit; "": none


class Claims(NamedTuple):
    """What pawld found in a token that it verified."""

    issuer: str
    jti: str
    subject: str
    client: str
    key: str
    sid: str
    iat_s: int
    exp_s: int


class TokenAnswer(NamedTuple):
    """A token's verdict."""

    status: str  #: "valid", "revoked", "expired", "invalid", "undecided"
    reason: str = ""  #: with "revoked": "logout", ...
    scope: str = ""  #: which revocation hit, one of SCOPES
    fresh: bool = False  #: the data under it is not older than the daemon's bound
    staleness_ms: int = 0  #: how old it may be
    detail: str = ""  #: why invalid or undecided, a word
    claims: Optional[Claims] = None  #: of a raw token


class CheckAnswer(NamedTuple):
    outcome: str  #: "allow", "deny", "undecided"
    info: Info
    rates: Tuple[RateAnswer, ...] = ()
    token: Optional[TokenAnswer] = None
    retry_after_ms: int = 0  #: longest of those denied; 0: none, or never
    never: bool = False  #: a denied cost can never fit

    @property
    def allowed(self) -> bool:
        return self.outcome == "allow"


class TokenCheckAnswer(NamedTuple):
    info: Info
    token: TokenAnswer


class RefundAnswer(NamedTuple):
    info: Info
    refunded: Tuple[int, ...] = ()  #: by item: given back on its first rate


class ResetAnswer(NamedTuple):
    info: Info
    records: int = 0  #: forgotten


class ReserveAnswer(NamedTuple):
    outcome: str
    info: Info
    granted: int = 0  #: of each item; 0: refused, nothing is charged
    lease: bytes = b""  #: for commit and cancel; works once
    lease_ms: int = 0
    rates: Tuple[RateAnswer, ...] = ()
    retry_after_ms: int = 0
    never: bool = False


class CommitAnswer(NamedTuple):
    """Of commit and cancel."""

    info: Info
    refunded: int = 0


class RevokeAnswer(NamedTuple):
    """Of revoke and family_end."""

    info: Info
    acknowledged: str = ""  #: the level reached; compare with asked
    asked: str = ""
    id: FactName = FactName(b"", 0)
    until_s: int = 0  #: kept until


class UnrevokeAnswer(NamedTuple):
    info: Info
    acknowledged: str = ""
    canceled: int = 0
    id: FactName = FactName(b"", 0)


class FamilyOpenAnswer(NamedTuple):
    info: Info
    acknowledged: str = ""
    sid: str = ""  #: goes into the tokens as a signed claim
    jti: str = ""  #: as given or minted
    exp_s: int = 0  #: as asked, or clamped to the family's end: sign this one
    family_exp_s: int = 0  #: 0: none


class RotateAnswer(NamedTuple):
    """The result's words are those of the decision table: "rotated", "grace", "adopted" (mint the
    pair), "raced" (409), "reuse", "revoked", "expired", "not_yet_valid", "mismatch",
    "family_expired", "unknown" (401), "invalid" (400), "denied" (403), "unavailable" (503, keep
    the cookie, ask again with the same proposal)."""

    info: Info
    result: str
    reason: str = ""  #: with revoked and reuse
    generation: int = 0
    successor: str = ""  #: jti
    successor_iat_s: int = 0
    successor_exp_s: int = 0  #: clamped to the family's end: sign this one
    sid: str = ""  #: of an adopted family
    subject: str = ""
    proposed: str = ""  #: next_jti as given or minted
    superseded: bool = False  #: with revoked: the presented token had been superseded
    row: int = 0  #: of the decision table, for support
    retry_after_ms: int = 0  #: with unavailable
    family_exp_s: int = 0
    successor_sha256: bytes = b""  #: of an opaque successor
    successor_seed: bytes = b""

    def __repr__(self) -> str:
        return _without(self, "successor_seed")


class LimitInfo(NamedTuple):
    name: str
    namespace: str
    rates: Tuple[Rate, ...]
    precision: int
    on_error: str
    count_denied: bool
    shadow: bool
    algorithm: str
    when_full: str


class LimitsAnswer(NamedTuple):
    info: Info
    limits: Tuple[LimitInfo, ...] = ()
    more: bool = False  #: ask again with after = the last name


class StatsAnswer(NamedTuple):
    info: Info
    figures: Dict[str, Any] = {}  #: by name: int, bool or str


class PingAnswer(NamedTuple):
    info: Info


class HandleOptions(NamedTuple):
    """How a handle is made; "" and 0 are libpawl's defaults (client/include/pawl/pawl.h)."""

    addresses: str = ""
    namespace: str = ""
    name: str = "pawl-python"
    check_deadline_ms: int = 0
    durable_deadline_ms: int = 0
    in_flight_max: int = 0
    tls_ca: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    tls_name: str = ""
    credential_id: str = ""
    credential: bytes = b""
    credential_file: str = ""
    insecure: bool = False  #: send the credential in clear to another machine, too

    def __repr__(self) -> str:
        return _without(self, "credential")


class Handle(Protocol):
    """A connection to a daemon that never blocks: what a backend is.

    One thread at a time. No fallback and no breaker: these are the process's (pawl._policy). A
    submit returns the id under which :meth:`process` will hand out the answer, exactly once,
    whatever happens: an answer of the daemon, or one whose info.cause says why there is none.
    It raises ValueError for a request that is wrong or too big, BufferError when too many are in
    flight. After a fork the first call in the child drops its copies of the parent's sockets
    without sending a byte, and forgets the parent's requests.
    """

    def __init__(self, options: HandleOptions) -> None: ...  # ValueError says which and why

    def fileno(self) -> int: ...  # readable when there is something to process
    def timeout_ms(self) -> int: ...  # until process() is wanted anyway; -1: nothing pending
    def process(self) -> List[Tuple[int, Any]]: ...  # never waits
    def flush(self) -> None: ...
    def cancel(self, call_id: int) -> bool: ...
    def resolve(self) -> None: ...  # look host names up again; may block
    def figures(self) -> Dict[str, int]: ...
    def close(self) -> None: ...

    def submit_check(self, request: CheckRequest, deadline_ms: int = 0,
                     now_ms: int = 0) -> int: ...

    def submit_token_check(self, request: TokenCheckRequest, deadline_ms: int = 0,
                           now_ms: int = 0) -> int: ...

    def submit_refund(self, request: RefundRequest, deadline_ms: int = 0,
                      now_ms: int = 0) -> int: ...

    def submit_reset(self, request: ResetRequest, deadline_ms: int = 0,
                     now_ms: int = 0) -> int: ...

    def submit_reserve(self, request: ReserveRequest, deadline_ms: int = 0,
                       now_ms: int = 0) -> int: ...

    def submit_commit(self, request: CommitRequest, deadline_ms: int = 0,
                      now_ms: int = 0) -> int: ...

    def submit_cancel_lease(self, request: CancelRequest, deadline_ms: int = 0,
                            now_ms: int = 0) -> int: ...

    def submit_revoke(self, request: RevokeRequest, deadline_ms: int = 0,
                      now_ms: int = 0) -> int: ...

    def submit_unrevoke(self, request: UnrevokeRequest, deadline_ms: int = 0,
                        now_ms: int = 0) -> int: ...

    def submit_family_open(self, request: FamilyOpenRequest, deadline_ms: int = 0,
                           now_ms: int = 0) -> int: ...

    def submit_family_end(self, request: FamilyEndRequest, deadline_ms: int = 0,
                          now_ms: int = 0) -> int: ...

    def submit_rotate(self, request: RotateRequest, deadline_ms: int = 0,
                      now_ms: int = 0) -> int: ...

    def submit_limits(self, request: LimitsRequest, deadline_ms: int = 0,
                      now_ms: int = 0) -> int: ...

    def submit_stats(self, request: StatsRequest, deadline_ms: int = 0,
                     now_ms: int = 0) -> int: ...

    def submit_ping(self, request: PingRequest, deadline_ms: int = 0, now_ms: int = 0) -> int: ...

"""The blocking client: threads, gevent and prefork servers."""

import os
import select
from typing import (Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence,
                    Union)

from . import _calls
from ._calls import BaseClient, Key, Rates, item, raise_for
from ._types import (CancelRequest, CheckAnswer, CommitAnswer, CommitRequest, FactName,
                     FamilyEndRequest, FamilyOpenAnswer, FamilyOpenRequest, Info, Item, LimitInfo,
                     LimitsRequest, PingRequest, RateAnswer, RefundItem, RefundRequest,
                     ReserveAnswer, ReserveRequest, ResetRequest, RevokeAnswer, RevokeRequest,
                     RotateAnswer, RotateRequest, StatsRequest, Token, TokenCheckAnswer,
                     TokenCheckRequest, UnrevokeAnswer, UnrevokeRequest)


class _Line:
    """A handle and what waits on it; in use by one thread or greenlet at a time."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self._fd = -1
        self._poller: Any = None

    def wait(self, timeout_ms: int) -> None:
        # select.poll is looked up here and now: gevent puts its own in its place.
        fd = self.handle.fileno()
        if fd != self._fd:
            self._poller = select.poll()
            self._poller.register(fd, select.POLLIN)
            self._fd = fd
        self._poller.poll(None if timeout_ms < 0 else timeout_ms)


class Client(BaseClient):
    """Ask pawld, and wait for the answer no longer than the deadline.

        client = pawl.Client()
        if client.check("alice", "5/minute", on_error="closed").allowed: ...

    Threads and greenlets may share a client: each call takes an idle connection, or makes one, and
    puts it back (at most ``connections_max`` are kept). The GIL is released while waiting and at
    no other time; under gevent only the greenlet waits. Safe to make before a fork: a child makes
    its own connections. Local counts and the breaker are the process's, for all threads together.

    Verdicts are answers: :meth:`check`, :meth:`token_check` and :meth:`rotate` never raise because
    of a daemon that is away, slow or wrong; they raise ValueError for arguments that are. Writes
    and listings raise :class:`pawl.errors.PawlError`. See :class:`pawl._calls.BaseClient` for the
    options.
    """

    connections_max = 64  #: idle ones that are kept

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._idle: List[_Line] = []

    # ---- connections ----------------------------------------------------------------------------

    def _forked(self) -> None:
        super()._forked()
        lines, self._idle = self._idle, []
        for line in lines:
            line.handle.close()

    def _take(self) -> _Line:
        if self._pid != os.getpid():  # a fork that ran no Python hook
            self._forked()
        try:
            return self._idle.pop()
        except IndexError:
            return _Line(self._handle_class(self._options))

    def _put(self, line: _Line) -> None:
        if len(self._idle) < self.connections_max:
            self._idle.append(line)
        else:
            line.handle.close()

    def close(self) -> None:
        """Close the idle connections. The client may be used again."""
        lines, self._idle = self._idle, []
        for line in lines:
            line.handle.close()

    def resolve(self) -> None:
        """Look the address list's host names up again, for connections made from now on. May block
        on the name server."""
        self.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def figures(self) -> Dict[str, int]:
        """What this process has seen: sums over the idle connections, and the policy's own."""
        sums: Dict[str, int] = {}
        for line in list(self._idle):
            for name, value in line.handle.figures().items():
                sums[name] = sums.get(name, 0) + value
        sums["connections"] = len(self._idle)
        sums["local_keys"] = self._local.keys
        sums["breaker_opens"] = self._breaker.opens
        sums["breaker_open"] = int(self._breaker.is_open)
        return sums

    # ---- one call -------------------------------------------------------------------------------

    def _run(self, kind: str, request: Any, deadline_ms: int,
             nobody: Callable[[Info], Any]) -> Any:
        line = self._take()
        ticket = self._breaker.ticket()
        answer = None
        try:
            submit = getattr(line.handle, "submit_" + kind)
            call_id = submit(request, deadline_ms, self._now())
            while answer is None:
                for done, found in line.handle.process():
                    if done == call_id:
                        answer = found
                if answer is None:
                    line.wait(line.handle.timeout_ms())
        except BufferError:
            answer = nobody(_calls.TOO_MANY)
        except ValueError:
            self._breaker.given_up()
            self._put(line)
            raise
        except BaseException:  # killed while waiting: what comes on this connection is nobody's
            self._breaker.given_up()
            line.handle.close()
            raise
        self._put(line)
        self._saw(answer.info.cause, ticket)
        return answer

    def _write(self, kind: str, request: Any, deadline_ms: int) -> Any:
        # Writes are tried whatever the breaker says: a log-out is worth the wait.
        answer = self._run(kind, request, deadline_ms, _refuse)
        raise_for(answer.info)
        return answer

    # ---- limits ---------------------------------------------------------------------------------

    def check(self, key: Key, rates: Rates = (), *, limit: str = "", cost: int = 1,
              on_error: str = "local", peek: bool = False, deadline_ms: int = 0,
              **more: Any) -> CheckAnswer:
        """Ask whether @key may go on, and charge @cost if so. See :func:`pawl.item`."""
        one = item(key, rates, limit=limit, cost=cost, on_error=on_error, **more)
        return self.check_many((one,), peek=peek, deadline_ms=deadline_ms)

    def check_many(self, items: Iterable[Item], *, token: Optional[Token] = None,
                   peek: bool = False, mode: str = "atomic", deadline_ms: int = 0) -> CheckAnswer:
        """Several limits, and a token, in one round trip.

        @mode  "atomic": all or none is charged; "each": each limit for itself.
        """
        request = self._check_request(items, token, peek, mode)
        if not self._breaker.may_ask():
            return self._check_answer(request, _calls.no_check(_calls.BREAKER_OPEN))
        answer = self._run("check", request, deadline_ms, _calls.no_check)
        return self._check_answer(request, answer)

    def refund(self, charged: Item, rates: Sequence[RateAnswer] = (), *,
               deadline_ms: int = 0) -> int:
        """Take a charge back; returns how much. @rates: its rows of the check's answer, so that
        this very charge goes; without them the oldest of the key does."""
        charges = tuple(row.charge for row in sorted(rates, key=lambda row: row.rate_index))
        request = RefundRequest((RefundItem(charged, charges),))
        return int(self._write("refund", request, deadline_ms).refunded[0])

    def reset(self, key: Key, rates: Rates = (), *, limit: str = "", deadline_ms: int = 0,
              **more: Any) -> int:
        """Forget a key; returns how many records. Wants the role admin."""
        request = ResetRequest(item(key, rates, limit=limit, **more))
        return int(self._write("reset", request, deadline_ms).records)

    def reserve(self, items: Iterable[Item], *, min: int = 1, max: int = 0, lease_ms: int = 0,
                deadline_ms: int = 0) -> ReserveAnswer:
        """Take between @min and @max of every item's limits now, and say later how much it was.
        There is no fallback: where no daemon answers the outcome is "undecided"."""
        request = ReserveRequest(tuple(items), min, max, lease_ms)
        answer: ReserveAnswer = self._run("reserve", request, deadline_ms, _no_lease)
        return answer

    def commit(self, lease: bytes, used: int, *, deadline_ms: int = 0) -> int:
        """Say how much of a reservation was used; returns what went back. NotFound: the lease is
        unknown, over or used; its charge stays."""
        answer: CommitAnswer = self._write("commit", CommitRequest(lease, used), deadline_ms)
        return answer.refunded

    def cancel(self, lease: bytes, *, deadline_ms: int = 0) -> int:
        """Nothing of a reservation was used; returns what went back."""
        answer: CommitAnswer = self._write("cancel_lease", CancelRequest(lease), deadline_ms)
        return answer.refunded

    # ---- tokens ---------------------------------------------------------------------------------

    def token_check(self, token: Token, *, deadline_ms: int = 0) -> TokenCheckAnswer:
        """Is it still good? "undecided" where nobody answers: what that means is the caller's."""
        if not self._breaker.may_ask():
            return _calls.no_token_check(_calls.BREAKER_OPEN)
        answer: TokenCheckAnswer = self._run("token_check", TokenCheckRequest(token), deadline_ms,
                                             _calls.no_token_check)
        return answer

    def revoke(self, scope: str, value: Union[str, bytes] = b"", *, reason: str = "",
               issuer: str = "", before_ms: int = 0, exp_s: int = 0, actor: str = "",
               level: str = "", hashed: bool = False, deadline_ms: int = 0) -> RevokeAnswer:
        """Revoke a token ("token", "opaque", "signed", "jwt"), a login ("family"), or everything
        before now of a "subject", "client", "key" or the "namespace". Safe to repeat."""
        data = value.encode() if isinstance(value, str) else value
        request = RevokeRequest(scope, data, reason, issuer, before_ms, exp_s, actor, level, hashed)
        answer: RevokeAnswer = self._write("revoke", request, deadline_ms)
        return answer

    def unrevoke(self, ids: Sequence[FactName], *, actor: str = "", level: str = "",
                 deadline_ms: int = 0) -> UnrevokeAnswer:
        """Cancel revocations of tokens by the ids they were given. Wants the role admin."""
        request = UnrevokeRequest(tuple(ids), actor, level)
        answer: UnrevokeAnswer = self._write("unrevoke", request, deadline_ms)
        return answer

    def family_open(self, subject: str, exp_s: int, *, deadline_ms: int = 0,
                    **more: Any) -> FamilyOpenAnswer:
        """A login: a family of refresh tokens begins. @more: see FamilyOpenRequest."""
        request = FamilyOpenRequest(subject, exp_s, **more)
        answer: FamilyOpenAnswer = self._write("family_open", request, deadline_ms)
        return answer

    def family_end(self, sid: str, *, deadline_ms: int = 0, **more: Any) -> RevokeAnswer:
        """A log-out: the family ends, all its tokens with it. @more: see FamilyEndRequest."""
        answer: RevokeAnswer = self._write("family_end", FamilyEndRequest(sid, **more), deadline_ms)
        return answer

    def rotate(self, presented: Token, next_exp_s: int, *, deadline_ms: int = 0,
               **more: Any) -> RotateAnswer:
        """Exchange a refresh token for its successor. @more: see RotateRequest. Never raises for a
        daemon that is away: the result is "unavailable"; ask again with the same next_jti."""
        request = RotateRequest(presented, next_exp_s, **more)
        answer: RotateAnswer = self._run("rotate", request, deadline_ms, _calls.no_rotation)
        return answer

    # ---- the daemon -----------------------------------------------------------------------------

    def limits(self, *, deadline_ms: int = 0) -> List[LimitInfo]:
        """The named limits of the daemon's configuration. Wants the role read."""
        found: List[LimitInfo] = []
        more = True
        while more:
            after = found[-1].name if found else ""
            answer = self._write("limits", LimitsRequest("", after), deadline_ms)
            found.extend(answer.limits)
            more = answer.more and bool(answer.limits)
        return found

    def stats(self, prefix: str = "", *, deadline_ms: int = 0) -> Dict[str, Any]:
        """The daemon's figures by name. Wants the role read."""
        return dict(self._write("stats", StatsRequest(prefix), deadline_ms).figures)

    def ping(self, *, deadline_ms: int = 0) -> None:
        """Does somebody answer? Raises Unavailable."""
        self._write("ping", PingRequest(), deadline_ms)


class _Refusal(NamedTuple):
    info: Info


def _refuse(info: Info) -> _Refusal:
    return _Refusal(info)


def _no_lease(info: Info) -> ReserveAnswer:
    return ReserveAnswer("undecided", info)

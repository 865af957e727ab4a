"""The asyncio client: the same calls, as coroutines."""

import asyncio
import os
import threading
import weakref
from typing import Any, Dict, Iterable, List, Optional, Sequence, Union

from . import _calls
from ._calls import BaseClient, Key, Rates, item, raise_for
from ._types import (CancelRequest, CheckAnswer, CommitAnswer, CommitRequest, FactName,
                     FamilyEndRequest, FamilyOpenAnswer, FamilyOpenRequest, Item, LimitInfo,
                     LimitsRequest, PingRequest, RateAnswer, RefundItem, RefundRequest,
                     ReserveAnswer, ReserveRequest, ResetRequest, RevokeAnswer, RevokeRequest,
                     RotateAnswer, RotateRequest, StatsRequest, Token, TokenCheckAnswer,
                     TokenCheckRequest, UnrevokeAnswer, UnrevokeRequest)


class _Line:
    """A handle in one event loop; any number of requests in flight. What is asked in one turn of
    the loop leaves in one write. It does not refer to its loop, which would keep that for ever."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self._waiting: Dict[int, "asyncio.Future[Any]"] = {}
        self._timer: Optional[asyncio.TimerHandle] = None
        self._turn_due = False
        self._fd = -1
        self._is_closed = False

    async def call(self, kind: str, request: Any, deadline_ms: int, now_ms: int) -> Any:
        call_id = getattr(self.handle, "submit_" + kind)(request, deadline_ms, now_ms)
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting[call_id] = future
        if not self._turn_due:
            self._turn_due = True
            loop.call_soon(self._turn)
        try:
            return await future
        finally:
            if self._waiting.pop(call_id, None) is not None:
                self.handle.cancel(call_id)

    def _turn(self) -> None:
        """Let the handle do what it can, wake who has an answer, and see to the next turn."""
        self._turn_due = False
        if self._is_closed:
            return
        for call_id, answer in self.handle.process():
            future = self._waiting.pop(call_id, None)
            if future is not None and not future.done():
                future.set_result(answer)
        loop = asyncio.get_running_loop()
        fd = self.handle.fileno()
        if fd != self._fd:
            if self._fd >= 0:
                loop.remove_reader(self._fd)
            loop.add_reader(fd, self._turn)
            self._fd = fd
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        timeout_ms = self.handle.timeout_ms()
        if timeout_ms >= 0:
            self._timer = loop.call_later(timeout_ms / 1000, self._turn)

    def close(self, loop: Optional[asyncio.AbstractEventLoop] = None) -> None:
        """@loop: its own, which runs; None: that is closed."""
        self._is_closed = True
        if loop is not None:
            if self._timer is not None:
                self._timer.cancel()
            if self._fd >= 0:
                loop.remove_reader(self._fd)
            for future in self._waiting.values():
                future.cancel()
        self._timer = None
        self._waiting.clear()
        self.handle.close()


class AsyncClient(BaseClient):
    """Ask pawld without blocking the event loop; :class:`pawl.Client` tells what each call does.

    May be shared by the tasks of any number of loops, in any threads: each has a connection of its
    own, which :meth:`close` ends, or the first call of a loop after that one was closed (under WSGI
    each request of an async view has a loop of its own). A canceled task gives its request up
    (whether it was charged is not known).
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._lines: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Line]" = (
            weakref.WeakKeyDictionary())
        self._lines_lock = threading.Lock()

    def _forked(self) -> None:
        super()._forked()
        self._lines_lock = threading.Lock()
        lines, self._lines = list(self._lines.values()), weakref.WeakKeyDictionary()
        for line in lines:  # the parent's loops: their readers are not ours to remove
            line.handle.close()

    def _line(self) -> _Line:
        if self._pid != os.getpid():
            self._forked()
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is None:
            line = _Line(self._handle_class(self._options))
            with self._lines_lock:
                ended = [known for known in self._lines if known.is_closed()]
                left = [self._lines.pop(known) for known in ended]
                self._lines[loop] = line
            for old in left:
                old.close()
        return line

    async def close(self) -> None:
        """Close this loop's connection. The client may be used again."""
        loop = asyncio.get_running_loop()
        with self._lines_lock:
            line = self._lines.pop(loop, None)
        if line is not None:
            line.close(loop)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _run(self, kind: str, request: Any, deadline_ms: int) -> Any:
        ticket = self._breaker.ticket()
        try:
            answer = await self._line().call(kind, request, deadline_ms, self._now())
        except BaseException:
            self._breaker.given_up()
            raise
        self._saw(answer.info.cause, ticket)
        return answer

    async def _write(self, kind: str, request: Any, deadline_ms: int) -> Any:
        try:
            answer = await self._run(kind, request, deadline_ms)
        except BufferError:
            raise_for(_calls.TOO_MANY)
        raise_for(answer.info)
        return answer

    # ---- limits ---------------------------------------------------------------------------------

    async def check(self, key: Key, rates: Rates = (), *, limit: str = "", cost: int = 1,
                    on_error: str = "local", peek: bool = False, deadline_ms: int = 0,
                    **more: Any) -> CheckAnswer:
        one = item(key, rates, limit=limit, cost=cost, on_error=on_error, **more)
        return await self.check_many((one,), peek=peek, deadline_ms=deadline_ms)

    async def check_many(self, items: Iterable[Item], *, token: Optional[Token] = None,
                         peek: bool = False, mode: str = "atomic",
                         deadline_ms: int = 0) -> CheckAnswer:
        request = self._check_request(items, token, peek, mode)
        if not self._breaker.may_ask():
            return self._check_answer(request, _calls.no_check(_calls.BREAKER_OPEN))
        try:
            answer = await self._run("check", request, deadline_ms)
        except BufferError:
            answer = _calls.no_check(_calls.TOO_MANY)
        return self._check_answer(request, answer)

    async def refund(self, charged: Item, rates: Sequence[RateAnswer] = (), *,
                     deadline_ms: int = 0) -> int:
        charges = tuple(row.charge for row in sorted(rates, key=lambda row: row.rate_index))
        request = RefundRequest((RefundItem(charged, charges),))
        return int((await self._write("refund", request, deadline_ms)).refunded[0])

    async def reset(self, key: Key, rates: Rates = (), *, limit: str = "", deadline_ms: int = 0,
                    **more: Any) -> int:
        request = ResetRequest(item(key, rates, limit=limit, **more))
        return int((await self._write("reset", request, deadline_ms)).records)

    async def reserve(self, items: Iterable[Item], *, min: int = 1, max: int = 0,
                      lease_ms: int = 0, deadline_ms: int = 0) -> ReserveAnswer:
        try:
            answer: ReserveAnswer = await self._run(
                "reserve", ReserveRequest(tuple(items), min, max, lease_ms), deadline_ms)
        except BufferError:
            answer = ReserveAnswer("undecided", _calls.TOO_MANY)
        return answer

    async def commit(self, lease: bytes, used: int, *, deadline_ms: int = 0) -> int:
        answer: CommitAnswer = await self._write("commit", CommitRequest(lease, used), deadline_ms)
        return answer.refunded

    async def cancel(self, lease: bytes, *, deadline_ms: int = 0) -> int:
        answer: CommitAnswer = await self._write("cancel_lease", CancelRequest(lease), deadline_ms)
        return answer.refunded

    # ---- tokens ---------------------------------------------------------------------------------

    async def token_check(self, token: Token, *, deadline_ms: int = 0) -> TokenCheckAnswer:
        if not self._breaker.may_ask():
            return _calls.no_token_check(_calls.BREAKER_OPEN)
        try:
            answer: TokenCheckAnswer = await self._run("token_check", TokenCheckRequest(token),
                                                       deadline_ms)
        except BufferError:
            answer = _calls.no_token_check(_calls.TOO_MANY)
        return answer

    async def revoke(self, scope: str, value: Union[str, bytes] = b"", *, reason: str = "",
                     issuer: str = "", before_ms: int = 0, exp_s: int = 0, actor: str = "",
                     level: str = "", hashed: bool = False,
                     deadline_ms: int = 0) -> RevokeAnswer:
        data = value.encode() if isinstance(value, str) else value
        request = RevokeRequest(scope, data, reason, issuer, before_ms, exp_s, actor, level, hashed)
        answer: RevokeAnswer = await self._write("revoke", request, deadline_ms)
        return answer

    async def unrevoke(self, ids: Sequence[FactName], *, actor: str = "", level: str = "",
                       deadline_ms: int = 0) -> UnrevokeAnswer:
        request = UnrevokeRequest(tuple(ids), actor, level)
        answer: UnrevokeAnswer = await self._write("unrevoke", request, deadline_ms)
        return answer

    async def family_open(self, subject: str, exp_s: int, *, deadline_ms: int = 0,
                          **more: Any) -> FamilyOpenAnswer:
        request = FamilyOpenRequest(subject, exp_s, **more)
        answer: FamilyOpenAnswer = await self._write("family_open", request, deadline_ms)
        return answer

    async def family_end(self, sid: str, *, deadline_ms: int = 0, **more: Any) -> RevokeAnswer:
        answer: RevokeAnswer = await self._write("family_end", FamilyEndRequest(sid, **more),
                                                 deadline_ms)
        return answer

    async def rotate(self, presented: Token, next_exp_s: int, *, deadline_ms: int = 0,
                     **more: Any) -> RotateAnswer:
        request = RotateRequest(presented, next_exp_s, **more)
        try:
            answer: RotateAnswer = await self._run("rotate", request, deadline_ms)
        except BufferError:
            answer = _calls.no_rotation(_calls.TOO_MANY)
        return answer

    # ---- the daemon -----------------------------------------------------------------------------

    async def limits(self, *, deadline_ms: int = 0) -> List[LimitInfo]:
        found: List[LimitInfo] = []
        more = True
        while more:
            after = found[-1].name if found else ""
            answer = await self._write("limits", LimitsRequest("", after), deadline_ms)
            found.extend(answer.limits)
            more = answer.more and bool(answer.limits)
        return found

    async def stats(self, prefix: str = "", *, deadline_ms: int = 0) -> Dict[str, Any]:
        return dict((await self._write("stats", StatsRequest(prefix), deadline_ms)).figures)

    async def ping(self, *, deadline_ms: int = 0) -> None:
        await self._write("ping", PingRequest(), deadline_ms)

"""A pure-Python client of pawld's protocol, for where no C extension can be had.

The same interface and the same behaviour as the extension over libpawl (pawl._native), more slowly:
a check costs some tens of microseconds of this process in place of a few. One difference is left:
Python cannot wipe a secret from memory.

    _wire         protobuf's encoding, by tables
    _tables       the messages of proto/pawl/v1/pawl.proto, with their caps
    _requests     requests to bytes
    _answers      replies to answers
    _calls        the kinds of requests
    _shapes       types of what comes in
    _addresses    the address list
    _secure       TLS and credentials
    _connection   a socket, and frames over it
    _engine       the lives of requests and connections
"""

import os
from typing import Any, Dict, List, Tuple

from .._types import (CancelRequest, CheckRequest, CommitRequest, FamilyEndRequest,
                      FamilyOpenRequest, LimitsRequest, PingRequest, RefundRequest, ReserveRequest,
                      ResetRequest, RevokeRequest, RotateRequest, StatsRequest, TokenCheckRequest,
                      UnrevokeRequest)
from . import _calls as calls
from ._addresses import PLACES_MAX, look_up
from ._connection import DRAINING, UP
from ._engine import NEVER_NS, Engine, clock_ns, epoll_class
from ._shapes import expect

__all__ = ["Handle"]


class Handle(Engine):
    """A connection to a daemon that never blocks; see pawl._types.Handle."""

    def fileno(self) -> int:
        """The descriptor to wait on, for reading. The same for the handle's life, but for the first
        call after a fork. poll(2), gevent and asyncio can wait on it."""
        self._enter()
        try:
            if self._epoll is None:
                self._epoll = epoll_class()()
                self._watch(self._epoll)
            return self._epoll.fileno()
        finally:
            self._in_use.release()

    def timeout_ms(self) -> int:
        """Until process() is wanted though nothing can be read; -1: nothing is pending."""
        self._enter()
        try:
            next_ns = self._next_ns()
        finally:
            self._in_use.release()
        if next_ns == NEVER_NS:
            return -1
        return max(0, -(-(next_ns - clock_ns()) // calls.NS_PER_MS))

    def process(self) -> List[Tuple[int, Any]]:
        """Do what can be done without waiting, and hand out the answers that are there."""
        self._enter()
        try:
            for connection in (self._active, self._draining):
                if connection is not None and connection.state in (UP, DRAINING):
                    self._receive(connection)
            self._pump()
            ready, self._ready = self._ready, []
            return ready
        finally:
            self._in_use.release()

    def flush(self) -> None:
        """Send what was submitted, as far as it goes without waiting."""
        self._enter()
        try:
            self._pump()
        finally:
            self._in_use.release()

    def cancel(self, call_id: int) -> bool:
        """Give up a request; its answer, with cause "canceled", comes with the next process().
        False: it is not pending."""
        self._enter()
        try:
            call = self._calls.get(call_id)
            if call is not None:
                self._give_up(call, "canceled")
            return call is not None
        finally:
            self._in_use.release()

    def resolve(self) -> None:
        """Look host names up again; blocks for as long as the name server takes. OSError when a
        name has no address at all."""
        self._enter()
        try:
            self._places = look_up(self._addresses, self._places)
        finally:
            self._in_use.release()
        found = {place.address for place in self._places}
        for address in self._addresses:
            if address not in found and len(self._places) < PLACES_MAX:
                raise OSError(f"{address.text}: the host name has no address")

    def figures(self) -> Dict[str, int]:
        """Counts since the handle was made (the names of struct pawl_client_figures). Any thread,
        also while another is inside."""
        if self._closed:
            raise ValueError("the handle is closed")
        if self._pid != os.getpid():
            self._forget_parent()
        return dict(self._counts, in_flight=len(self._calls) + len(self._ready),
                    in_flight_max=self._in_flight_max)

    def close(self) -> None:
        """End it; answers that were not handed out are dropped. Once is enough, twice is fine.
        Every other method raises ValueError from then on."""
        if self._closed:
            return
        self._enter()
        self._closed = True
        self._calls, self._queue, self._ready = {}, {}, []
        for connection in (self._active, self._draining):
            if connection is not None:
                self._drop(connection)
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None
        self._in_use.release()

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:  # made by half, or at the interpreter's end
            pass

    def submit_check(self, request: CheckRequest, deadline_ms: int = 0, now_ms: int = 0) -> int:
        expect(request, CheckRequest, "request")
        kind = calls.CHECK[request.peek, request.each]
        return self._submit(kind, request, deadline_ms, now_ms)

    def submit_token_check(self, request: TokenCheckRequest, deadline_ms: int = 0,
                           now_ms: int = 0) -> int:
        return self._submit(calls.TOKEN_CHECK, request, deadline_ms, now_ms)

    def submit_refund(self, request: RefundRequest, deadline_ms: int = 0, now_ms: int = 0) -> int:
        return self._submit(calls.REFUND, request, deadline_ms, now_ms)

    def submit_reset(self, request: ResetRequest, deadline_ms: int = 0, now_ms: int = 0) -> int:
        return self._submit(calls.RESET, request, deadline_ms, now_ms)

    def submit_reserve(self, request: ReserveRequest, deadline_ms: int = 0,
                       now_ms: int = 0) -> int:
        return self._submit(calls.RESERVE, request, deadline_ms, now_ms)

    def submit_commit(self, request: CommitRequest, deadline_ms: int = 0, now_ms: int = 0) -> int:
        return self._submit(calls.COMMIT, request, deadline_ms, now_ms)

    def submit_cancel_lease(self, request: CancelRequest, deadline_ms: int = 0,
                            now_ms: int = 0) -> int:
        return self._submit(calls.CANCEL_LEASE, request, deadline_ms, now_ms)

    def submit_revoke(self, request: RevokeRequest, deadline_ms: int = 0, now_ms: int = 0) -> int:
        return self._submit(calls.REVOKE, request, deadline_ms, now_ms)

    def submit_unrevoke(self, request: UnrevokeRequest, deadline_ms: int = 0,
                        now_ms: int = 0) -> int:
        return self._submit(calls.UNREVOKE, request, deadline_ms, now_ms)

    def submit_family_open(self, request: FamilyOpenRequest, deadline_ms: int = 0,
                           now_ms: int = 0) -> int:
        return self._submit(calls.FAMILY_OPEN, request, deadline_ms, now_ms)

    def submit_family_end(self, request: FamilyEndRequest, deadline_ms: int = 0,
                          now_ms: int = 0) -> int:
        return self._submit(calls.FAMILY_END, request, deadline_ms, now_ms)

    def submit_rotate(self, request: RotateRequest, deadline_ms: int = 0, now_ms: int = 0) -> int:
        return self._submit(calls.ROTATE, request, deadline_ms, now_ms)

    def submit_limits(self, request: LimitsRequest, deadline_ms: int = 0, now_ms: int = 0) -> int:
        return self._submit(calls.LIMITS, request, deadline_ms, now_ms)

    def submit_stats(self, request: StatsRequest, deadline_ms: int = 0, now_ms: int = 0) -> int:
        return self._submit(calls.STATS, request, deadline_ms, now_ms)

    def submit_ping(self, request: PingRequest, deadline_ms: int = 0, now_ms: int = 0) -> int:
        return self._submit(calls.PING, request, deadline_ms, now_ms)

"""The lives of requests, and of the connections they go over.

A request is

    QUEUED   submitted and encoded; no byte has left
    SENT     a byte has left on a connection: never sent again, but when a goaway says that it was
             not begun; then it is QUEUED once more
    decided  answered, or given up (deadline, lost, canceled); its answer is handed out once

Up to two connections: the one in use, and one that drains after a goaway. What happens when is that
of libpawl (client/src: conn.c, pump.c), with two differences: a request gets its id on the wire and
its budget when it leaves, so ids rise on each connection and the budget is what is left of it; and
a place that failed is asked last, not left out, for there is no breaker here.
"""

import _thread  # as _socket in _connection: nobody waits for its lock
import os
import select
import ssl
import sys
import time
from typing import Any, Dict, List, Optional, Tuple, Type

from .._types import HandleOptions, Info
from . import _addresses, _answers, _calls, _secure
from . import _tables as tables
from ._addresses import GOAWAY_AVOID_NS, SILENT_AVOID_NS, Place
from ._calls import NS_PER_MS, Call, Kind
from ._connection import CLOSED, CONNECTING, DRAINING, SECURING, UP, Broken, Busy, Connection
from ._shapes import expect
from ._wire import WireError, read, to_bytes

CHECK_DEADLINE_MS = 20
DURABLE_DEADLINE_MS = 1000
IN_FLIGHT = 256
IN_FLIGHT_MAX = 4096
QUEUE_BYTES_MAX = 4 << 20
NAME_MAX = 128
BATCH_MAX = 64  # requests in one write ...
BATCH_BYTES = 65536  # ... and bytes, but for the last request's
READS_MAX = 64  # in one turn, so that one peer cannot hold the caller
SILENT_MAX = 5  # times in a row that nobody answered in time
NEVER_NS = 1 << 63
TEXT_MAX = 159
FOREIGN = "what came is not pawl's protocol of version 1"
_PATHS = ("_ca", "_certificate", "_key", "_file")  # their bytes may be anything
_ABOUT_PEER = ("connect", "lost", "protocol", "not_permitted")


def clock_ns() -> int:
    """Goes on while the machine sleeps; nothing that sets a test's clock gets at it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def epoll_class() -> "Type[select.epoll]":
    # gevent takes it out of the module, because waiting for it would block all greenlets. Nothing
    # here waits for it: it is a descriptor that stays the same while sockets come and go.
    monkey: Any = sys.modules.get("gevent.monkey")
    if not hasattr(select, "epoll") and monkey is not None:
        epoll: "Type[select.epoll]" = monkey.get_original("select", "epoll")
        return epoll
    return select.epoll


class Engine:
    """Everything of a handle but its interface. One thread at a time."""

    def __init__(self, options: HandleOptions) -> None:
        self._closed = True  # until all is well
        self._read_options(options)
        self._counts = dict.fromkeys(
            ("requests", "answers", "timeouts", "lost", "connects", "connect_fails", "goaways",
             "protocol_errors", "moved"), 0)
        self._last_id = 0
        self._last_wire_id = 0
        self._reset()
        self._places = _addresses.look_up(self._addresses, [])
        self._closed = False

    def _read_options(self, options: HandleOptions) -> None:
        expect(options, HandleOptions, "options")
        for name, value in zip(options._fields, options):
            if isinstance(value, str) and "\0" in value:
                raise ValueError(f"{name}: a NUL character inside")
            if isinstance(value, str) and not name.endswith(_PATHS):
                to_bytes(value)
        if len(options.namespace.encode()) > tables.NAMESPACE_MAX:
            raise ValueError(f"namespace: at most {tables.NAMESPACE_MAX} bytes")
        if not 0 <= options.in_flight_max <= IN_FLIGHT_MAX:
            raise ValueError(f"in_flight_max: at most {IN_FLIGHT_MAX}")
        for name in ("check_deadline_ms", "durable_deadline_ms"):
            if not 0 <= getattr(options, name) <= _calls.BUDGET_MAX:
                raise ValueError(f"{name}: milliseconds, below 2^32")
        text = options.addresses or os.environ.get("PAWL_ADDR")
        self._addresses = _addresses.parse(
            _addresses.default_addresses() if text is None else text)
        self._context: Optional[ssl.SSLContext] = None
        if any(address.kind == "tls" for address in self._addresses):
            self._context = _secure.context_of(options)
        self._credential = _secure.credential_of(options)
        self._options = options
        self._check_ms = options.check_deadline_ms or CHECK_DEADLINE_MS
        self._durable_ms = options.durable_deadline_ms or DURABLE_DEADLINE_MS
        self._in_flight_max = options.in_flight_max or IN_FLIGHT

    def _reset(self) -> None:
        """As new, but for options, places and counts."""
        self._pid = os.getpid()
        # Held by the thread that is inside; a child has its own. One that belongs to a thread: a
        # handle can be closed where an exception came out of a signal handler at the worst time.
        self._in_use: Any = _thread.RLock()  # type: ignore[attr-defined]
        self._epoll: "Optional[select.epoll]" = None
        self._calls: Dict[int, Call] = {}  # all that are not decided
        self._queue: Dict[int, Call] = {}  # of these, those of which nothing has left, in order
        self._ready: List[Tuple[int, Any]] = []  # answers to hand out
        self._bytes = 0  # of requests that are not decided
        self._active: Optional[Connection] = None
        self._draining: Optional[Connection] = None
        self._deadline_ns = NEVER_NS  # not later than the earliest one pending
        self._busy_ns = 0  # all that is left to try is busy: not before; 0: no
        self._silent = 0  # times in a row that nobody answered in time
        self._error = ""  # of the connection that failed last

    def _enter(self) -> None:
        """Begins each public call, which ends with ``self._in_use.release()``: a child forgets the
        parent's connections and requests; who comes while another is inside gets RuntimeError."""
        if self._closed:
            raise ValueError("the handle is closed")
        if self._pid != os.getpid():
            self._forget_parent()
        if not self._in_use.acquire(False):
            raise RuntimeError("the handle is in use: it belongs to one thread at a time")

    def _forget_parent(self) -> None:
        for connection in (self._active, self._draining):
            if connection is not None:
                connection.close()  # this copy of the descriptor; no EPOLL_CTL_DEL, for the set
        if self._epoll is not None:  # is shared with the parent
            self._epoll.close()
        self._reset()
        _addresses.new_round(self._places)

    # ---- requests ------------------------------------------------------------------------------

    def _submit(self, kind: Kind, request: Any, deadline_ms: int, now_ms: int) -> int:
        self._enter()
        try:
            return self._submit_inside(kind, request, deadline_ms, now_ms)
        finally:
            self._in_use.release()

    def _submit_inside(self, kind: Kind, request: Any, deadline_ms: int, now_ms: int) -> int:
        if not 0 <= deadline_ms <= _calls.BUDGET_MAX:
            raise ValueError(f"deadline_ms: {deadline_ms} is out of range (0 to 2^32 - 1)")
        if len(self._calls) + len(self._ready) >= self._in_flight_max:
            raise BufferError(f"{self._in_flight_max} requests are in flight already")
        rest, note = _calls.encode(kind, request, now_ms)
        if self._bytes + len(rest) > QUEUE_BYTES_MAX:
            raise BufferError(f"{QUEUE_BYTES_MAX} bytes of requests are in flight already")
        if not deadline_ms:
            deadline_ms = self._check_ms if kind.quick else self._durable_ms
        self._last_id += 1
        call = Call(self._last_id, kind, rest, note, clock_ns() + deadline_ms * NS_PER_MS)
        if call.deadline_ns < self._deadline_ns:
            self._deadline_ns = call.deadline_ns
        self._calls[call.id] = self._queue[call.id] = call
        self._bytes += len(rest)
        self._counts["requests"] += 1
        return call.id

    def _decide(self, call: Call, answer: Any) -> None:
        if call.connection is None:
            del self._queue[call.id]
        else:
            del call.connection.sent[call.wire_id]
        del self._calls[call.id]
        self._bytes -= len(call.rest)
        self._ready.append((call.id, answer))

    def _give_up(self, call: Call, cause: str) -> None:
        """Decide a call without an answer."""
        effect = "unknown" if call.connection is not None and call.kind.writes else "none"
        text = self._error if cause in _ABOUT_PEER and self._error else _answers.TEXTS[cause]
        self._decide(call, call.kind.unanswered(Info("none", cause, effect, text), call.note))

    def _expire(self, now_ns: int) -> None:
        if now_ns < self._deadline_ns:
            return
        self._deadline_ns = NEVER_NS
        was_silent = False
        for call in list(self._calls.values()):
            if call.deadline_ns <= now_ns:
                was_silent = was_silent or call.connection is not None
                self._give_up(call, "timeout")
                self._counts["timeouts"] += 1
            elif call.deadline_ns < self._deadline_ns:
                self._deadline_ns = call.deadline_ns
        if was_silent:
            self._silent += 1  # one for all that passed at once
            if self._silent >= SILENT_MAX:
                self._leave_silent(now_ns)

    def _leave_silent(self, now_ns: int) -> None:
        """Silent too often: a machine that is gone says nothing, and another may be there."""
        self._silent = 0
        if self._active is not None:
            self._active.place.avoid_ns = now_ns + SILENT_AVOID_NS
            self._fail(self._active, Broken("lost", "silent too often"))
            _addresses.new_round(self._places)

    # ---- connections ---------------------------------------------------------------------------

    def _note(self, place: Place, broken: Broken) -> None:
        self._error = f"{place.address.text[:90]}: {str(broken)[:64]}"

    def _failed(self, place: Place) -> None:
        place.failed(clock_ns())
        self._counts["connect_fails"] += 1

    def _fail(self, connection: Connection, broken: Broken) -> None:
        """It is broken: what was sent on it is decided, what waits may go elsewhere."""
        self._note(connection.place, broken)
        if broken.cause == "protocol" or not connection.heard:
            self._failed(connection.place)
        if broken.cause == "protocol":
            self._counts["protocol_errors"] += 1
        for call in list(connection.sent.values()):
            self._counts["lost"] += 1
            self._give_up(call, broken.cause)
        if not self._queue:  # nobody waits for a connection: the round is over
            _addresses.new_round(self._places)
        self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        if connection.watched and self._epoll is not None:
            try:
                self._epoll.unregister(connection.fileno())  # a child may hold it: closing is no
            except (OSError, ValueError):  # DEL; but somebody may have closed it for us
                pass
        connection.close()
        if connection is self._active:
            self._active = None
        elif connection is self._draining:
            self._draining = None

    def _open(self, place: Place, now_ns: int) -> None:
        place.tried = True
        try:
            connection = Connection(place, self._context, self._options.tls_name, now_ns)
        except Busy:
            place.tried = False
            return
        except Broken as broken:
            self._note(place, broken)
            self._failed(place)
            return
        self._active = connection
        connection.give_up_ns = now_ns + self._durable_ms * NS_PER_MS
        other, _ = _addresses.next_place(self._places, now_ns)
        if other is not None and self._deadline_ns > now_ns:
            # While there is another to try, this one gets half of the most urgent call's time.
            connection.give_up_ns = min(connection.give_up_ns,
                                        now_ns + (self._deadline_ns - now_ns) // 2)
        if connection.state == UP:
            self._greet(connection)

    def _greet(self, connection: Connection) -> None:
        self._counts["connects"] += 1
        self._last_wire_id += 1
        connection.hello_id = self._last_wire_id
        told = connection.place.may_be_told(self._options.insecure)
        connection.put_first(_calls.hello_frame(
            connection.hello_id, self._options.namespace, self._options.name[:NAME_MAX],
            self._credential if told else ("", b"")))

    def _go_on(self, connection: Connection, now_ns: int) -> None:
        """With connecting and securing."""
        try:
            connection.step()
            if connection.state == UP:
                self._greet(connection)
            elif now_ns >= connection.give_up_ns:
                raise Broken("connect", "no answer in time")
        except Broken as broken:
            self._fail(connection, broken)

    def _connect_next(self, now_ns: int) -> None:
        self._busy_ns = 0
        while self._active is None and self._queue:
            place, busy_ns = _addresses.next_place(self._places, now_ns)
            if place is not None:
                self._open(place, now_ns)
                continue
            self._busy_ns = busy_ns
            if not busy_ns:
                for call in list(self._queue.values()):
                    self._give_up(call, "connect")
                _addresses.new_round(self._places)
            return

    # ---- sending -------------------------------------------------------------------------------

    def _gather(self, connection: Connection, now_ns: int) -> Tuple[List[Call], List[bytes]]:
        batch: List[Call] = []
        frames: List[bytes] = []
        size = 0
        room = min(BATCH_MAX, connection.in_flight_max - len(connection.sent))
        for call in self._queue.values():
            if len(batch) >= room or size >= BATCH_BYTES:
                break
            self._last_wire_id += 1
            call.wire_id = self._last_wire_id
            batch.append(call)
            frames.append(call.frame(now_ns))
            size += len(frames[-1])
        return batch, frames

    def _send(self, connection: Connection, now_ns: int) -> None:
        while True:
            batch, frames = self._gather(connection, now_ns)
            try:
                begun = connection.send(frames)
            except Broken as broken:
                self._fail(connection, broken)
                return
            for call in batch[:begun]:
                del self._queue[call.id]
                call.connection = connection
                connection.sent[call.wire_id] = call
            if not frames or connection.blocked or not self._queue:
                return

    # ---- receiving -----------------------------------------------------------------------------

    def _receive(self, connection: Connection) -> None:
        try:
            for _ in range(READS_MAX):
                if not connection.fill():
                    return
                for message in connection.messages():
                    self._on_message(connection, message)
                    if connection.state == CLOSED:
                        return  # what was behind it is nobody's
                if connection.state == DRAINING and not connection.sent:
                    self._drop(connection)
                    return
                if not connection.more:
                    return
        except Broken as broken:
            self._fail(connection, broken)

    def _on_message(self, connection: Connection, message: bytes) -> None:
        try:
            wire_id, status, error, hello, goaway, body, perhaps = read(tables.REPLY, message)
        except WireError:
            raise Broken("protocol", FOREIGN) from None
        if wire_id == 0:  # the daemon's own
            if goaway is not None:
                self._on_goaway(connection, goaway[0], goaway[1])
        elif wire_id == connection.hello_id:
            self._on_hello(connection, status, hello)
        elif wire_id in connection.sent:  # else it came too late, or was canceled
            call = connection.sent[wire_id]
            answer = self._answer(call, status, error, body, perhaps)
            self._heard(connection)
            self._counts["answers"] += 1
            self._silent = 0
            self._decide(call, answer)

    def _answer(self, call: Call, status: int, error: str,
                body: Optional[Tuple[int, List[Any]]], perhaps: bool) -> Any:
        kind = call.kind
        if status == 1:
            if body is None or body[0] != kind.body:
                raise Broken("protocol", FOREIGN)
            answer = kind.decode(body[1], call.note)
            if perhaps and answer.info.effect == "done":  # a part of it may not have been
                answer = answer._replace(info=answer.info._replace(effect="unknown"))
            return answer
        cause = tables.STATUSES.get(status, "unavailable")  # of a later daemon: it may pass
        effect = "none"
        if kind.writes and (perhaps or (cause == "unavailable" and not kind.is_check)):
            effect = "unknown"  # at a member that fell silent; in memory, but not acknowledged
        text = error[:TEXT_MAX] or _answers.TEXTS[cause]
        return kind.unanswered(Info("daemon", cause, effect, text), call.note)

    def _heard(self, connection: Connection) -> None:
        """It answers: what was held against it is forgotten, and the round is over."""
        if not connection.heard:
            connection.heard = True
            connection.place.backoff_ms = connection.place.avoid_ns = 0
            connection.place.turned_away = 0
            _addresses.new_round(self._places)

    def _on_hello(self, connection: Connection, status: int, hello: Optional[List[int]]) -> None:
        word = tables.STATUSES.get(status)
        if word == "unsupported":
            raise Broken("protocol", FOREIGN)
        # With an answer to hello the credential was good, though not for the namespace of hello.
        if word == "not_permitted" and hello is None and self._credential[1]:
            raise Broken("not_permitted", "the daemon refused the credential")
        self._heard(connection)
        if hello is not None and hello[1]:
            connection.in_flight_max = hello[1]

    def _on_goaway(self, connection: Connection, last_id: int, reason: bytes) -> None:
        self._counts["goaways"] += 1
        self._take_back(connection, last_id)
        if connection is self._active and not connection.heard and last_id < connection.hello_id:
            # All that came. A daemon that is being replaced, and the next one may be there already;
            # or one that will not have this client: from the second time on it counts as failed.
            connection.place.turned_away += 1
            if connection.place.turned_away > 1:
                raise Broken("connect", reason.decode("utf-8", "replace"))
        connection.place.avoid_ns = clock_ns() + GOAWAY_AVOID_NS
        _addresses.new_round(self._places)
        if connection is self._active:
            if self._draining is not None:  # one drains already: enough of it
                self._fail(self._draining, Broken("lost", "still draining at the next goaway"))
            self._draining, self._active = connection, None

    def _take_back(self, connection: Connection, last_id: int) -> None:
        again: Dict[int, Call] = {}
        for wire_id, call in list(connection.sent.items()):
            if wire_id > last_id:  # not begun: in their order, before what waits already
                del connection.sent[wire_id]
                call.connection = None
                again[call.id] = call
                self._counts["moved"] += 1
        self._queue = {**again, **self._queue}
        connection.stop_sending()

    # ---- turning -------------------------------------------------------------------------------

    def _pump_active(self, now_ns: int) -> None:
        connection = self._active
        if connection is not None:
            if connection.state in (CONNECTING, SECURING):
                self._go_on(connection, now_ns)
            elif not connection.sent and self._queue:
                # It was idle: a goaway or the end of the stream may have come. Seen now, the
                # request goes elsewhere; seen after a byte was sent, it would be lost.
                self._receive(connection)
        self._connect_next(now_ns)
        if self._active is not None and self._active.state == UP:
            self._send(self._active, now_ns)

    def _pump(self) -> None:
        """Deadlines, connecting, sending: whatever needs no waiting."""
        now_ns = clock_ns()
        self._expire(now_ns)
        for _ in range(len(self._places) + 1):
            self._pump_active(now_ns)
            if not self._queue or self._active is not None or self._busy_ns:
                break  # else the connection broke under the send: what has not left goes elsewhere
        if self._epoll is not None:
            self._watch(self._epoll)

    def _watch(self, epoll: "select.epoll") -> None:
        for connection in (self._active, self._draining):
            if connection is None:
                continue
            events = select.EPOLLIN
            if connection.blocked or connection.state == CONNECTING:
                events |= select.EPOLLOUT
            if events != connection.watched:
                try:
                    if connection.watched:
                        epoll.modify(connection.fileno(), events)
                    else:
                        epoll.register(connection.fileno(), events)
                except OSError:  # no memory for it: the deadlines still wake the caller
                    continue
                connection.watched = events

    def _next_ns(self) -> int:
        """Time of the next thing to do; 0: now."""
        if self._ready:
            return 0
        next_ns = self._deadline_ns if self._calls else NEVER_NS
        connection = self._active
        if connection is not None and connection.state in (CONNECTING, SECURING):
            return min(next_ns, connection.give_up_ns)
        if any(one is not None and one.more for one in (connection, self._draining)):
            return 0
        if self._queue:
            if connection is None:
                return min(next_ns, self._busy_ns)
            if not connection.blocked and len(connection.sent) < connection.in_flight_max:
                return 0
        return next_ns

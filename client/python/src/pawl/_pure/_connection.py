"""One connection: a non-blocking socket, TLS over it where the address says so, and frames.

Knows bytes, not requests. Whatever breaks it comes out as :class:`Broken`; what that means for the
requests on it is for the handle to say.
"""

# The interpreter's own socket type: frameworks that replace the one of the socket module (gevent)
# would make each of its operations wait by itself, and hang a watcher on each descriptor.
import _socket
import errno
import os
import ssl
import struct
from typing import Any, Dict, Iterator, Optional, Sequence

from . import _tables as tables
from ._addresses import BUSY_RETRY_NS, Place
from ._secure import SecureStream, why

CONNECTING, SECURING, UP, DRAINING, CLOSED = range(5)

RECEIVE_BYTES = 65536
_AGAIN = (errno.EAGAIN, errno.EWOULDBLOCK)
_UNDER_WAY = (errno.EINPROGRESS, errno.EINTR)


class Broken(Exception):
    """The connection is of no more use: ``cause`` is a word of pawl.errors.CAUSES."""

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


class Busy(Exception):
    """A Unix socket's backlog is full: the daemon lives, and is to be asked a moment later."""


def frame(message: bytes) -> bytes:
    return struct.pack(">I", len(message)) + message


class Connection:
    """Begins to connect when it is made. ``state`` is one of the constants above."""

    def __init__(self, place: Place, context: Optional[ssl.SSLContext], tls_name: str,
                 now_ns: int) -> None:
        """Raises :class:`Broken` or :class:`Busy` where that fails at once."""
        self.place = place
        self.state = CONNECTING
        self.heard = False  #: the daemon has answered something
        self.in_flight_max = 1 << 32  #: as the daemon says
        self.hello_id = 0
        self.give_up_ns = 0  #: of connecting and securing
        self.sent: Dict[int, Any] = {}  #: requests by wire id, in the order they left
        self.blocked = False  #: the last send did not take all
        self.more = False  #: the last fill() left something to read
        self.watched = 0  #: events as registered; 0: not
        self._in = bytearray()
        self._rest = b""  # has to go out before anything else: hello, rest of a frame
        self._stream: Optional[SecureStream] = None
        if place.address.kind == "tls":
            assert context is not None
            try:
                self._stream = SecureStream(context, tls_name or place.address.host)
            except ValueError as error:  # a name that none can have
                raise Broken("connect", str(error)) from None
        try:
            self._socket = _socket.socket(place.family, _socket.SOCK_STREAM)
        except OSError as error:
            raise Broken("connect", error.strerror or str(error)) from None
        self._socket.setblocking(False)
        try:
            self._connect(now_ns)
        except (Broken, Busy):
            self.close()
            raise

    # ---- beginning and end ---------------------------------------------------------------------

    def _connect(self, now_ns: int) -> None:
        try:
            code = self._socket.connect_ex(self.place.where)
        except OSError as error:  # an address that is too long
            code = error.errno or errno.EINVAL
        if code == 0:
            self._connected()
        elif code in _AGAIN:
            self.place.busy_ns = now_ns + BUSY_RETRY_NS
            raise Busy
        elif code not in _UNDER_WAY:
            raise Broken("connect", os.strerror(code))

    def _connected(self) -> None:
        if self.place.family != _socket.AF_UNIX:
            try:
                self._socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            except OSError as error:
                raise Broken("connect", error.strerror or str(error)) from None
        self.state = UP if self._stream is None else SECURING
        if self._stream is not None:
            self._secure(self._stream)

    def step(self) -> None:
        """Go on with connecting; :attr:`state` is UP when it is done. Raises :class:`Broken`."""
        if self.state == SECURING:
            assert self._stream is not None
            self._secure(self._stream)
            return
        try:
            self._socket.getpeername()
        except OSError as error:
            code = error.errno or errno.EINVAL
            if code == errno.ENOTCONN:
                code = self._socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
            if code != 0:
                raise Broken("connect", os.strerror(code)) from None
            return
        self._connected()

    def _secure(self, stream: SecureStream) -> None:
        while True:
            try:
                done = stream.handshake()
            except ssl.SSLError as error:
                self._flush()  # the alert says to the daemon why
                raise Broken("connect", why(error)) from None
            try:
                flushed = self._flush()
                received = None if done else self._receive()
            except Broken:
                received = b""
            if received == b"":
                raise Broken("connect", "closed during the TLS handshake; is a tls: listener "
                             "there?")
            if done and flushed:
                self.state = UP
            if received is None:
                return
            stream.give(received)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        """Close this process's descriptor; nothing is said to the peer but by that."""
        self.state = CLOSED
        try:
            self._socket.close()
        except OSError:  # somebody has closed it for us: a program that became a daemon
            pass

    # ---- sending ---------------------------------------------------------------------------------

    def put_first(self, data: bytes) -> None:
        """What is to be sent before all else."""
        self._rest += data

    def stop_sending(self) -> None:
        """Nothing is written any more; a rest of a frame is dropped."""
        self._rest = b""
        self.state = DRAINING

    def send(self, frames: Sequence[bytes]) -> int:
        """Send what is to go first and then @frames, as far as the socket takes them.

        Returns how many frames have begun to leave: those may be acted on, the others not. Raises
        :class:`Broken` when the connection is gone; then no byte of @frames has left.
        """
        if self._stream is not None:
            return self._send_secure(self._stream, frames)
        data = b"".join((self._rest, *frames))
        taken = self._send(data) if data else 0
        self.blocked = taken < len(data)
        begun, left = 0, taken - len(self._rest)
        if left < 0:
            self._rest = self._rest[taken:]
            return 0
        self._rest = b""
        for one in frames:
            if left <= 0:
                break
            begun += 1
            self._rest = one[left:]
            left -= len(one)
        return begun

    def _send_secure(self, stream: SecureStream, frames: Sequence[bytes]) -> int:
        if not self._flush() or not self._rest and not frames:
            return 0
        data = b"".join((self._rest, *frames))
        self._rest = b""
        try:
            stream.write(data)
        except ssl.SSLError as error:  # and nothing of it is there to be sent
            raise Broken("lost", why(error)) from None
        try:
            self._flush()
        except Broken:
            pass  # encrypted is sent: the next receive says that it is broken
        return len(frames)

    def _flush(self) -> bool:
        """Send what is encrypted. True when all has left."""
        self.blocked = False
        while self._stream is not None:
            data = self._stream.to_send()
            if not data:
                break
            taken = self._send(data)
            self._stream.sent(taken)
            if taken < len(data):
                self.blocked = True
                return False
        return True

    def _send(self, data: bytes) -> int:
        try:
            return self._socket.send(data, _socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise Broken("lost", error.strerror or str(error)) from None

    # ---- receiving -------------------------------------------------------------------------------

    def _receive(self) -> Optional[bytes]:
        """None: nothing now; b"": the end."""
        try:
            return self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            raise Broken("lost", error.strerror or str(error)) from None

    def _receive_secure(self, stream: SecureStream) -> Optional[bytes]:
        try:
            plain = stream.read()
            while plain is None:
                received = self._receive()
                if not received:
                    return received
                stream.give(received)
                plain = stream.read()
        except ssl.SSLError as error:
            raise Broken("lost", why(error)) from None
        self._flush()  # an answer to a key update, or an alert
        return plain

    def fill(self) -> bool:
        """Read once; True where something came. Sets :attr:`more`. Raises :class:`Broken`."""
        if self._stream is None:
            received = self._receive()
            self.more = received is not None and len(received) == RECEIVE_BYTES
        else:
            received = self._receive_secure(self._stream)
            self.more = received is not None
        if received is None:
            return False
        if not received:
            raise Broken("lost", "the daemon closed the connection")
        self._in += received
        return True

    def messages(self) -> Iterator[bytes]:
        """Whole messages of what was read. Raises :class:`Broken` for what is no frame."""
        source, at, end = self._in, 0, len(self._in)
        header = tables.FRAME_HEADER_BYTES
        try:
            while end - at >= header:
                size = int.from_bytes(source[at:at + header], "big")
                if not 0 < size <= tables.REPLY_BYTES_MAX:
                    raise Broken("protocol", "what came is not pawl's protocol of version 1")
                if end - at < header + size:
                    break
                at += header + size
                yield bytes(source[at - size:at])
        finally:
            del source[:at]

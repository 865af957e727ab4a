"""TLS 1.3 under a connection, and who the handle says it is.

As client/src/secure.c and daemon/adapter/tls: TLS 1.3 only, nothing resumed, the daemon's
certificate has to be signed by the CA and made out for the host of its address.
"""

import os
import ssl
import stat
from typing import Optional, Tuple

from .._types import HandleOptions

CREDENTIAL_MIN = 16
CREDENTIAL_MAX = 512
CREDENTIAL_ID_MAX = 128
READ_BYTES = 65536
_PARTIAL_CHAIN = getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0x80000)  # named since Python 3.10


def _or_environment(given: str, name: str) -> str:
    return given or os.environ.get(name, "")


# ---- options -------------------------------------------------------------------------------------


def credential_of(options: HandleOptions) -> Tuple[str, bytes]:
    """Id and secret, ("", b"") for none. Raises ValueError saying which option is wrong."""
    name = _or_environment(options.credential_id, "PAWL_CREDENTIAL_ID")
    path = _or_environment(options.credential_file, "PAWL_CREDENTIAL_FILE")
    if not name:
        if options.credential or options.credential_file:
            raise ValueError("a credential needs credential_id")
        return "", b""
    if len(name.encode()) > CREDENTIAL_ID_MAX:
        raise ValueError(f"credential_id: at most {CREDENTIAL_ID_MAX} bytes")
    secret = options.credential
    if not secret and path:
        try:
            with open(path, "rb") as file:  # the first line, without its end
                secret = file.readline(CREDENTIAL_MAX + 2)
        except OSError as error:
            raise ValueError(f"credential_file: cannot be read: {path}: {error.strerror}") from None
        secret = secret[:-1] if secret.endswith(b"\n") else secret
        secret = secret[:-1] if secret.endswith(b"\r") else secret
    if not CREDENTIAL_MIN <= len(secret) <= CREDENTIAL_MAX:
        raise ValueError(f"credential: a secret has {CREDENTIAL_MIN} to {CREDENTIAL_MAX} bytes")
    return name, secret


def context_of(options: HandleOptions) -> ssl.SSLContext:
    """Raises ValueError saying which file cannot be used, and why."""
    ca = _or_environment(options.tls_ca, "PAWL_TLS_CA")
    certificate = _or_environment(options.tls_certificate, "PAWL_TLS_CERTIFICATE")
    key = _or_environment(options.tls_key, "PAWL_TLS_KEY")
    if bool(certificate) != bool(key):
        raise ValueError("tls_certificate and tls_key go together")
    if len(options.tls_name) > 253:
        raise ValueError("tls_name: a host name has at most 253 bytes")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # asks for a certificate and its name
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.set_ciphers("DEFAULT:@SECLEVEL=2")
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION
    context.verify_flags |= _PARTIAL_CHAIN  # what the file names is trusted, an intermediate too
    context.hostname_checks_common_name = False  # RFC 9525: its alternative names alone
    _trust(context, ca)
    if certificate:
        _show(context, certificate, key)
    return context


def _trust(context: ssl.SSLContext, path: str) -> None:
    try:
        if path:
            context.load_verify_locations(path)
        else:
            context.set_default_verify_paths()
    except ssl.SSLError as error:
        raise ValueError(f"tls_ca {path}: holds no PEM certificate, or a damaged one "
                         f"({why(error)})") from None
    except OSError as error:
        raise ValueError(f"tls_ca {path}: {error.strerror}") from None


def _no_passphrase() -> str:
    """Nobody is there to type one; without this OpenSSL would ask at the terminal."""
    return ""


def _show(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Show @certificate to the daemon."""
    for name, path in (("tls_certificate", certificate), ("tls_key", key)):
        try:
            mode = os.stat(path).st_mode
            os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            raise ValueError(f"{name} {path}: {error.strerror}") from None
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ValueError(f"tls_key {key}: others may write it (mode {stat.S_IMODE(mode):04o}); "
                         f"chmod 600 it, and make a new key if you do not know who has")
    try:
        context.load_cert_chain(certificate, key, _no_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(f"tls_key {key} is not the key of tls_certificate {certificate}; put "
                             f"the two that belong together into place") from None
        raise ValueError(f"tls_certificate {certificate} or tls_key {key}: no PEM, or an encrypted "
                         f"key, which nobody is there to type a passphrase for; write it without "
                         f"one ({why(error)})") from None


# ---- bytes ---------------------------------------------------------------------------------------


class SecureStream:
    """TLS between bytes and bytes; the sockets are the connection's.

    A request counts as sent once it is encrypted, for its bytes cannot be taken back out of the
    stream of records; so nothing is encrypted before what was encrypted earlier has left.
    """

    def __init__(self, context: ssl.SSLContext, name: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        # A zone says how to get there, not who is there.
        self._tls = context.wrap_bio(self._incoming, self._outgoing,
                                     server_hostname=name.partition("%")[0])
        self._rest = b""  # encrypted, not sent

    def give(self, received: bytes) -> None:
        self._incoming.write(received)

    def handshake(self) -> bool:
        """True when it is done. Raises ssl.SSLError where it cannot be."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def read(self) -> Optional[bytes]:
        """What has come; None: nothing now; b"": the end. Raises ssl.SSLError."""
        try:
            return self._tls.read(READ_BYTES)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""

    def write(self, plain: bytes) -> None:
        self._tls.write(plain)

    def to_send(self) -> bytes:
        """What is to be sent next; :meth:`sent` takes it off."""
        if self._outgoing.pending:
            self._rest += self._outgoing.read()
        return self._rest

    def sent(self, size: int) -> None:
        self._rest = self._rest[size:]


def why(error: ssl.SSLError) -> str:
    """For a person."""
    text = getattr(error, "verify_message", "") or error.reason or error.strerror or str(error)
    kind = "certificate: " if isinstance(error, ssl.SSLCertVerificationError) else ""
    return f"{kind}{text}".replace("_", " ")

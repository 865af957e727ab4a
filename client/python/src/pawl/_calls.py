"""What the blocking and the asyncio client share: options, requests, and what is made of answers."""

import os
import weakref
from typing import Any, Callable, Iterable, Optional, Sequence, Tuple, Union

from . import _backend, errors
from ._policy import AWAY, Breaker, Fallback, LocalWindows
from ._rates import parse_rates
from ._types import (FAIL_WORDS, CheckAnswer, CheckRequest, HandleOptions, Info, Item, Rate,
                     RotateAnswer, TokenAnswer, TokenCheckAnswer)

Key = Union[str, bytes, Sequence[Union[str, bytes]]]
Rates = Union[str, Rate, Sequence[Rate]]

_clients: "weakref.WeakSet[BaseClient]" = weakref.WeakSet()


def _after_fork() -> None:
    for client in list(_clients):
        client._forked()


os.register_at_fork(after_in_child=_after_fork)


def key_parts(key: Key) -> Tuple[bytes, ...]:
    """A key as the wire wants it: one part, or several."""
    if isinstance(key, (str, bytes)):
        key = (key,)
    return tuple(part.encode() if isinstance(part, str) else bytes(part) for part in key)


def rate_tuple(rates: Rates) -> Tuple[Rate, ...]:
    """Rates as the wire wants them; a text is parsed. Raises ValueError."""
    if isinstance(rates, str):
        return parse_rates(rates) if rates else ()
    if isinstance(rates, Rate):
        return (rates,)
    return tuple(rates)


def item(key: Key, rates: Rates = (), *, limit: str = "", cost: int = 1, on_error: str = "local",
         precision: int = 0, tier: str = "", algorithm: str = "sliding", burst: int = 0) -> Item:
    """One thing to count, from what people write: ``item("alice", "5/minute")``.

    Raises ValueError for a rate that cannot be read, a cost under 1, an unknown on_error.
    """
    if on_error not in FAIL_WORDS:
        raise ValueError(f"on_error {on_error!r}: write 'open', 'closed' or 'local'")
    if cost < 1:
        raise ValueError(f"cost {cost}: at least 1; to look without charging use peek")
    if not rates and not limit:
        raise ValueError("neither rates nor the name of a limit")
    return Item(key_parts(key), rate_tuple(rates), limit, cost, on_error, precision, tier,
                algorithm, burst)


class BaseClient:
    """Options and policy of a client; see :class:`pawl.Client` and :class:`pawl.AsyncClient`."""

    def __init__(self, addresses: Union[str, Sequence[str]] = "", *, namespace: str = "",
                 name: str = "pawl-python", check_deadline_ms: int = 20,
                 durable_deadline_ms: int = 1000, expected_workers: int = 1,
                 local_keys_max: int = 1024, breaker_failures: int = 5, breaker_open_ms: int = 100,
                 breaker_open_max_ms: int = 1000, tls_ca: str = "", tls_certificate: str = "",
                 tls_key: str = "", tls_name: str = "", credential_id: str = "",
                 credential: Union[str, bytes] = b"", credential_file: str = "",
                 insecure: bool = False, backend: str = "auto",
                 now_ms: Optional[Callable[[], int]] = None,
                 on_transition: Optional[Callable[[bool], None]] = None) -> None:
        """
        @addresses       "unix:/path,tcp:host:port,tls:host:port", tried in order; "" is PAWL_ADDR
                         of the environment, else where a pawld without settings listens.
        @check_deadline_ms, @durable_deadline_ms  of checks (20 ms), of everything else (1 s).
        @expected_workers  processes that share a limit: "local" counts against limit / workers.
        @backend         "auto", "native", "pure": see pawl._backend.
        @now_ms          the time of requests, for a pawld with --test-clock only.
        @on_transition   called with True when the breaker opens (the daemon is away), with False
                         when it closes. From the thread that noticed; may not raise.

        Raises ValueError for an option that is wrong, RuntimeError for a backend that is not there.
        """
        if not isinstance(addresses, str):
            addresses = ",".join(addresses)
        secret = credential.encode() if isinstance(credential, str) else credential
        self._options = HandleOptions(
            addresses, namespace, name, check_deadline_ms, durable_deadline_ms, 0, tls_ca,
            tls_certificate, tls_key, tls_name, credential_id, secret, credential_file, insecure)
        #: "native" or "pure".
        self.backend, self._handle_class = _backend.handle_class(backend)
        self._handle_class(self._options).close()  # a wrong option is said here, not in a request
        self._now_ms = now_ms
        self._on_transition = on_transition
        self._breaker = Breaker(breaker_failures, breaker_open_ms, breaker_open_max_ms)
        self._local = LocalWindows(expected_workers, local_keys_max, now_ms)
        self._fallback = Fallback(self._local)
        self._pid = os.getpid()
        _clients.add(self)

    @property
    def is_away(self) -> bool:
        """Whether the breaker is open: the daemon was silent several times in a row."""
        return self._breaker.is_open

    def _forked(self) -> None:
        """In a child: locks may be held by threads that are not here."""
        self._pid = os.getpid()
        self._breaker.reset()
        self._local.reset()

    def _now(self) -> int:
        return self._now_ms() if self._now_ms is not None else 0

    def _saw(self, cause: str, ticket: int) -> None:
        """Tell the breaker how a request ended. @ticket: Breaker.ticket() from when it began."""
        if cause in AWAY:
            changed, away = self._breaker.failed(ticket), True
        elif cause == "canceled":
            self._breaker.given_up()
            return
        else:
            changed, away = self._breaker.seen(), False
        if changed and self._on_transition is not None:
            self._on_transition(away)

    def _check_request(self, items: Iterable[Item], token: Any, peek: bool,
                       mode: str) -> CheckRequest:
        if mode not in ("atomic", "each"):
            raise ValueError(f"mode {mode!r}: write 'atomic' or 'each'")
        return CheckRequest(tuple(items), token, peek, mode == "each")

    def _check_answer(self, request: CheckRequest, answer: CheckAnswer) -> CheckAnswer:
        """The daemon's, or what the policy makes of there being none. A daemon that answers that it
        cannot (draining, full, a limit that it does not know) has decided nothing either."""
        if answer.info.source == "daemon" and answer.info.cause == "ok":
            self._fallback.learn(request.items, answer.rates)
            return answer
        if request.token is not None:  # no policy makes a token good: that is the caller's to say
            verdict = TokenAnswer("undecided", detail="unavailable")
            return CheckAnswer("undecided", answer.info, (), verdict)
        return self._fallback.answer(request.items, request.peek, request.each, answer.info)


BREAKER_OPEN = Info("none", "breaker", "none", "the daemon was silent too often: not asked")
TOO_MANY = Info("none", "full", "none", "too many requests in flight in this process")


def no_check(info: Info) -> CheckAnswer:
    return CheckAnswer("undecided", info)


def no_token_check(info: Info) -> TokenCheckAnswer:
    return TokenCheckAnswer(info, TokenAnswer("undecided", detail="unavailable"))


def no_rotation(info: Info) -> RotateAnswer:
    return RotateAnswer(info, "unavailable")


def raise_for(info: Info) -> None:
    if info.cause != "ok":
        raise errors.error_of(info.cause, info.effect, info.text)

"""For a project's own tests: limits and revocations without a daemon, and with a clock to turn.

With pytest the fixtures come by themselves (:mod:`pawl.pytest_plugin`)::

    def test_the_sixth_login_waits(client, pawl_memory, pawl_clock):
        for _ in range(5):
            client.post("/login/", {"username": "alice", "password": "wrong"})
        assert client.post("/login/", ...).status_code == 429
        pawl_clock.advance(60)

Elsewhere :func:`override_pawl` is a context manager and a decorator, as Django's override_settings.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
from typing import Any, Dict, Iterator, List, Optional, Sequence

from ._memory import AsyncMemoryClient, MemoryClient

__all__ = ["AsyncMemoryClient", "Clock", "MemoryClient", "TestDaemon", "find_pawld",
           "override_daemon", "override_pawl"]


class Clock:
    """A clock that stands until it is told: milliseconds since 1970, from now. It is callable, so
    it can be the ``now_ms`` of a client or of a memory client."""

    def __init__(self, start_s: Optional[float] = None) -> None:
        self.now_ms = int((time.time() if start_s is None else start_s) * 1000)

    def __call__(self) -> int:
        return self.now_ms

    def advance(self, seconds: float) -> int:
        """Let @seconds pass (0.001 is the least); returns the new time. Time does not go back:
        raises ValueError."""
        if seconds < 0:
            raise ValueError(f"advance({seconds}): time does not go back")
        self.now_ms += round(seconds * 1000)
        return self.now_ms


@contextlib.contextmanager
def override_pawl(memory: Optional[MemoryClient] = None, *, clock: Optional[Clock] = None,
                  limits: Optional[Dict[str, Any]] = None,
                  **overrides: Any) -> Iterator[MemoryClient]:
    """Answer from memory while this is in force, under settings ``PAWL`` changed by @overrides::

        with override_pawl(MODE="atomic") as memory:
            ...
            memory.away = True      # an outage

    @memory  a memory client to go on with; else a new one, with @clock (or the wall's) and @limits.
    """
    from django.conf import settings as django_settings
    from django.test import override_settings

    from pawl.django import conf

    given = {**getattr(django_settings, "PAWL", {}), **overrides}
    if memory is None:
        workers = given.get("EXPECTED_WORKERS", conf.TABLE["EXPECTED_WORKERS"].default)
        memory = MemoryClient(clock or (lambda: time.time_ns() // 1_000_000), limits, workers)
    found = memory
    with override_settings(PAWL=given):
        before = conf.use(lambda **_: found, lambda **_: AsyncMemoryClient(found))
        try:
            yield memory
        finally:
            conf.use(*before)


# ---- a real daemon ------------------------------------------------------------------------------


def find_pawld() -> str:
    """The pawld to test with: PAWLD of the environment, else of PATH; "" if there is none."""
    return os.environ.get("PAWLD") or shutil.which("pawld") or ""


class TestDaemon:
    """A pawld of its own, in a temporary folder, with a clock to turn. A context manager.

    @binary     its path; "": see :func:`find_pawld`. Raises FileNotFoundError if there is none.
    @arguments  more of its command line.
    @clock      False: it runs on the machine's clocks.

    ``address`` is what PAWL["ADDR"] wants; :meth:`client` makes clients on the clock.
    """

    __test__ = False  # no test class, though its name begins like one
    PATIENCE_S = 30

    def __init__(self, binary: str = "", arguments: Sequence[str] = (), clock: bool = True) -> None:
        self.binary = binary or find_pawld()
        if not self.binary:
            raise FileNotFoundError("no pawld: put it into PATH, or name it in PAWLD")
        self.arguments = list(arguments)
        self.clock = Clock() if clock else None
        self._folder: Optional[tempfile.TemporaryDirectory[str]] = None
        self._process: Optional[subprocess.Popen[bytes]] = None

    @property
    def folder(self) -> pathlib.Path:
        if self._folder is None:
            raise RuntimeError("the daemon was not started")
        return pathlib.Path(self._folder.name)

    @property
    def address(self) -> str:
        return f"unix:{self.folder / 'pawld.sock'}"

    @property
    def pid(self) -> int:
        """Of the running daemon; 0 if there is none."""
        return self._process.pid if self._process is not None else 0

    def _command(self) -> List[str]:
        command = [self.binary, "--data-dir", str(self.folder / "data"), "--listen", self.address]
        return command + (["--test-clock"] if self.clock is not None else []) + self.arguments

    def start(self) -> "TestDaemon":
        """Start it, and wait until it answers. Raises RuntimeError with its log if it ends."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="pawl-")  # short: a socket's path
        log = open(self.folder / "log", "ab")
        self._process = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, stdout=log,
                                         stderr=log)
        log.close()
        end = time.monotonic() + self.PATIENCE_S
        while '"event":"ready"' not in self.log().replace(" ", ""):
            if self._process.poll() is not None:
                raise RuntimeError(f"pawld ended with {self._process.returncode}: {self.log()}")
            if time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"pawld is not ready after {self.PATIENCE_S} s: {self.log()}")
            time.sleep(0.005)
        return self

    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")

    def kill(self) -> None:
        """As a crash does. :meth:`start` starts it again on the same data."""
        self.stop(signal.SIGKILL)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it (only it: by its process id), and wait for that."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(number)
            self._process.wait(self.PATIENCE_S)
            self._process = None
        (self.folder / "log").unlink(missing_ok=True)

    def client(self, **options: Any) -> Any:
        """A :class:`pawl.Client` of this daemon, on its clock."""
        import pawl

        if self.clock is not None:
            options.setdefault("now_ms", self.clock)
        return pawl.Client(self.address, **options)

    def __enter__(self) -> "TestDaemon":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


@contextlib.contextmanager
def override_daemon(daemon: TestDaemon, **overrides: Any) -> Iterator[TestDaemon]:
    """Let Django's clients ask @daemon, on its clock, under settings changed by @overrides."""
    from django.conf import settings as django_settings
    from django.test import override_settings

    import pawl
    from pawl.django import conf

    given = {**getattr(django_settings, "PAWL", {}), "ADDR": daemon.address, **overrides}
    with override_settings(PAWL=given):
        before = conf.use(lambda **options: pawl.Client(now_ms=daemon.clock, **options),
                          lambda **options: pawl.AsyncClient(now_ms=daemon.clock, **options))
        try:
            yield daemon
        finally:
            conf.use(*before)

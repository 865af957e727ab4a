"""What can go wrong, in words.

Verdicts are answers, never exceptions: a check or a rotation always returns one, whatever happens
to the daemon. Writes and listings have no such answer and raise one of these.
"""

#: info.cause by libpawl's return code (enum pawl_rc).
CAUSES = {
    0: "ok",
    -1: "invalid",  # an argument, or what the daemon refuses to read: a mistake of the caller
    -2: "no_memory",
    -3: "full",  # too many requests in flight, or the daemon's ceiling is reached
    -4: "unavailable",  # the daemon answers, but cannot now (draining, store, overload)
    -5: "canceled",
    -6: "timeout",
    -7: "not_found",
    -8: "not_permitted",
    -9: "protocol",  # the peer's bytes are not pawl's
    -10: "unsupported",
    -11: "too_big",
    -14: "frozen",  # the daemon's store is frozen until thaw
    -16: "busy",
    -17: "connect",  # no address of the list can be reached
    -18: "lost",  # the connection broke before the answer came
    -19: "breaker",  # the breaker is open: nobody was asked
    -20: "no_rates",  # "local" without rates: the daemon never told them
}


class PawlError(Exception):
    """Base of all below. ``cause`` is a word of :data:`CAUSES`; ``effect`` says whether the daemon
    wrote something: "none", "done", "unknown"."""

    def __init__(self, text: str, cause: str = "", effect: str = "none") -> None:
        super().__init__(text)
        self.cause = cause
        self.effect = effect


class Unavailable(PawlError):
    """No daemon did it: not reachable, not in time, frozen, or full. Answer 503, never 401. With
    ``effect`` "unknown" a revocation may have been taken all the same: asking again is safe."""


class NotPermitted(PawlError):
    """This connection has not the role: see roles and credentials in pawld.yaml(5)."""


class NotFound(PawlError):
    """No such limit, fact or lease."""


class Refused(PawlError):
    """The daemon does not take this request: an argument it refuses, or one from a version that
    it does not know."""


def error_of(cause: str, effect: str, text: str) -> PawlError:
    """The exception for an info that is not "ok"."""
    kind = {"not_permitted": NotPermitted, "not_found": NotFound, "invalid": Refused,
            "too_big": Refused, "unsupported": Refused}.get(cause, Unavailable)
    return kind(text or cause.replace("_", " "), cause, effect)

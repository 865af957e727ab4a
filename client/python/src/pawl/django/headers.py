"""Rate-limit header fields, from what was counted for a request.

Legacy (GitHub's): ``X-RateLimit-Limit -Remaining -Reset -Used -Resource``, of the tightest limit.
IETF: ``RateLimit-Policy`` and ``RateLimit`` of draft-ietf-httpapi-ratelimit-headers-11, structured
fields (RFC 9651): lists of strings with parameters.

What is promised is never more than there is: windows round up to whole seconds, times round up,
what the client is not held to (log only, shadow) and what ``HEADERS_HIDE`` names is not shown.
"""

import base64
import hashlib
import hmac
import time
from typing import Dict, List, Optional, Sequence, Tuple

from .conf import settings
from .plans import UNNAMED
from .records import mask_key
from .throttling import Entry

LEGACY = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-RateLimit-Used",
          "X-RateLimit-Resource")
IETF = ("RateLimit", "RateLimit-Policy")
INTEGER_MAX = 999_999_999_999_999  #: RFC 9651 section 3.3.1
POLICIES_MAX = 16  #: in one header


def seconds_up(milliseconds: int) -> int:
    return -(-milliseconds // 1000)


def shown(found: Sequence[Entry]) -> List[Entry]:
    """Those that headers and bodies may tell of."""
    hidden = settings.HEADERS_HIDE
    return [entry for entry in found if entry.enforced and entry.scope not in hidden]


def refusing(found: Sequence[Entry]) -> List[Entry]:
    """Those that refused this request."""
    return [entry for entry in found if entry.enforced and not entry.allowed]


def tightest(found: Sequence[Entry]) -> Optional[Entry]:
    """The one that refuses longest, else the one with the least room."""
    refused = refusing(found)
    if refused:
        return max(refused, key=lambda entry: entry.retry_after_ms or entry.window_ms)
    if not found:
        return None
    return min(found, key=lambda entry: (entry.remaining, -entry.reset_after_ms))


def retry_after_s(found: Sequence[Entry]) -> int:
    """Whole seconds until all that refused would admit this call; RETRY_AFTER_S: nobody knows."""
    waits = [seconds_up(entry.retry_after_ms or entry.window_ms) for entry in refusing(found)]
    return max(1, max(waits)) if waits else int(settings.RETRY_AFTER_S)


def legacy(entry: Entry, now_s: Optional[float] = None) -> Dict[str, str]:
    """The X-RateLimit-* fields. @now_s: seconds since 1970, for ``HEADERS_RESET`` "epoch"."""
    reset_s = seconds_up(entry.reset_after_ms)
    if settings.HEADERS_RESET == "epoch":
        now_ms = int((time.time() if now_s is None else now_s) * 1000)
        reset_s = seconds_up(now_ms + entry.reset_after_ms)
    remaining = _remaining(entry)
    values = (entry.limit, remaining, reset_s, entry.limit - remaining, _token(public(entry.scope)))
    return {name: str(value) for name, value in zip(LEGACY, values)}


def ietf(found: Sequence[Entry], retry_s: Optional[int] = None) -> Dict[str, str]:
    """The RateLimit and RateLimit-Policy fields. @retry_s: of the response's Retry-After; nothing
    is said here that contradicts it."""
    policies, states = [], []
    for (policy, partition), entry in list(_by_policy(found).items())[:POLICIES_MAX]:
        name = _string(policy)
        unit = ';qu="concurrent-requests"' if entry.algorithm == "concurrency" else ""
        policies.append(f"{name};q={_integer(entry.limit)};w={max(1, seconds_up(entry.window_ms))}"
                        f"{unit}{partition}")
        more_s = more_after_s(entry)
        late = retry_s is not None and more_s > retry_s
        time_left = "" if late else f";t={_integer(more_s)}"
        states.append(f"{name};r={_integer(_remaining(entry))}{time_left}{partition}")
    if not policies:
        return {}
    return dict(zip(IETF, (", ".join(states), ", ".join(policies))))


def public(scope: str) -> str:
    """What callers are told of a scope: of one that is a name of our code a hash."""
    if scope not in UNNAMED:
        return scope
    return "view-" + hashlib.sha256(scope.encode()).hexdigest()[:8]


def policy_name(entry: Entry) -> str:
    """The name of the entry's policy, for callers."""
    return entry.policy.replace(entry.scope, public(entry.scope), 1)


def more_after_s(entry: Entry) -> int:
    """Until there is more quota than now: until this call fits, else until the oldest event
    leaves."""
    if not entry.allowed:
        return seconds_up(entry.retry_after_ms or entry.window_ms)
    return seconds_up(max(0, min(entry.reset_after_ms, entry.window_ms - entry.oldest_age_ms)))


def _by_policy(found: Sequence[Entry]) -> Dict[Tuple[str, str], Entry]:
    """One entry for each policy and partition: the tightest."""
    chosen: Dict[Tuple[str, str], Entry] = {}
    for entry in found:
        place = policy_name(entry), _partition(entry.ident)
        known = chosen.get(place)
        if known is None or (entry.remaining, entry.allowed) < (known.remaining, known.allowed):
            chosen[place] = entry
    return chosen


def _remaining(entry: Entry) -> int:
    return 0 if not entry.allowed else max(0, min(entry.remaining, entry.limit))


def _partition(ident: str) -> str:
    """The pk parameter: whose quota it is, as 64 bits of a keyed hash; not the mask of the log."""
    if not ident:
        return ""
    data = b"pk\0" + ident.encode("utf-8", "surrogatepass")
    digest = hmac.digest(mask_key(), data, "sha256")[:8]
    return f";pk=:{base64.b64encode(digest).decode()}:"


def _integer(value: int) -> int:
    return max(0, min(value, INTEGER_MAX))


def _printable(text: str) -> str:
    return "".join(char if " " <= char <= "~" else "_" for char in text)


def _string(text: str) -> str:
    """RFC 9651 section 3.3.3."""
    return '"' + _printable(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _token(text: str) -> str:
    return _printable(text)[:128]

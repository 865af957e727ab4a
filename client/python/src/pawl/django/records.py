"""What the security log is made of: masks, counts of repeats, records and their JSON.

:mod:`pawl.django.events` has the events.
"""

import datetime
import functools
import hmac
import itertools
import json
import logging
import threading
import time
from typing import Any, Dict, List, Optional, Tuple

from django.conf import settings as django_settings
from django.utils.encoding import force_bytes

from .conf import settings

# ---- masks --------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4)
def _derived(secret: Any) -> bytes:
    return hmac.digest(force_bytes(secret), b"pawl.django.mask.v1", "sha256")


def mask_key() -> bytes:
    """The key of masks: derived from ``MASK_KEY``, else ``SECRET_KEY``."""
    return _derived(settings.MASK_KEY or django_settings.SECRET_KEY)


def mask(value: Any) -> str:
    """A keyed hash of an identity, 64 bits as hexadecimal: equal values have equal masks, and
    without the key (``MASK_KEY``, else ``SECRET_KEY``) nobody can try names out. "" stays "", and
    None too."""
    if value is None or value == "":
        return ""
    data = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
    return hmac.digest(mask_key(), data, "sha256").hex()[:16]


# ---- repeats ------------------------------------------------------------------------------------

Place = Tuple[str, ...]


class Repeats:
    """Which events were logged lately, and how often they came again. Bounded: where there is no
    room for one more identity, its event is counted with all others of its name. Any thread."""

    KEYS_MAX = 1024
    AT_ONCE = 64  #: so many are forgotten in one call

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._lock = threading.Lock()
        self._seen: Dict[Place, List[float]] = {}  # place -> [logged at, repeats], oldest first
        self._owed: List[Tuple[Place, int]] = []  # forgotten, with a count that nobody was told

    def note(self, place: Place, interval_s: float) -> Optional[int]:
        """How often @place came since it was last logged, if it is to be logged now; else None."""
        now = time.monotonic()
        with self._lock:
            if place not in self._seen:
                self._forget(now - interval_s, self.AT_ONCE)
                if len(self._seen) >= self.KEYS_MAX:
                    place = (place[0], "*")
            entry = self._seen.get(place)
            if entry is not None and now - entry[0] < interval_s:
                entry[1] += 1
                return None
            self._seen.pop(place, None)
            self._seen[place] = [now, 0]
            return 0 if entry is None else int(entry[1])

    def _forget(self, before: float, at_most: int) -> None:
        for place in list(itertools.islice(self._seen, at_most)):
            if self._seen[place][0] > before:
                break
            repeats = int(self._seen.pop(place)[1])
            if repeats:
                self._owed.append((place, repeats))

    def owed(self, everything: bool = False) -> List[Tuple[Place, int]]:
        """Counts whose event did not come again to tell them. @everything: at the end."""
        if everything:
            with self._lock:
                self._forget(float("inf"), len(self._seen))
        if not self._owed:
            return []
        with self._lock:
            owed, self._owed = self._owed, []
        return owed


# ---- records ------------------------------------------------------------------------------------


def write(logger: logging.Logger, event: str, level: int, record: Dict[str, Any]) -> None:
    """Log @event with its fields: as text, and as the record's attributes event and fields."""
    text = " ".join([event] + [f"{name}={json.dumps(value, default=str)}"
                               for name, value in record.items()])
    logger.log(level, "%s", text, extra={"event": event, "fields": record})


def tell_owed(logger: logging.Logger, owed: List[Tuple[Place, int]]) -> None:
    """Tell of counts by lines of their own: what came again, and then no more."""
    for place, repeats in owed:
        write(logger, "repeats", logging.WARNING,
               {"of": place[0], "about": list(place[1:]), "repeated": repeats})


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, then the event and its fields,
    or the message of any other record. For ``LOGGING``::

        "formatters": {"json": {"()": "pawl.django.events.JsonFormatter"}}
    """

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc)
        line: Dict[str, Any] = {"time": at.isoformat(timespec="milliseconds"),
                                "level": record.levelname.lower(), "logger": record.name}
        event = getattr(record, "event", None)
        fields = getattr(record, "fields", None)
        if event is not None and isinstance(fields, dict):
            line["event"] = event
            line.update((name, value) for name, value in fields.items() if name not in line)
        else:
            line["message"] = record.getMessage()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)

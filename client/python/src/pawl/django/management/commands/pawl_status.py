"""Does pawld answer, and how is it?"""

import os
import time
from typing import Any, Dict, List

from pawl import _backend, errors
from pawl.django import conf
from pawl.django.management.base import DEADLINE_MS, NO, UNDECIDED, PawlCommand, explain

_FIGURES = ("version", "frozen", "uptime_s", "keys", "overflow_keys", "revocations",
            "memory_bytes", "members", "counter_unsaved_age_ms")


class Command(PawlCommand):
    help = ("Which client this project uses, which daemon it asks, and how that is. Exit code 0: "
            "it answers; 1: it answers, but its store is frozen; 3: it does not answer.")

    def run(self, **options: Any) -> int:
        client = conf.get_client()
        data: Dict[str, Any] = {
            "backend": client.backend, "native_missing": _backend.native_missing,
            "addresses": addresses(), "namespace": conf.settings.NAMESPACE or "default",
            "enabled": conf.settings.ENABLED, "enforce": conf.settings.ENFORCE,
            "reachable": False, "round_trip_ms": None, "error": "", "daemon": {},
        }
        try:
            client.ping(deadline_ms=DEADLINE_MS)  # connects
            begun = time.perf_counter()
            client.ping(deadline_ms=DEADLINE_MS)
            data["round_trip_ms"] = round((time.perf_counter() - begun) * 1000, 3)
            data["reachable"] = True
            figures = client.stats(deadline_ms=DEADLINE_MS)
            data["daemon"] = {name: figures[name] for name in _FIGURES if name in figures}
        except errors.PawlError as error:
            data["error"] = explain(error)
        data["breaker"] = {"open": client.is_away, **client.figures()}
        self.tell(options["json"], data, _lines(data))
        if not data["reachable"]:
            return UNDECIDED
        return NO if data["daemon"].get("frozen") else 0


def addresses() -> str:
    """Where the clients look for pawld."""
    given = conf.settings.ADDR
    text = given if isinstance(given, str) else ",".join(given)
    return text or os.environ.get("PAWL_ADDR", "") or "(where a pawld without settings listens)"


def _lines(data: Dict[str, Any]) -> List[str]:
    lines = [f"client     {data['backend']}" + (
        f" (no extension: {data['native_missing']})" if data["native_missing"] else ""),
             f"addresses  {data['addresses']}", f"namespace  {data['namespace']}"]
    if not data["enabled"]:
        lines.append("limits     off: PAWL['ENABLED'] is False")
    elif not data["enforce"]:
        lines.append("limits     log only: PAWL['ENFORCE'] is False")
    if data["reachable"]:
        lines.append(f"pawld      answers in {data['round_trip_ms']} ms")
    else:
        lines.append("pawld      DOES NOT ANSWER")
    lines += [f"  {name:<22} {value}" for name, value in data["daemon"].items()]
    if data["error"]:
        lines.append(f"error      {data['error']}")
    return lines

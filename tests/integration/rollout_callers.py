"""callers.c once more, with the Python package: clients in threads, each with its own, that check
one key until told to stop. The same arguments, the same conversation.

    rollout_callers.py THREADS DEADLINE_MS - KEY RATES ADDRESS...
"""

import json
import sys
import threading
import time

import pawl

FIGURES = ("allowed", "denied", "failed", "in_doubt", "late")
LATE_S = 0.02


class Caller:
    def __init__(self, deadline_ms, key, rates, addresses):
        self.client = pawl.Client(addresses, check_deadline_ms=deadline_ms)
        self.key, self.rates = key, rates
        self.figures, self.slowest_s, self.why = dict.fromkeys(FIGURES, 0), 0.0, ""
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not stopping:
            begun = time.monotonic()
            self.note(self.client.check(self.key, self.rates, on_error="closed"),
                      time.monotonic() - begun)
            time.sleep(pace_s)

    def note(self, answer, took_s):
        figures = self.figures
        self.slowest_s = max(self.slowest_s, took_s)
        figures["late"] += took_s > LATE_S
        if answer.info.source != "daemon" or answer.info.cause != "ok":
            self.why = self.why or f"{answer.info.cause}: {answer.info.text}"
            figures["failed"] += 1
            figures["in_doubt"] += answer.info.effect == "unknown"
        else:
            figures["allowed" if answer.allowed else "denied"] += 1


def say(callers):
    sums = {name: sum(one.figures[name] for one in callers) for name in FIGURES}
    print(json.dumps({**sums, "slowest_ms": round(1000 * max(one.slowest_s for one in callers), 1),
                      "why": next((one.why for one in callers if one.why), ""),
                      "backend": callers[0].client.backend}), flush=True)


pace_s, stopping = 0.0, False
everybody = [Caller(int(sys.argv[2]), sys.argv[4], sys.argv[5], sys.argv[6:])
             for _ in range(int(sys.argv[1]))]
for line in sys.stdin:
    if line.strip():
        pace_s = int(line) / 1e6
    for one in everybody:
        if one.thread.ident is None:
            one.thread.start()
    say(everybody)
stopping = True
for one in everybody:
    one.thread.join()
say(everybody)

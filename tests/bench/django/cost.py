#!/usr/bin/python3
"""What a throttled request costs: the time inside allow_request, p50 and p99, in one process.

Django REST Framework's throttle with its cache in this process and in Redis, beside pawl's with the
extension and in pure Python; once with a new caller for each request, once with one caller who has
900 requests in the window. Rounds of all four take turns, so that a busy moment hits all.
"""

import argparse
import json
import pathlib
import statistics
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE), str(ROOT / "tests" / "python")]

import rig  # noqa: E402
import servers  # noqa: E402

NAMES = ("stock, in this process", "stock, Redis", "pawl", "pawl, pure Python")


def configure(address, redis):
    """Django, with a cache of each kind."""
    from django.conf import settings
    settings.configure(
        SECRET_KEY="of a figure", ALLOWED_HOSTS=["*"], INSTALLED_APPS=["pawl.django"],
        CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
                "redis": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": redis}},
        REST_FRAMEWORK={"DEFAULT_AUTHENTICATION_CLASSES": [], "UNAUTHENTICATED_USER": None},
        PAWL={"ADDR": address, "DEADLINE_MS": 1000})
    import django
    django.setup()


def contestants():
    """A throttle class of each kind, and what to do before its rounds."""
    from django.core.cache import caches
    from rest_framework.throttling import AnonRateThrottle

    import pawl
    import pawl.drf
    from pawl.django import conf

    class Local(AnonRateThrottle):
        rate, cache = "1000/hour", caches["default"]

    class Redis(AnonRateThrottle):
        rate, cache = "1000/hour", caches["redis"]

    class Pawl(pawl.drf.AnonRateThrottle):
        rate = "1000/hour"

    class Pure(pawl.drf.AnonRateThrottle):
        rate, scope = "1000/hour", "pure"
    clients = {name: pawl.Client(**{**conf.client_options(), "backend": name})
               for name in ("native", "pure")}

    def use(name):
        conf._clients["blocking"] = clients[name]
    return [(NAMES[0], Local, lambda: None), (NAMES[1], Redis, lambda: None),
            (NAMES[2], Pawl, lambda: use("native")), (NAMES[3], Pure, lambda: use("pure"))]


def ask(throttle_class, view, address):
    """Microseconds of one request's throttling."""
    from rest_framework.request import Request
    from rest_framework.test import APIRequestFactory
    request = Request(APIRequestFactory().get("/", REMOTE_ADDR=address))
    begun = time.perf_counter_ns()
    allowed = throttle_class().allow_request(request, view)
    took = (time.perf_counter_ns() - begun) / 1000
    assert allowed
    return took


def measure(rounds, requests):
    from rest_framework.views import APIView
    found = {name: {"new caller": [], "900 in the window": []} for name in NAMES}
    kinds = contestants()
    views = {}
    for name, throttle, before in kinds:
        views[name] = type("View", (APIView,), {"throttle_classes": [throttle]})()
        before()
        for _ in range(900):
            ask(throttle, views[name], "10.255.255.255")
    number = 0
    for turn in range(rounds):
        for name, throttle, before in kinds:
            before()
            for _ in range(requests):
                number += 1
                address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
                found[name]["new caller"].append(ask(throttle, views[name], address))
            if turn < 10:  # 900 + 10 * 9 stays under the limit
                for _ in range(9):
                    found[name]["900 in the window"].append(
                        ask(throttle, views[name], "10.255.255.255"))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rig.use_package()
    with tempfile.TemporaryDirectory(prefix="pawl-cost-") as folder:
        daemon = rig.Daemon(folder).start()
        try:
            with servers.redis_server(folder) as redis:
                configure(daemon.unix, redis)
                found = measure(options.rounds, options.requests)
        finally:
            daemon.kill()
    rows = [{"name": name, "case": case, "p50_us": round(statistics.median(times), 1),
             "p99_us": round(sorted(times)[int(len(times) * 0.99)], 1), "requests": len(times)}
            for name, cases in found.items() for case, times in cases.items()]
    if options.json:
        print(json.dumps(rows))
        return
    print(f"{'throttle':24} {'case':18} {'p50 us':>8} {'p99 us':>8}")
    for row in rows:
        print(f"{row['name']:24} {row['case']:18} {row['p50_us']:8} {row['p99_us']:8}")


if __name__ == "__main__":
    main()

"""The fuzzers: 200,000 executions each in ./dev test, longer by hand with ./dev fuzz.

    ./dev fuzz [NAME] [SECONDS]    run one fuzzer, or each, for SECONDS (60); new inputs that reach
                                   new code stay in build/fuzz-found/NAME
"""

import os
import subprocess
import sys
import tempfile
import concurrent.futures

import suites

FOLDER = suites.ROOT / "tests" / "fuzz"
RUNS = 200_000
#: A run of these is no input but a program of up to two hundred steps, or makes a handshake.
FEWER_RUNS = {"fuzz_algorithms": 50_000, "fuzz_limiter": 50_000, "fuzz_log": 3_000,
              "fuzz_tls": 10_000}
COVERAGE_MIN = 90

#: fuzzer -> the parser's sources, of which its kept corpus has to reach COVERAGE_MIN percent
PARSERS = {
    "fuzz_frame": ["proto/pawl/v1/frame.c"],
    "fuzz_hot": ["proto/pawl/v1/hot_read.c", "proto/pawl/v1/hot_read_reply.c",
                 "proto/pawl/v1/hot_write.c", "proto/pawl/v1/hot_wire.h"],
    "fuzz_cold": ["proto/pawl/v1/cold.c"],
    "fuzz_envelope": ["proto/pawl/v1/envelope.c"],
    "fuzz_config": ["daemon/adapter/yaml/yaml.c", "daemon/ops/settings.c",
                    "daemon/ops/settings_access.c", "daemon/ops/settings_check.c",
                    "daemon/ops/settings_limits.c", "daemon/ops/settings_lists.c",
                    "daemon/ops/settings_print.c", "daemon/ops/settings_read.c",
                    "daemon/ops/settings_read_lists.c", "daemon/ops/settings_table.c",
                    "daemon/ops/settings_text.c", "daemon/ops/settings_walk.c"],
    "fuzz_rate_text": ["daemon/core/rate_text.c"],
    "fuzz_sid": ["daemon/core/sid.c"],
    "fuzz_zone": ["daemon/core/zone.c", "daemon/core/calendar.c"],
    "fuzz_address": ["daemon/core/address.c"],
    "fuzz_fact": ["daemon/core/fact.c"],
    "fuzz_family": ["daemon/core/family.c"],
    "fuzz_view": ["daemon/core/cluster/view.c", "daemon/core/cluster/member_info.c"],
    "fuzz_http": ["daemon/ops/http/parse.c"],
    "fuzz_time_text": ["client/ctl/time_text.c"],
    # The rest of the client makes requests and waits; these read what comes.
    "fuzz_reply": ["proto/pawl/v1/hot_read_reply.c", "client/src/cold_answers.c",
                   "client/src/outcome.c", "client/src/fallback.c"],
    # Four tokens for each run: 800,000 in ./dev test.
    "fuzz_jwt": ["daemon/adapter/jwt/base64url.c", "daemon/adapter/jwt/claims.c",
                 "daemon/adapter/jwt/json.c", "daemon/adapter/jwt/jws.c",
                 "daemon/adapter/jwt/verifier.c"],
    "fuzz_jwks": ["daemon/adapter/jwt/jwk.c", "daemon/adapter/jwt/key_json.c",
                  "daemon/adapter/jwt/pem.c"],
    "fuzz_redis_reply": ["daemon/adapter/redis/info.c", "daemon/adapter/redis/reader.c",
                         "daemon/adapter/redis/replies.c"],
    # No parser, but a machine that bytes drive.
    "fuzz_log": ["daemon/core/cluster/log_append.c", "daemon/core/cluster/log_digest.c",
                 "daemon/core/cluster/log_facts.c", "daemon/core/cluster/log_origins.c",
                 "daemon/core/cluster/log_read.c", "daemon/core/cluster/log_tend.c",
                 "daemon/core/cluster/log_tops.c"],
    "fuzz_limiter": ["daemon/core/window.c", "daemon/core/limiter.c",
                     "daemon/core/limiter_slab.c"],
    "fuzz_algorithms": ["daemon/core/gcra.c", "daemon/core/slots.c", "daemon/core/quota.c"],
}


def fuzzers():
    return sorted(path.stem for path in FOLDER.glob("fuzz_*.c"))


def uncounted():
    """Coverage is counted for the kept corpus alone (coverage.py), not for what a run tries."""
    return suites.environment(LLVM_PROFILE_FILE="/dev/null")


def run(name, arguments):
    corpus = FOLDER / "corpus" / name.removeprefix("fuzz_")
    with tempfile.TemporaryDirectory(prefix="pawl-fuzz-") as scratch:
        return suites.run_command(
            f"fuzz/{name}",
            [suites.ROOT / "build" / "fuzz" / "tests" / "fuzz" / name, scratch, corpus,
             "-print_final_stats=1", "-timeout=10", "-rss_limit_mb=2048", *arguments],
            cwd=scratch, timeout_s=1800, env=uncounted())


def covered(name):
    sources = PARSERS[name]
    case = suites.run_command(f"fuzz/{name}_corpus_covers_{COVERAGE_MIN}_percent",
                              ["/usr/bin/python3", FOLDER / "coverage.py", "--min", COVERAGE_MIN,
                               name, *sources])
    if case.outcome == suites.PASSED:
        print(f"{name}: corpus reaches {case.detail.strip().splitlines()[-1]}", flush=True)
    return case


def cases():
    suites.build("fuzz", targets=["tests"])
    names = fuzzers()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        yield from pool.map(
            lambda name: run(name, [f"-runs={FEWER_RUNS.get(name, RUNS)}", "-seed=1"]), names)
        yield from pool.map(covered, [name for name in names if name in PARSERS])
    for name in sorted(set(PARSERS) - set(names)):
        yield suites.Case(f"fuzz/{name}", suites.FAILED, "no such fuzzer")


def main():
    wanted = [argument for argument in sys.argv[1:] if not argument.isdigit()] or fuzzers()
    seconds = next((argument for argument in sys.argv[1:] if argument.isdigit()), "60")
    worst = 0
    for name in wanted:
        name = "fuzz_" + name.removeprefix("fuzz_")
        found = suites.ROOT / "build" / "fuzz-found" / name
        found.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [suites.ROOT / "build" / "fuzz" / "tests" / "fuzz" / name, found,
             FOLDER / "corpus" / name.removeprefix("fuzz_"), f"-max_total_time={seconds}",
             "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"],
            cwd=found, env=uncounted())
        print(f"{name}: exit {done.returncode}", flush=True)
        worst = max(worst, abs(done.returncode))
    return 1 if worst else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Figures against baselines: `./dev bench [--only NAME...] [--quick]`.

Each figure of the wire is measured in turns with its baseline (echo, pawld, echo, pawld, ...) on
the same machine, transport, connections, frame sizes and cores; the median of the rounds counts.
pawld runs with a data_dir, one worker, all of its threads on one processor; the load generator has
the other one (check_*_1x1: both on the same). The wire figures ask for one of 1,000 random keys at
1,000,000/minute, so that every check finds its record in the cache, is allowed and charged; what a
miss of the cache for each key costs is said by keys_10m. Against Redis it is 100,000 keys at
100/minute on both sides. Writes build/bench.json and prints a table with the
budgets of the design. Exits 0 when everything asked for was measured, whatever the budgets say.
"""
import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import bench_cluster
import bench_cost
import bench_sizing

ROOT = pathlib.Path(__file__).resolve().parents[2]
MILLION = 1_000_000
PATIENCE_S = 60
KEYS = {"keys": 1000, "count": MILLION}

# The bound of each figure: of its ratio, or of its value where there is no baseline.
BUDGETS = {
    "check_unix_50x1": ("ratio", ">=", 0.85), "check_tcp_50x1": ("ratio", ">=", 0.85),
    "token_unix_50x1": ("ratio", ">=", 0.85), "admit_unix_50x1": ("ratio", ">=", 0.85),
    "check_unix_8x32": ("ratio", ">=", 0.35), "check_tcp_8x32": ("ratio", ">=", 0.5),
    "check_unix_1x1": ("ratio", "<=", 1.1), "check_tcp_1x1": ("ratio", "<=", 1.1),
    # 0.8 is asked for connections with one request each; with 32 in flight as over TCP.
    "check_tls_50x1": ("ratio", ">=", 0.8), "check_tls_8x32": ("ratio", ">=", 0.5),
    "check_tls_1x1": ("ratio", "<=", 1.1),
    "redis_50x1": ("ratio", ">=", 2), "redis_8x32": ("ratio", ">=", 5),
    "revoke_durable": ("ratio", ">=", 4),
    "key_bytes_1": ("value", "<=", 96), "key_bytes_64": ("value", "<=", 400),
    "revocation_bytes": ("value", "<=", 64),
    "lookup_ns": ("value", "<=", 60), "verdict_ns": ("value", "<=", 300),
    "rs256_ns": ("ratio", "<=", 1.3), "jwt_cached_ns": ("value", "<=", 2000),
    "start_1m": ("value", "<=", 2), "counters_save_1m": ("value", "<=", 5),
    "counters_load_1m": ("value", "<=", 5),
    # "Flat" in the design: as far as a miss of the cache for each key allows.
    "keys_10m": ("ratio", ">=", 0.8),
    "seen_p99_ms": ("value", "<=", 10),
    # What being in a fleet adds to a check, against one node alone (bench_cost.py).
    "instructions_50x1_owner": ("ratio", "<=", 1.15), "calls_50x1_owner": ("ratio", "<=", 1.05),
    "instructions_50x1_direct": ("ratio", "<=", 1.15), "calls_50x1_direct": ("ratio", "<=", 1.05),
    "instructions_8x32_owner": ("ratio", "<=", 1.2),
    "instructions_8x32_direct": ("ratio", "<=", 1.2),
    "instructions_50x1_forwarder": ("ratio", "<=", 1.4),
    "calls_50x1_forwarder": ("ratio", "<=", 1.15),
    "instructions_8x32_forwarder": ("ratio", "<=", 1.65),
    "instructions_8x32_forwarded": ("ratio", "<=", 1.3),
    # The processor time of a check, all nodes together: two processors bound what a second shows.
    "scale_2_nodes": ("ratio", "<=", 1.1), "scale_3_nodes": ("ratio", "<=", 1.1),
}

#: What may be asked for by one name.
GROUPS = {"sizing": ["sizing_cores", "sizing_alone", "sizing_fleet"]}


class Trouble(Exception):
    """A figure could not be measured; the text says why."""


def processors():
    """(of the client, of the server)"""
    have = sorted(os.sched_getaffinity(0))
    return have[0], have[1] if len(have) > 1 else have[0]


CLIENT_CPU, SERVER_CPU = processors()


class Process:
    """A server pinned to one processor; ended by its own id."""

    def __init__(self, command, cpu, log):
        self.log = open(log, "ab")
        self.process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=self.log, preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))

    def cpu_s(self):
        """Processor time of all threads that are alive."""
        total = 0
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def stop(self, how=signal.SIGTERM):
        """Returns the seconds it took."""
        begin = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise Trouble(f"did not stop within {PATIENCE_S} s") from None
        self.log.close()
        return time.monotonic() - begin


class Bench:
    def __init__(self, build, quick):
        self.build = build
        self.tools = build / "tests" / "bench"
        self.quick = quick
        self.rounds = 3 if quick else 5
        self.ms = 400 if quick else 1500
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="pawl-bench-"))
        self.running = []
        self.serial = 0
        self.figures = []

    # ---- servers ----

    def launch(self, command, cpu):
        server = Process(command, cpu, self.dir / "log")
        self.running.append(server)
        return server

    def end(self, server, how=signal.SIGTERM):
        self.running.remove(server)
        return server.stop(how)

    def address(self, transport):
        self.serial += 1
        if transport == "unix":
            return f"unix:{self.dir}/{self.serial}.sock"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return f"{transport}:127.0.0.1:{probe.getsockname()[1]}"

    def certificate(self):
        """A certificate for 127.0.0.1 that signs itself, and its key; made once."""
        certificate, key = self.dir / "tls.crt", self.dir / "tls.key"
        if not certificate.exists():
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                            "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=bench",
                            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key,
                            "-out", certificate], check=True, capture_output=True)
            key.chmod(0o600)
        return certificate, key

    def pawld(self, transport="unix", cpu=SERVER_CPU, data_dir=None, address=None, **settings):
        self.serial += 1
        address = address or self.address(transport)
        data_dir = data_dir or self.dir / f"data{self.serial}"
        settings = {"server.workers": 1, "memory_max": "512MiB", **settings}
        if transport == "tls":
            certificate, key = self.certificate()
            settings.update({"tls.certificate": certificate, "tls.key": key})
        command = [self.build / "pawld", "--listen", address, "--data-dir", data_dir]
        for name, value in settings.items():
            command += ["--set", f"{name}={value}"]
        server = self.launch(command, cpu)
        server.address, server.data_dir = address, data_dir
        return server

    def echo(self, transport, cpu, request, reply):
        address = self.address(transport)
        command = [self.tools / "bench_echo", address, "--request", request, "--reply", reply]
        if transport == "tls":
            command = [self.tools / "bench_echo_tls", address[4:], *self.certificate(), request,
                       reply]
        server = self.launch(command, cpu)
        server.address = address
        self.wait_connect(server)
        return server

    def redis(self):
        path = f"{self.dir}/redis.sock"
        binary = shutil.which("redis-server")
        if binary is None:
            raise Trouble("no redis-server (Debian package redis-server)")
        server = self.launch([binary, "--port", "0", "--unixsocket", path, "--save", "",
                              "--appendonly", "no", "--dir", self.dir], SERVER_CPU)
        server.address = f"unix:{path}"
        self.wait_connect(server)
        return server

    def connect(self, address):
        kind, _, rest = address.partition(":")
        if kind == "unix":
            stream = socket.socket(socket.AF_UNIX)
            target = rest
        else:
            host, _, port = rest.rpartition(":")
            stream = socket.socket()
            target = (host, int(port))
        stream.settimeout(PATIENCE_S)
        try:
            stream.connect(target)
            if kind == "tls":
                context = ssl.create_default_context(cafile=self.certificate()[0])
                stream = context.wrap_socket(stream, server_hostname="127.0.0.1")
        except OSError:
            stream.close()
            raise
        return stream

    def wait(self, server, what):
        """Call @what until it is true; it may fail as long as nobody listens."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if server.process.poll() is not None:
                raise Trouble(f"{server.process.args[0]} ended with {server.process.returncode}: "
                              + self.last_words())
            with contextlib.suppress(OSError):
                if what():
                    return
            time.sleep(0.001)
        raise Trouble("not ready in time: " + self.last_words())

    def last_words(self):
        lines = (self.dir / "log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def wait_connect(self, server):
        def connected():
            self.connect(server.address).close()
            return True
        self.wait(server, connected)

    def wait_valid(self, server):
        """Until a token that nobody revoked is called valid: all facts are in."""
        self.wait(server, lambda: token_status(self.connect(server.address)) == 1)

    # ---- load ----

    def load(self, mode, address, cpu=CLIENT_CPU, **options):
        command = [self.tools / "bench_load", mode, address, "--cpu", cpu]
        for name, value in options.items():
            command += ["--" + name.replace("_", "-"), value]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                              check=False,
                              env={**os.environ, "PAWL_TLS_CA": str(self.dir / "tls.crt")})
        try:
            result = json.loads(done.stdout)
        except ValueError:
            raise Trouble(f"bench_load {mode}: {done.stderr.strip()}") from None
        if done.returncode != 0:
            raise Trouble(f"bench_load {mode}: {result['error'] or result['refusal']}")
        return result

    def measured(self, server, mode, **options):
        """One round: what the client saw, and the server's processor time for each request."""
        before = server.cpu_s()
        result = self.load(mode, server.address, **options)
        result["server_us"] = (server.cpu_s() - before) * 1e6 / max(1, result["answered"])
        return result

    def pairs(self, ours, base, mode, base_mode=None, base_options=None, **options):
        """Rounds in turns. Returns two lists of results."""
        left, right = [], []
        for _ in range(self.rounds):
            right.append(self.measured(base, base_mode or mode,
                                       **{**options, **(base_options or {})}))
            left.append(self.measured(ours, mode, **options))
        return left, right

    # ---- figures ----

    def add(self, name, unit, values, baseline=None, **more):
        value = statistics.median(values)
        base = statistics.median(baseline) if baseline else None
        self.figures.append({
            "name": name, "value": round(value, 4), "unit": unit,
            "baseline": None if base is None else round(base, 4),
            "ratio": None if not base else round(value / base, 4),
            "min": round(min(values), 4), "max": round(max(values), 4), **more})

    def against_echo(self, name, mode, transport, connections, in_flight):
        one_core = connections * in_flight == 1
        cpu = CLIENT_CPU if one_core else SERVER_CPU
        shape = {"connections": connections, "in_flight": in_flight, "ms": self.ms, **KEYS}
        ours = self.pawld(transport, cpu)
        self.wait_valid(ours)
        first = self.load(mode, ours.address, **{**shape, "ms": 300, "verify": 1})
        if first["errors"] or first["undecided"] or (mode == "token" and first["denied"]):
            raise Trouble(f"not the verdicts that the load is made for: {first}")
        reply = round(first["reply_bytes"])
        echo = self.echo(transport, cpu, round(first["request_bytes"]), reply)
        left, right = self.pairs(ours, echo, mode, base_options={"echo": reply}, **shape)
        field, unit = ("p50_us", "us") if one_core else ("per_s", "1/s")
        self.add(name, unit, [one[field] for one in left], [one[field] for one in right],
                 server_us=round(statistics.median(one["server_us"] for one in left), 4),
                 baseline_server_us=round(statistics.median(one["server_us"] for one in right), 4),
                 request_bytes=first["request_bytes"], reply_bytes=first["reply_bytes"])
        self.end(ours)
        self.end(echo)

    def against_redis(self, name, connections, in_flight):
        shape = {"connections": connections, "in_flight": in_flight, "ms": self.ms}
        ours, redis = self.pawld(), self.redis()
        self.wait_valid(ours)
        left, right = self.pairs(ours, redis, "check", base_mode="redis", **shape)
        self.add(name, "1/s", [one["per_s"] for one in left], [one["per_s"] for one in right],
                 server_us=round(statistics.median(one["server_us"] for one in left), 4),
                 baseline_server_us=round(statistics.median(one["server_us"] for one in right), 4))
        self.end(ours)
        self.end(redis)

    def durable(self, name, mode):
        """64 writers against one, each waiting for its acknowledgement."""
        server = self.pawld()
        self.wait_valid(server)
        many, one = [], []
        for turn in range(self.rounds):
            for writers, results in ((1, one), (64, many)):
                number = (2 * turn + (writers > 1)) * 10 * MILLION
                extra = {"first": number} if mode == "revoke" else {"seed": number + 1}
                results.append(self.load(mode, server.address, connections=writers, in_flight=1,
                                         keys=10 * MILLION, ms=self.ms, warmup_ms=100, **extra))
        self.add(name, "1/s", [result["per_s"] for result in many],
                 [result["per_s"] for result in one],
                 p50_us=statistics.median(result["p50_us"] for result in many),
                 baseline_p50_us=statistics.median(result["p50_us"] for result in one))
        self.end(server)

    def core(self, name):
        entries = 200_000 if self.quick else MILLION
        values = []
        for _ in range(1 if name == "key_bytes_64" else 3):
            done = subprocess.run(["taskset", "-c", str(SERVER_CPU),
                                   str(self.tools / "bench_core"), name, str(entries)],
                                  capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise Trouble(done.stderr.strip())
            result = json.loads(done.stdout)
            values.append(result["value"])
        self.add(name, result["unit"], values)

    def jwt(self, name):
        """Tokens verified in one process; the baseline is OpenSSL on the same signatures."""
        results = []
        for _ in range(self.rounds):
            done = subprocess.run(["taskset", "-c", str(SERVER_CPU),
                                   str(self.tools / "bench_jwt"), name],
                                  capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise Trouble(done.stderr.strip())
            results.append(json.loads(done.stdout))
        self.add(name, results[0]["unit"], [result["value"] for result in results],
                 [result["baseline"] for result in results if "baseline" in result])

    def start_1m(self, name):
        count = 100_000 if self.quick else MILLION
        server = self.pawld()
        self.wait_valid(server)
        self.load("revoke", server.address, connections=64, in_flight=64, keys=count,
                  requests=count, stall_ms=60000)
        self.end(server)
        values = []
        for _ in range(self.rounds):
            begin = time.monotonic()
            server = self.pawld(data_dir=server.data_dir, address=server.address)
            self.wait_valid(server)
            values.append(time.monotonic() - begin)
            if token_status(self.connect(server.address), b"6f1c9f0e2b7d4a55a3e000000001") != 2:
                raise Trouble("a revoked token is not known as such after the start")
            self.end(server)
        self.add(name, "s", values, entries=count)

    def filled(self, count, **settings):
        """A pawld that has counted @count keys once each, for an hour."""
        server = self.pawld(**settings)
        self.wait_valid(server)
        self.load("check", server.address, connections=8, in_flight=32, keys=count,
                  requests=count, sequential=1, window_ms=3600000, stall_ms=60000)
        return server

    def counters(self, what):
        """What a restart with 1 M counters takes: both figures come from the same rounds."""
        count = 100_000 if self.quick else MILLION
        saves, loads = [], []
        for _ in range(self.rounds):
            server = self.filled(count)
            saves.append(self.end(server))
            begin = time.monotonic()
            server = self.pawld(data_dir=server.data_dir, address=server.address)
            self.wait_valid(server)
            loads.append(time.monotonic() - begin)
            again = self.load("check", server.address, connections=1, in_flight=1, keys=1, count=1,
                              requests=1, sequential=1, window_ms=3600000, verify=1)
            if again["denied"] != 1:
                raise Trouble("a key is not known any more after the restart")
            self.end(server)
            shutil.rmtree(server.data_dir)
        for name, values in (("counters_save_1m", saves), ("counters_load_1m", loads)):
            if name in what:
                self.add(name, "s", values, entries=count)

    def keys_10m(self, name):
        count = MILLION if self.quick else 10 * MILLION
        shape = {"connections": 8, "in_flight": 32, "ms": self.ms, "window_ms": 3600000,
                 "count": KEYS["count"]}
        large = self.filled(count, memory_max="2GiB")
        small = self.filled(1000, memory_max="2GiB")
        left, right = self.pairs(large, small, "check", keys=count, base_options={"keys": 1000},
                                 **shape)
        self.add(name, "1/s", [one["per_s"] for one in left], [one["per_s"] for one in right],
                 server_us=round(statistics.median(one["server_us"] for one in left), 4),
                 baseline_server_us=round(statistics.median(one["server_us"] for one in right), 4),
                 entries=count)
        self.end(large)
        self.end(small)

    def close(self):
        for server in list(self.running):
            with contextlib.suppress(Trouble):
                self.end(server, signal.SIGKILL)
        shutil.rmtree(self.dir, ignore_errors=True)


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def fields(message):
    """(number, value) of each field of a protobuf message of varints, bytes and fixed64."""
    at = 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        tag = number()
        if tag & 7 == 0:
            yield tag >> 3, number()
        else:
            size = 8 if tag & 7 == 1 else number()
            yield tag >> 3, message[at:at + size]
            at += size


def token_status(stream, jti=b"nobody-revoked-this"):
    """TokenStatus of the .proto for @jti, 0 where no verdict came. Closes @stream."""
    with stream:
        claims = field(1, b"https://auth.example") + field(2, jti)
        message = b"\x08\x01" + field(17, field(1, claims))
        stream.sendall(struct.pack(">I", len(message)) + message)
        data = b""
        while len(data) < 4 or len(data) < 4 + struct.unpack(">I", data[:4])[0]:
            more = stream.recv(65536)
            if not more:
                return 0
            data += more
        verdict = dict(fields(data[4:])).get(17, b"")
        return dict(fields(verdict)).get(1, 0)


def plan(bench):
    """Every figure's name and the call that measures it."""
    calls = {}
    for transport in ("unix", "tcp", "tls"):
        for connections, in_flight in ((1, 1), (50, 1), (8, 32)):
            name = f"check_{transport}_{connections}x{in_flight}"
            calls[name] = (bench.against_echo, "check", transport, connections, in_flight)
    calls["token_unix_50x1"] = (bench.against_echo, "token", "unix", 50, 1)
    calls["admit_unix_50x1"] = (bench.against_echo, "admit", "unix", 50, 1)
    calls["redis_50x1"] = (bench.against_redis, 50, 1)
    calls["redis_8x32"] = (bench.against_redis, 8, 32)
    calls["rotate_durable"] = (bench.durable, "rotate")
    calls["revoke_durable"] = (bench.durable, "revoke")
    for name in ("key_bytes_1", "key_bytes_64", "revocation_bytes", "lookup_ns", "verdict_ns"):
        calls[name] = (bench.core,)
    for name in ("rs256_ns", "jwt_cached_ns"):
        calls[name] = (bench.jwt,)
    calls["start_1m"] = (bench.start_1m,)
    calls["counters_save_1m"] = calls["counters_load_1m"] = None  # together, below
    calls["keys_10m"] = (bench.keys_10m,)
    wire = sys.modules[__name__] # fields and varints of this file
    calls["seen_p99_ms"] = (lambda name: bench_cluster.seen_p99_ms(bench, name, wire),)
    calls["forwarded_unix_50x1"] = (lambda name: bench_cluster.forwarded(bench, name),)
    calls["cluster_cost"] = (lambda name: bench_cost.cluster_cost(bench, name),)
    calls["scale"] = (lambda name: bench_cost.scale(bench, name),)
    calls.update(bench_sizing.calls(bench, wire))
    return calls


def measure(bench, only):
    """Run what is asked for; returns the figures that could not be measured."""
    calls = plan(bench)
    only = [each for name in only for each in GROUPS.get(name, [name])]
    failed = {}
    unknown = [name for name in only if name not in calls]
    if unknown:
        there = ", ".join([*calls, *GROUPS])
        raise SystemExit(f"bench: no figure {', '.join(unknown)}; there are {there}")
    names = [name for name in calls if not only or name in only]
    pending = {name for name in names if calls[name] is None}
    for name in names:
        print(f"  {name} ...", file=sys.stderr, flush=True)
        try:
            if calls[name] is not None:
                call, *arguments = calls[name]
                call(name, *arguments)
            elif name in pending:
                bench.counters(pending)
                pending = set()
        except (Trouble, bench_cluster.rig.Trouble, OSError) as trouble:
            failed[name] = str(trouble)
            print(f"  {name}: {trouble}", file=sys.stderr, flush=True)
            for server in list(bench.running):
                with contextlib.suppress(Trouble):
                    bench.end(server, signal.SIGKILL)
    return failed


def judged(figure):
    """("ok" or "MISS", the budget as text)"""
    if figure["name"] not in BUDGETS:
        return "", ""
    what, sign, bound = BUDGETS[figure["name"]]
    have = figure[what]
    good = have is not None and (have >= bound if sign == ">=" else have <= bound)
    return "ok" if good else "MISS", f"{what} {sign} {bound}"


def shown(number):
    if number is None:
        return "-"
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3f}".rstrip("0").rstrip(".")


def table(figures, failed, quick):
    line = "{:<28} {:>14} {:<5} {:>14} {:>8}  {:<15} {}"
    print(line.format("name", "value", "unit", "baseline", "ratio", "budget", ""))
    for figure in figures:
        verdict, budget = judged(figure)
        print(line.format(figure["name"], shown(figure["value"]), figure["unit"],
                          shown(figure["baseline"]), shown(figure["ratio"]), budget, verdict))
    for name, why in failed.items():
        print(f"{name:<28} not measured: {why}")
    if quick:
        print("--quick: fewer and shorter rounds, smaller tables; not the figures to compare")


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="ascii")
                  if line.startswith("model name")), "unknown")
    return {"processors": os.cpu_count(), "model": model, "kernel": os.uname().release}


def main():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release",
                        help="where the binaries are (build/release)")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / "bench.json")
    asked = parser.parse_args()
    bench = Bench(asked.build.resolve(), asked.quick)
    try:
        failed = measure(bench, asked.only)
    finally:
        bench.close()
    order = list(plan(bench))
    bench.figures.sort(key=lambda figure: order.index(figure.get("plan", figure["name"])))
    asked.out.write_text(json.dumps({"figures": bench.figures, "machine": machine(),
                                     "quick": asked.quick}, indent=1) + "\n", encoding="utf-8")
    table(bench.figures, failed, asked.quick)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

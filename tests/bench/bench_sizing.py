"""What a node, its disk and the engine need: `./dev bench --only sizing`, for deploy/SIZING.md.

Bytes and processor time for each thing, never wall time, so that a busy machine changes little:
resident memory (VmRSS), sizes of files, `used_memory` of redis-server, user and system time of all
threads of a process. Memory is counted from a fresh start, what is taken once included; the rest
after a first quarter. "alone" is one node; a fleet is three nodes, two of them with a data_dir, at a
redis-server with an append-only file and a replica.
"""
import contextlib
import os
import pathlib
import re
import struct
import time

import bench_cluster
import bench_cost

rig = bench_cluster.rig
STATUS_OK = 1
SCOPE_TOKEN, SCOPE_SUBJECT = 1, 5
CHUNK = 256 # requests under way at once
MILLION = 1_000_000
HOUR_MS = 3_600_000
LIFE_S = 7 * 86400
ROOM = {"memory_max": "1GiB", "revocations_max": 1 << 23, "store.queue_max": 1 << 17}


# ---- what a process and a folder have ------------------------------------------------------------


def rss(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(re.search(r"VmRSS:\s+(\d+)", text)[1])


def cpu_s(pid):
    """Of all threads that are alive."""
    return sum(bench_cost.threads(pid).values()) / 1e9


def cpu_beside_workers_s(pid):
    """The same without the busiest thread, which is the worker of a node with one."""
    ran = sorted(bench_cost.threads(pid).values())
    return sum(ran[:-1]) / 1e9


def size(path):
    """Bytes of a file, or of all files in a folder."""
    path = pathlib.Path(path)
    if path.is_dir():
        return sum(size(one) for one in path.iterdir())
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


# ---- loads ---------------------------------------------------------------------------------------


def answers(stream, count):
    data = b""
    for _ in range(count):
        while len(data) < 4 or len(data) < 4 + struct.unpack(">I", data[:4])[0]:
            more = stream.recv(1 << 18)
            if not more:
                raise rig.Trouble("a node closed the connection")
            data += more
        length = 4 + struct.unpack(">I", data[:4])[0]
        yield data[4:length]
        data = data[length:]


def pour(bench, address, wire, count, body):
    """@count requests that body() makes, CHUNK under way; every answer has to be good."""
    with bench.connect(address) as stream:
        for first in range(0, count, CHUNK):
            many = min(CHUNK, count - first)
            stream.sendall(b"".join(bench_cluster.frame(b"\x08\x01" + body())
                                    for _ in range(many)))
            for answer in answers(stream, many):
                if dict(wire.fields(answer)).get(2, 0) != STATUS_OK:
                    raise rig.Trouble(f"refused: {answer!r}")


def number_field(wire, number, value):
    return wire.varint(number << 3) + wire.varint(value)


def random_text():
    """As long as a UUID's digits; what counts up would be packed in a dump.rdb."""
    return os.urandom(16).hex().encode()


def logout(wire):
    exp = int(time.time()) + LIFE_S

    def body():
        return wire.field(20, number_field(wire, 1, SCOPE_TOKEN) +
                          wire.field(2, b"https://auth.example") + wire.field(3, random_text()) +
                          number_field(wire, 5, exp))
    return body


def cutoff(wire):
    def body():
        return wire.field(20, number_field(wire, 1, SCOPE_SUBJECT) +
                          wire.field(2, b"https://auth.example") +
                          wire.field(3, b"user:" + random_text()))
    return body


def family(wire):
    exp = int(time.time()) + LIFE_S

    def body():
        return wire.field(23, wire.field(1, b"https://auth.example") +
                          wire.field(2, b"user:" + random_text()) + wire.field(5, random_text()) +
                          number_field(wire, 7, exp))
    return body


def count_keys(bench, address, count, times=1, window_ms=HOUR_MS):
    bench.load("check", address, connections=8, in_flight=32, keys=count, requests=count * times,
               sequential=1, count=MILLION, window_ms=window_ms, stall_ms=60000)


# ---- one node alone ------------------------------------------------------------------------------


def status(bench, address):
    done = rig.run([str(bench.build / "pawlctl"), "--addr", address, "--json", "status"], 20)
    if done.returncode != 0:
        raise rig.Trouble(done.stderr)
    return rig.json.loads(done.stdout)


def wait_saved(bench, address):
    """Until a crash would lose no count, twice: what was handed over is written too."""
    rig.wait_until(lambda: status(bench, address)["counter_unsaved_age_ms"] == 0, "counts saved",
                   120)


def started(bench, **settings):
    server = bench.pawld(**{**ROOM, **settings})
    bench.wait_valid(server)
    return server


def keys_alone(bench, name, count):
    server = started(bench)
    pid, before = server.process.pid, rss(server.process.pid)
    saver = cpu_beside_workers_s(pid)
    count_keys(bench, server.address, count)
    wait_saved(bench, server.address)
    saved = status(bench, server.address)["counter_saved_records"]
    bench.add("alone_key_memory", "B", [(rss(pid) - before) / count], plan=name)
    bench.add("alone_key_disk", "B", [size(server.data_dir / "counters") / count], plan=name)
    bench.add("alone_saving", "s/M", [(cpu_beside_workers_s(pid) - saver) * MILLION / saved],
              plan=name)
    idle = cpu_s(pid)
    time.sleep(4)
    bench.add("alone_idle", "ms/s", [(cpu_s(pid) - idle) * 250], plan=name)
    bench.end(server)
    server, few = started(bench), count // 20
    before = rss(server.process.pid)
    count_keys(bench, server.address, few, times=64)
    bench.add("alone_key64_memory", "B", [(rss(server.process.pid) - before) / few], plan=name)
    bench.end(server)


def facts_alone(bench, name, what, count, make):
    """@make(address, count) makes so many of @what, each durable."""
    server = started(bench)
    pid = server.process.pid
    all_of_it, before = count + count // 4, rss(pid)
    make(server.address, count // 4) # the first are dearer
    spent, disk = cpu_s(pid), size(server.data_dir / "pawl.db")
    make(server.address, count)
    bench.add(f"alone_{what}_memory", "B", [(rss(pid) - before) / all_of_it], plan=name)
    bench.add(f"alone_{what}_cpu", "s/M", [(cpu_s(pid) - spent) * MILLION / count], plan=name)
    bench.end(server)
    bench.add(f"alone_{what}_disk", "B", [(size(server.data_dir / "pawl.db") - disk) / count], plan=name)
    again = bench.pawld(data_dir=server.data_dir, address=server.address, **ROOM)
    bench.wait_valid(again)
    bench.add(f"alone_{what}_start", "s/M",
              [cpu_s(again.process.pid) * MILLION / all_of_it], plan=name)
    bench.end(again)


def maker(bench, wire, body):
    return lambda address, count: pour(bench, address, wire, count, body)


def alone(bench, name, wire, count, few):
    keys_alone(bench, name, count)
    facts_alone(bench, name, "revocation", count, maker(bench, wire, logout(wire)))
    facts_alone(bench, name, "cutoff", few, maker(bench, wire, cutoff(wire)))
    facts_alone(bench, name, "family", few, maker(bench, wire, family(wire)))


# ---- a fleet -------------------------------------------------------------------------------------


class Whole:
    """A fleet of three: the one that is asked, one that follows, one that follows without a
    data_dir; an engine with a file, and its replica."""

    def __init__(self, bench):
        bench.serial += 1
        self.bench = bench
        self.fleet = rig.Fleet(
            bench.build, bench.dir / f"sizing{bench.serial}", replicas=1,
            redis={"appendonly": "yes", "auto-aof-rewrite-percentage": "0"},
            cluster={"command_timeout": "5s"}, # on a busy machine
            settings={"memory_max": "1GiB", "revocations_max": 1 << 23,
                      "store": {"queue_max": 1 << 17}})
        try:
            self.fleet.add(2, data_dir=True, start=False)
            self.fleet.add(1, start=False)
            for node in self.fleet.nodes:
                node.start(wait=False)
            self.fleet.settle()
        except BaseException:
            self.fleet.close()
            raise
        self.asked, self.follows, self.bare = self.fleet.nodes
        self.engine, self.replica = self.fleet.engines

    def pids(self):
        return {"asked": self.asked.server.pid, "follows": self.follows.server.pid,
                "bare": self.bare.server.pid, "engine": self.engine.pid,
                "replica": self.replica.pid}

    def look(self):
        """All figures at once: {name: number}."""
        seen = {f"{who}_cpu": cpu_s(pid) for who, pid in self.pids().items()}
        seen.update({f"{who}_memory": rss(pid) for who, pid in self.pids().items()
                     if who not in ("engine", "replica")})
        for who, one in (("engine", self.engine), ("replica", self.replica)):
            seen[f"{who}_memory"] = int(one.info("memory")["used_memory"])
        self.engine.ask("bgsave")
        rig.wait_until(lambda: self.engine.info("persistence")["rdb_bgsave_in_progress"] == "0",
                       "a dump.rdb", 120)
        seen["rdb"] = size(self.engine.folder / "dump.rdb")
        seen["aof"] = size(self.engine.folder / "appendonlydir")
        seen["journal"] = size(self.asked.folder / "data")
        return seen

    def quiet(self, facts):
        """Everybody has @facts, on disk too, and every count is saved."""
        def done():
            return all(one["revocations"] >= facts and one["counter_unsaved_age_ms"] == 0 and
                       one["counter_saves_outstanding"] == 0 and one["journal_waiting"] == 0
                       for one in (node.status() for node in self.fleet.nodes))
        rig.wait_until(done, "all nodes in step", 180)
        rig.wait_until(lambda: self.replica.in_step(self.engine), "the replica in step", 60)


def grown(bench, whole, name, what, count, make, are_facts=False):
    """What @count of @what add; @make(address, count) makes them at the node that is asked."""
    held, all_of_it, first = whole.asked.status()["revocations"], count + count // 4, whole.look()
    make(whole.asked.unix, count // 4) # the first are dearer
    whole.quiet(held + are_facts * (count // 4))
    before = whole.look()
    make(whole.asked.unix, count)
    whole.quiet(held + are_facts * all_of_it)
    after = whole.look()
    add = {key: (after[key] - before[key]) / count for key in before}
    add.update({key: (after[key] - first[key]) / all_of_it for key in before
                if "_memory" in key})
    for who in ("asked", "follows", "bare", "engine", "replica"):
        bench.add(f"fleet_{what}_memory_{who}", "B", [add[f"{who}_memory"]], plan=name)
    for where in ("rdb", "aof") + (("journal",) if are_facts else ()):
        bench.add(f"fleet_{what}_{where}", "B", [add[where]], plan=name)
    for who in ("asked", "follows", "bare", "engine", "replica"):
        bench.add(f"fleet_{what}_cpu_{who}", "s/M", [add[f"{who}_cpu"] * MILLION], plan=name)


def again(bench, whole, name, what, node, facts):
    """Processor time and seconds until @node knows @facts after a new start."""
    node.stop()
    begun, engine = time.monotonic(), cpu_s(whole.engine.pid)
    node.start(wait=False)
    rig.wait_until(lambda: node.status()["revocations"] >= facts and
                   node.status()["staleness_ms"] < 3000, f"{node.name} knows all", 180)
    bench.add(f"fleet_start_{what}_cpu", "s/M", [cpu_s(node.server.pid) * MILLION / facts],
              plan=name, seconds=round(time.monotonic() - begun, 2))
    bench.add(f"fleet_start_{what}_engine_cpu", "s/M",
              [(cpu_s(whole.engine.pid) - engine) * MILLION / facts], plan=name)
    whole.fleet.settle(120)


def keys_of_a_kind(bench):
    """@count more keys each time: another window makes other keys of the same numbers."""
    windows = iter((HOUR_MS, HOUR_MS + 1000))
    return lambda address, count: count_keys(bench, address, count, window_ms=next(windows))


def fleet(bench, name, wire, count, few):
    whole = Whole(bench)
    try:
        # Families first: what the heap has free afterwards would hide theirs.
        grown(bench, whole, name, "family", few, maker(bench, wire, family(wire)))
        grown(bench, whole, name, "revocation", count, maker(bench, wire, logout(wire)), True)
        grown(bench, whole, name, "cutoff", few, maker(bench, wire, cutoff(wire)), True)
        grown(bench, whole, name, "key", count, keys_of_a_kind(bench))
        held = whole.asked.status()["revocations"]
        before = {who: cpu_s(pid) for who, pid in whole.pids().items()}
        time.sleep(4)
        for who, pid in whole.pids().items():
            bench.add(f"fleet_idle_{who}", "ms/s", [(cpu_s(pid) - before[who]) * 250], plan=name)
        again(bench, whole, name, "journal", whole.follows, held)
        again(bench, whole, name, "bare", whole.bare, held)
    finally:
        whole.fleet.close()


# ---- processor time of checks --------------------------------------------------------------------

SHAPES = ((50, 1), (8, 32))


def check_rounds(bench, name, case, addresses, pids, **options):
    """Processors of @pids together for 100,000 checks a second at @addresses: the least of some
    rounds, for what else this machine does only adds to it."""
    number = (50_000 if bench.quick else 300_000) // len(addresses)
    for connections, in_flight in SHAPES:
        rounds = []
        for part in range(bench.rounds + 1):
            spent = sum(cpu_s(pid) for pid in pids)
            bench_cost.together(bench, [(address, {
                "cpu": 1024, "connections": connections, "in_flight": in_flight, "keys": 1000,
                "count": MILLION, "requests": number, "stall_ms": 60000, **options})
                for address in addresses])
            if part > 0: # the first opens links and makes records
                rounds.append((sum(cpu_s(pid) for pid in pids) - spent) * 1e5 /
                              (number * len(addresses)))
        bench.add(f"cores_{case}_{connections}x{in_flight}", "/100k", [min(rounds)], plan=name,
                  median=round(bench_cluster.statistics.median(rounds), 3))


def check_alone(bench, name, transport):
    server = bench.pawld(transport)
    bench.wait_valid(server)
    check_rounds(bench, name, transport, [server.address], [server.process.pid])
    bench.end(server)


def check_fleet(bench, name):
    """Both nodes together, for a check at the node that counts its key, at the other one, of clients
    that ask each for its own, and over TCP of clients that do not look: half is passed on."""
    both = bench_cluster.started(bench, 2)
    pids = [node.server.pid for node in both.nodes]
    try:
        addresses = [node.unix for node in both.nodes]
        for case, asked, whose in (("owner", addresses[:1], bench_cost.OWN),
                                   ("forwarded", addresses[:1], bench_cost.ANOTHERS),
                                   ("direct", addresses, bench_cost.OWN)):
            check_rounds(bench, name, f"fleet_{case}", asked, pids, whose=whose)
        check_rounds(bench, name, "fleet_tcp", [both.nodes[0].tcp], pids)
    finally:
        both.close()


# ---- the group -----------------------------------------------------------------------------------


def counts(bench):
    """(of what is cheap to make, of what is not)"""
    return (100_000, 20_000) if bench.quick else (MILLION, 200_000)


def sizing_cores(bench, name):
    for transport in ("unix", "tcp", "tls"):
        check_alone(bench, name, transport)
    check_fleet(bench, name)


def sizing_alone(bench, name, wire):
    alone(bench, name, wire, *counts(bench))


def sizing_fleet(bench, name, wire):
    many, few = counts(bench)
    fleet(bench, name, wire, many * 2 // 5, few)


def calls(bench, wire):
    """For bench.py: name and call of each part."""
    return {"sizing_cores": (lambda name: sizing_cores(bench, name),),
            "sizing_alone": (lambda name: sizing_alone(bench, name, wire),),
            "sizing_fleet": (lambda name: sizing_fleet(bench, name, wire),)}

"""What a check costs a fleet: instructions and system calls of the workers, and their growth.

Instructions are counted by callgrind (user space, the worker's thread alone, so that the figures
can be repeated to within one per cent whatever else this machine does), system calls by strace on
the same thread, in runs of their own. "alone" is one node without a fleet; in a fleet of two the
load asks, by --whose, only for keys that the node counts itself (owner), only for those of the
other one (forwarder and forwarded: the two ends of it), or asks each node for its own (direct:
clients that know the view). The link between the members is TCP in clear.
"""
import contextlib
import pathlib
import signal
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "deploy" / "demo"))
import fleet as rig  # noqa: E402

SHAPES = ((1, 1), (50, 1), (8, 32))
REQUESTS = {"quick": 10_000, "full": 40_000}
LOAD = {"keys": 100, "count": 1_000_000} # few: after the warm-up no record grows any more
OWN, ANOTHERS = 1, 2 # --whose


class Place(rig.Loopback):
    """This machine, with every pawld under callgrind."""

    def __init__(self, folder):
        self.folder, self.started = folder, 0

    def wrap(self, command):
        if pathlib.Path(str(command[0])).name != "pawld":
            return command
        self.started += 1
        # First in line: a member that gets no processor for seconds is taken for dead.
        return ["nice", "-n", "-5", "valgrind", "--quiet", "--tool=callgrind",
                "--instr-atstart=no", "--separate-threads=yes",
                f"--callgrind-out-file={self.folder}/cg.{self.started}.%p", *command]


class Instructions:
    """Of the worker of each process between begin() and end()."""

    def __init__(self, folder, pids):
        self.folder, self.pids = folder, pids

    def control(self, *what):
        for pid in self.pids:
            done = subprocess.run(["callgrind_control", *what, str(pid)], capture_output=True,
                                  text=True, check=False)
            if done.returncode != 0 or "OK" not in done.stdout:
                raise rig.Trouble(f"callgrind_control {what}: {done.stdout} {done.stderr}")

    def begin(self):
        self.control("--instr=on")
        self.control("--zero")

    def end(self):
        """One number for each process, in their order."""
        self.control("--dump")
        self.control("--instr=off")
        return [self.worker(pid) for pid in self.pids]

    def worker(self, pid):
        spent = 0
        for dump in self.folder.glob(f"cg.*.{pid}.*-*"): # one for each thread
            text = dump.read_text("utf-8", "replace")
            if "pawl_session_" in text: # the thread that has connections
                spent = int(next(line for line in text.splitlines()
                                 if line.startswith("totals:")).split()[1])
            dump.unlink()
        return spent


def threads(pid):
    """Nanoseconds that each thread has run."""
    ran = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            ran[int(task.name)] = int((task / "schedstat").read_text().split()[0])
    return ran


class Calls:
    """System calls of the busiest thread of each process: found by a load before."""

    def __init__(self, folder, pids, warm_up):
        before = [threads(pid) for pid in pids]
        warm_up()
        self.folder = folder
        self.workers = []
        for pid, was in zip(pids, before):
            ran = threads(pid)
            self.workers.append(max(ran, key=lambda one: ran[one] - was.get(one, 0)))
        self.tracers = []

    def begin(self):
        self.tracers = [subprocess.Popen(
            ["strace", "-c", "-o", self.folder / f"strace.{worker}", "-p", str(worker)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for worker in self.workers]
        for worker, tracer in zip(self.workers, self.tracers):
            rig.wait_until(lambda one=worker, by=tracer: self.traced(one) == by.pid,
                           "strace could not be attached", 5)

    @staticmethod
    def traced(worker):
        for line in pathlib.Path(f"/proc/{worker}/status").read_text().splitlines():
            if line.startswith("TracerPid:"):
                return int(line.split()[1])
        return 0

    def end(self):
        for tracer in self.tracers:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(10)
        return [self.total(self.folder / f"strace.{worker}") for worker in self.workers]

    @staticmethod
    def total(path):
        lines = path.read_text().splitlines()
        return int(next(line for line in lines if line.endswith(" total")).split()[3])


# ---- the loads -----------------------------------------------------------------------------------


def together(bench, loads):
    """Loads at the same time; the first trouble of any."""
    troubles = []

    def run(address, options):
        try:
            bench.load("check", address, **options)
        except Exception as trouble: # noqa: BLE001 - told by the caller's thread
            troubles.append(trouble)

    runs = [threading.Thread(target=run, args=load) for load in loads]
    for one in runs:
        one.start()
    for one in runs:
        one.join()
    if troubles:
        raise troubles[0]


def cases(nodes):
    """(name of the case, who is asked and for whose keys, who of @nodes counts for what)"""
    if len(nodes) == 1:
        return [("alone", [(0, 0)], {0: "alone"})]
    return [("owner", [(1, OWN)], {1: "owner"}),
            ("forwarded", [(0, ANOTHERS)], {0: "forwarder", 1: "forwarded"}),
            ("direct", [(0, OWN), (1, OWN)], {0: "direct", 1: "direct"})]


def measure(bench, nodes, counter_of):
    """{(shape, role): per check} of all cases at @nodes, [(address, pid)]."""
    requests = REQUESTS["quick" if bench.quick else "full"]

    def load(asked, number, connections, in_flight):
        together(bench, [(nodes[at][0], {
            **LOAD, "connections": connections, "in_flight": in_flight, "whose": whose,
            "requests": number // len(asked), "stall_ms": 60000, "cpu": 1024})
            for at, whose in asked])

    figures = {}
    for _, asked, roles in cases(nodes):
        load(asked, 20_000, 50, 1) # every record is there and has its size, every link is open
        counter = counter_of([pid for _, pid in nodes],
                             lambda asked=asked: load(asked, 10_000, 50, 1))
        for shape in SHAPES:
            number = requests if shape != (1, 1) else requests // 4
            counter.begin()
            load(asked, number, *shape)
            spent = counter.end()
            for at, role in roles.items():
                key = (shape, role)
                figures[key] = figures.get(key, 0) + spent[at] / number
    return figures


def both(bench, place, counter_of):
    """The figures of a node alone and of a fleet of two, in @place (None: as they are)."""
    figures = {}
    bench.serial += 1
    folder = bench.dir / f"cost{bench.serial}"
    folder.mkdir()
    place = place or rig.Loopback()
    alone = rig.Server(place, [bench.build / "pawld", "--listen", f"unix:{folder}/alone",
                               "--data-dir", folder / "data", "--set", "server.workers=1"],
                       folder / "log")
    alone.address = f"unix:{folder}/alone"
    try:
        bench.wait_valid(alone)
        figures.update(measure(bench, [(alone.address, alone.pid)], counter_of))
    finally:
        alone.stop()
    fleet = rig.Fleet(bench.build, folder / "fleet", place=lambda name: place)
    try:
        fleet.add(2)
        figures.update(measure(bench, [(node.unix, node.server.pid) for node in fleet.nodes],
                               counter_of))
    finally:
        fleet.close()
    return figures


def cluster_cost(bench, name):
    """Instructions and system calls per check, alone / owner / forwarder / forwarded / direct."""
    folder = bench.dir / "callgrind"
    folder.mkdir(exist_ok=True)
    instructions = both(bench, Place(folder), lambda pids, warm_up: Instructions(folder, pids))
    calls = both(bench, None, lambda pids, warm_up: Calls(folder, pids, warm_up))
    for (connections, in_flight) in SHAPES:
        for role in ("owner", "direct", "forwarder", "forwarded"):
            for what, unit, figures in (("instructions", "1/chk", instructions),
                                        ("calls", "1/chk", calls)):
                shape = (connections, in_flight)
                bench.add(f"{what}_{connections}x{in_flight}_{role}", unit, [figures[shape, role]],
                          [figures[shape, "alone"]], plan=name)


# ---- growth --------------------------------------------------------------------------------------


def spent_s(nodes):
    """Processor time of these nodes until now, all their threads."""
    return sum(sum(threads(node.server.pid).values()) for node in nodes) / 1e9


def one_round(bench, nodes, number):
    """(us of the nodes for a check, checks per second): each node is asked for its own keys."""
    each = {**LOAD, "keys": 1000, "whose": OWN, "connections": 50, "in_flight": 1,
            "requests": number, "stall_ms": 60000, "cpu": 1024}
    before, begun = spent_s(nodes), time.monotonic()
    together(bench, [(node.unix, each) for node in nodes])
    took = time.monotonic() - begun
    done = number * len(nodes)
    return (spent_s(nodes) - before) * 1e6 / done, done / took


def scale(bench, name):
    """What a check costs all nodes of a fleet of three against one of one; rounds in turns."""
    number = 50_000 if bench.quick else 200_000
    fleets = {}
    rounds = {1: [], 2: [], 3: []}
    bench.serial += 1
    try:
        for count in rounds:
            fleets[count] = rig.Fleet(bench.build, bench.dir / f"scale{bench.serial}.{count}")
            fleets[count].add(count)
            one_round(bench, fleets[count].nodes, number // 10)
        for _ in range(bench.rounds):
            for count, fleet in fleets.items():
                rounds[count].append(one_round(bench, fleet.nodes, number))
    finally:
        for fleet in fleets.values():
            fleet.close()
    for count in (2, 3):
        bench.add(f"scale_{count}_nodes", "us", [us for us, _ in rounds[count]],
                  [us for us, _ in rounds[1]], plan=name,
                  per_s=round(statistics.median(per_s for _, per_s in rounds[count])),
                  baseline_per_s=round(statistics.median(per_s for _, per_s in rounds[1])))

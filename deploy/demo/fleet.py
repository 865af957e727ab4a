"""A fleet on this machine: an engine (redis-server with replicas and Sentinels) and nodes of pawld.

Used by ./dev cluster, the tests of the cluster and ./dev bench. Everything runs in a *place*: this
machine's loopback with free ports, or a network namespace with an address of its own. Processes are
ended by their own ids; folders are the caller's.
"""

import contextlib
import json
import os
import pathlib
import random
import secrets
import shutil
import signal
import socket
import subprocess
import time

PATIENCE_S = 30


class Trouble(Exception):
    """Something did not come up, or did not answer; the text says what."""


def wait_until(condition, what, patience_s=PATIENCE_S):
    """The first true value of @condition; Trouble with @what when there is none in time."""
    end = time.monotonic() + patience_s
    while True:
        with contextlib.suppress(OSError, Trouble, ValueError, KeyError):
            value = condition()
            if value:
                return value
        if time.monotonic() > end:
            raise Trouble(f"{what}: not within {patience_s} s")
        time.sleep(0.01)


def run(command, timeout_s, **options):
    """subprocess.run(); one that is late is Trouble like any other: whoever waits asks again."""
    try:
        return subprocess.run(command, timeout=timeout_s, text=True, capture_output=True, **options)
    except subprocess.TimeoutExpired:
        raise Trouble(f"{' '.join(command)}: no answer within {timeout_s} s") from None


class Loopback:
    """This machine: one address, free ports."""

    host = "127.0.0.1"
    insecure = False

    def port(self):
        """Below those that the system gives to outgoing connections: it stays free, and stays the
        server's while that is being restarted."""
        while True:
            number = random.randrange(10240, 32000)
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.bind((self.host, number))
                return number

    def wrap(self, command):
        return command


class Server:
    """A process of ours in a place, its output in a file."""

    def __init__(self, place, command, log, env=None):
        self.log_path = pathlib.Path(log)
        self.log = open(log, "ab")
        self.process = subprocess.Popen(
            [str(part) for part in place.wrap(list(command))], stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=self.log, env=env)

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process.poll() is None

    def signal(self, number):
        if self.running():
            self.process.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.signal(signal.SIGCONT)
        return self.wait()

    def stop(self):
        """SIGTERM; returns the exit status."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        return self.wait()

    def pause(self):
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def wait(self, patience_s=PATIENCE_S):
        try:
            code = self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Trouble(f"{self.log_path.name} did not end within {patience_s} s") from None
        self.log.close()
        return code

    def text(self):
        return self.log_path.read_text("utf-8", "replace")


# ---- the engine ----------------------------------------------------------------------------------


class Redis(Server):
    """One redis-server. Persistence is off unless said otherwise: what is lost is really lost.

    @image, a dump.rdb, is what it holds when it starts for the first time.
    """

    def __init__(self, place, folder, port=None, replica_of=None, image=None, **settings):
        self.place, self.folder = place, pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.host, self.port = place.host, port or place.port()
        self.unix = self.folder / "redis.sock"
        self.settings = {"save": "", "appendonly": "no", "protected-mode": "no",
                         "unixsocket": self.unix,
                         "repl-diskless-sync-delay": "0", "maxmemory-policy": "volatile-ttl",
                         "bind": self.host, **settings}
        self.replica_of = replica_of
        dump = self.folder / "dump.rdb"
        if image is not None:
            shutil.copy(image, dump)
        self.start()
        dump.unlink(missing_ok=True)

    def start(self):
        command = ["redis-server", "--port", self.port, "--dir", self.folder]
        for name, value in self.settings.items():
            command += [f"--{name}", value]
        if self.replica_of is not None:
            command += ["--replicaof", self.replica_of.host, self.replica_of.port]
        super().__init__(self.place, command, self.folder / "log")
        wait_until(lambda: self.ask("ping") == "PONG", f"redis on {self.host}:{self.port}")

    def set(self, name, value):
        """A setting, now and after each start."""
        self.settings[name] = value
        self.ask("config", "set", name, value)

    def ask(self, *words):
        """An answer of redis-cli, as text."""
        done = run(self.place.wrap(["redis-cli", "-h", self.host, "-p", str(self.port),
                                    *map(str, words)]), 5)
        if done.returncode != 0:
            raise Trouble(done.stderr or done.stdout)
        return done.stdout.strip()

    def info(self, section):
        lines = self.ask("info", section).splitlines()
        return dict(line.strip().split(":", 1) for line in lines if ":" in line)

    def in_step(self, primary=None):
        """Whether this replica follows its primary; with all that @primary has written by now."""
        upto = int(primary.info("replication")["master_repl_offset"]) if primary else 0
        mine = self.info("replication")
        return (mine.get("master_link_status") == "up" and
                int(mine.get("slave_repl_offset", 0)) >= upto)

    @property
    def uri(self):
        return f"redis://{self.host}:{self.port}"


class Sentinel(Server):
    """A Sentinel that watches @primary under the name "pawl"."""

    def __init__(self, place, folder, primary, quorum=1, down_after_ms=1000):
        self.place, self.folder = place, pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.host, self.port = place.host, place.port()
        config = self.folder / "sentinel.conf"
        config.write_text(f"""\
port {self.port}
bind {self.host}
dir {self.folder}
protected-mode no
sentinel monitor pawl {primary.host} {primary.port} {quorum}
sentinel down-after-milliseconds pawl {down_after_ms}
sentinel failover-timeout pawl 3000
sentinel parallel-syncs pawl 1
""")
        super().__init__(place, ["redis-sentinel", config], self.folder / "log")
        wait_until(lambda: self.primary() is not None, f"sentinel on {self.host}:{self.port}")

    ask = Redis.ask

    def primary(self):
        """(host, port) of the primary as this Sentinel sees it."""
        host, port = self.ask("sentinel", "get-master-addr-by-name", "pawl").split()
        return host, int(port)

    def knows(self, replicas):
        """Whether it has heard of so many replicas: it asks for them every ten seconds only."""
        return len(self.replicas()) >= replicas

    def replicas(self):
        """What it knows of each replica: names and texts."""
        found = []
        words = self.ask("sentinel", "replicas", "pawl").splitlines()
        for name, value in zip(words[::2], words[1::2]):
            if name == "name":
                found.append({})
            found[-1][name] = value
        return found

    def may_promote(self, engine):
        """Whether it knows @engine as a replica that is there, with the priority that it has."""
        return any((one["ip"], int(one["port"])) == (engine.host, engine.port) and
                   one["flags"] == "slave" and
                   int(one["slave-priority"]) == engine.settings["replica-priority"]
                   for one in self.replicas())

    @property
    def uri(self):
        return f"redis://{self.host}:{self.port}"


# ---- nodes ---------------------------------------------------------------------------------------


class Node:
    """One pawld of the fleet; may be started again with the same settings and address."""

    def __init__(self, build, place, folder, name, cluster, settings=None, data_dir=False):
        self.build, self.place, self.name = pathlib.Path(build), place, name
        self.folder = pathlib.Path(folder) / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.unix = f"unix:{self.folder}/pawld.sock"
        self.tcp = f"tcp:{place.host}:{place.port()}"
        self.server = None
        self.starts = 0
        config = {
            "listen": [self.unix, {"uri": self.tcp, "insecure": True,
                                   "role": ["check", "read", "revoke", "peer"],
                                   "anonymous": ["check", "read", "revoke", "peer"]}],
            "secret_file": str(pathlib.Path(folder) / "secret"),
            "cluster": {"advertise": self.tcp, **cluster},
            "server": {"workers": 1, "drain_timeout": "20s"},
            "http": "off", "memory_max": "32MiB", "revocations_max": 1 << 20,
            **(settings or {}),
        }
        if data_dir:
            config["data_dir"] = str(self.folder / "data")
        self.config = self.folder / "pawld.yaml"
        self.config.write_text(json.dumps(config, indent=1)) # JSON is YAML
        secret = pathlib.Path(folder) / "secret"
        if not secret.exists():
            secret.write_text(secrets.token_hex(32) + "\n")
            secret.chmod(0o600)
        if data_dir:
            (self.folder / "data").mkdir(mode=0o700, exist_ok=True)

    def start(self, wait=True):
        self.starts += 1
        self.server = Server(self.place, [self.build / "pawld", "--config", self.config],
                             self.folder / f"log{self.starts}")
        if wait:
            wait_until(lambda: self.status().get("slots_wanted", 1) == 0, f"{self.name} serving")
        return self

    def ctl(self, *words, addr=None, timeout_s=20, text_in=None):
        """(exit status, answer) of pawlctl --json."""
        done = run(self.place.wrap([str(self.build / "pawlctl"), "--addr", addr or self.unix,
                                    "--json", *map(str, words)]), timeout_s, input=text_in)
        lines = done.stdout.strip().splitlines()
        return done.returncode, json.loads(lines[-1]) if lines else {"error": done.stderr.strip()}

    def status(self):
        code, answer = self.ctl("status")
        if code != 0:
            raise Trouble(f"{self.name}: {answer}")
        return answer

    def members(self):
        code, answer = self.ctl("members")
        if code != 0:
            raise Trouble(f"{self.name}: {answer}")
        return answer["members"]

    def stop(self):
        return self.server.stop()

    def kill(self):
        return self.server.kill()

    def pause(self):
        self.server.pause()

    def resume(self):
        self.server.resume()

    def running(self):
        return self.server is not None and self.server.running()


class Fleet:
    """An engine and nodes. close() ends all of it, last started first.

    @image, a folder, is where leave_in_order() has left the state of another one: nodes that find an
    empty engine wait four seconds for others before the first of them decides.
    """

    def __init__(self, build, folder, place=None, replicas=0, sentinels=0, settings=None,
                 cluster=None, data_dir=False, redis=None, priorities=(), image=None):
        self.build, self.folder = pathlib.Path(build), pathlib.Path(folder)
        self.place = place or (lambda name: Loopback())
        self.settings, self.cluster, self.data_dir = settings, cluster or {}, data_dir
        self.nodes, self.engines, self.sentinels = [], [], []
        try:
            if image is not None:
                self.folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(image / "secret", self.folder / "secret")
            self.engines.append(Redis(self.place("e0"), self.folder / "e0",
                                      image=image and image / "dump.rdb", **(redis or {})))
            for i in range(1, 1 + replicas):
                replica = Redis(self.place(f"e{i}"), self.folder / f"e{i}",
                                replica_of=self.engines[0], **(redis or {}))
                self.engines.append(replica)
            for engine, priority in zip(self.engines, priorities): # the least is promoted first
                engine.set("replica-priority", priority)
            for replica in self.engines[1:]:
                wait_until(replica.in_step, "the replica in step")
            for i in range(sentinels):
                # In places of their own: who is cut off from an engine is not so from them.
                sentinel = Sentinel(self.place(f"s{i}"), self.folder / f"s{i}", self.engines[0],
                                    quorum=sentinels // 2 + 1)
                self.sentinels.append(sentinel)
                wait_until(lambda one=sentinel: one.knows(replicas), "the Sentinel's replicas")
        except BaseException:
            self.close()
            raise

    def where(self):
        """The engine, as the section cluster names it."""
        if self.sentinels:
            return {"sentinel": {"name": "pawl", "nodes": [s.uri for s in self.sentinels]}}
        return {"redis": [engine.uri for engine in self.engines]}

    def add(self, count=1, start=True, **options):
        """@count nodes more: start them and wait until all members agree, or leave them for later."""
        for _ in range(count):
            name = f"n{len(self.nodes)}"
            self.nodes.append(Node(self.build, self.place(name), self.folder, name,
                                   {**self.where(), **self.cluster},
                                   settings=options.get("settings", self.settings),
                                   data_dir=options.get("data_dir", self.data_dir)))
            if start:
                self.nodes[-1].start(wait=False)
        if start:
            self.settle()
        return self.nodes[-count:]

    def up(self):
        return [node for node in self.nodes if node.running()]

    def settled(self):
        """Every running node has the same view, with all of them in it, and wants no slot."""
        up = self.up()
        status = [node.status() for node in up]
        return (len({s["view"] for s in status}) == 1 and
                all(s["members"] == len(up) and s["slots_wanted"] == 0 for s in status))

    def settle(self, patience_s=PATIENCE_S):
        wait_until(self.settled, "one view of all nodes", patience_s)

    def primary(self):
        """The engine that is primary now."""
        for engine in self.engines:
            with contextlib.suppress(Trouble):
                if engine.running() and engine.info("replication")["role"] == "master":
                    return engine
        return None

    def named_primary(self):
        """The engine that the first Sentinel calls primary, whether it answers or not."""
        address = self.sentinels[0].primary()
        return next(engine for engine in self.engines if (engine.host, engine.port) == address)

    def leave_in_order(self, image):
        """Stop all nodes as an operator would, the engine then; what is left goes to @image."""
        for node in self.up():
            node.stop()
        self.engines[0].ask("save")
        shutil.copy(self.engines[0].folder / "dump.rdb", image)
        shutil.copy(self.folder / "secret", image)
        self.close()

    def close(self):
        servers = [node.server for node in self.nodes]
        for server in servers + self.sentinels + self.engines[::-1]:
            if server is not None and server.running():
                with contextlib.suppress(Trouble):
                    server.kill()


# ---- network namespaces --------------------------------------------------------------------------


def namespaces_work():
    """Whether this machine and user can make them."""
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("nft"):
        return False
    name = f"pawl-probe-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode == 0
    subprocess.run(["ip", "netns", "delete", name], capture_output=True)
    return made


class Network:
    """A bridge in a namespace of its own, and a namespace with an address for each place."""

    def __init__(self):
        self.tag = f"pawl{os.getpid() % 100000:05d}{secrets.token_hex(3)}"
        self.places = {}
        self.hub = f"{self.tag}-hub"
        self.run("ip", "netns", "add", self.hub)
        self.run("ip", "-n", self.hub, "link", "add", "br0", "type", "bridge")
        self.run("ip", "-n", self.hub, "link", "set", "br0", "up")

    @staticmethod
    def run(*command):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise Trouble(f"{' '.join(command)}: {done.stderr.strip()}")

    def place(self, name):
        if name not in self.places:
            self.places[name] = None
            self.places[name] = Namespace(self, name, len(self.places))
        return self.places[name]

    def close(self):
        for name in (*self.places, "hub"):  # also one that was made in part
            subprocess.run(["ip", "netns", "delete", f"{self.tag}-{name}"], capture_output=True)


class Namespace:
    """A place of a Network: an address, its own loopback, and packets that can be dropped."""

    def __init__(self, network, name, number):
        self.network, self.name = network, name
        self.namespace = f"{network.tag}-{name}"
        self.host = f"10.77.0.{number}"
        self.ports = 7400
        run = network.run
        run("ip", "netns", "add", self.namespace)
        # No device of the hub's side ever lies in this machine's own namespace.
        run("ip", "-n", network.hub, "link", "add", f"v{number}", "type", "veth", "peer", "name",
            "eth0", "netns", self.namespace)
        run("ip", "-n", network.hub, "link", "set", f"v{number}", "master", "br0", "up")
        run("ip", "-n", self.namespace, "addr", "add", f"{self.host}/24", "dev", "eth0")
        run("ip", "-n", self.namespace, "link", "set", "lo", "up")
        run("ip", "-n", self.namespace, "link", "set", "eth0", "up")
        self.nft("add table ip pawl")
        self.nft("add chain ip pawl in { type filter hook input priority 0; }")

    def port(self):
        self.ports += 1
        return self.ports

    def wrap(self, command):
        return ["ip", "netns", "exec", self.namespace, *command]

    def nft(self, rule):
        self.network.run("ip", "netns", "exec", self.namespace, "nft", rule)

    def deaf_to(self, other):
        """Drop what comes from @other: one way."""
        self.nft(f"add rule ip pawl in ip saddr {other.host} drop")

    def apart_from(self, *others):
        """Drop both ways."""
        for other in others:
            self.deaf_to(other)
            other.deaf_to(self)

    def heal(self):
        self.nft("flush chain ip pawl in")

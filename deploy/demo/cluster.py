"""./dev cluster: an engine with a replica and a Sentinel, three nodes, and what a fleet has to bear.

Starts redis-server with a replica, redis-sentinel and three pawld on this machine's loopback, plays
a scenario through pawlctl and prints one line per claim. The last line is ``N answers, 0 wrong``,
and the exit status is 0 only then.
"""

import argparse
import concurrent.futures
import pathlib
import signal
import sys
import tempfile
import threading
import time

import fleet

LIMITS = {
    "shared": {"rate": "100/minute"},
    "steady": {"rate": "1000/hour", "on_error": "closed"},
}
CALLERS = 24


class Cluster:
    def __init__(self, build, folder):
        self.fleet = fleet.Fleet(build, folder, replicas=1, sentinels=1,
                                 settings={"limits": LIMITS})
        self.answers = 0
        self.wrong = 0
        self.serial = 0

    def claim(self, text, seen, wanted):
        good = seen == wanted
        self.wrong += not good
        print(f"{'ok   ' if good else 'WRONG'}  {text}: {seen}"
              + ("" if good else f"  (wanted {wanted})"), flush=True)

    def ctl(self, node, *words):
        self.answers += 1
        return node.ctl(*words)

    def fresh(self, name):
        self.serial += 1
        return f"{name}-{self.serial}"

    def spread(self, count, *words):
        """The exit statuses of @count checks, all nodes in turn, many at once."""
        up = self.fleet.up()
        with concurrent.futures.ThreadPoolExecutor(CALLERS) as pool:
            codes = list(pool.map(lambda i: up[i % len(up)].ctl(*words)[0], range(count)))
        self.answers += count
        return codes

    def verdicts(self, jti):
        exp = int(time.time()) + 600
        return [self.ctl(node, "token", "check", "--jti", jti, "--exp", exp)[1].get("status")
                for node in self.fleet.up()]

    # ---- the scenario ----

    def meet(self):
        self.fleet.add(3)
        nodes = self.fleet.nodes
        self.claim("three nodes on one engine see each other",
                   [len(node.members()) for node in nodes], [3, 3, 3])
        held = [node.status()["slots_held"] for node in nodes]
        self.claim("they share the 4096 slots of keys", sum(held), 4096)

    def limit(self):
        codes = self.spread(400, "check", "shared=anna")
        self.claim("400 checks at once, over all nodes, of one key at 100/minute: pass",
                   codes.count(0), 100)

    def log_out(self):
        jti, exp = self.fresh("access"), int(time.time()) + 600
        before = self.verdicts(jti)
        code, answer = self.ctl(self.fleet.nodes[0], "revoke", "token", "--jti", jti, "--exp", exp,
                                "--ack", "everywhere")
        self.claim("a log-out at one node, acknowledged when everywhere, is known everywhere",
                   (set(before), code, answer.get("acknowledged"), set(self.verdicts(jti))),
                   ({"valid"}, 0, "everywhere", {"revoked"}))

    def rotate(self):
        exp = int(time.time()) + 600
        first = self.fresh("refresh")
        sid = self.ctl(self.fleet.nodes[0], "family", "open", "--sub", "anna", "--jti", first,
                       "--exp", exp)[1]["sid"]
        up = self.fleet.up()

        def race(i):
            return up[i % len(up)].ctl("rotate", "--sid", sid, "--from", first, "--to",
                                       f"{first}-{i}", "--exp", exp)[1]

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(race, range(16)))
        self.answers += 16
        winners = [answer for answer in answers if answer["result"] == "rotated"]
        heads = {answer["successor"] for answer in answers if answer.get("successor")}
        self.claim("16 refreshes of one token over all nodes: winners, and successors handed out",
                   (len(winners), len(heads)), (1, 1))

    def engine_fails_over(self):
        jti, exp = self.fresh("access"), int(time.time()) + 600
        code = self.ctl(self.fleet.nodes[1], "revoke", "token", "--jti", jti, "--exp", exp)[0]
        old = self.fleet.engines[0]
        old.kill()
        fleet.wait_until(lambda: self.fleet.primary() is not None, "a new primary")
        for node in self.fleet.up():
            fleet.wait_until(lambda node=node: node.status()["engine_up"] and
                             node.status()["gate_open"], f"{node.name} on the new primary")
        self.fleet.settle()
        self.claim("the engine's primary is killed, Sentinel promotes the replica: revoked stays",
                   (code, set(self.verdicts(jti))), (0, {"revoked"}))
        self.rotate()
        self.claim("and 400 more of the key that was used up: pass",
                   self.spread(100, "check", "shared=anna").count(0), 0)

    def node_is_killed(self):
        used = self.spread(30, "check", "steady=ben").count(0)
        for node in self.fleet.up():
            fleet.wait_until(lambda node=node: node.status()["counter_unsaved_age_ms"] == 0,
                             "all counts saved")
        dead = self.fleet.nodes[2]
        dead.kill()
        self.fleet.settle()
        rest = self.spread(1000, "check", "steady=ben").count(0)
        self.claim("a node is killed; the others take its keys with the counts that were saved, "
                   "30 + 970 of 1000/hour pass", (used, rest), (30, 970))
        dead.start(wait=False)
        self.fleet.settle()

    def node_is_drained(self):
        """Checks go on while one node stops in an orderly way and comes back."""
        codes, stop = [], threading.Event()

        def ask(node):
            while not stop.is_set():
                codes.append(node.ctl("check", "steady=dora")[0])

        busy = [node for node in self.fleet.nodes if node is not self.fleet.nodes[0]]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for i in range(4):
                pool.submit(ask, busy[i % len(busy)])
            fleet.wait_until(lambda: len(codes) > 50, "load")
            self.fleet.nodes[0].stop()
            self.fleet.settle()
            self.fleet.nodes[0].start(wait=False)
            self.fleet.settle()
            stop.set()
        self.answers += len(codes)
        passed = codes.count(0) + self.spread(max(0, 1010 - codes.count(0)),
                                              "check", "steady=dora").count(0)
        self.claim("a node is drained and started again under load: answers that are no verdict, "
                   "and what passes of 1000/hour",
                   (len([c for c in codes if c not in (0, 1)]), passed), (0, 1000))

    def grow(self):
        self.fleet.add(2)
        self.claim("two nodes more join; the used-up key stays so", (
            [node.status()["members"] for node in self.fleet.up()],
            self.spread(20, "check", "steady=dora").count(0)), ([5] * 5, 0))

    def play(self):
        self.meet()
        self.limit()
        self.log_out()
        self.rotate()
        self.engine_fails_over()
        self.node_is_killed()
        self.node_is_drained()
        self.grow()
        print(f"{self.answers} answers, {self.wrong} wrong", flush=True)
        return 0 if self.wrong == 0 else 1


def main():
    parser = argparse.ArgumentParser(prog="./dev cluster")
    parser.add_argument("build")
    parser.add_argument("--stay", action="store_true", help="leave the fleet running until ctrl-c")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)) # through `finally`: all of it ends too
    with tempfile.TemporaryDirectory(prefix="pawl-cluster-") as folder:
        cluster = None
        try:
            cluster = Cluster(pathlib.Path(arguments.build).resolve(), folder)
            code = cluster.play()
            if arguments.stay:
                nodes = " ".join(node.unix for node in cluster.fleet.up())
                print(f"the fleet stays up; try: build/release/pawlctl --addr ADDRESS members\n"
                      f"addresses: {nodes}", flush=True)
                signal.sigwait({signal.SIGINT})
            return code
        except fleet.Trouble as trouble:
            print(f"WRONG  {trouble}", flush=True)
            for node in cluster.fleet.up() if cluster else []:
                print(node.name, {key: value for key, value in node.status().items()
                                  if key.startswith(("slots_", "handover_", "members", "view"))},
                      file=sys.stderr)
            for node in cluster.fleet.nodes if cluster else []:
                print(f"--- {node.name}\n{node.server.text()[-2000:]}", file=sys.stderr)
            return 1
        finally:
            if cluster is not None:
                cluster.fleet.close()


if __name__ == "__main__":
    sys.exit(main())

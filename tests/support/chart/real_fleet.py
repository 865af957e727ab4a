"""The fleet on a plane.Plane with a node: KUBERNETES.md's commands as they stand there, then
rollouts, scaling and a change of settings under load, and whether the StatefulSet's controller, the
kubelet and kube-proxy do what kube.py plays.
"""

import json
import os
import re
import subprocess
import threading
import time

import yaml

import chart
import node
import plane
import with_helm

SPACE, SELECTOR = "pawl", "app.kubernetes.io/name=pawl"
MANY, LIMIT = 1_000_000, 1000
PATIENT_MS = 5000
PACE_S = 5  # rollout.minReadySeconds
DOCUMENT = chart.ROOT / "deploy" / "KUBERNETES.md"
VALUES = "cluster.redis={redis://redis:6379}"
ROLLS = ["--set", "config.memory_max=192MiB"]


def commands(number):
    """Those of the document's console block @number, whole."""
    block = re.findall(r"(?s)```console\n(.*?)```", DOCUMENT.read_text())[number]
    return [line[2:] for line in block.splitlines() if line.startswith("$ ")]


def shell(command, patience_s=240):
    done = subprocess.run(["sh", "-c", command], cwd=chart.ROOT, capture_output=True, text=True,
                          timeout=patience_s)
    if done.returncode != 0:
        raise plane.Trouble(f"$ {command}: {(done.stderr + done.stdout)[-1200:]}")
    return done.stdout


class Watch:
    """What becomes of the pods of @space, as the API server tells it: (time, pod, what)."""

    def __init__(self, cluster):
        self.events, self.pods = [], {}
        self.process = subprocess.Popen(
            [str(plane.program("kubectl")), "get", "--raw",
             f"/api/v1/namespaces/{SPACE}/pods?watch=1&labelSelector={SELECTOR}"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            event = json.loads(line)
            if event["type"] in ("ADDED", "MODIFIED", "DELETED"):
                self._note(event["type"], event["object"])

    def _note(self, kind, pod):
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        state = pod.get("status", {})
        ready = any(one["type"] == "Ready" and one["status"] == "True"
                    for one in state.get("conditions", []))
        now = {"made": True, "deleted": "deletionTimestamp" in pod["metadata"],
               "ready": ready, "gone": kind == "DELETED",
               "restarted": sum(one["restartCount"] for one in state.get("containerStatuses", []))}
        before = self.pods.get(uid, {})
        for what, value in now.items():
            if value != before.get(what, 0 if what == "restarted" else False):
                self.events.append((time.monotonic(), name, what if value else f"not {what}"))
        self.pods[uid] = now

    def since(self, mark, *kinds):
        return [(pod, what) for _, pod, what in self.events[mark:] if what in kinds]

    def told(self, mark):
        begun = self.events[mark][0] if len(self.events) > mark else 0
        return "; ".join(f"{at - begun:.1f} {pod} {what}" for at, pod, what in self.events[mark:])

    def gap(self, mark, first, second):
        """Least time from a pod's @first to the next pod's @second."""
        gaps, at = [], None
        for when, _, what in self.events[mark:]:
            if what == first:
                at = when
            elif what == second and at is not None:
                gaps.append(when - at)
                at = None
        return min(gaps, default=0)


class Clients:
    """Threads with libpawl, and threads with the Python package, that check one key by the
    Service's name."""

    def __init__(self, build, key, count, pause_us, space=SPACE):
        env = {name: value for name, value in os.environ.items() if not name.startswith("PAWL_")}
        env["PYTHONPATH"] = str(chart.ROOT / "client" / "python" / "src")
        rest = [key, f"{count}/hour", f"tcp:pawl.{space}.svc:7401"]
        programs = ([build / "tests" / "callers", 2, PATIENT_MS, 0],
                    ["/usr/bin/python3", chart.ROOT / "tests/integration/rollout_callers.py", 2,
                     PATIENT_MS, "-"])
        self.running = [subprocess.Popen([str(word) for word in [*program, *rest]], env=env,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                        for program in programs]
        self.pace(pause_us)

    def say(self, line):
        figures = []
        for one in self.running:
            one.stdin.write(line)
            one.stdin.flush()
            figures.append(json.loads(one.stdout.readline()))
        return figures

    def pace(self, pause_us):
        return self.say(f"{pause_us}\n")

    def sum(self, name):
        return sum(one[name] for one in self.say("\n"))

    def stop(self):
        figures = []
        for one in self.running:
            out, _ = one.communicate(timeout=60)
            figures.append(json.loads(out))
        return figures


class Load:
    """One key that nothing limits, whose count has to be what was admitted; one at 1000/hour."""

    def __init__(self, build):
        self.free = Clients(build, "free", MANY, 100_000)
        self.counted = Clients(build, "counted", LIMIT, 2_000_000)

    def failed(self):
        return [(one["failed"], one["why"]) for clients in (self.free, self.counted)
                for one in clients.say("\n") if one["failed"] > 0]

    def finish(self, control):
        """What is wrong in the end; @control asks pawlctl."""
        self.counted.pace(0)
        plane.wait_for(lambda: self.counted.sum("denied") > 50, "1000/hour is used up", 120)
        free, counted = self.free.stop(), self.counted.stop()
        print(f"free: {free}\ncounted: {counted}", flush=True)
        answer = json.loads(control("peek", "free", "--rate", f"{MANY}/hour"))
        used = MANY - answer["limits"][0]["remaining"]
        allowed = sum(one["allowed"] for one in free)
        admitted = sum(one["allowed"] for one in counted)
        for one in [*free, *counted]:
            if one["failed"]:
                yield f"{one['failed']} requests failed: {one['why']}"
        if used != allowed or admitted != LIMIT:
            yield f"{allowed} admitted and {used} counted; {admitted} of {LIMIT} admitted"


class Fleet:
    def __init__(self, cluster, asked, findings):
        self.cluster, self.findings = cluster, findings
        self.build = asked.build.resolve()
        os.environ["PATH"] = ":".join([str(plane.program("kubectl").parent),
                                       str(with_helm.helm().parent), os.environ["PATH"]])
        archives = self.images()  # before the node: it covers what dpkg knows
        self.node = node.Node(cluster, asked.inside.name)
        for archive in archives:
            self.node.load(archive)
        self.watch = self.load = None

    def images(self):
        """Archives: pawl's own, and Debian's Redis in the place and by the name of Valkey's."""
        folder = self.cluster.folder
        container = chart.ROOT / "deploy" / "container"
        root, out = folder / "rootfs.tar", folder / "pawl.tar"
        self.cluster.run("/usr/bin/python3", container / "build_root.py", self.build, root)
        self.cluster.run("/usr/bin/python3", container / "image.py", root, out)
        engine = yaml.safe_load_all((chart.ROOT / "deploy/kubernetes/redis.yaml").read_text())
        name = next(one for one in engine if one["kind"] == "StatefulSet")[
            "spec"]["template"]["spec"]["containers"][0]["image"]
        programs = {"/usr/bin/valkey-server": "/usr/bin/redis-server",
                    "/usr/bin/valkey-cli": "/usr/bin/redis-cli"}
        return [out, node.image(f"docker.io/{name}", node.root_of(programs, ["/data"]),
                                folder / "engine.tar", Env=["PATH=/usr/bin"])]

    def ctl(self, *words, pod="pawl-0"):
        return self.cluster.kubectl("-n", SPACE, "exec", pod, "--", "pawlctl", "--json", *words)

    def upgrade(self, *words):
        shell(f"helm -n {SPACE} upgrade pawl deploy/helm/pawl --set '{VALUES}' " + " ".join(words))

    def rolled_out(self, patience_s=300, what="statefulset/pawl", space=SPACE):
        self.cluster.kubectl("-n", space, "rollout", "status", what,
                             f"--timeout={patience_s}s", patience_s=patience_s + 10)

    def members(self, count):
        """Until every pod sees @count members, all of them serving, and wants no key any more."""
        def one_view():
            for number in range(count):
                status = json.loads(self.ctl("status", pod=f"pawl-{number}"))
                if status["members"] != count or status["slots_wanted"] != 0:
                    return False
            return True
        plane.wait_for(one_view, f"{count} members with one view", 90)

    # ---- steps: each returns what is wrong ----

    def install(self):
        """From nothing, as the document says; volumes as a provisioner would make them."""
        self.node.volumes(["data-redis-0", *(f"data-pawl-{n}" for n in range(5))], SPACE)
        begun = time.monotonic()
        for command in commands(0):
            shell(command.partition("   #")[0])
        for command in commands(1):
            print(f"$ {command}\n{shell(command.partition('   #')[0]).strip()}", flush=True)
        print(f"from nothing to a fleet in {time.monotonic() - begun:.0f} s", flush=True)
        self.members(3)
        self.watch = Watch(self.cluster)
        plane.wait_for(lambda: len(self.watch.pods) == 3, "three pods are watched")

    def identity(self):
        """What kube.py takes for granted of pods, volumes and names."""
        pods = {one["metadata"]["name"]: one for one in self.cluster.all("pods", SPACE, "-l",
                                                                         SELECTOR)}
        claims = {one["metadata"]["name"]: one["status"]["phase"]
                  for one in self.cluster.all("pvc", SPACE)}
        if sorted(pods) != ["pawl-0", "pawl-1", "pawl-2"]:
            yield f"pods are {sorted(pods)}"
        for name, pod in pods.items():
            if claims.get(f"data-{name}") != "Bound":
                yield f"claims are {claims}"
            whole = f"{pod['spec'].get('hostname')}.{pod['spec'].get('subdomain')}"
            if whole != f"{name}.pawl-members":
                yield f"{name} has the name {whole}"
            if pod["status"]["qosClass"] != "Burstable":
                yield f"{name} is {pod['status']['qosClass']}"
            found = self.cluster.run("getent", "ahostsv4", f"{whole}.{SPACE}.svc").split()
            if found[0] != pod["status"]["podIP"]:
                yield f"{name} is looked for at {found[0]}"
        found = self.cluster.get("pdb", "pawl", SPACE)["status"]
        if (found["expectedPods"], found["disruptionsAllowed"]) != (3, 1):
            yield f"the PodDisruptionBudget is {found}"

    def rolling(self, *words):
        """A change that rolls: from the last to the first, the next when the one before has
        answered for minReadySeconds."""
        mark, begun = len(self.watch.events), time.monotonic()
        self.upgrade(*words)
        self.rolled_out()
        self.members(3)
        said = self.watch.told(mark)
        print(f"rolled in {time.monotonic() - begun:.0f} s: {said}", flush=True)
        order = self.watch.since(mark, "deleted", "gone", "made", "ready")
        wanted = [(f"pawl-{number}", what) for number in (2, 1, 0)
                  for what in ("deleted", "gone", "made", "ready")]
        if order != wanted:
            yield f"not one after the other: {said}"
        gap = self.watch.gap(mark, "made", "deleted")
        if gap < PACE_S:
            yield f"the next went {gap:.1f} s after the one before was made"
        yield from self.calm()

    def scale(self, count):
        mark, before = len(self.watch.events), sum(one["made"] and not one["gone"]
                                                   for one in self.watch.pods.values())
        self.upgrade("--set", f"replicas={count}")
        self.rolled_out()
        plane.wait_for(lambda: sum(not one["gone"] for one in self.watch.pods.values()) == count,
                       f"{count} pods", 120)
        self.members(count)
        said = self.watch.told(mark)
        print(f"{before} to {count}: {said}", flush=True)
        many = abs(count - before)
        kinds = [what for _, what in self.watch.since(mark, "made", "deleted")]
        if kinds != ["made" if count > before else "deleted"] * many:
            yield f"{before} to {count}: {said}"
        together = self.watch.since(mark, "made", "ready", "deleted", "gone")[:many]
        if len({what for _, what in together}) != 1:
            yield f"not at once: {said}"
        yield from self.calm()

    def settings(self, *words):
        """A change that is taken in place: no pod ends, and each answers by the new limit."""
        mark, begun = len(self.watch.events), time.monotonic()
        self.upgrade("--set", "config.limits.api.rate=7/hour", *words)
        names = [f"pawl-{n}" for n in range(3)]
        took = {}

        def taken():
            for name in names:
                if name not in took and "api" in self.ctl("limits", pod=name):
                    took[name] = round(time.monotonic() - begun, 1)
            return len(took) == len(names)
        plane.wait_for(taken, "the new limit is known", 180)
        print(f"settings changed in place, known after {took} s", flush=True)
        if self.watch.since(mark, "deleted", "made", "restarted"):
            yield f"pods went for it: {self.watch.told(mark)}"
        yield from self.calm()

    def eviction(self):
        """A drain of the node takes one member, and no second before it is back: never, here."""
        mark = len(self.watch.events)
        try:
            self.cluster.kubectl("drain", node.NAME, "--force", "--ignore-daemonsets",
                                 "--delete-emptydir-data", f"--pod-selector={SELECTOR}",
                                 "--timeout=40s")
            yield "the node was drained of all members"
        except plane.Trouble as trouble:
            if "global timeout reached" not in str(trouble):
                yield f"drain: {trouble}"
        self.cluster.kubectl("uncordon", node.NAME)
        self.rolled_out()
        self.members(3)
        gone = self.watch.since(mark, "deleted")
        if len(gone) != 1:
            yield f"a drain took {gone}"
        yield from self.calm()

    def larger(self):
        """Claims of another size, as KUBERNETES.md says: a StatefulSet's cannot be changed, so it
        is made anew around its pods, which stay."""
        mark = len(self.watch.events)
        bigger = ["--set", "persistence.size=9Gi"]
        try:
            self.upgrade(*bigger)
            yield "the size of a StatefulSet's claims was changed"
        except plane.Trouble as trouble:
            if "Forbidden: updates to statefulset spec" not in str(trouble):
                yield str(trouble)
        shell(f"kubectl -n {SPACE} delete statefulset pawl --cascade=orphan")
        self.upgrade(*bigger)
        self.rolled_out()
        claims = self.cluster.get("statefulset", "pawl", SPACE)["spec"]["volumeClaimTemplates"]
        if claims[0]["spec"]["resources"]["requests"]["storage"] != "9Gi":
            yield f"claims are {claims}"
        if self.watch.since(mark, "deleted", "made"):
            yield f"pods went for it: {self.watch.told(mark)}"
        yield from self.calm()

    def mode(self, mode):
        """A fleet of another mode beside it, on the same engine, and a change that rolls it: the
        new member is up before the old one goes."""
        space = f"pawl-{mode}"
        self.cluster.namespace(space)
        shell(f"kubectl -n {space} create secret generic pawl-root "
              "--from-literal=secret=$(openssl rand -hex 32)")
        values = (f"--set mode={mode} --set replicas=2 --set cluster.prefix={mode} "
                  f"--set 'cluster.redis={{redis://redis.{SPACE}.svc:6379}}'")
        shell(f"helm -n {space} install pawl deploy/helm/pawl {values}")
        self.rolled_out(what=f"{mode}/pawl", space=space)
        clients = Clients(self.build, "free", MANY, 100_000, space)
        plane.wait_for(lambda: clients.sum("allowed") > 50, "answers")
        shell(f"helm -n {space} upgrade pawl deploy/helm/pawl {values} {' '.join(ROLLS)}")
        self.rolled_out(what=f"{mode}/pawl", space=space)
        before = clients.sum("allowed")
        plane.wait_for(lambda: clients.sum("allowed") > before + 50, "answers")
        figures = clients.stop()
        print(f"{mode}, rolled under load: {figures}", flush=True)
        for one in figures:
            if one["failed"] or one["denied"]:
                yield str(one)
        shell(f"helm -n {space} uninstall pawl")

    def calm(self):
        yield from (f"{count} requests failed: {why}" for count, why in self.load.failed())
        if any(what == "restarted" for _, _, what in self.watch.events):
            yield f"restarted: {self.watch.told(0)}"

    def logs(self):
        """What there is to say of a fleet that did not come up."""
        print(self.cluster.kubectl("-n", SPACE, "get", "pods,pvc,events", "-o", "wide"))
        for one in self.cluster.all("pods", SPACE):
            name = one["metadata"]["name"]
            try:
                said = self.cluster.kubectl("-n", SPACE, "logs", "--tail=15", name)
            except plane.Trouble as trouble:
                said = trouble
            print(f"---- {name}\n{said}", flush=True)


def play(cluster, asked, findings):
    fleet = Fleet(cluster, asked, findings)
    try:
        fleet.install()
    except plane.Trouble:
        fleet.logs()
        raise
    findings.step("pods, volumes and names", fleet.identity)
    fleet.load = Load(fleet.build)
    findings.step("a rolling update", fleet.rolling, *ROLLS)
    findings.step("settings in place", fleet.settings, *ROLLS)
    findings.step("a roll-back", fleet.rolling)
    for count in (5, 2, 3):
        findings.step(f"to {count}", fleet.scale, count)
    findings.step("a drain", fleet.eviction)
    findings.step("larger claims", fleet.larger)
    findings.step("the load", fleet.load.finish, fleet.ctl)
    for mode in ("deployment", "daemonset"):
        findings.step(mode, fleet.mode, mode)
    print(f"the fleet on a kubelet: {len(findings.wrong)} problems", flush=True)

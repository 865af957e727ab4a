"""What the tests of rollouts share: a release of the chart on an engine with a replica and a
Sentinel, and clients that know nothing but the Service's name.
"""

import collections
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from cluster_rig import (HOUR_MS, PATIENT_MS, Callers, Owners, ask, packed, rig, siphash, used,
                         verdict)
from conftest import BUILD, ROOT, Connection, check_request

sys.path.insert(0, str(ROOT / "tests" / "support" / "chart"))
import chart  # noqa: E402 (its folder is known only now)
import kube  # noqa: E402

HOST = "pawl.default.svc"
NEXT = "next"  # the tag of the image with the other version
CONFIG = {"memory_max": "32MiB", "revocations_max": 65536, "server": {"workers": 1},
          "limits": {"api": {"rate": "10/hour"}}}
#: The chart's own times, and short ones of the same shape.
AS_IT_IS = {}
SHORT = {"termination": {"gracePeriodSeconds": 30, "preStopSeconds": 1, "drainSeconds": 20},
         "probes": {"startup": {"periodSeconds": 1, "failureThreshold": 90},
                    "readiness": {"periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": 2},
                    "liveness": {"periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 3}},
         "rollout": {"minReadySeconds": 1}}
MANY, LIMIT = 1_000_000, 1000
ENOUGH = 800  # of LIMIT: the rest is kept for the end
STILL_US = 1_000_000


def version_of(build):
    done = subprocess.run([build / "pawld", "--version"], capture_output=True, text=True)
    return done.stdout.split()[1]


def another_version(folder):
    """A folder with the same pawld, which says another version: the label is all that differs."""
    old = version_of(BUILD)
    new = old[:-1] + str((int(old[-1]) + 1) % 10)
    folder.mkdir()
    fresh = folder / "pawld"
    fresh.write_bytes((BUILD / "pawld").read_bytes().replace(old.encode(), new.encode()))
    fresh.chmod(0o755)
    shutil.copy(BUILD / "pawlctl", folder)
    assert version_of(folder) == new
    return folder


class Member:
    """A pod, as cluster_rig.py asks a node."""

    def __init__(self, kubelet):
        self.kubelet, self.pod, self.name = kubelet, kubelet.pod, kubelet.name
        self.unix = f"unix:{self.pod.volumes['run']}/pawld.sock"
        self.tcp = f"tcp:{kubelet.host}:7403"

    def status(self):
        code, text = self.pod.ctl("status")
        if code != 0:
            raise rig.Trouble(f"{self.name}: {text}")
        return json.loads(text)

    def log(self):
        return self.pod.server.text()

    def events(self, name):
        lines = [line for line in self.log().splitlines() if f'"event":"{name}"' in line]
        return [json.loads(line) for line in lines]


class Release:
    """A release under load; close() ends all of it."""

    def __init__(self, image, **values):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pawl-k8s-"))
        self.folder.chmod(0o755)
        self.values, self.loads, self.kube, self.engines = values, [], None, None
        self.network = rig.Network()
        try:
            self.engines = rig.Fleet(BUILD, self.folder / "engines", place=self.network.place,
                                     replicas=1, sentinels=1, image=image)
            secret = (self.folder / "engines" / "secret").read_text()
            images = {f"pawl:{version_of(BUILD)}": BUILD,
                      f"pawl:{NEXT}": another_version(self.folder / "next")}
            self.kube = kube.Kube(rig, self.network, self.folder, images,
                                        {"pawl-root": {"secret": secret}})
            self.client = self.kube.client("client")
        except BaseException:
            self.close()
            raise

    def render(self, **values):
        """The chart with what was said at first, and @values over it."""
        return chart.render({"cluster": self.engines.where(), "config": CONFIG, "replicas": 3,
                             **self.values, **values})

    def install(self, **values):
        self.kube.apply(self.render(**values))
        self.settle()

    def up(self):
        return [Member(one) for one in self.kube.up()]

    nodes = property(up)

    def settled(self):
        """All have the same view, with all of them in it, and want no slot."""
        up = self.up()
        status = [member.status() for member in up]
        return (len({one["view"] for one in status}) == 1 and
                all(one["members"] == len(up) and one["slots_wanted"] == 0 for one in status))

    def settle(self, patience_s=30):
        self.kube.wait(self.settled, "one view of all", patience_s)

    def ask(self, *words, options=()):
        """(exit status, output) of pawlctl in the clients' place, through the Service."""
        scheme = "tls" if options else "tcp"
        done = subprocess.run(self.kube.command(self.client, [
            BUILD / "pawlctl", "--addr", f"{scheme}:{HOST}:7401", "--json", *options, *words]),
            capture_output=True, text=True, timeout=20)
        return done.returncode, done.stdout.strip() or done.stderr.strip()

    def helm_test(self):
        """What the pod of `helm test` says, run in the clients' place; it has to be content, as soon
        as the Service leads to somebody."""
        spec = self.kube.rendered.one("Pod")["spec"]
        container = spec["containers"][0]
        assert container["command"] == ["/usr/bin/pawlctl"]
        words = container["args"]
        for mount in container.get("volumeMounts", []):
            volume = next(one for one in spec["volumes"] if one["name"] == mount["name"])
            folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
            for name, text in self.kube.held[volume["secret"]["secretName"]].items():
                (folder / name).write_text(text)
            words = [word.replace(mount["mountPath"], str(folder)) for word in words]

        def said():
            done = subprocess.run(self.kube.command(self.client, [BUILD / "pawlctl", *words]),
                                  capture_output=True, text=True, timeout=20)
            if done.returncode != 0 and "refused" not in done.stderr:
                raise AssertionError(done.stderr)
            return json.loads(done.stdout) if done.returncode == 0 else None
        return rig.wait_until(said, "helm test", 20)

    def shown(self, kubelet, options):
        """The certificate that a pod shows to a new client, as PEM."""
        ca, mine, key = options[1::2]
        done = subprocess.run(self.client.wrap([
            "openssl", "s_client", "-connect", f"{kubelet.host}:7401", "-CAfile", str(ca), "-cert",
            str(mine), "-key", str(key)]), input="", capture_output=True, text=True, timeout=20)
        begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
        return begin + done.stdout.split(begin)[1].split(end)[0] + end

    def http(self, kubelet, path):
        return subprocess.run(self.client.wrap([
            "curl", "-s", "-m", "5", f"http://{kubelet.host}:7402{path}"]), capture_output=True,
            text=True).stdout

    def metrics(self, kubelet):
        return self.http(kubelet, "/metrics")

    def close(self):
        """All of it, whatever of that goes wrong; the last made first."""
        with contextlib.ExitStack() as ends:
            ends.callback(shutil.rmtree, self.folder)
            ends.callback(self.network.close)
            for thing in (self.engines, self.kube, *self.loads):
                if thing is not None:
                    ends.callback(thing.close)


class Clients(Callers):
    """callers.c, or the same with the Python package, in the clients' place."""

    def __init__(self, release, program, key, count, pace_us, tls, deadline_ms, threads=2):
        scheme = "tls" if tls else "tcp"
        env = {name: value for name, value in os.environ.items() if not name.startswith("PAWL_")}
        env.update(tls, PYTHONPATH=str(ROOT / "client" / "python" / "src"))
        self.process = subprocess.Popen(
            release.kube.command(release.client, [*program, threads, deadline_ms, 0, key,
                                                  f"{count}/hour", f"{scheme}:{HOST}:7401"]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        release.loads.append(self)
        self.pace(pace_us)


class Load:
    """Eight clients, half with libpawl, half with the Python package: four check a key with a limit
    that nothing reaches, whose count has to be what was admitted, four one at 1000/hour, which is
    used up at the end. @lasting_s: what it is going to last, about."""

    PROGRAMS = ([BUILD / "tests" / "callers"],
                ["/usr/bin/python3", ROOT / "tests" / "integration" / "rollout_callers.py"])

    def __init__(self, release, wire, lasting_s, tls=None, options=(), deadline_ms=PATIENT_MS):
        self.release, self.wire, self.tls = release, wire, tls or {}
        self.deadline_ms = deadline_ms
        release.kube.wait(lambda: release.ask("status", options=options)[0] == 0, "the Service")
        self.free = self.start("free", MANY, 20_000)
        self.counted = self.start("counted", LIMIT, int(4e6 * lasting_s / ENOUGH))
        for one in self.all:
            one.answered(2)

    @property
    def all(self):
        return self.free + self.counted

    def start(self, key, count, pace_us, **options):
        return [Clients(self.release, program, key, count, pace_us, self.tls, self.deadline_ms,
                        **options) for program in self.PROGRAMS]

    def more(self):
        """Twenty clients more, who meet pods that were not there before: a connection stays where
        it is."""
        fresh = self.start("free", MANY, 50_000, threads=10)
        self.free += fresh
        for one in fresh:
            one.answered(10)

    def go_on(self):
        """Wait for answers at everybody's; whoever counts goes slower when most is used up."""
        for one in self.free:
            one.answered(10)
        if self.admitted() > ENOUGH:
            for one in self.counted:
                one.pace(STILL_US)

    def failed(self):
        return [one.figures()["failed"] for one in self.all]

    def calm(self):
        """Whether everybody has got some answers since it was asked, and nothing else."""
        before = self.failed()
        for one in self.all:
            one.answered(10)
        return self.failed() == before

    def admitted(self):
        return sum(one.figures()["allowed"] for one in self.counted)

    def use_up(self):
        """Ask for more than is left of the counted key."""
        assert self.admitted() < LIMIT, "it was used up before its time"
        for one in self.counted:
            one.pace(0)
        for one in self.counted:
            rig.wait_until(lambda one=one: one.figures()["denied"] > 50, "refusals", 60)

    def stop(self):
        """Figures of those with the key that is free, of the others, and of all."""
        free, counted = ([one.stop() for one in some] for some in (self.free, self.counted))
        print(f"free: {free}\ncounted: {counted}")
        return free, counted, free + counted

    def verify(self, member):
        """Stop, and look at what every answer was, and what @member finds counted. Returns how many
        drains clients with libpawl have met."""
        free, counted, figures = self.stop()
        happened = self.release.kube.what_happened()
        for one in figures:
            assert (one["failed"], one["why"]) == (0, ""), happened
        assert sum(one["denied"] for one in free) == 0
        assert used(member, self.wire, b"free", MANY) == sum(one["allowed"] for one in free)
        assert sum(one["allowed"] for one in counted) == LIMIT, happened
        return sum(one.get("goaways", 0) for one in figures)


class Keys:
    """Keys with a count each, and where the counts have to be: worked out from who is a member."""

    def __init__(self, release, wire, count):
        self.release, self.wire = release, wire
        self.subkey = Owners(wire, release, b"free").subkey
        keys = [b"key-%d" % i for i in range(count)]
        connection = Connection(wire, release.up()[0].unix, 10)
        for key in keys:
            reply = connection.call(check=check_request(wire, key, (9, HOUR_MS)))
            assert reply.status == wire.STATUS_OK, reply
        connection.close()
        self.slots = [siphash(self.subkey, packed(b"default", key)) % 4096
                      for key in [*keys, b"free", b"counted"]]

    def owner(self, slot, members):
        return max(members, key=lambda member: siphash(
            self.subkey, packed(slot.to_bytes(8, "little"), bytes.fromhex(member))))

    def members(self):
        """Identity -> Member, of those who serve."""
        view = ask(self.release.up()[0], self.wire, view_get=self.wire.ViewGet()).view
        hosts = {member.tcp: member for member in self.release.up()}
        return {one.node.hex(): hosts[one.address.decode()] for one in view.members
                if one.state == b"serving"}

    def steps(self):
        """Who served, one after the other, as the first pod says that it saw them come and go."""
        first = self.release.up()[0]
        here = {name for name, member in self.members().items() if member.name == first.name}
        seen = [set(here)]
        for line in first.events("members"):
            if line["what"] == "member_joined":
                here.add(line["member"])
            else:
                here.discard(line["member"])
            if here != seen[-1]:
                seen.append(set(here))
        return seen

    def look(self):
        """What verify() is to compare with: where all are, what each has fetched, what was seen."""
        pulled = {name: member.status()["handover_pulled_records"]
                  for name, member in self.members().items()}
        return set(pulled), pulled, len(self.steps())

    def verify(self, before):
        """Since @before, a look(), each member has fetched the keys that became its own, and holds
        its slots and no others. Returns how many keys moved, and how many had to at least."""
        was, pulled, seen = before
        steps, members = self.steps()[seen - 1:], self.members()
        assert steps[-1] == set(members), (steps, members)
        most, least = collections.Counter(), collections.Counter()
        for slot in self.slots:
            owners = [self.owner(slot, step) for step in steps]
            most.update(new for old, new in zip(owners, owners[1:]) if old != new)
            old, new = self.owner(slot, was), owners[-1]
            least.update([new] if old != new else [])
        held = collections.Counter(self.owner(slot, set(members)) for slot in range(4096))
        moved = 0
        for name, member in members.items():
            status = member.status()
            fetched = status["handover_pulled_records"] - pulled.get(name, 0)
            assert least[name] <= fetched <= most[name], (member.name, least, most, fetched)
            assert status["slots_held"] == held[name], member.name
            moved += fetched
        return moved, sum(least.values())


class Tokens:
    """Tokens that were revoked, and as many that nobody has revoked."""

    def __init__(self, release, wire, count=20):
        self.release, self.wire = release, wire
        self.exp = int(time.time()) + 3600
        self.revoked = [b"revoked-%d" % i for i in range(count)]
        self.others = [b"valid-%d" % i for i in range(count)]

    def revoke(self, member):
        """At @member; acknowledged by a replica."""
        for jti in self.revoked:
            reply = ask(member, self.wire, deadline_ms=PATIENT_MS, revoke=self.wire.Revoke(
                scope=self.wire.SCOPE_TOKEN, value=jti, exp=self.exp, ack=self.wire.ACK_QUORUM))
            assert reply.status == self.wire.STATUS_OK, reply
            assert reply.revoke.acknowledged >= self.wire.ACK_QUORUM, reply

    def statuses(self, member, which):
        return {verdict(member, self.wire, jti, self.exp).status for jti in which}

    def right(self, members, stale=False):
        """Whether each of @members says of each what is true; @stale: it may not know any more that
        a token is valid, but says revoked only of those that are."""
        wire = self.wire
        allowed = {wire.TOKEN_VALID, wire.TOKEN_UNDECIDED} if stale else {wire.TOKEN_VALID}
        return all(self.statuses(member, self.revoked) == {wire.TOKEN_REVOKED} and
                   self.statuses(member, self.others) <= allowed for member in members)

"""What Kubernetes does with the chart's objects, on this machine, as far as rollouts need it: the
controller of StatefulSets, kubelets, endpoints, kube-proxy and the name server (dnsmasq).

One thread for each pod is its kubelet: probes at their periods and thresholds, preStop, SIGTERM,
the grace period, SIGKILL, a restart of what has ended. A pod that is made anew has a new address
and the volume of the claim that its name has. kube-proxy is nftables in the clients' places: each
new connection to the Service's address goes to a ready pod, one that exists stays. The name
server's answers, kube-proxy's table and what the NetworkPolicy lets in (not: out) follow the pods'
state after SPREAD_S.

Left out: scheduling, images, cgroups, quotas, egress, the growing of the restarts' back-off, and
the eviction of pods of a node that is gone (lose(), replace()).
"""

import json
import pathlib
import subprocess
import threading
import time

import objects
import pods

#: From a change of a pod's state to where it is looked at: watches, and what they write.
SPREAD_S = 0.3
TICK_S = 0.05
BACK_OFF_S = 10
ZONE = "cluster.local"
RESOLV = ("nameserver {}\nsearch {}.svc.cluster.local svc.cluster.local cluster.local\n"
          "options ndots:5\n")
NSSWITCH = "hosts: files dns\n"


class Kubelet:
    """What becomes of one pod from now on."""

    def __init__(self, kube, pod, revision):
        self.kube, self.pod, self.revision = kube, pod, revision
        self.name = pod.name
        self.labels = kube.rendered.workload["spec"]["template"]["metadata"]["labels"]
        self.firewall = Firewall(self)
        self.ready_since = None
        self.leaving = self.lost = self.killed = False
        self.restarts, self.code, self.trouble = 0, None, None
        self.misses = {"startup": 0, "readiness": 0, "liveness": 0}  # probes that failed
        self.wake = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    @property
    def host(self):
        return self.pod.place.host

    @property
    def ready(self):
        return self.ready_since is not None and not self.leaving

    def delete(self):
        """The pod is to go; see join()."""
        if not self.leaving:
            self.kube.say("deleted", self.name)
        self.leaving = True
        self.kube.changed()
        self.wake.set()

    def lose(self):
        """Nobody hears of the pod or its kubelet any more: the cable first, then the power."""
        self.lost = True
        self.kube.network.run("ip", "-n", self.pod.place.namespace, "link", "set", "eth0", "down")
        self.pod.server.kill()
        self.kube.say("lost", self.name)
        self.wake.set()

    def missed(self):
        """The control plane has not heard of the pod's node for long enough: it is not ready."""
        self._ready(False)

    def join(self, patience_s):
        self.thread.join(patience_s)
        assert not self.thread.is_alive(), f"{self.name} does not end"

    # ---- the thread ----

    def _run(self):
        try:
            self._live()
            if self.leaving and not self.lost:
                self._end()
        except Exception as error:  # told to whoever waits for this pod
            self.trouble = error
        finally:
            self.kube.changed()

    def _start(self):
        self.pod.start(etc=self.kube.etc)
        self.failures = dict.fromkeys(self.misses, 0)  # in a row
        self.due = dict.fromkeys(self.failures, time.monotonic())
        self.started, self.successes = False, 0  # in a row
        self._ready(False)

    def _live(self):
        self._start()
        while not (self.leaving or self.lost):
            if not self.pod.server.running():
                self._restart("ended")
            for kind in ("readiness", "liveness") if self.started else ("startup",):
                if time.monotonic() >= self.due[kind] and not (self.leaving or self.lost):
                    self._probe(kind)
            self.wake.wait(TICK_S)

    def _probe(self, kind):
        rules = self.pod.container[f"{kind}Probe"]
        self.due[kind] = time.monotonic() + rules["periodSeconds"]
        if self.pod.probe(kind) == 200:
            self.failures[kind] = 0
            self.started = True
            if kind == "readiness":
                self.successes += 1
                if self.successes >= rules.get("successThreshold", 1):
                    self._ready(True)
            return
        if self.leaving or self.lost:
            return
        self.misses[kind] += 1
        self.failures[kind] += 1
        self.successes = 0
        if self.failures[kind] < rules["failureThreshold"]:
            return
        if kind == "readiness":
            self._ready(False)
        else:
            self.pod.server.kill()
            self._restart(f"failed {kind}")

    def _restart(self, why):
        """At once; a container that does not stay up then waits, as in CrashLoopBackOff."""
        self.kube.say(f"restarted: {why}", self.name)
        self._ready(False)
        if self.restarts > 0:
            self.wake.wait(BACK_OFF_S)
        self.restarts += 1
        if not (self.leaving or self.lost):
            self._start()

    def _ready(self, now):
        if now != (self.ready_since is not None):
            self.ready_since = time.monotonic() if now else None
            self.kube.say("ready" if now else "not ready", self.name)
            self.kube.changed()

    def _end(self):
        """As the kubelet does it: preStop counts towards the grace period, too."""
        server = self.pod.server
        end = time.monotonic() + self.pod.spec["terminationGracePeriodSeconds"]
        hook = self.pod.container.get("lifecycle", {}).get("preStop")
        if hook is not None:
            time.sleep(min(hook["sleep"]["seconds"], end - time.monotonic()))
        server.signal(15)
        while server.running() and time.monotonic() < end:
            time.sleep(TICK_S)
        self.killed = server.running()
        self.code = server.kill() if self.killed else server.wait()
        self.kube.say("killed" if self.killed else "ended", self.name)


class Firewall:
    """What NetworkPolicies let into a pod. Probes come from its own machine, and may."""

    def __init__(self, kubelet):
        self.place, self.spec = kubelet.pod.place, kubelet.pod.spec
        self.labels, self.now = kubelet.labels, None

    def admit(self, policies, pods):
        """@pods: [(address, labels)] of all; who asks from elsewhere has no labels."""
        rules = []
        for rule in (rule for policy in policies
                     if objects.selects(policy["spec"]["podSelector"]["matchLabels"], self.labels)
                     for rule in policy["spec"]["ingress"]):
            ports = ", ".join(str(objects.named_ports(self.spec)[port["port"]])
                              for port in rule["ports"])
            for source in rule["from"]:  # peers by address: not known here
                wanted = source["podSelector"].get("matchLabels")
                hosts = ", ".join(host for host, labels in pods
                                  if wanted and objects.selects(wanted, labels))
                whom = f"ip saddr {{ {hosts} }} " if wanted else ""
                if hosts or not wanted:
                    rules.append(f"{whom}tcp dport {{ {ports} }} accept")
        if rules != self.now:
            write(self.place, "\n".join([
                "add table ip guard", "flush table ip guard",
                "add chain ip guard in { type filter hook input priority 10; }",
                "add rule ip guard in iif lo accept",
                "add rule ip guard in ct state established,related accept",
                *(f"add rule ip guard in {rule}" for rule in rules),
                "add rule ip guard in meta l4proto tcp drop"]) + "\n")
            self.now = rules


def write(place, script):
    """Give @script to nft: all of it or nothing."""
    subprocess.run(place.wrap(["nft", "-f", "-"]), input=script, text=True, check=True)


class Proxy:
    """kube-proxy of a client's node: the Services' addresses lead to endpoints."""

    def __init__(self, network, place):
        self.place = place
        network.run("ip", "-n", place.namespace, "route", "add", "10.96.0.0/16", "dev", "eth0")
        write(place, "table ip services {\n"
                     " chain out { type nat hook output priority -100; }\n"
                     " chain nobody { type filter hook output priority 0; }\n}\n")

    def lead(self, services):
        """@services: (address, port, [(pod's address, port)])"""
        lines = ["flush chain ip services out", "flush chain ip services nobody"]
        for address, port, to in services:
            match = f"ip daddr {address} tcp dport {port}"
            if to:
                targets = ", ".join(f"{i} : {host} . {at}" for i, (host, at) in enumerate(to))
                lines.append(f"add rule ip services out {match} dnat ip to numgen random mod "
                             f"{len(to)} map {{ {targets} }}")
            else:
                lines.append(f"add rule ip services nobody {match} reject")
        write(self.place, "\n".join(lines) + "\n")


class Kube:
    """A namespace with one release of the chart in StatefulSet mode.

    @images: name of an image -> folder with its pawld; @held: name of a Secret -> key -> text.
    """

    def __init__(self, rig, network, folder, images, held):
        self.rig, self.network, self.images, self.held = rig, network, images, held
        self.folder = pathlib.Path(folder)
        self.kubelets, self.past, self.proxies = {}, [], []
        self.rendered, self.events, self.made = None, [], 0
        self.dirty, self.closing, self.trouble = threading.Event(), False, None
        dns = network.place("dns")
        self.hosts = self.folder / "hosts"
        self.hosts.write_text("")
        self.dns = rig.Server(dns, [
            "dnsmasq", "--conf-file=/dev/null", "--pid-file=", "--user=root",
            "--keep-in-foreground", "--no-hosts", "--no-resolv", f"--addn-hosts={self.hosts}",
            f"--listen-address={dns.host}", "--bind-interfaces", "--cache-size=0",
            "--local-ttl=30", "--address=/#/", "--log-facility=-"], self.folder / "dns.log")
        self.etc = {"resolv.conf": RESOLV.format(dns.host, "default"), "nsswitch.conf": NSSWITCH}
        for name, text in self.etc.items():
            (self.folder / name).write_text(text)
        self.spreader = threading.Thread(target=self._spread, daemon=True)
        self.spreader.start()

    def say(self, what, pod):
        self.events.append((time.monotonic(), what, pod))

    def what_happened(self):
        begun = self.events[0][0]
        return "; ".join(f"{at - begun:.1f} {pod} {what}" for at, what, pod in self.events)

    # ---- clients ----

    def client(self, name):
        """A place of clients, on a node of its own."""
        place = self.network.place(name)
        self.proxies.append(Proxy(self.network, place))
        self.changed()
        return place

    def command(self, place, command):
        """@command in @place, with the names that a pod finds."""
        mounts = " && ".join(f"mount --bind {self.folder / name} /etc/{name}" for name in self.etc)
        return place.wrap(["unshare", "--mount", "--propagation", "private", "sh", "-c",
                           f'{mounts} && exec "$@"', "sh", *map(str, command)])

    # ---- Services ----

    def changed(self):
        self.dirty.set()

    def _spread(self):
        while not self.closing:
            if self.dirty.wait(TICK_S):
                self.dirty.clear()
                if self.rendered is not None:
                    time.sleep(SPREAD_S)
                    try:
                        self._publish()
                    except Exception as error:  # told to who waits next
                        self.trouble = error

    def _publish(self):
        records, services = [], []
        for number, service in enumerate(self.rendered.of("Service")):
            spec, name = service["spec"], service["metadata"]["name"]
            zone = f"{name}.{service['metadata']['namespace']}.svc.{ZONE}"
            found = [one for one in list(self.kubelets.values())
                     if one.ready or spec.get("publishNotReadyAddresses")]
            if spec.get("clusterIP") == "None":
                for one in found:
                    records += [(one.host, zone), (one.host, f"{one.name}.{zone}")]
                continue
            address = f"10.96.0.{10 + number}"
            records.append((address, zone))
            for port in spec["ports"]:
                services.append((address, port["port"], [
                    (one.host, objects.named_ports(one.pod.spec)[port["targetPort"]])
                    for one in found]))
        fresh = self.hosts.with_suffix(".new")
        fresh.write_text("".join(f"{address} {name}\n" for address, name in records))
        fresh.rename(self.hosts)
        self.dns.signal(1)
        for proxy in self.proxies:
            proxy.lead(services)
        here = [one for one in list(self.kubelets.values()) if not one.lost]
        for one in here:
            one.firewall.admit(self.rendered.of("NetworkPolicy"),
                               [(other.host, other.labels) for other in here])

    # ---- the StatefulSet ----

    def _make(self, number):
        self.made += 1
        place = self.network.place(f"p{self.made}")
        image = self.rendered.workload["spec"]["template"]["spec"]["containers"][0]["image"]
        pod = pods.Pod(self.rig, place, self.folder / place.name, self.rendered, number, self.held,
                       self.images[image], claims=self.folder / "claims")
        self.say("made", pod.name)
        self.kubelets[number] = Kubelet(self, pod, self.revision())
        self.changed()

    def revision(self):
        return json.dumps(self.rendered.workload["spec"]["template"], sort_keys=True)

    def wait(self, condition, what, patience_s=120):
        """Until @condition of this cluster; a pod's kubelet that is in trouble ends it."""
        def come():
            assert self.trouble is None, self.trouble
            for one in [*self.kubelets.values(), *self.past]:
                assert one.trouble is None, (one.name, one.trouble)
            return condition()
        try:
            return self.rig.wait_until(come, what, patience_s)
        except self.rig.Trouble as trouble:
            raise AssertionError(f"{trouble}: {self.what_happened()}") from None

    def _gone(self, number):
        """Wait for the end of a pod that is deleted."""
        one = self.kubelets[number]
        one.join(one.pod.spec["terminationGracePeriodSeconds"] + 10)
        self.past.append(self.kubelets.pop(number))
        self.changed()

    def wait_ready(self, number):
        self.wait(lambda: self.kubelets[number].ready, f"pod {number} is ready")

    def apply(self, rendered, between=lambda: None):
        """`helm upgrade`: the ConfigMap, the number of pods (all at once: Parallel), and then, if
        the pods' description is another one, each from the last to the first, the next when the
        one before is ready (with Parallel, minReadySeconds is not waited for). @between is called
        when all of one step are."""
        spec = rendered.workload["spec"]
        assert (spec["podManagementPolicy"], spec["updateStrategy"]["type"]) == (
            "Parallel", "RollingUpdate")
        before, self.rendered = self.rendered, rendered
        if before is not None and before.config != rendered.config:
            for one in self.kubelets.values():
                one.pod.swap(rendered)
        self._scale(spec["replicas"])
        between()
        for number in sorted(self.kubelets, reverse=True):
            if number < spec["updateStrategy"]["rollingUpdate"]["partition"]:
                break
            if self.kubelets[number].revision != self.revision():
                self.renew([number])
                self.wait_ready(number)
                between()

    def _scale(self, replicas):
        surplus = [number for number in self.kubelets if number >= replicas]
        for number in surplus:
            self.kubelets[number].delete()
        for number in surplus:
            self._gone(number)
        fresh = [number for number in range(replicas) if number not in self.kubelets]
        for number in fresh:
            self._make(number)
        for number in fresh:
            self.wait_ready(number)

    def renew(self, numbers):
        """Pods are deleted, all at once, and made again; nobody waits until they are ready."""
        for number in numbers:
            self.kubelets[number].delete()
        for number in numbers:
            self._gone(number)
        for number in numbers:
            self._make(number)

    def replace(self, number):
        """A pod of a node that is gone is deleted by force, and made again elsewhere."""
        self.past.append(self.kubelets.pop(number))
        self._make(number)

    def up(self):
        """Kubelets of pods that are there, by number."""
        return [one for _, one in sorted(self.kubelets.items()) if not one.lost]

    def close(self):
        self.closing = True
        everybody = [*list(self.kubelets.values()), *self.past]
        for one in everybody:
            one.lost = True
            one.wake.set()
        for one in everybody:
            one.thread.join(10)  # one that was about to start its container has done so then
            if one.pod.server is not None and one.pod.server.running():
                one.pod.server.kill()
        self.spreader.join(10)
        if self.dns.running():
            self.dns.kill()

"""The one node of a plane.Plane: containerd with runc, kubelet, kube-proxy (nftables), CoreDNS.

containerd, runc and the network plug-ins are Debian's (MISSING says which are not there), the rest
is built from Go modules. Pods are routed one by one (plug-in ptp): a plain bridge would let answers
of the same node by-pass the Services' translation. NetworkPolicies are taken and not enforced, as
with every plug-in that does not know them.
"""

import gzip
import hashlib
import importlib.util
import io
import json
import os
import pathlib
import shutil
import tarfile

import chart
from plane import DOMAIN, HOST, Trouble, program, wait_for

NAME = "node"
PLUGINS = pathlib.Path("/usr/lib/cni")
NEEDS = {"containerd": "containerd", "runc": "runc", "redis-server": "redis-server",
         "nft": "nftables", PLUGINS / "ptp": "containernetworking-plugins"}
#: The kubelet writes these of the whole machine; it gets files in their place.
SYSCTLS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
           "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes")
PAUSE = "localhost/pause:1"
CONTAINERD = """version = 2
root = "{folder}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.devmapper"]
[grpc]
address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true  # who may not take memory first is not for every root to say
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{folder}/cni"
"""
ROUTED = {"cniVersion": "0.4.0", "name": "pods", "plugins": [{
    "type": "ptp", "mtu": 1500,
    "ipam": {"type": "host-local", "subnet": "10.244.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}}]}
NAMES = f"""{DOMAIN} in-addr.arpa {{
    errors
    ready {HOST}:8181
    kubernetes {DOMAIN} in-addr.arpa {{
        kubeconfig %s
        pods insecure
        ttl 30
    }}
    cache 30
}}
"""


def missing():
    """Debian packages that a node needs and this machine does not have."""
    return sorted({package for name, package in NEEDS.items() if shutil.which(name) is None})


def module(name):
    """deploy/container/@name.py"""
    path = chart.ROOT / "deploy" / "container" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def image(name, root, out, **config):
    """@out: an image @name with the tar @root as its only layer, as `docker save` writes it."""
    archive = module("image").Archive()
    layer = gzip.compress(root, 1, mtime=0)
    sums = [f"sha256:{hashlib.sha256(root).hexdigest()}"]
    files = {"layer.tar.gz": layer, "config.json": json.dumps({
        "architecture": "amd64", "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": sums}}).encode()}
    files["manifest.json"] = json.dumps([{"Config": "config.json", "RepoTags": [name],
                                          "Layers": ["layer.tar.gz"]}]).encode()
    archive.files.update(files)
    archive.write(out, 0)
    return out


def root_of(programs, folders=(), linked=True):
    """A tar with @programs (path in it -> path here) and what the loader needs for each."""
    build = module("build_root")
    root = build.Root(0)
    for path, here in programs.items():
        root.file(path, pathlib.Path(here).read_bytes(), 0o755)
        for library in build.libraries(here) if linked else ():
            root.carry(library)
    for folder in ("/proc", "/sys", "/dev", "/etc", "/tmp", *folders):
        root.add(folder, tarfile.DIRTYPE, mode=0o755)
    out = io.BytesIO()
    root.write(out)
    return out.getvalue()


class Node:
    """Joins @plane; everything is in its folder and its processes."""

    def __init__(self, plane, group):
        self.plane, self.folder, self.group = plane, plane.folder, group
        (self.folder / "lib").mkdir()
        plane.run("mount", "--bind", self.folder / "lib", "/var/lib")
        plane.run("mount", "-t", "tmpfs", "tmpfs", "/var/log")
        (self.folder / "lib" / "kubelet").mkdir()
        (self.folder / "cni").mkdir()
        (self.folder / "cni" / "10.conflist").write_text(json.dumps(ROUTED))
        for name in SYSCTLS:
            copy = self.folder / name.replace("/", ".")
            copy.write_text(pathlib.Path("/proc/sys", name).read_text())
            plane.run("mount", "--bind", copy, f"/proc/sys/{name}")
        self._containerd()
        self._names()
        self._kubelet()
        self._proxy()

    def _containerd(self):
        settings = self.folder / "containerd.toml"
        settings.write_text(CONTAINERD.format(folder=self.folder, pause=PAUSE, plugins=PLUGINS))
        self.plane.start("containerd", ["containerd", "--config", settings, "--log-level", "warn"])
        wait_for(lambda: self.plane.alive() and self.plane.run(
            "ctr", "-a", "/run/containerd/containerd.sock", "version"), "containerd")
        pause = self.folder / "pause"
        self.plane.run("cc", "-static", "-Os", "-o", pause, "-x", "c", "-", text=(
            "#include <signal.h>\n#include <stdlib.h>\n#include <unistd.h>\n"
            "static void end(int s) { (void)s; _exit(0); }\n"
            "int main(void) { signal(SIGTERM, end); signal(SIGINT, end); "
            "signal(SIGCHLD, SIG_IGN); for (;;) pause(); }\n"))
        self.load(image(PAUSE, root_of({"/pause": pause}, linked=False), self.folder / "pause.tar",
                        Entrypoint=["/pause"]))

    def load(self, archive):
        """Import an image's archive."""
        return self.plane.run("ctr", "-a", "/run/containerd/containerd.sock", "-n", "k8s.io",
                              "images", "import", archive)

    def _names(self):
        settings = self.folder / "Corefile"
        settings.write_text(NAMES % self.plane.kubeconfig)
        self.plane.start("dns", [program("dns"), "-conf", settings])
        # Clients on the node itself find the names that a pod finds.
        resolv = self.folder / "resolv.conf"
        resolv.write_text(f"nameserver {HOST}\nsearch svc.{DOMAIN} {DOMAIN}\noptions ndots:5\n")
        self.plane.run("mount", "--bind", resolv, "/etc/resolv.conf")

    def _kubelet(self):
        upstream = self.folder / "upstream.conf"
        upstream.write_text("")
        settings = self.folder / "kubelet.yaml"
        settings.write_text(json.dumps({
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "address": HOST, "authentication": {"anonymous": {"enabled": True},
                                                "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"}, "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.group}", "failSwapOn": False, "clusterDNS": [HOST],
            "clusterDomain": DOMAIN, "resolvConf": str(upstream), "makeIPTablesUtilChains": False,
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"}}))
        for controller in pathlib.Path("/sys/fs/cgroup").iterdir():
            (controller / self.group).mkdir(exist_ok=True)
        cpus = pathlib.Path("/sys/fs/cgroup/cpuset")
        for name in ("cpuset.cpus", "cpuset.mems") if cpus.exists() else ():
            (cpus / self.group / name).write_text((cpus / name).read_text())
        self.plane.start("kubelet", [
            program("kubelet"), f"--config={settings}", f"--kubeconfig={self.plane.kubeconfig}",
            f"--hostname-override={NAME}", f"--node-ip={HOST}", "--v=2"])
        wait_for(lambda: self.plane.alive() and self._ready(), "the node is ready", 120)

    def _ready(self):
        node = self.plane.get("node", NAME, "default", {"status": {"conditions": []}})
        return any(one["type"] == "Ready" and one["status"] == "True"
                   for one in node["status"]["conditions"])

    def _proxy(self):
        self.plane.start("kube-proxy", [
            program("kube-proxy"), f"--kubeconfig={self.plane.kubeconfig}", "--proxy-mode=nftables",
            f"--hostname-override={NAME}", "--cluster-cidr=10.244.0.0/16",
            "--conntrack-max-per-core=0", "--conntrack-min=0",
            "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0"])
        wait_for(lambda: self.plane.alive() and "kube-proxy" in self.plane.run(
            "nft", "list", "tables"), "kube-proxy's table")

    def volumes(self, names, namespace, size="10Gi"):
        """A local volume for each claim of @names: what a provisioner would do."""
        for name in names:
            path = self.folder / "volumes" / name
            path.mkdir(parents=True, exist_ok=True)
            self.plane.kubectl("apply", "-f", "-", text=json.dumps({
                "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
                "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"],
                         "persistentVolumeReclaimPolicy": "Retain", "local": {"path": str(path)},
                         "claimRef": {"namespace": namespace, "name": name},
                         "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{
                             "key": "kubernetes.io/hostname", "operator": "In",
                             "values": [NAME]}]}]}}}}))


def sweep(group):
    """Remove the control groups of a node that has ended."""
    for controller in pathlib.Path("/sys/fs/cgroup").iterdir():
        for folder, _, _ in os.walk(controller / group, topdown=False):
            try:
                os.rmdir(folder)
            except OSError as error:
                raise Trouble(f"{folder} stays: {error}") from None

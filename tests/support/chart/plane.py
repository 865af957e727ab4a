"""The control plane of a real Kubernetes on this machine: etcd, API server, controllers, scheduler.

All are built from Go modules (cluster/go.mod) into build/chart/tools, once. Who makes a Plane is in
namespaces of its own (enter()): addresses, processes and mounts end with it, whatever happens.
"""

import json
import os
import pathlib
import secrets
import signal
import subprocess
import sys
import time

import with_helm

SOURCE = pathlib.Path(__file__).resolve().parent / "cluster"
#: Where the plane is, and the node's pods find it; in a network of its own, so any will do.
HOST, DOMAIN = "10.88.0.1", "cluster.local"
SERVICES = "10.96.0.0/16,fd00:96::/112"
#: Of module proxies: what other projects have their objects described by.
CRDS = {
    "github.com/prometheus-operator/prometheus-operator@v0.85.0":
        ["example/prometheus-operator-crd/*_{servicemonitors,podmonitors,prometheusrules}.yaml"],
    "github.com/cert-manager/cert-manager@v1.18.2":
        ["deploy/crds/crd-{certificates,issuers,clusterissuers}.yaml"],
    "sigs.k8s.io/gateway-api@v1.3.0": ["config/crd/standard/*_{httproutes,referencegrants}.yaml"],
    "github.com/envoyproxy/gateway@v1.5.0":
        ["charts/gateway-helm/crds/generated/*_securitypolicies.yaml"],
}


class Trouble(Exception):
    """Something did not come true; the text says what, and what was last seen."""


def program(name):
    """One of cluster/go.mod's programs; None, with the reason said, where it cannot be had."""
    package = {"etcd": "go.etcd.io/etcd/server/v3", "dns": "."}.get(
        name, f"k8s.io/kubernetes/cmd/{name}")
    source = SOURCE / "dns" if name == "dns" else SOURCE  # its libraries are of another time
    version = with_helm.KUBERNETES
    major, minor = version.lstrip("v").split(".")[:2]
    # A build without these says that it is of version 0.0.0, and Helm believes it.
    said = "".join(f" -X k8s.io/component-base/version.{key}={value}" for key, value in
                   (("gitVersion", version), ("gitMajor", major), ("gitMinor", minor)))
    place = f"kubernetes-{version}/{name}"
    (with_helm.TOOLS / place).parent.mkdir(parents=True, exist_ok=True)
    return with_helm.built(place, ["build", "-p", "2", "-ldflags", f"-s -w{said}", "-o",
                                   with_helm.TOOLS / place, package], cwd=source)


def descriptions():
    """The files with the CRDs of other projects; fewer, with the reason said, if one is missing."""
    found = []
    for module, patterns in CRDS.items():
        said = with_helm.with_go(module, ["mod", "download", "-json", module])
        for pattern in patterns if said else []:
            stem, _, rest = pattern.partition("{")
            names, _, end = rest.partition("}")
            for name in names.split(",") if rest else [""]:
                found += sorted(pathlib.Path(json.loads(said)["Dir"]).glob(stem + name + end))
    return found


def enter(arguments):
    """Run this program once more with @arguments in namespaces of its own; its exit status."""
    script = ("mount -t tmpfs tmpfs /run && ip link set lo up && ip link add node0 type bridge && "
              f"ip addr add {HOST}/24 dev node0 && ip link set node0 up && "
              'ip route add default dev node0 && exec "$@"')
    return subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc",
                           "--kill-child", "--propagation", "private", "sh", "-c", script, "sh",
                           sys.executable, *map(str, arguments)]).returncode


def wait_for(condition, what, patience_s=60):
    """Until @condition gives something true: that; the last thing that went wrong is told."""
    end, last = time.monotonic() + patience_s, ""
    while time.monotonic() < end:
        try:
            value = condition()
            if value:
                return value
        except (Trouble, OSError, KeyError, json.JSONDecodeError) as error:
            last = f": {error}"
        time.sleep(0.2)
    raise Trouble(f"{what}: not within {patience_s} s{last}"[:1500])


class Machine:
    """Processes with a log each in @folder; close() ends them, the last first."""

    def __init__(self, folder):
        self.folder, self.running = pathlib.Path(folder), {}

    def start(self, name, command, **options):
        log = open(self.folder / f"{name}.log", "ab")
        self.running[name] = subprocess.Popen([str(word) for word in command], stdout=log,
                                              stderr=log, stdin=subprocess.DEVNULL, **options)
        log.close()

    def log(self, name, characters=1500):
        return (self.folder / f"{name}.log").read_text(errors="replace")[-characters:]

    def alive(self):
        for name, process in self.running.items():
            if process.poll() is not None:
                raise SystemExit(f"{name} has ended:\n{self.log(name, 3000)}")
        return True

    def close(self):
        for process in reversed(list(self.running.values())):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Plane(Machine):
    """etcd and an API server; more by control()."""

    def __init__(self, folder):
        super().__init__(folder)
        self.folder.mkdir()
        self.ca, key = self.folder / "server.crt", self.folder / "server.key"
        self.sa = self.folder / "sa.key"
        names = f"IP:{HOST},IP:10.96.0.1,IP:127.0.0.1,DNS:kubernetes.default.svc"
        self.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                 "/CN=plane", "-addext", f"subjectAltName={names}", "-keyout", key, "-out", self.ca)
        self.run("openssl", "genrsa", "-traditional", "-out", self.sa, "2048")
        token = secrets.token_hex(16)
        (self.folder / "tokens.csv").write_text(f"{token},admin,1,system:masters\n")
        self.kubeconfig = self.folder / "kubeconfig"
        self.kubeconfig.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "here", "cluster": {
                "server": f"https://{HOST}:6443", "certificate-authority": str(self.ca)}}],
            "users": [{"name": "admin", "user": {"token": token}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "admin"}}]}))
        os.environ.update(KUBECONFIG=str(self.kubeconfig), HOME=str(self.folder))
        self.start("etcd", [program("etcd"), "--data-dir", self.folder / "etcd", "--log-level",
                            "warn", "--unsafe-no-fsync"])
        self.start("kube-apiserver", [
            program("kube-apiserver"), "--etcd-servers=http://127.0.0.1:2379",
            f"--service-cluster-ip-range={SERVICES}", f"--advertise-address={HOST}",
            f"--bind-address={HOST}", f"--tls-cert-file={self.ca}", f"--tls-private-key-file={key}",
            f"--cert-dir={self.folder}", f"--service-account-key-file={self.sa}",
            f"--service-account-signing-key-file={self.sa}", "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--kubelet-preferred-address-types=InternalIP",
            f"--token-auth-file={self.folder / 'tokens.csv'}"])
        wait_for(lambda: self.alive() and self.kubectl("get", "--raw", "/readyz") == "ok",
                 "the API server", 180)

    def control(self):
        """Controllers and scheduler, too: objects come to life."""
        common = [f"--kubeconfig={self.kubeconfig}", "--leader-elect=false"]
        self.start("kube-controller-manager", [
            program("kube-controller-manager"), *common,
            f"--service-account-private-key-file={self.sa}", f"--root-ca-file={self.ca}"])
        self.start("kube-scheduler", [program("kube-scheduler"), *common])
        wait_for(lambda: self.alive() and self.get("serviceaccount", "default", "default"),
                 "the controllers", 120)

    @staticmethod
    def run(*command, text=None, patience_s=180):
        """Its output; Trouble with what it said if it went wrong."""
        done = subprocess.run([str(word) for word in command], input=text, capture_output=True,
                              text=True, timeout=patience_s)
        if done.returncode != 0:
            said = (done.stderr + done.stdout)[-900:]
            raise Trouble(f"{' '.join(map(str, command))[:300]}: {said}")
        return done.stdout

    def kubectl(self, *words, text=None, patience_s=180):
        return self.run(program("kubectl"), *words, text=text, patience_s=patience_s)

    def warned(self, *words, text=None):
        """Lines of warnings of the API server to a command of kubectl that went well."""
        done = subprocess.run([str(program("kubectl")), *map(str, words)], input=text, text=True,
                              capture_output=True)
        if done.returncode != 0:
            raise Trouble(f"kubectl {' '.join(map(str, words))[:300]}: {done.stderr[-900:]}")
        return [line for line in done.stderr.splitlines() if line.startswith("Warning")]

    def get(self, kind, name, namespace, missing=None):
        """An object, or @missing."""
        try:
            return json.loads(self.kubectl("-n", namespace, "get", kind, name, "-o", "json"))
        except Trouble as trouble:
            if "NotFound" in str(trouble):
                return missing
            raise

    def all(self, kind, namespace, *words):
        return json.loads(self.kubectl("-n", namespace, "get", kind, "-o", "json", *words))["items"]

    def namespace(self, name):
        """One that holds its pods, and by warnings what makes pods, to the profile restricted."""
        labels = {f"pod-security.kubernetes.io/{mode}": "restricted"
                  for mode in ("enforce", "warn")}
        self.kubectl("apply", "-f", "-", text=json.dumps({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}))

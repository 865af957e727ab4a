"""The chart on a real Kubernetes: its API server takes every object, and with --node its
controllers and a kubelet run the fleet (real_fleet.py).

No part of ./dev test. etcd, Kubernetes and CoreDNS are built from Go modules into build/chart/tools
(Go 1.24 or later, half an hour, once); it needs root. What cannot be had is said and left out. All
runs in namespaces of its own, in a folder of its own below build/chart, and ends with them. The
last line counts; exit status 1 when something that ran went wrong.

    /usr/bin/python3 tests/support/chart/real_cluster.py [--node] [--build FOLDER]
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import yaml

import chart
import node
import plane
import real_fleet
import with_helm

API = ("etcd", "kube-apiserver", "kubectl")
REST = ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "dns")
WORKLOADS = ("StatefulSet", "DaemonSet", "Deployment")
#: What sets of values name and do not bring.
BROUGHT = """
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: infra}
value: 1000
"""
#: Objects that a real API server has to refuse, or it looks at nothing here.
SLIPS = {
    "a field that is not there": ("ConfigMap", {"dta": {}}, "unknown field"),
    "a pod that is not restricted": ("Pod", {"spec": {"containers": [
        {"name": "one", "image": "one"}]}}, 'violates PodSecurity "restricted'),
}


class Findings:
    """What is wrong; a step that fails is one, and the next goes on."""

    def __init__(self):
        self.wrong = []

    def step(self, name, function, *arguments):
        try:
            for one in function(*arguments) or []:
                self.note(name, one)
        except (plane.Trouble, subprocess.TimeoutExpired) as trouble:
            self.note(name, trouble)

    def note(self, name, what):
        self.wrong.append(f"{name}: {what}")
        print(f"  {name}: {what}", flush=True)


def helm(*words):
    """Its output; what the API server warned of counts as a failure."""
    done = subprocess.run([str(with_helm.helm()), *map(str, words)], capture_output=True, text=True)
    if done.returncode != 0 or "Warning" in done.stderr or "would violate" in done.stderr:
        raise plane.Trouble(f"helm {' '.join(map(str, words))[:200]}: {done.stderr[-900:]}")
    return done.stdout


def pods(objects):
    """The pods that @objects make, each as an object of its own."""
    for one in objects:
        if one["kind"] in WORKLOADS:
            template = one["spec"]["template"]
            claims = [claim["metadata"]["name"]
                      for claim in one["spec"].get("volumeClaimTemplates", [])]
            volumes = [*template["spec"].get("volumes", []), *(
                {"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims)]
            yield {"apiVersion": "v1", "kind": "Pod", "spec": {**template["spec"],
                   "volumes": volumes}, "metadata": dict(
                       template["metadata"], name=f"{one['metadata']['name']}-pod",
                       namespace=one["metadata"]["namespace"])}
        elif one["kind"] == "Pod":
            yield one


def try_pods(cluster, objects, namespace):
    """Have @objects' pods admitted, without making them: the profile holds pods, not what makes
    them."""
    found = list(pods(objects))
    for pod in found:
        account = pod["spec"].get("serviceAccountName", "default")
        if cluster.get("serviceaccount", account, namespace) is None:
            cluster.kubectl("-n", namespace, "create", "serviceaccount", account)
        cluster.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-",
                        text=json.dumps(pod))
    return len(found)


def release(cluster, path, changed):
    """install, strict and without unknown fields; upgrade to another version of the chart with
    other labels; back again: all that a release is made of has to be changeable in place."""
    space = f"case-{path.stem.replace('values-', 'example-')}"
    cluster.namespace(space)
    helm("-n", space, "install", "rel", chart.CHART, "-f", path)
    text = helm("-n", space, "get", "manifest", "rel") + helm("-n", space, "get", "hooks", "rel")
    objects = [one for one in yaml.safe_load_all(text) if one]
    made = [one for one in objects if "helm.sh/hook" not in one["metadata"].get("annotations", {})]
    try_pods(cluster, objects, space)
    warned = cluster.warned("apply", "--dry-run=server", "--server-side", "--validate=strict",
                            "--force-conflicts", "-f", "-", text=yaml.safe_dump_all(made))
    workload = next(one for one in made if one["kind"] in WORKLOADS)
    kind, name = workload["kind"], workload["metadata"]["name"]

    def template():
        return cluster.get(kind, name, space)["spec"]["template"]
    first = template()
    helm("-n", space, "upgrade", "rel", changed, "-f", path, "--set", "commonLabels.step=two",
         "--set", "podLabels.step=two", "--set", "config.server.buffers_max=64MiB")
    second = template()
    helm("-n", space, "rollback", "rel")
    if second == first or template() != first:
        warned.append("upgrade and rollback do not change the pods to and fro")
    helm("-n", space, "uninstall", "rel")
    return warned


def plain(cluster):
    """The files for those without Helm, in their order; taken once, they differ in nothing from
    what is there."""
    files = [chart.ROOT / "deploy" / "kubernetes" / "redis.yaml",
             chart.ROOT / "deploy" / "kubernetes" / "api.yaml",
             *sorted((chart.ROOT / "deploy" / "manifests").glob("*.yaml")),
             chart.ROOT / "deploy" / "kubernetes" / "envoy-gateway.yaml",
             chart.ROOT / "deploy" / "kubernetes" / "ingress-nginx.yaml",
             chart.CHART / "examples" / "sidecar.yaml"]
    wrong = []
    for path in files:
        wrong += cluster.warned("apply", "--validate=strict", "-f", path)
        cluster.kubectl("diff", "-f", path)
        objects = [one for one in yaml.safe_load_all(path.read_text()) if one]
        try_pods(cluster, objects, objects[-1]["metadata"].get("namespace", "default"))
    print(f"plain files: {len(files)} taken, and found as they are written")
    return wrong


def refusals(cluster):
    cluster.namespace("slips")
    cluster.kubectl("-n", "slips", "create", "serviceaccount", "default")
    for what, (kind, more, expected) in SLIPS.items():
        text = json.dumps({"apiVersion": "v1", "kind": kind,
                           "metadata": {"name": "slip", "namespace": "slips"}, **more})
        try:
            cluster.kubectl("create", "--validate=strict", "-f", "-", text=text)
            yield f"{what} was taken"
        except plane.Trouble as trouble:
            if expected not in str(trouble):
                yield f"{what}: {trouble}"


def describe(cluster):
    files = plane.descriptions()
    texts = []
    for path in files:
        one = next(one for one in yaml.safe_load_all(path.read_text()) if one)
        one["metadata"].pop("labels", None)  # cert-manager's are for its own chart's templates
        texts.append(one)
    cluster.kubectl("apply", "--server-side", "-f", "-", text=yaml.safe_dump_all(texts))
    for one in texts:
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s",
                        f"crd/{one['metadata']['name']}")
    print(f"{len(texts)} kinds of other projects, as they describe them themselves")


def changed_chart(folder):
    """The chart as another version of it and of pawld."""
    copy = pathlib.Path(folder) / "changed"
    shutil.copytree(chart.CHART, copy)
    about = yaml.safe_load((copy / "Chart.yaml").read_text())
    about.update(version="9.9.9", appVersion="9.9.9")
    (copy / "Chart.yaml").write_text(yaml.safe_dump(about))
    return copy


def objects_part(cluster, findings):
    findings.step("descriptions", describe, cluster)
    cluster.kubectl("apply", "-f", "-", text=BROUGHT)
    findings.step("refusals", refusals, cluster)
    changed = changed_chart(cluster.folder)
    for path in with_helm.sets():
        findings.step(path.stem, release, cluster, path, changed)
    print(f"API server {with_helm.KUBERNETES}: {len(with_helm.sets())} sets of values installed, "
          "upgraded, rolled back and removed", flush=True)
    findings.step("plain files", plain, cluster)


def inside(asked):
    begun, findings = time.monotonic(), Findings()
    for part in ("objects", "fleet") if asked.node else ("objects",):
        if asked.only in (None, part):
            cluster = plane.Plane(asked.inside / part)
            try:
                if part == "objects":
                    objects_part(cluster, findings)
                else:
                    cluster.control()
                    findings.step("the fleet", real_fleet.play, cluster, asked, findings)
            finally:
                cluster.close()
    print(f"{time.monotonic() - begun:.0f} s")
    print(f"{len(findings.wrong)} problems")
    return 1 if findings.wrong else 0


def prepared(asked):
    """Whether all that is asked for can be had here; what cannot is said."""
    if os.geteuid() != 0:
        print("not run: a real cluster: it needs root")
        return False
    if asked.node and node.missing():
        print(f"not run: a node: apt-get install {' '.join(node.missing())}")
        asked.node = False
    programs = [plane.program(name) for name in (*API, *(REST if asked.node else ()))]
    return None not in [with_helm.helm(), *programs]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--node", action="store_true", help="with controllers, a kubelet and pods")
    parser.add_argument("--build", type=pathlib.Path, default=chart.ROOT / "build" / "release",
                        help="of the release preset: pawld, pawlctl, callers")
    parser.add_argument("--only", choices=("objects", "fleet"))
    parser.add_argument("--inside", type=pathlib.Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        return inside(asked)
    wanted = asked.node
    if not prepared(asked) or (asked.only == "fleet" and not asked.node):
        print("0 problems: nothing was run" if not wanted else "1 problems: nothing was run")
        return 1 if wanted else 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what is inside ends, too
    folder = tempfile.mkdtemp(prefix="cluster-", dir=chart.ROOT / "build" / "chart")
    try:
        return plane.enter([__file__, *sys.argv[1:], "--inside", folder])
    finally:
        node.sweep(pathlib.Path(folder).name)
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())

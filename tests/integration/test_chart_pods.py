"""The pods that the chart describes, run on this machine (tests/support/chart/pods.py): the
settings, the arguments, the user, the volumes and the probes together, with a real engine.
"""

import json
import re
import secrets
import subprocess
import sys
import time

import pytest

from conftest import BUILD, ROOT
from tls import Authority

sys.path[:0] = [str(ROOT / "tests" / "support" / "chart"), str(ROOT / "deploy" / "demo")]

import chart  # noqa: E402 (its folder is known only now)
import fleet as rig  # noqa: E402
import objects  # noqa: E402
import pods  # noqa: E402

pytestmark = pytest.mark.skipif(not rig.namespaces_work(), reason="no network namespaces here")

PASSWORD = "an-engine-password"
ROOT_SECRET = secrets.token_hex(32) + "\n"
VALUES = {"replicas": 3,
          "config": {"memory_max": "32MiB", "revocations_max": 65536, "server": {"workers": 1},
                     "limits": {"api": {"rate": "10/hour"}}}}


def values(engine, **more):
    return {**VALUES, "cluster": {"redis": [engine.uri], "passwordSecret": "redis"}, **more}


class Cluster:
    """An engine and the pods of a rendered release."""

    def __init__(self, folder):
        self.folder, self.pods, self.engine = folder, [], None
        self.network = rig.Network()
        try:
            self.engine = rig.Redis(self.network.place("engine"), folder / "engine")
            self.engine.ask("config", "set", "requirepass", PASSWORD)
            self.client = self.network.place("client")
        except BaseException:
            self.close()
            raise

    def run(self, rendered, more_secrets=None):
        held = {"pawl-root": {"secret": ROOT_SECRET}, "redis": {"password": PASSWORD},
                **(more_secrets or {})}
        hosts = {}
        for number in range(rendered.workload["spec"]["replicas"]):
            place = self.network.place(f"pod{number}")
            pod = pods.Pod(rig, place, self.folder / place.name, rendered, number, held, BUILD)
            hosts[f"{pod.name}.pawl-members.default.svc"] = place.host
            self.pods.append(pod)
        for pod in self.pods:
            pod.start(hosts)
        for pod in self.pods:
            rig.wait_until(lambda one=pod: one.probe("readiness") == 200, f"{pod.name} is ready")
        rig.wait_until(self.settled, "one view of all")

    def settled(self):
        status = [json.loads(pod.ctl("status")[1]) for pod in self.pods if pod.server.running()]
        return all(one["members"] == len(status) and one["slots_wanted"] == 0 for one in status)

    def ask(self, pod, *words, scheme="tcp"):
        """(exit status, answer) of pawlctl on another machine, over the client port."""
        port = objects.named_ports(pod.spec)["pawl"]
        done = subprocess.run(
            self.client.wrap([str(BUILD / "pawlctl"), "--json", "--addr",
                              f"{scheme}:{pod.place.host}:{port}", *map(str, words)]),
            capture_output=True, text=True, timeout=20)
        return done.returncode, done.stdout.strip() or done.stderr.strip()

    def get(self, url, *headers):
        """The status of a GET from another machine."""
        command = ["curl", "-s", "-o", "/dev/null", "-m", "5", "-w", "%{http_code}", url]
        for header in headers:
            command += ["-H", header]
        return int(subprocess.run(self.client.wrap(command), capture_output=True, text=True).stdout)

    def close(self):
        for server in [pod.server for pod in self.pods] + [self.engine]:
            if server is not None and server.running():
                server.kill()
        self.network.close()


@pytest.fixture
def cluster(tmp_path):
    tmp_path.chmod(0o755)
    made = Cluster(tmp_path)
    yield made
    made.close()


def test_the_rendered_fleet_runs(cluster):
    """Three members of the default mode: ready, one count, taken settings, an orderly end."""
    rendered = chart.render(values(cluster.engine))
    cluster.run(rendered)
    first = cluster.pods[0]
    asked = [pod.probe(kind) for pod in cluster.pods for kind in ("startup", "liveness")]
    assert asked == [200] * 6

    members = json.loads(first.ctl("members")[1])["members"]
    assert sorted(one["address"] for one in members) == sorted(
        f"tcp:{pod.place.host}:7403" for pod in cluster.pods)
    codes = [cluster.ask(cluster.pods[i % 3], "check", "--limit", "api", "anna")[0]
             for i in range(24)]
    assert codes == [0] * 10 + [1] * 14
    # Gateways ask by the Service's name; a page that points a name of its own here learns nothing.
    url = f"http://{first.place.host}:7402/v1/check?limit=api&address=x-real-ip"
    told = {host: cluster.get(url, f"Host: {host}", "X-Real-IP: 192.0.2.1")
            for host in ("pawl.default.svc.cluster.local:7402", "evil.example")}
    assert told == {"pawl.default.svc.cluster.local:7402": 200, "evil.example": 421}
    # What the client port does not let anybody do who shows nothing.
    assert cluster.ask(first, "revoke", "subject", "--sub", "anna")[0] != 0
    assert first.ctl("revoke", "subject", "--sub", "anna")[0] == 0

    # The kubelet swaps ..data: taken without a restart.
    more = chart.render(values(cluster.engine, config={
        **VALUES["config"], "limits": {"api": {"rate": "12/hour"}}}))
    assert more.workload == rendered.workload
    began = time.monotonic()
    for pod in cluster.pods:
        pod.swap(more)
    rig.wait_until(lambda: all(json.loads(pod.ctl("status")[1])["reloads"] == 1
                               for pod in cluster.pods), "the new limits", 10)
    assert time.monotonic() - began < 10
    codes = [cluster.ask(pod, "check", "--limit", "api", "anna")[0] for pod in cluster.pods]
    assert codes == [0, 0, 1]

    # SIGTERM: the member leaves within the grace period, and its counts stay.
    grace_s = first.spec["terminationGracePeriodSeconds"]
    began = time.monotonic()
    assert first.server.stop() == 0
    assert time.monotonic() - began < grace_s
    assert cluster.ask(cluster.pods[1], "peek", "--limit", "api", "anna")[0] == 1
    assert re.search(r'"event":"\w*draining', first.server.text())


def test_a_member_keeps_its_journal_where_the_volume_is(cluster):
    """data_dir lies below the volume, which belongs to root: pawld makes it, and makes it 0700."""
    cluster.run(chart.render(values(cluster.engine, replicas=1)))
    only = cluster.pods[0]
    assert only.ctl("revoke", "token", "--jti", "j1", "--exp", "+1h")[0] == 0
    data = only.volumes["data"] / "data"
    assert data.stat().st_mode & 0o777 == 0o700 and (data / "pawl.db").exists()
    assert only.server.stop() == 0
    only.start()
    rig.wait_until(lambda: only.probe("readiness") == 200, "ready again")
    assert json.loads(only.ctl("token", "check", "--jti", "j1")[1])["status"] == "revoked"


def run_certified(cluster, rendered):
    """TLS as cert-manager would make it: one certificate, with the names of the Certificate."""
    wanted = rendered.one("Certificate")["spec"]
    authority = Authority(cluster.folder)
    certificate, key = authority.leaf("shown", ",".join(f"DNS:{n}" for n in wanted["dnsNames"]))
    cluster.run(rendered, {wanted["secretName"]: {
        "tls.crt": certificate.read_text(), "tls.key": key.read_text(),
        "ca.crt": authority.certificate.read_text()}})
    return authority, certificate, key


def test_members_and_clients_know_each_other_by_the_certificate_that_is_asked_for(cluster):
    rendered = chart.render(values(
        cluster.engine, replicas=2, access={"anonymous": []},
        tls={"enabled": True, "clients": [{"san": "dns:api.shop.svc", "role": ["check"]}],
             "certManager": {"enabled": True, "issuerName": "ca"}}))
    authority, certificate, key = run_certified(cluster, rendered)
    first, second = cluster.pods
    members = json.loads(first.ctl("members")[1])["members"]
    assert len(members) == 2
    assert all(re.fullmatch(r"tls:[\d.]+:7401", one["address"]) for one in members)

    mine, its_key = authority.leaf("api", "DNS:api.shop.svc")
    stranger, their_key = authority.leaf("stranger", "DNS:stranger.svc")
    common = ["--tls-ca", authority.certificate, "--tls-name", "pawl.default.svc"]
    known = [*common, "--tls-cert", mine, "--tls-key", its_key]
    codes = [cluster.ask((first, second)[i % 2], *known, "check", "--limit", "api", "anna",
                         scheme="tls")[0] for i in range(14)]
    assert codes == [0] * 10 + [1] * 4
    assert cluster.ask(first, *common, "--tls-cert", stranger, "--tls-key", their_key,
                       "--deadline", "1s", "check", "--limit", "api", "anna", scheme="tls")[0] == 3
    assert cluster.ask(first, *known, "revoke", "subject", "--sub", "anna", scheme="tls")[0] != 0
    # What the pod of helm test does: the members' own certificate may look at the status.
    assert cluster.ask(first, *common, "--tls-cert", certificate, "--tls-key", key, "status",
                       scheme="tls")[0] == 0


def test_the_pod_of_helm_test_may_look_and_nothing_else(cluster):
    """Where members speak in clear, the certificate of the Service gives it a role of its own."""
    rendered = chart.render(values(
        cluster.engine, replicas=1, access={"anonymous": []},
        tls={"enabled": True, "members": False,
             "certManager": {"enabled": True, "issuerName": "ca"}}))
    authority, certificate, key = run_certified(cluster, rendered)
    shown = ["--tls-ca", authority.certificate, "--tls-name", "pawl.default.svc", "--tls-cert",
             certificate, "--tls-key", key]
    only = cluster.pods[0]
    assert cluster.ask(only, *shown, "status", scheme="tls")[0] == 0
    for words in (("check", "--rate", "1/hour", "k"), ("revoke", "subject", "--sub", "anna")):
        code, said = cluster.ask(only, *shown, *words, scheme="tls")
        assert code not in (0, 1) and "role" in said, said

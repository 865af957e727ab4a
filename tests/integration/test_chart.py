"""The Helm chart, rendered by tests/support/chart without Helm: what it becomes for each set of
values, whether Kubernetes would take it, and whether pawld takes the settings that it writes.

Not here: a cluster. Objects are checked against Kubernetes' own description of them.
"""

import copy
import json
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

from conftest import BUILD, ROOT

sys.path[:0] = [str(ROOT / "tests" / "support" / "chart"), str(ROOT / "deploy" / "helm")]

import chart  # noqa: E402 (its folder is known only now)
import make  # noqa: E402
import objects  # noqa: E402

CASES = sorted((ROOT / "tests" / "support" / "chart" / "cases").glob("*.yaml"))
EXAMPLES = sorted((make.CHART / "examples").glob("values-*.yaml"))
ENGINE = {"cluster": {"redis": ["redis://redis:6379"]}}
TLS = {"tls": {"enabled": True, "certManager": {"enabled": True, "issuerName": "ca"}}}
names = [path.stem for path in CASES]
all_names = names + [path.stem for path in EXAMPLES]


@pytest.fixture(scope="module", autouse=True)
def built():
    """pawld of this build says what the settings are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PAWL_BUILD", str(BUILD))
        yield


def render(path):
    return chart.render(files=[path], namespace="shop")


def problems_of(things):
    """All that is wrong with objects, each by itself and together."""
    found = objects.consistent(things)
    for thing in things:
        found += objects.structure(thing)
        pod = objects.pod_of(thing)
        if pod is not None:
            claims = [one["metadata"]["name"]
                      for one in thing["spec"].get("volumeClaimTemplates", [])]
            found += objects.restricted(pod[1]) + objects.mounts(pod[1], claims)
    return found


# ---- what it becomes ---------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=names)
def test_the_chart_becomes_what_it_did(case):
    golden = make.SUPPORT / "golden" / case.name
    assert make.golden(case) == golden.read_text("utf-8"), \
        "if that was meant: deploy/helm/make.py, and read the diff"


@pytest.mark.parametrize("case", CASES + EXAMPLES, ids=all_names)
def test_kubernetes_knows_every_field_and_pods_are_restricted(case):
    assert problems_of(render(case).objects) == []


def test_what_is_made_is_current():
    assert make.stale() == []


def test_the_mode_decides_what_runs():
    by_mode = {mode: chart.render({**ENGINE, "mode": mode})
               for mode in ("statefulset", "daemonset", "deployment")}
    assert [r.workload["kind"] for r in by_mode.values()] == ["StatefulSet", "DaemonSet",
                                                              "Deployment"]
    policy = {mode: r.one("Service", "pawl")["spec"].get("internalTrafficPolicy")
              for mode, r in by_mode.items()}
    assert policy == {"statefulset": None, "daemonset": "Local", "deployment": None}
    spec = by_mode["statefulset"].workload["spec"]
    assert spec["podManagementPolicy"] == "Parallel" and spec["volumeClaimTemplates"]
    for rendered in by_mode.values():
        members = rendered.one("Service", "pawl-members")["spec"]
        assert members["clusterIP"] == "None" and members["publishNotReadyAddresses"] is True


@pytest.mark.parametrize("case", CASES + EXAMPLES, ids=all_names)
def test_the_test_pod_is_let_in_and_gets_no_requests(case):
    rendered = render(case)
    policies, tests = rendered.of("NetworkPolicy"), rendered.of("Pod")
    if not tests:
        return
    labels = tests[0]["metadata"]["labels"]
    assert not any(objects.selects(one["spec"]["selector"], labels)
                   for one in rendered.of("Service"))
    for policy in policies:
        rule = next(one for one in policy["spec"]["ingress"]
                    if one["ports"][0]["port"] == "pawl")
        assert any("podSelector" in one and "namespaceSelector" not in one and all(
            labels.get(name) == value for name, value in
            one["podSelector"].get("matchLabels", {}).items()) for one in rule["from"])


def test_no_template_names_the_environment_or_a_cluster():
    """`helm template` and `helm install` give the same: nothing is looked up, nothing is random."""
    text = "".join(path.read_text() for path in (make.CHART / "templates").rglob("*.*"))
    assert not re.search(r"\b(lookup|env|expandenv|rand\w+|now|genCA|gen\w+Cert|uuidv4)\b\s",
                         "".join(re.findall(r"\{\{.*?\}\}", text, re.S)))


def test_the_chart_is_of_this_version():
    about = yaml.safe_load((make.CHART / "Chart.yaml").read_text())
    version = re.search(r"^project\(pawl VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text(), re.M)
    assert (about["version"], about["appVersion"]) == (version[1], version[1])
    assert f"pawl:{version[1]}" in (make.CHART / "examples" / "sidecar.yaml").read_text()


def test_an_older_kubernetes_is_refused():
    with pytest.raises(chart.Refused, match="kubeVersion"):
        chart.render(ENGINE, kube_version="v1.29.4")


# ---- values ------------------------------------------------------------------------------------


@pytest.mark.parametrize("values, said", [
    ({"replcas": 3}, "replcas"),
    ({"tls": {"enabld": True}}, "enabld"),
    ({"cluster": {"sentinel": {"node": []}}}, "node"),
    ({"config": {"limits": {"api": {"rate": "5/minute", "onerror": "open"}}}}, "onerror"),
    ({"config": {"jwt": {"issuers": [{"issuer": "x", "keys": [{"algo": "HS256"}]}]}}}, "algo"),
    ({"config": {"listen": ["tcp:0.0.0.0:1"]}}, "listen"),
    ({"config": {"server": {"drain_timeout": "5s"}}}, "drain_timeout"),
    ({"networkPolicy": {"clients": [{"podLabel": {}}]}}, "podLabel"),
    ({"tolerations": [{"operater": "Exists"}]}, "operater"),
    ({"resources": {"limits": {"mem": "1Gi"}}}, "mem"),
    ({"mode": "Daemonset"}, "Daemonset"),
    ({"replicas": "3"}, "'3'"),
    ({"security": {"runAsUser": 0}}, "minimum"),
    ({"files": [{"name": "a", "secret": "b", "configMap": "c"}]}, "files"),
], ids=lambda value: next(iter(value)) if isinstance(value, dict) else "")
def test_a_slip_of_the_pen_is_refused(values, said):
    with pytest.raises(chart.Refused) as refused:
        chart.render({**ENGINE, **values})
    assert "schema" in str(refused.value) and said in str(refused.value)


@pytest.mark.parametrize("values, said", [
    ({"cluster": {"redis": []}}, "say where the engine is"),
    ({"cluster": {"redis": ["redis://a"], "sentinel": {"name": "x", "nodes": ["redis://b"]}}},
     "keep one"),
    ({"secret": {"name": ""}}, "one root secret"),
    ({"cluster": {"enabled": False}}, "would each admit the whole limit"),
    ({"termination": {"drainSeconds": 60}}, "raise it to 70"),
    ({"tls": {"enabled": True}}, "tls.secret"),
    ({"mode": "daemonset", "autoscaling": {"enabled": True}}, "one member on each node"),
    ({"autoscaling": {"enabled": True, "minReplicas": 9, "maxReplicas": 3}}, "minReplicas"),
    ({"monitoring": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}},
     "twice"),
    ({"files": [{"name": "jwt", "secret": "keys", "subPath": "jwks.json"}]},
     "the kubelet never updates a file mounted by it"),
    ({"files": [{"name": "a", "secret": "x"}, {"name": "a", "secret": "y"}]}, "twice"),
    ({"access": {"anonymous": ["admin"]}}, "more than access.role"),
    ({"cluster": {"enabled": False}, "replicas": 1, "access": {"anonymous": ["revoke"]}},
     "access.anonymous: revoke"),
    ({"service": {"membersPort": 7401}}, "the same"),
    ({"http": {"port": 7401}}, "the same"),
    ({"http": {"port": 7403}}, "the same"),
    ({"service": {"type": "NodePort"}}, "leads out of the cluster, and traffic is in clear"),
    ({"service": {"sourceRanges": ["10.0.0.0/8"]}}, "only a LoadBalancer"),
    ({"tls": {"enabled": True, "secret": "x", "clientCertificates": "none"}}, "know each other"),
    ({"tls": {"enabled": True, "secret": "x", "clientCertificates": "none", "members": False,
              "clients": [{"san": "dns:a", "role": "check"}]}}, "does nothing"),
])
def test_values_that_do_not_go_together_are_refused_with_a_reason(values, said):
    with pytest.raises(chart.Refused) as refused:
        chart.render({**ENGINE, **values})
    assert said in str(refused.value)


def schemas(node, path=""):
    """(path, schema) of every object in a schema."""
    if isinstance(node, dict):
        if node.get("type") == "object" or "properties" in node:
            yield path, node
        for name, inner in node.items():
            yield from schemas(inner, f"{path}/{name}")
    elif isinstance(node, list):
        for i, inner in enumerate(node):
            yield from schemas(inner, f"{path}/{i}")


def test_the_schema_is_strict_everywhere():
    """Unknown names are refused, or what a free name may hold is said."""
    loose = [path for path, one in schemas(chart.schema())
             if not (one.get("additionalProperties") is False or
                     isinstance(one.get("additionalProperties"), dict) and
                     one["additionalProperties"])]
    assert loose == []


def test_every_value_has_a_default_and_every_default_is_in_the_schema():
    known = {path for path, *_ in make.comments((make.CHART / "values.yaml").read_text())}

    def leaves(node, path=""):
        for name, inner in node.get("properties", {}).items():
            deeper = f"{path}.{name}".strip(".")
            if deeper != "config" and inner.get("properties"):
                yield from leaves(inner, deeper)
            else:
                yield deeper
    # What a schema takes beside the defaults: free mappings, and Helm's own.
    beside = {"global", "enabled", "config", "resources.requests.ephemeral-storage", "resources.limits.cpu",
              "resources.limits.ephemeral-storage",
              "nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms",
              "nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution"}
    in_schema = set(leaves(chart.schema()))
    assert in_schema - known - beside == set()
    assert {path for path in known if not path.startswith("config.")} - in_schema == {
        "nodeAffinity"}


def test_a_value_without_a_comment_is_noticed():
    text = (make.CHART / "values.yaml").read_text()
    assert len(make.comments(text)) > 100
    without = re.sub(r"^ *# -- Its tag;.*\n", "", text, flags=re.M)
    with pytest.raises(ValueError, match="image.tag"):
        make.comments(without)


OTHER = {  # values for which "another one" is not found by itself
    "image.digest": "sha256:" + "1" * 64, "cluster.redis": ["redis://another:6379"],
    "cluster.sentinel.nodes": ["redis://another:26379"], "cluster.prefix": "other",
    "cluster.acks": {"x": "memory"}, "config.memory_max": "64MiB",
    "config.server.buffers_max": "64MiB", "persistence.accessModes": ["ReadWriteOncePod"],
    "tls.clients": [{"san": "dns:a", "role": ["check"]}], "access.role": ["check", "read"],
    "access.anonymous": ["check"], "http.hosts": ["a.example"],
    "files": [{"name": "a", "secret": "b"}], "rollout.maxSurge": 2,
    "podDisruptionBudget.maxUnavailable": 2, "networkPolicy.clients": [{"podLabels": {"a": "b"}}],
    "networkPolicy.http": [{"podLabels": {"a": "b"}}], "networkPolicy.enginePorts": [7000],
    "networkPolicy.engine": [{"podLabels": {"a": "b"}}], "networkPolicy.dnsPorts": [5353],
    "service.sourceRanges": ["10.0.0.0/8"],
    "tolerations": [{"operator": "Exists"}], "image.pullSecrets": ["registry"],
    "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []},
    "tls.certManager.extraDnsNames": ["a.example"], "monitoring.dashboard.labels": {"a": "b"},
    "podLabels": {"a": "b"}, "podAnnotations": {"a": "b"}, "commonLabels": {"a": "b"},
    "nodeSelector": {"a": "b"}, "persistence.annotations": {"a": "b"},
    "service.annotations": {"a": "b"}, "serviceAccount.annotations": {"a": "b"},
    "monitoring.serviceMonitor.labels": {"a": "b"}, "monitoring.podMonitor.labels": {"a": "b"},
    "monitoring.prometheusRule.labels": {"a": "b"}, "monitoring.dashboard.annotations": {"a": "b"},
}


def another(path, value, schema):
    """A value of the same kind that the schema takes too."""
    if path in OTHER:
        return OTHER[path]
    for name in path.split("."):
        schema = schema["properties"][name]
    if "enum" in schema:
        return next(word for word in schema["enum"] if word != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    digits = re.match(r"\d+", value)
    return f"{int(digits[0]) + 1}{value[digits.end():]}" if digits else f"{value}x"


def at(values, path, value=None):
    """The value at @path, or @values with another one there."""
    if value is None:
        for name in path.split("."):
            values = (values or {}).get(name)
        return values
    values = copy.deepcopy(values)
    node = values
    *parents, last = path.split(".")
    for name in parents:
        node = node.setdefault(name, {})
    node[last] = value
    return values


def test_every_value_is_used_in_a_template():
    """Another value becomes another chart in one of the cases, or is refused with a reason."""
    schema = chart.schema()
    cases = [(values := yaml.safe_load(path.read_text()), chart.render(values).templates)
             for path in CASES]
    defaults = yaml.safe_load((make.CHART / "values.yaml").read_text())
    idle = []
    for path, *_ in make.comments((make.CHART / "values.yaml").read_text()):
        for values, before in cases:
            had = at(values, path)
            now = another(path, at(defaults, path) if had is None else had, schema)
            try:
                if chart.render(at(values, path, now)).templates != before:
                    break
            except chart.Refused as refused:
                if "schema" in str(refused):
                    raise
                break
        else:
            idle.append(path)
    assert idle == [], "values that change nothing"


# ---- pods --------------------------------------------------------------------------------------


def pods(rendered):
    return objects.pod_of(rendered.workload)[1]


@pytest.mark.parametrize("case", CASES, ids=names)
def test_a_member_is_done_before_the_kubelet_kills_it(case):
    rendered = render(case)
    spec = pods(rendered)
    hook = spec["containers"][0].get("lifecycle", {}).get("preStop", {"sleep": {"seconds": 0}})
    drain = yaml.safe_load(rendered.config)["server"]["drain_timeout"]
    assert re.fullmatch(r"\d+s", drain)
    assert hook["sleep"]["seconds"] + int(drain[:-1]) < spec["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("case", CASES, ids=names)
def test_liveness_asks_whether_the_loops_turn_and_nothing_else(case):
    """/readyz fails while a member drains: a kubelet that restarted it then would lose counts."""
    container = pods(render(case))["containers"][0]
    asked = {name: container[f"{name}Probe"]["httpGet"]["path"]
             for name in ("startup", "readiness", "liveness")}
    assert asked == {"startup": "/healthz", "readiness": "/readyz", "liveness": "/healthz"}
    health = (ROOT / "daemon" / "ops" / "http" / "health.c").read_text()
    healthz = health[health.index("void pawl_http_healthz("):health.index("void pawl_http_readyz(")]
    assert "draining ?" not in healthz and "engine" not in healthz and "workers_silent" in healthz


@pytest.mark.parametrize("least, period, wanted", [(5, 3, 4), (6, 3, 4), (1, 1, 3), (0, 3, 1)])
def test_the_next_member_is_replaced_when_one_has_been_ready_for_long_enough(least, period, wanted):
    """A StatefulSet with Parallel goes on as soon as a pod is ready, whatever minReadySeconds says;
    so there a pod is not ready before."""
    values = {**ENGINE, "rollout": {"minReadySeconds": least},
              "probes": {"readiness": {"periodSeconds": period}}}
    for mode in ("statefulset", "deployment", "daemonset"):
        rendered = chart.render({**values, "mode": mode})
        probe = pods(rendered)["containers"][0]["readinessProbe"]
        if mode == "statefulset":
            assert rendered.workload["spec"]["podManagementPolicy"] == "Parallel"
            assert probe.get("successThreshold", 1) == wanted
            assert (wanted - 2) * period >= least or least == 0
        else:
            assert rendered.workload["spec"]["minReadySeconds"] == least
            assert "successThreshold" not in probe


@pytest.mark.parametrize("case", CASES, ids=names)
def test_secrets_are_for_the_group_alone(case):
    spec = pods(render(case))
    found = [volume["secret"]["defaultMode"] for volume in spec["volumes"] if "secret" in volume]
    assert all(mode == 0o440 for mode in found)
    assert spec["securityContext"]["fsGroup"] > 0


def test_what_is_taken_in_place_rolls_nobody_and_what_needs_a_restart_does():
    def mark(config):
        template = chart.render({**ENGINE, "config": config}).workload["spec"]["template"]
        return template["metadata"]["annotations"]["checksum/restart-settings"]

    before = mark({})
    sections = chart.schema()["properties"]["config"]["properties"]
    wrong = []
    for path, value, reloadable in make.reference():
        top, _, inner = path.partition(".")
        if "*" in path or top not in sections or path == "server.drain_timeout":
            continue
        sample = {"true or false": True}.get(value)
        if sample is None:
            first = re.match(r"(?:one of )?([\w.]+)(?: to |,)", value)
            sample = int(first[1]) if first and first[1].isdigit() else first and first[1]
        if path in ("limits", "jwt.issuers", "credentials"):
            sample = {"api": {"rate": "5/minute"}} if path == "limits" else []
        if path == "audit.file":
            sample = "/var/lib/pawl/audit.log"
        assert sample is not None, f"{path}: no sample of {value}"
        changed = mark({top: {inner: sample} if inner else sample}) != before
        if changed == reloadable:
            wrong.append(path)
    assert wrong == []


# ---- pawld -------------------------------------------------------------------------------------


def facts(rendered):
    address = "fd00::7" if rendered.values["service"]["ipFamily"] == "IPv6" else "10.0.0.7"
    return {"metadata.name": "pawl-0", "status.podIP": address}


def checked(rendered, folder, *more):
    """pawld's own check of the settings, with the command line of the rendered pod."""
    container = pods(rendered)["containers"][0]
    words = chart.command_line(container, facts(rendered))
    assert words[:2] == ["--config", "/etc/pawl/config/pawld.yaml"]
    path = pathlib.Path(folder) / "pawld.yaml"
    path.write_text(rendered.config)
    return subprocess.run([BUILD / "pawld", "--config", path, *words[2:], "--check-config", *more],
                          capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("case", CASES + EXAMPLES, ids=all_names)
def test_pawld_takes_the_settings(case, tmp_path):
    done = checked(render(case), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    # Of members in clear, and meant so: the NetworkPolicy guards their port.
    warnings = [line for line in done.stderr.splitlines() if line.strip() and
                "whoever reaches the port may do that" not in line]
    assert warnings == []


@pytest.mark.parametrize("case", CASES, ids=names)
def test_files_of_the_settings_lie_in_what_is_mounted(case):
    """Below folders that are mounted whole; those of Secrets are the items that they have."""
    rendered = render(case)
    spec = pods(rendered)
    mounts = {one["mountPath"]: one["name"] for one in spec["containers"][0]["volumeMounts"]}
    volumes = {one["name"]: one for one in spec["volumes"]}
    named = re.findall(r"(/(?:etc|run|var)/[\w./-]+)", rendered.config)
    assert named
    for path in named:
        where = [place for place in mounts if path.startswith(f"{place}/")]
        assert len(where) == 1, path
        volume = volumes.get(mounts[where[0]], {})
        items = [item["path"] for item in volume.get("secret", {}).get("items", [])]
        assert not items or path[len(where[0]) + 1:] in items, path


def test_a_member_says_where_it_is_reached():
    clear = pods(chart.render(ENGINE))["containers"][0]
    assert chart.command_line(clear, {"metadata.name": "pawl-2", "status.podIP": "10.1.2.3"})[-1] \
        == "cluster.advertise=tcp:10.1.2.3:7403"
    for mode in ("statefulset", "daemonset", "deployment"):
        rendered = chart.render({**ENGINE, **TLS, "mode": mode})
        secure = pods(rendered)["containers"][0]
        assert chart.command_line(secure, {"status.podIP": "10.1.2.3"})[-1] \
            == "cluster.advertise=tls:10.1.2.3:7401"
        name = yaml.safe_load(rendered.config)["cluster"]["peer_name"]
        assert name in rendered.one("Certificate")["spec"]["dnsNames"]


# ---- monitoring --------------------------------------------------------------------------------


def test_promtool_takes_the_rules_as_they_are_rendered(tmp_path):
    rendered = render(next(case for case in CASES if case.stem == "monitoring"))
    rules = rendered.one("PrometheusRule")["spec"]
    assert rules == yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text())
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(rules))
    done = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_is_that_of_deploy_grafana():
    rendered = render(next(case for case in CASES if case.stem == "monitoring"))
    text = rendered.one("ConfigMap", "pawl-dashboard")["data"]["pawl.json"]
    assert json.loads(text) == json.loads((ROOT / "deploy/grafana/pawl.json").read_text())


@pytest.mark.parametrize("case", ["monitoring", "podmonitor"])
def test_members_are_scraped_as_the_job_that_alerts_look_for(case):
    rendered = render(next(one for one in CASES if one.stem == case))
    monitor = (rendered.of("ServiceMonitor") + rendered.of("PodMonitor"))[0]
    spec = monitor["spec"]
    endpoint = (spec.get("endpoints") or spec.get("podMetricsEndpoints"))[0]
    assert {"targetLabel": "job", "replacement": "pawl"} in endpoint["relabelings"]
    instance = next(one for one in endpoint["relabelings"] if one["targetLabel"] == "instance")
    assert instance["sourceLabels"][-1] == "__meta_kubernetes_pod_name"
    # Limits have a namespace of their own, which is no namespace of Kubernetes.
    assert endpoint["honorLabels"] is True
    assert "| limit, namespace |" in (ROOT / "deploy" / "METRICS.md").read_text()
    assert 'job="pawl"' in (ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text()


# ---- beside the chart ---------------------------------------------------------------------------


BESIDE = sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml")) + [
    make.CHART / "examples" / "sidecar.yaml"]


def things_of(path):
    return [one for one in yaml.load_all(path.read_text(), Loader=chart.Strict) if one]


@pytest.mark.parametrize("path", BESIDE, ids=lambda path: path.stem)
def test_examples_are_what_kubernetes_knows(path):
    assert problems_of(things_of(path)) == []


def test_the_sidecar_is_up_before_the_api_and_takes_its_settings(tmp_path):
    things = things_of(make.CHART / "examples" / "sidecar.yaml")
    spec = next(o for o in things if o["kind"] == "Deployment")["spec"]["template"]["spec"]
    pawld = spec["initContainers"][0]
    assert pawld["restartPolicy"] == "Always" and "startupProbe" in pawld
    config = next(o for o in things if o["kind"] == "ConfigMap")["data"]["pawld.yaml"]
    path = tmp_path / "pawld.yaml"
    path.write_text(config)
    words = chart.command_line(pawld, {"status.podIP": "10.0.0.7"})[2:]
    done = subprocess.run([BUILD / "pawld", "--config", path, *words, "--check-config"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    drain = yaml.safe_load(config)["server"]["drain_timeout"]
    assert int(drain[:-1]) + 5 < spec["terminationGracePeriodSeconds"]


def test_the_api_asks_where_the_chart_answers():
    """Names and ports of the examples are those of a release pawl in the namespace pawl."""
    rendered = chart.render(name="pawl", namespace="pawl",
                            files=[make.CHART / "examples" / "values-django.yaml"])
    service = rendered.one("Service", "pawl")
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    texts = {path.name: path.read_text() for path in BESIDE}
    assert f"tcp:pawl.pawl.svc:{ports['pawl']}" in texts["api.yaml"]
    assert f"http://pawl.pawl.svc.cluster.local:{ports['http']}/v1/check" in \
        texts["ingress-nginx.yaml"]
    assert "pawl.pawl.svc.cluster.local" in yaml.safe_load(rendered.config)["http_hosts"]
    gateway = things_of(ROOT / "deploy" / "kubernetes" / "envoy-gateway.yaml")[0]["spec"]["extAuth"]
    assert gateway["http"]["backendRefs"] == [{"name": "pawl", "namespace": "pawl",
                                               "port": ports["http"]}]
    api = {one["name"]: one.get("value") for one in next(
        o for o in things_of(ROOT / "deploy" / "kubernetes" / "api.yaml")
        if o["kind"] == "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert api["EXAMPLE_ONE_TIME_LIMIT"] in yaml.safe_load(rendered.config)["limits"]
    settings = (ROOT / "deploy" / "example-drf" / "project" / "settings.py").read_text()
    assert all(name in settings for name in api)


def test_the_engine_of_the_trial_is_where_the_manifests_look():
    things = things_of(ROOT / "deploy" / "kubernetes" / "redis.yaml")
    service = next(o for o in things if o["kind"] == "Service")
    assert make.ENGINE == "redis://{name}:{port}".format(
        name=service["metadata"]["name"], port=service["spec"]["ports"][0]["port"])
    assert {o["metadata"].get("namespace") for o in things if o["kind"] != "Namespace"} == {"pawl"}


# ---- plain manifests, notes --------------------------------------------------------------------


def test_plain_manifests_need_no_helm():
    for path in make.MANIFESTS.glob("*.yaml"):
        text = path.read_text()
        things = [one for one in yaml.load_all(text, Loader=chart.Strict) if one]
        assert problems_of(things) == [], path.name
        assert "helm.sh/" not in text and "{{" not in text, path.name
    assert {path.name for path in make.MANIFESTS.glob("*.yaml")} == set(make.RENDERED)


@pytest.mark.parametrize("case", CASES, ids=names)
def test_the_notes_say_what_to_do(case):
    rendered = render(case)
    notes = rendered.templates["templates/NOTES.txt"]
    workload = rendered.workload
    assert f"PAWL_ADDR={'tls' if rendered.values['tls']['enabled'] else 'tcp'}:" in notes
    assert "with subPath the kubelet would never update them" in notes
    assert f"kubectl -n shop exec {workload['metadata']['name']}-0" in notes or \
        f"{workload['kind'].lower()}/{workload['metadata']['name']}" in notes
    assert ("helm -n shop test" in notes) == bool(
        [pod for pod in rendered.of("Pod") if "helm.sh/hook" in pod["metadata"]["annotations"]])

"""The chart where values are odd: names of others, labels that are there already, bounds, a part of
another chart, who may run `helm test`, what leads out of the cluster, and what each mode must not
have."""

import sys

import pytest
import yaml

from conftest import ROOT

sys.path[:0] = [str(ROOT / "tests" / "support" / "chart"), str(ROOT / "deploy" / "helm")]

import chart  # noqa: E402 (its folder is known only now)
import make  # noqa: E402
import objects  # noqa: E402

ENGINE = {"cluster": {"redis": ["redis://redis:6379"]}}
TLS = {"enabled": True, "secret": "pawl-cert"}
OWN = ("app.kubernetes.io/name", "app.kubernetes.io/instance")
#: What YAML takes for something else than text.
ODD = ("123", "1e3", "true", "null", "0x1f", "on")


def problems_of(things):
    return objects.consistent(things) + [
        what for thing in things for what in objects.structure(thing)]


def render(values=None, **more):
    rendered = chart.render({**ENGINE, **(values or {})}, **more)
    assert problems_of(rendered.objects) == []
    return rendered


# ---- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("odd", ODD)
def test_a_name_that_looks_like_a_number_stays_a_name(odd):
    rendered = render({
        "fullnameOverride": "limits", "secret": {"name": odd}, "priorityClassName": odd,
        "serviceAccount": {"name": odd}, "image": {"pullSecrets": [odd]},
        "files": [{"name": "a", "secret": odd}, {"name": "b", "configMap": odd}],
        "persistence": {"storageClassName": odd},
        "tls": {"enabled": True, "certManager": {"enabled": True, "issuerName": odd}},
        "monitoring": {"serviceMonitor": {"enabled": True}, "dashboard": {"enabled": True}},
    }, name=odd, namespace=odd)
    assert {thing["metadata"]["namespace"] for thing in rendered.objects} == {odd}
    assert {thing["metadata"]["labels"]["app.kubernetes.io/instance"]
            for thing in rendered.objects} == {odd}


@pytest.mark.parametrize("name", ["a" * 53, "pawl-" + "b" * 48, "a" * 42 + "-pawl"])
def test_the_longest_name_leaves_room_for_what_kubernetes_adds(name):
    """A label of 63: pod numbers, and the hash of a StatefulSet's revision."""
    rendered = render({"tls": TLS, "service": {"type": "NodePort"},
                       "monitoring": {"dashboard": {"enabled": True}}}, name=name)
    for thing in rendered.objects:
        assert len(thing["metadata"]["name"]) <= 63, thing["metadata"]["name"]
    assert len(rendered.workload["metadata"]["name"]) + len("-1234567890") <= 63
    assert all(len(value) <= 63 for thing in rendered.objects
               for value in thing["metadata"]["labels"].values())


@pytest.mark.parametrize("name", ["1pawl", "my.release", "123"])
def test_a_release_that_no_service_can_be_called_is_told_what_to_do(name):
    with pytest.raises(chart.Refused, match="fullnameOverride: a Service cannot be called"):
        chart.render(ENGINE, name=name)
    assert render({"fullnameOverride": "limits"}, name=name)


def test_two_releases_in_one_namespace_share_nothing():
    """Neither a name, nor a pod by selector, Service, budget or policy."""
    one, other = (render({"secret": {"name": "pawl-root"}}, name=name) for name in ("one", "two"))
    names = [{(thing["kind"], thing["metadata"]["name"]) for thing in rendered.objects}
             for rendered in (one, other)]
    assert not names[0] & names[1]
    labels = objects.pod_of(other.workload)[0]["labels"]
    for thing in one.objects:
        spec = thing.get("spec", {})
        selector = spec.get("selector") or spec.get("podSelector") or {}
        assert not objects.selects(selector.get("matchLabels", selector), labels), thing["kind"]


# ---- labels --------------------------------------------------------------------------------------


def test_a_label_that_is_given_twice_is_there_once_and_the_charts_own_stay():
    rendered = render({
        "commonLabels": {"team": "a", "app.kubernetes.io/component": "x"},
        "podLabels": {"team": "b"}, "podAnnotations": {"kubectl.kubernetes.io/default-container": "x"},
        "monitoring": {"serviceMonitor": {"enabled": True, "labels": {"team": "c"}},
                       "dashboard": {"enabled": True, "labels": {"team": "d"}}}})
    metadata = objects.pod_of(rendered.workload)[0]
    assert metadata["labels"]["team"] == "b"
    assert metadata["annotations"]["kubectl.kubernetes.io/default-container"] == "pawld"
    assert rendered.one("ServiceMonitor")["metadata"]["labels"]["team"] == "c"
    assert rendered.one("ConfigMap", "pawl-dashboard")["metadata"]["labels"]["team"] == "d"
    # What the ServiceMonitor looks for.
    labels = rendered.one("Service", "pawl-members")["metadata"]["labels"]
    assert labels["app.kubernetes.io/component"] == "members"


@pytest.mark.parametrize("where", ["commonLabels", "podLabels"])
@pytest.mark.parametrize("label", OWN)
def test_a_label_that_selectors_look_for_cannot_be_given(where, label):
    with pytest.raises(chart.Refused, match="schema"):
        chart.render({**ENGINE, where: {label: "x"}})


# ---- bounds --------------------------------------------------------------------------------------


def unbounded(node, path=""):
    """Texts, numbers and lists of a schema that have no end."""
    if not isinstance(node, dict):
        return
    kind = node.get("type")
    if kind == "string" and not {"pattern", "maxLength", "enum"} & set(node):
        yield path
    if kind in ("integer", "number") and not {"minimum", "maximum"} <= set(node):
        yield path
    if kind == "array" and "maxItems" not in node:
        yield path
    for name, inner in node.get("properties", {}).items():
        yield from unbounded(inner, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        yield from unbounded(node.get(name), f"{path}.*")
    for inner in node.get("anyOf", []):
        yield from unbounded(inner, path)


def test_every_value_has_a_bound():
    schema = chart.schema()
    schema["properties"].pop("config")  # pawld's own settings, which it checks itself
    free = {".tolerations.*.key", ".tolerations.*.value"}
    found = {path for path in unbounded(schema)
             if not path.endswith("annotations.*") and not path.startswith(".podAnnotations")
             and not path.startswith(".nodeAffinity")}
    assert found - free == set()


def test_a_value_that_is_taken_away_is_refused_and_is_no_zero():
    """Helm takes `null` for: this value is not there. A template would make 0 of it."""
    paths = [path.split(".") for path, *_ in make.comments((make.CHART / "values.yaml").read_text())]
    taken = []
    for path in paths:
        values = None
        for name in reversed(path):
            values = {name: values}
        try:
            chart.render({**ENGINE, **values, "cluster": {**ENGINE["cluster"],
                                                          **values.get("cluster", {})}})
        except chart.Refused as refused:
            assert "schema" in str(refused) and path[-1] in str(refused), path
        else:
            taken.append(".".join(path))
    # pawld has defaults of its own; users and groups may be the cluster's.
    assert sorted(taken) == ["config.memory_max", "config.revocations_max",
                             "config.server.buffers_max", "security.fsGroup",
                             "security.runAsGroup", "security.runAsUser"]


def test_users_and_groups_may_be_those_of_the_cluster():
    rendered = render({"security": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}})
    for _, spec in (objects.pod_of(rendered.workload), objects.pod_of(rendered.one("Pod"))):
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & set(spec["securityContext"])
        assert objects.restricted(spec) == []


def test_it_can_be_a_part_of_another_chart():
    """Helm hands down `global`, and the condition by which a part is left out."""
    assert render({"global": {"imageRegistry": "registry.internal"}, "enabled": True}).objects


# ---- helm test -----------------------------------------------------------------------------------


@pytest.mark.parametrize("values, there", [
    ({}, True),
    ({"access": {"anonymous": ["check"]}}, False),
    ({"access": {"role": ["check"], "anonymous": ["check"]}}, False),
    ({"access": {"anonymous": []}, "tls": TLS}, True),
    ({"access": {"anonymous": []}, "tls": {**TLS, "members": False}}, True),
    ({"access": {"anonymous": []}, "tls": {**TLS, "members": False, "clientCertificates": "none"}},
     False),
    ({"tls": {**TLS, "members": False, "clientCertificates": "none"}}, True),
    ({"tests": {"enabled": False}}, False),
], ids=str)
def test_the_test_pod_is_there_where_it_is_let_read(values, there):
    """In clear nobody is known, so all may read or no test can; by TLS it shows a certificate."""
    rendered = render(values)
    assert bool(rendered.of("Pod")) == there
    assert ("test pawl" in rendered.templates["templates/NOTES.txt"]) == there
    config = yaml.safe_load(rendered.config)
    port = next(one for one in config["listen"] if isinstance(one, dict))
    if there and "read" not in port["anonymous"]:
        sans = {one["san"]: one["role"] for one in config["tls"]["clients"]}
        assert any("read" in role for san, role in sans.items()
                   if san in ("dns:pawl.default.svc", "dns:pawl-members.default.svc"))


@pytest.mark.parametrize("mode", ["statefulset", "daemonset", "deployment"])
def test_the_test_pod_runs_where_members_do(mode):
    """A daemonset's Service leads to the caller's own node, and to nobody where no member is."""
    where = {"nodeSelector": {"pool": "edge"}, "tolerations": [{"operator": "Exists"}],
             "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
    rendered = render({**where, "mode": mode})
    spec, test = objects.pod_of(rendered.workload)[1], rendered.one("Pod")["spec"]
    for name in ("nodeSelector", "tolerations", "affinity"):
        assert test[name] == spec[name]


# ---- who reaches what ----------------------------------------------------------------------------


def test_only_the_client_port_leads_out_of_the_cluster():
    rendered = render({"tls": TLS, "service": {"type": "LoadBalancer", "annotations": {"a": "b"},
                                               "sourceRanges": ["10.0.0.0/8"]},
                       "networkPolicy": {"clients": [{"cidr": "10.0.0.0/8"}]}})
    inside, outside = rendered.one("Service", "pawl"), rendered.one("Service", "pawl-external")
    assert inside["spec"]["type"] == "ClusterIP" and "annotations" not in inside["metadata"]
    assert [port["name"] for port in outside["spec"]["ports"]] == ["pawl"]
    assert outside["spec"]["loadBalancerSourceRanges"] == ["10.0.0.0/8"]
    assert outside["metadata"]["annotations"] == {"a": "b"}
    rule = rendered.one("NetworkPolicy")["spec"]["ingress"][0]
    assert {"ipBlock": {"cidr": "10.0.0.0/8"}} in rule["from"]


def test_the_policy_lets_members_out_to_names_members_and_the_engine_alone():
    where = [{"namespaceLabels": {"name": "data"}}]
    for values, to in (({}, None), ({"networkPolicy": {"engine": where}}, [
            {"podSelector": {"matchLabels": {}}, "namespaceSelector": {"matchLabels": {"name": "data"}}}])):
        rules = render(values).one("NetworkPolicy")["spec"]["egress"]
        ports = [{(port["port"], port["protocol"]) for port in rule["ports"]} for rule in rules]
        assert ports == [{(53, "UDP"), (53, "TCP")}, {("members", "TCP")},
                         {(6379, "TCP"), (26379, "TCP")}]
        assert rules[2].get("to") == to


def test_the_port_between_members_is_for_members_of_this_release():
    """Whoever reaches it may say what is counted."""
    for values in ({}, {"networkPolicy": {"clients": [{"podLabels": {"a": "b"}}]}}):
        rendered = render(values)
        rules = [rule for rule in rendered.one("NetworkPolicy")["spec"]["ingress"]
                 if {"port": "members", "protocol": "TCP"} in rule["ports"]]
        selector = {"matchLabels": {OWN[0]: "pawl", OWN[1]: "pawl"}}
        assert [rule["from"] for rule in rules] == [[{"podSelector": selector}]]
        service = rendered.one("Service", "pawl")["spec"]
        assert "members" not in [port["name"] for port in service["ports"]]


# ---- modes ---------------------------------------------------------------------------------------


def test_a_budget_is_where_one_can_be_counted():
    """DaemonSets have no scale: a budget with maxUnavailable would allow nothing, for ever."""
    there = {mode: bool(render({"mode": mode}).of("PodDisruptionBudget"))
             for mode in ("statefulset", "daemonset", "deployment")}
    assert there == {"statefulset": True, "daemonset": False, "deployment": True}
    for never in (0, "0%", "100%"):
        with pytest.raises(chart.Refused, match="schema"):
            chart.render({**ENGINE, "podDisruptionBudget": {"maxUnavailable": never}})


@pytest.mark.parametrize("surge", [0, "0%", "-1"])
def test_a_rollout_that_could_never_go_on_is_refused(surge):
    """maxUnavailable is 0, so maxSurge is not."""
    with pytest.raises(chart.Refused, match="schema"):
        chart.render({**ENGINE, "mode": "deployment", "rollout": {"maxSurge": surge}})


def test_members_are_spread_over_nodes_where_they_may_be():
    for mode, keys in (("statefulset", None), ("deployment", ["pod-template-hash"])):
        for one in objects.pod_of(render({"mode": mode}).workload)[1]["topologySpreadConstraints"]:
            assert one["nodeTaintsPolicy"] == "Honor" and one.get("matchLabelKeys") == keys


def test_an_autoscaler_keeps_two_members_and_its_target_says_no_number():
    with pytest.raises(chart.Refused, match="minReplicas"):
        chart.render({**ENGINE, "autoscaling": {"enabled": True, "minReplicas": 1}})
    for mode in ("statefulset", "deployment"):
        rendered = render({"mode": mode, "autoscaling": {"enabled": True}})
        scaler = rendered.one("HorizontalPodAutoscaler")["spec"]
        assert scaler["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 600
        assert "replicas" not in rendered.workload["spec"]
        assert objects.pod_of(rendered.workload)[1]["containers"][0]["resources"]["requests"]["cpu"]


def test_folders_in_the_pod_have_an_end_and_hold_no_node():
    """The socket's folder is no reason for a cluster-autoscaler to keep a node."""
    for values in ({}, {"replicas": 1, "cluster": {"enabled": False}, "secret": {"name": ""},
                        "persistence": {"enabled": False}}):
        metadata, spec = objects.pod_of(chart.render({**ENGINE, **values}).workload)
        empty = {volume["name"]: volume["emptyDir"] for volume in spec["volumes"]
                 if "emptyDir" in volume}
        assert all("sizeLimit" in one for one in empty.values())
        assert metadata["annotations"][
            "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"] == "run"


def test_what_an_upgrade_may_not_change_is_the_same_for_every_version_and_label():
    """A StatefulSet's selector, serviceName and claims; the selectors of the others."""
    def fixed(values):
        spec = render(values).workload["spec"]
        return spec["selector"], spec.get("serviceName"), spec.get("volumeClaimTemplates")

    for mode in ("statefulset", "daemonset", "deployment"):
        base = fixed({"mode": mode})
        for change in ({"image": {"tag": "9"}}, {"commonLabels": {"a": "b"}}, {"tls": {
                **TLS, "members": mode == "statefulset"}}, {"podLabels": {"a": "b"}},
                       {"config": {"memory_max": "64MiB"}}):
            assert fixed({"mode": mode, **change}) == base, (mode, change)

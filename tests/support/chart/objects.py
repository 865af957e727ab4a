"""What is wrong with Kubernetes objects, found without a cluster. Each function returns a list of
problems, empty when there are none.

The structure comes from the OpenAPI description that Debian's python3-kubernetes was made from:
unknown fields, wrong types and missing ones are refused as the API server's strict decoding does.
It is that of Kubernetes 1.22 on Debian 12; NEWER lists the few fields that came later and are used.
"""

import re

from kubernetes import client
from kubernetes.client import models

#: (apiVersion, kind) -> names of the model, the first that is there.
KINDS = {
    ("v1", "ConfigMap"): ["V1ConfigMap"],
    ("v1", "Namespace"): ["V1Namespace"],
    ("v1", "PersistentVolumeClaim"): ["V1PersistentVolumeClaim"],
    ("v1", "Pod"): ["V1Pod"],
    ("v1", "Service"): ["V1Service"],
    ("v1", "ServiceAccount"): ["V1ServiceAccount"],
    ("apps/v1", "DaemonSet"): ["V1DaemonSet"],
    ("apps/v1", "Deployment"): ["V1Deployment"],
    ("apps/v1", "StatefulSet"): ["V1StatefulSet"],
    ("policy/v1", "PodDisruptionBudget"): ["V1PodDisruptionBudget"],
    ("autoscaling/v2", "HorizontalPodAutoscaler"): ["V2HorizontalPodAutoscaler",
                                                     "V2beta2HorizontalPodAutoscaler"],
    ("networking.k8s.io/v1", "NetworkPolicy"): ["V1NetworkPolicy"],
    ("networking.k8s.io/v1", "Ingress"): ["V1Ingress"],
}
#: Fields that Kubernetes has had since, by model (with the name it had then) and JSON name.
NEWER = {
    ("V1Handler", "sleep"): {"seconds": "int"},                       # 1.30
    ("V1LifecycleHandler", "sleep"): {"seconds": "int"},
    ("V1Container", "restartPolicy"): "str",                          # 1.29: native sidecars
    ("V1StatefulSetSpec", "persistentVolumeClaimRetentionPolicy"):    # 1.27
        {"whenDeleted": "str", "whenScaled": "str"},
    ("V1PodDisruptionBudgetSpec", "unhealthyPodEvictionPolicy"): "str",  # 1.27
    ("V1TopologySpreadConstraint", "nodeTaintsPolicy"): "str",        # 1.26
    ("V1TopologySpreadConstraint", "matchLabelKeys"): ["str"],        # 1.27
}
#: How one port is scraped, by a ServiceMonitor or a PodMonitor.
SCRAPE = {"port": "str", "path": "str", "interval": "str", "honorLabels": "bool",
          "relabelings": [{"targetLabel": "str", "replacement": "str", "sourceLabels": ["str"],
                           "separator": "str"}]}
#: Objects of operators, for which no package has a description: what of them is used here. A leaf
#: is a type; a list has one item; "*" is any name.
CUSTOM = {
    ("cert-manager.io/v1", "Certificate"): {
        "secretName": "str", "issuerRef": {"group": "str", "kind": "str", "name": "str"},
        "duration": "str", "renewBefore": "str", "usages": ["str"], "dnsNames": ["str"],
        "privateKey": {"algorithm": "str", "size": "int", "rotationPolicy": "str"}},
    ("monitoring.coreos.com/v1", "ServiceMonitor"): {
        "selector": {"matchLabels": {"*": "str"}}, "namespaceSelector": {"matchNames": ["str"]},
        "endpoints": [SCRAPE]},
    ("monitoring.coreos.com/v1", "PodMonitor"): {
        "selector": {"matchLabels": {"*": "str"}}, "namespaceSelector": {"matchNames": ["str"]},
        "podMetricsEndpoints": [SCRAPE]},
    ("monitoring.coreos.com/v1", "PrometheusRule"): {
        "groups": [{"name": "str", "interval": "str", "rules": [{
            "alert": "str", "record": "str", "expr": "str", "for": "str", "labels": {"*": "str"},
            "annotations": {"*": "str"}}]}]},
    ("gateway.envoyproxy.io/v1alpha1", "SecurityPolicy"): {
        "targetRefs": [{"group": "str", "kind": "str", "name": "str"}],
        "extAuth": {"failOpen": "bool", "headersToExtAuth": ["str"], "http": {
            "path": "str", "headersToBackend": ["str"], "backendRefs": [{
                "name": "str", "namespace": "str", "port": "int"}]}}},
    ("gateway.networking.k8s.io/v1beta1", "ReferenceGrant"): {
        "from": [{"group": "str", "kind": "str", "namespace": "str"}],
        "to": [{"group": "str", "kind": "str", "name": "str"}]},
}
SIMPLE = {"str": str, "int": int, "bool": bool, "float": (int, float)}


# ---- structure -----------------------------------------------------------------------------------


def structure(thing):
    """Unknown fields, wrong types, missing fields of one object."""
    key = (thing.get("apiVersion"), thing.get("kind"))
    where = f"{key[1]}/{thing.get('metadata', {}).get('name')}"
    if key in CUSTOM:
        found = _fields(thing.get("metadata", {}), "V1ObjectMeta", f"{where}.metadata")
        rest = {k: v for k, v in thing.items() if k not in ("apiVersion", "kind", "metadata")}
        return found + _table(rest, {"spec": CUSTOM[key]}, where)
    names = [name for name in KINDS.get(key, []) if hasattr(models, name)]
    if not names:
        return [f"{where}: no description of {key}"]
    return _fields(thing, names[0], where) or _required(thing, names[0], where)


def _fields(value, kind, where):
    """@value against the model or type named @kind."""
    if kind in SIMPLE:
        good = isinstance(value, SIMPLE[kind]) and (kind == "bool") == isinstance(value, bool)
        return [] if good else [f"{where}: {value!r} is no {kind}"]
    if kind in ("object", "datetime", "date"):
        return [] if isinstance(value, (str, int, dict)) else [f"{where}: {value!r}"]
    inner = re.fullmatch(r"list\[(.+)\]", kind)
    if inner:
        if not isinstance(value, list):
            return [f"{where}: is no list"]
        return [p for i, one in enumerate(value) for p in _fields(one, inner[1], f"{where}[{i}]")]
    inner = re.fullmatch(r"dict\(str, (.+)\)", kind)
    if inner:
        if not isinstance(value, dict):
            return [f"{where}: is no mapping"]
        return [p for name, one in value.items() for p in _fields(one, inner[1], f"{where}.{name}")]
    return _model(value, kind, where)


def _model(value, kind, where):
    if not isinstance(value, dict):
        return [f"{where}: is no {kind}"]
    model = getattr(models, kind)
    types = {model.attribute_map[name]: of for name, of in model.openapi_types.items()}
    found = []
    for name, one in value.items():
        if name in types:
            found += _fields(one, types[name], f"{where}.{name}")
        elif (kind, name) in NEWER:
            found += _table(one, NEWER[(kind, name)], f"{where}.{name}")
        else:
            found.append(f"{where}.{name}: {kind} has no such field")
    return found


def _table(value, table, where):
    if isinstance(table, str):
        return _fields(value, table, where)
    if isinstance(table, list):
        if not isinstance(value, list):
            return [f"{where}: is no list"]
        return [p for i, one in enumerate(value) for p in _table(one, table[0], f"{where}[{i}]")]
    if not isinstance(value, dict):
        return [f"{where}: is no mapping"]
    found = []
    for name, one in value.items():
        if name not in table and "*" not in table:
            found.append(f"{where}.{name}: no such field")
        else:
            found += _table(one, table.get(name, table.get("*")), f"{where}.{name}")
    return found


def _required(thing, kind, where):
    """What the models themselves refuse: required fields, closed lists of words."""
    try:
        client.ApiClient()._ApiClient__deserialize(thing, kind)
    except ValueError as error:
        return [f"{where}: {error}"]
    return []


# ---- pods ----------------------------------------------------------------------------------------


def pod_of(thing):
    """(metadata, spec) of the pods that @thing is or makes; None for others."""
    if thing["kind"] == "Pod":
        return thing["metadata"], thing["spec"]
    template = thing.get("spec", {}).get("template") if thing["kind"] != "ConfigMap" else None
    return (template["metadata"], template["spec"]) if template else None


def containers(spec):
    return spec.get("initContainers", []) + spec["containers"]


VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim",
           "projected", "secret"}


def restricted(spec):
    """The Pod Security Standard "restricted", and what else a pod here must not leave open."""
    found = [f"{name} is set" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    pod = spec.get("securityContext", {})
    if pod.get("sysctls"):
        found.append("sysctls are set")
    for volume in spec.get("volumes", []):
        kinds = set(volume) - {"name"}
        if not kinds <= VOLUMES:
            found.append(f"volume {volume['name']}: {kinds}")
    if spec.get("automountServiceAccountToken") is not False:
        found.append("a service account's token is mounted")
    if spec.get("enableServiceLinks") is not False:
        found.append("other Services are in the environment")
    for container in containers(spec):
        found += [f"{container['name']}: {what}" for what in _open(container, pod)]
    return found


def _open(container, pod):
    own = container.get("securityContext", {})
    both = {**pod, **own}
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if own.get("readOnlyRootFilesystem") is not True:
        yield "the root file system is writable"
    if own.get("procMount", "Default") != "Default":
        yield "procMount"
    if both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0:
        yield "may run as root"
    if both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "no seccomp profile"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield "capabilities are not dropped"
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "capabilities are added"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "hostPort"
    if not container.get("resources", {}).get("limits", {}).get("memory"):
        yield "no limit of memory"
    if any("subPath" in mount for mount in container.get("volumeMounts", [])):
        yield "a file is mounted by subPath and will never change"


def mounts(spec, claims=()):
    """Volumes without a mount, mounts without a volume, two mounts at one place."""
    volumes = [volume["name"] for volume in spec.get("volumes", [])] + list(claims)
    mounted = {mount["name"] for one in containers(spec) for mount in one.get("volumeMounts", [])}
    found = [f"volume {name} is there twice" for name in set(volumes) if volumes.count(name) > 1]
    found += [f"no volume {name}" for name in mounted - set(volumes)]
    found += [f"volume {name} is mounted nowhere" for name in set(volumes) - mounted]
    for one in containers(spec):
        places = [mount["mountPath"] for mount in one.get("volumeMounts", [])]
        found += [f"two mounts at {place}" for place in set(places) if places.count(place) > 1]
    return found


# ---- together ------------------------------------------------------------------------------------


def selects(selector, labels):
    return bool(selector) and all(labels.get(name) == value for name, value in selector.items())


def named_ports(spec):
    return {port["name"]: port["containerPort"] for one in containers(spec)
            for port in one.get("ports", []) if "name" in port}


def consistent(things):
    """Selectors that meet nobody, ports that nobody has, targets that are not there."""
    found = []
    pods = [(thing, *pod_of(thing)) for thing in things if pod_of(thing) and
            thing["kind"] != "Pod"]
    names = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in things]
    found += [f"{name} is there twice" for name in set(names) if names.count(name) > 1]
    for thing in things:
        check = {"Service": _service, "PodDisruptionBudget": _budget, "NetworkPolicy": _policy,
                 "HorizontalPodAutoscaler": _autoscaler, "StatefulSet": _stateful,
                 "ServiceMonitor": _monitor}.get(thing["kind"])
        if check:
            where = f"{thing['kind']}/{thing['metadata']['name']}"
            found += [f"{where}: {what}" for what in check(thing["spec"], pods, things)]
    for thing, metadata, spec in pods:
        where = f"{thing['kind']}/{thing['metadata']['name']}"
        if not selects(thing["spec"]["selector"]["matchLabels"], metadata["labels"]):
            found.append(f"{where}: does not select its own pods")
        found += [f"{where}: {what}" for what in _probes(spec)]
    return found


def _probes(spec):
    ports = named_ports(spec)
    for one in containers(spec):
        handlers = [one.get(name, {}) for name in ("startupProbe", "readinessProbe",
                                                   "livenessProbe")]
        for handler in handlers:
            port = handler.get("httpGet", {}).get("port")
            if isinstance(port, str) and port not in ports:
                yield f"a probe asks port {port}"
        for name in ports:
            if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?", name):
                yield f"port name {name}"


def _service(spec, pods, _):
    met = [pod for _, metadata, pod in pods if selects(spec["selector"], metadata["labels"])]
    if not met:
        yield "selects nobody"
    for port in spec["ports"]:
        for pod in met:
            target = port.get("targetPort", port["port"])
            if target not in (named_ports(pod) if isinstance(target, str)
                              else named_ports(pod).values()):
                yield f"port {target} is not of its pods"


def _budget(spec, pods, _):
    if not any(selects(spec["selector"]["matchLabels"], metadata["labels"])
               for _, metadata, _ in pods):
        yield "selects nobody"


def _policy(spec, pods, _):
    met = [pod for _, metadata, pod in pods
           if selects(spec["podSelector"].get("matchLabels"), metadata["labels"])]
    if not met:
        yield "selects nobody"
    for rule in spec.get("ingress", []):
        for port in rule.get("ports", []):
            if isinstance(port["port"], str) and not all(port["port"] in named_ports(pod)
                                                         for pod in met):
                yield f"port {port['port']} is not of its pods"


def _autoscaler(spec, _, things):
    target = spec["scaleTargetRef"]
    met = [o for o in things if (o["apiVersion"], o["kind"], o["metadata"]["name"]) ==
           (target["apiVersion"], target["kind"], target["name"])]
    if not met:
        yield "scales nothing"
    elif "replicas" in met[0]["spec"]:
        yield "its target says replicas, too: each upgrade would undo the scaling"


def _stateful(spec, _, things):
    met = [o for o in things if o["kind"] == "Service" and
           o["metadata"]["name"] == spec["serviceName"]]
    if not met or met[0]["spec"].get("clusterIP") != "None":
        yield f"serviceName {spec['serviceName']} is no headless Service"


def _monitor(spec, _, things):
    met = [o for o in things if o["kind"] == "Service" and
           selects(spec["selector"]["matchLabels"], o["metadata"]["labels"])]
    if len(met) != 1:
        yield f"selects {len(met)} Services: each member is to be scraped once"
    for endpoint in spec["endpoints"]:
        if any(endpoint["port"] not in [port["name"] for port in o["spec"]["ports"]] for o in met):
            yield f"port {endpoint['port']} is not of its Service"

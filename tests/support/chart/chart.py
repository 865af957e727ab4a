"""Renders deploy/helm/pawl without Helm, and reads what comes out as a kubelet would.

The renderer is Go (render/), built once into build/ from Debian's packages alone.
"""

import fcntl
import functools
import hashlib
import json
import os
import pathlib
import re
import subprocess

import jsonschema
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
CHART = ROOT / "deploy" / "helm" / "pawl"
SOURCE = pathlib.Path(__file__).resolve().parent / "render"
GO = "/usr/bin/go"  # Debian's: its libraries are of its time


class Refused(Exception):
    """The chart does not render with these values; the text is what Helm would say."""


@functools.lru_cache(maxsize=None)
def renderer():
    """The program, built when its source has changed."""
    sources = sorted(SOURCE.glob("*.go"))
    name = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    folder = ROOT / "build" / "chart"
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / f"render-{name}"
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side
        if not program.exists():
            fresh = folder / "render-new"
            env = dict(os.environ, GO111MODULE="off", GOPATH="/usr/share/gocode", GOFLAGS="",
                       GOCACHE=str(folder / "cache"), GOPROXY="off", CGO_ENABLED="0")
            env.pop("GOROOT", None)
            subprocess.run([GO, "build", "-o", fresh, *sources], check=True, env=env, cwd=SOURCE)
            fresh.rename(program)
    return program


class Rendered:
    """What a chart became. templates: path below the chart -> text, NOTES.txt too."""

    def __init__(self, values, templates):
        self.values = values
        self.templates = templates

    def manifests(self):
        """[(path, text)] of the objects, hooks too; nothing that rendered to nothing."""
        return [(path, text) for path, text in sorted(self.templates.items())
                if path.endswith(".yaml") and text.strip()]

    @functools.cached_property
    def objects(self):
        """All objects, in order of their files."""
        found = []
        for path, text in self.manifests():
            for one in yaml.load_all(text, Loader=Strict):
                if one is not None:
                    found.append(one)
        return found

    def of(self, kind):
        return [one for one in self.objects if one["kind"] == kind]

    def one(self, kind, name=None):
        found = [o for o in self.of(kind) if name in (None, o["metadata"]["name"])]
        assert len(found) == 1, (kind, name, found)
        return found[0]

    @property
    def workload(self):
        return next(o for o in self.objects
                    if o["kind"] in ("StatefulSet", "DaemonSet", "Deployment"))

    @property
    def config(self):
        """pawld.yaml, as text."""
        name = self.workload["metadata"]["name"]
        return self.one("ConfigMap", name)["data"]["pawld.yaml"]


class Strict(yaml.SafeLoader):
    """A key that stands twice is an error, as it is to the API server's strict decoder."""


def _mapping(loader, node, deep=False):
    names = [loader.construct_object(key, deep=True) for key, _ in node.value]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise yaml.constructor.ConstructorError(None, None, f"twice: {sorted(twice)}",
                                                node.start_mark)
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


def _construct(loader, node):
    data = {}
    yield data
    data.update(_mapping(loader, node))


Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct)


def schema(chart=CHART):
    return json.loads((chart / "values.schema.json").read_text("utf-8"))


def check_values(values, chart=CHART):
    """Refused when the schema does not take the values that are in force."""
    validator = jsonschema.Draft7Validator(schema(chart))
    problems = [f"{'.'.join(map(str, error.absolute_path)) or '(root)'}: {error.message}"
                for error in validator.iter_errors(values)]
    if problems:
        raise Refused("values don't meet the specifications of the schema: " + "; ".join(problems))


def render(values=None, name="pawl", namespace="default", files=(), chart=CHART, check=True,
           kube_version=None, sets=()):
    """Render with @values over those of the chart and of @files; Refused as Helm would refuse."""
    command = [str(renderer()), str(chart), "-name", name, "-namespace", namespace]
    if kube_version:
        command += ["-kube-version", kube_version]
    for path in files:
        command += ["-f", str(path)]
    for key, value in (values or {}).items():
        command += ["-set", f"{key}={json.dumps(value)}"]
    for text in sets:
        command += ["-set", text]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    answer = json.loads(done.stdout)
    if check and answer["values"] is not None:  # Helm looks at the schema first
        check_values(answer["values"], chart)
    if answer["error"]:
        raise Refused(answer["error"])
    return Rendered(answer["values"], answer["templates"])


# ---- as the kubelet does -------------------------------------------------------------------------


def environment(container, facts):
    """The variables of @container; @facts: fieldPath -> value."""
    env = {}
    for one in container.get("env", []):
        if "value" in one:
            env[one["name"]] = expand(one["value"], env)
        else:
            env[one["name"]] = facts[one["valueFrom"]["fieldRef"]["fieldPath"]]
    return env


def expand(text, env):
    """$(NAME) with what NAME holds, $$ a dollar; a name that is not known stays as it stands."""
    def one(match):
        if match[0] == "$$":
            return "$"
        return env.get(match[1], match[0])
    return re.sub(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_]*)\)", one, text)


def command_line(container, facts):
    """The arguments that the image's entry point gets."""
    env = environment(container, facts)
    return [expand(word, env) for word in container.get("args", [])]

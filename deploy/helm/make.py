"""What of the chart is made from other files. Without arguments it writes them anew; with --check
it says which are not current, and exits 1.

    pawl/README.md           its table: from the comments of pawl/values.yaml
    pawl/files/              alerts and dashboard: copies of deploy/prometheus and deploy/grafana
    pawl/values.schema.json  the part "config": from `pawld --print-config=reference`
    ../manifests/*.yaml      rendered from the chart, for those without Helm
    tests/support/chart/golden/   what the chart becomes with the values of cases/: read the diff

Needs pawld (PAWL_BUILD, else build/release) and what .ci/packages lists for tests of the chart.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys

import yaml

HELM = pathlib.Path(__file__).resolve().parent
ROOT = HELM.parents[1]
CHART = HELM / "pawl"
MANIFESTS = ROOT / "deploy" / "manifests"
SUPPORT = ROOT / "tests" / "support" / "chart"
sys.path.insert(0, str(SUPPORT))

import chart  # noqa: E402 (its folder is known only now)

BEGIN, END = "<!-- values: made by ../make.py -->\n", "<!-- end of values -->\n"
#: Rendered with these values; the engine's address is the one thing to edit.
RENDERED = {
    "pawl.yaml": ("Three members and a volume each, the chart's defaults", {}),
    "pawl-daemonset.yaml": ("One member on each node, asked over the node's own Service",
                            {"mode": "daemonset"}),
}
ENGINE = "redis://redis:6379"
#: What the chart writes itself; nobody else may.
WRITTEN = {"listen", "http", "http_insecure", "http_hosts", "http_console", "data_dir",
           "secret_file", "secret_files", "names_secret_file", "watch", "tls", "cluster"}
WRITTEN_INSIDE = {"server.drain_timeout"}


# ---- values and their comments -------------------------------------------------------------------


def leaves(node, path=()):
    """(path, line, node) of each value that is no mapping with keys of its own."""
    for key, value in node.value:
        name = (*path, key.value)
        if isinstance(value, yaml.MappingNode) and value.value and not documented_whole(name):
            yield from leaves(value, name)
        else:
            yield name, key.start_mark.line, value


def documented_whole(path):
    """Free mappings: their keys are the user's."""
    return path in {("monitoring", "dashboard", "labels")}


def comments(text):
    """The lines of README.md: [(path, default, help)]; ValueError for a value without a comment."""
    lines = text.splitlines()
    rows = []
    for path, line, node in leaves(yaml.compose(text)):
        above = line - 1
        while above >= 0 and lines[above].strip().startswith("#"):
            above -= 1
        words = " ".join(one.strip().lstrip("#").strip() for one in lines[above + 1:line])
        if not words.startswith("-- ") or len(words) < 8:
            raise ValueError(f"values.yaml:{line + 1}: {'.'.join(path)} has no comment '# -- ...'")
        default = yaml.safe_load(yaml.serialize(node))
        rows.append((".".join(path), json.dumps(default, ensure_ascii=False), words[3:]))
    return rows


def table():
    rows = comments((CHART / "values.yaml").read_text("utf-8"))
    lines = ["| value | default | |\n", "|---|---|---|\n"]
    for path, default, words in sorted(rows, key=lambda row: "." in row[0]):
        words = words.replace("|", "\\|")
        lines.append(f"| `{path}` | `{default}` | {words} |\n")
    return "".join(lines)


def readme():
    text = (CHART / "README.md").read_text("utf-8")
    head, rest = text.split(BEGIN)
    return head + BEGIN + "\n" + table() + "\n" + END + rest.split(END)[1]


# ---- the settings of pawld as a schema -----------------------------------------------------------


def reference():
    """[(path, value, reloadable)] of all settings of pawld."""
    pawld = pathlib.Path(os.environ.get("PAWL_BUILD", ROOT / "build" / "release")) / "pawld"
    text = subprocess.run([pawld, "--print-config=reference"], check=True, capture_output=True,
                          text=True).stdout
    rows = re.findall(r"^\| `([^`]+)` \| (.+?) \| .+? \| (reload|restart) \|", text, re.M)
    return [(path, value, change == "reload") for path, value, change in rows]


def typed(value):
    """The schema of one setting from how the reference says its value."""
    words = re.fullmatch(r"one of (.+)", value)
    if words:
        return {"enum": words[1].split(", ")}
    if value == "true or false":
        return {"type": "boolean"}
    bounds = re.fullmatch(r"(\d+) to (\d+)", value)
    if bounds:
        return {"type": "integer", "minimum": int(bounds[1]), "maximum": int(bounds[2])}
    if re.fullmatch(r"\d+\S* to \d+\S*", value):  # sizes and durations
        return {"type": ["string", "integer"]}
    if value.startswith("a mapping from"):
        return {"type": "object", "additionalProperties": {"type": [
            "string", "integer", "array", "object"]}}
    if "list of" in value:
        scalar = {"type": ["string", "integer"]}
        return {"anyOf": [scalar, {"type": "array", "items": scalar}]}
    return {"type": ["string", "integer"]}


def place(root, path, schema):
    """Hang @schema at @path; a "*" is the item of a list, or of the mapping `limits`."""
    node = root
    *parents, last = path.split(".")
    for i, name in enumerate(parents):
        if name == "*":
            node = node["additionalProperties" if parents[i - 1] == "limits" else "items"]
            continue
        node = node["properties"].setdefault(name, {
            "type": "object", "additionalProperties": False, "properties": {}})
    if last in node["properties"]:
        raise ValueError(path)
    node["properties"][last] = schema


def config_schema():
    """The settings that the values' `config` may hold. Names are strict; bounds are pawld's."""
    root = {"type": "object", "additionalProperties": False, "properties": {}}
    rows = reference()
    for path, value, _ in rows:
        if path.split(".")[0] in WRITTEN or path in WRITTEN_INSIDE:
            continue
        schema = typed(value)
        if any(other.startswith(f"{path}.*.") for other, *_ in rows):
            item = {"type": "object", "additionalProperties": False, "properties": {}}
            schema = ({"type": "object", "additionalProperties": item} if path == "limits"
                      else {"type": "array", "items": item})
        place(root, path, schema)
    return root


def schema():
    whole = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    whole["properties"]["config"] = config_schema()
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


# ---- plain manifests -----------------------------------------------------------------------------


def manifest(what, values):
    """The chart as kubectl takes it: no hooks, no notes, and Helm named nowhere."""
    values = {"cluster": {"redis": [ENGINE]}, "tests": {"enabled": False}, **values}
    rendered = chart.render(values, name="pawl", namespace="pawl")
    parts = [f"# {what}.\n# Rendered from deploy/helm/pawl by deploy/helm/make.py. To edit: "
             f"cluster.redis ({ENGINE}), and the image.\n"
             "# Before it: the namespace pawl and the Secret pawl-root (deploy/KUBERNETES.md).\n"]
    for _, text in sorted(rendered.manifests()):
        kept = [line for line in text.strip().splitlines()
                if "app.kubernetes.io/managed-by:" not in line and "helm.sh/chart:" not in line]
        parts.append("\n".join(line for line in kept if line.strip()) + "\n")
    return "---\n".join(parts)


def golden(case):
    """Everything that the chart becomes, in order of the templates, but for what it takes from files
    as it is."""
    rendered = chart.render(files=[case], name="pawl", namespace="shop")
    whole = "".join(f"---\n# {path}\n{text.strip()}\n" for path, text in rendered.manifests())
    for begin in ("  pawl.json: |\n", "spec:\n  groups:\n"):
        head, found, rest = whole.partition(begin)
        if found:
            after = "---\n".join(["", *rest.split("---\n")[1:]])
            whole = f"{head}{found}    (a file)\n{after}"
    return whole


def made():
    """path: text of all that is made."""
    out = {CHART / "files" / "alerts.yaml": (ROOT / "deploy/prometheus/alerts.yaml").read_text(),
           CHART / "files" / "dashboard.json": (ROOT / "deploy/grafana/pawl.json").read_text(),
           CHART / "values.schema.json": schema(),
           CHART / "README.md": readme()}
    for name, (what, values) in RENDERED.items():
        out[MANIFESTS / name] = manifest(what, values)
    for case in sorted((SUPPORT / "cases").glob("*.yaml")):
        out[SUPPORT / "golden" / case.name] = golden(case)
    return out


def stale():
    """Names of what is not current."""
    return [str(path.relative_to(ROOT)) for path, text in made().items()
            if not path.exists() or path.read_text("utf-8") != text]


def main():
    parser = argparse.ArgumentParser(description="make what of the chart is made")
    parser.add_argument("--check", action="store_true", help="only say what is not current")
    if parser.parse_args().check:
        names = stale()
        for name in names:
            print(f"not current: {name}: run deploy/helm/make.py")
        return 1 if names else 0
    for path, text in made().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

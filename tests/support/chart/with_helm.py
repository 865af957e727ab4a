"""The chart with the real Helm, and its objects through the validation of Kubernetes itself.

No part of ./dev test, for neither is a Debian package: both are built from Go modules into
build/chart/tools (Go 1.24 or later, some minutes, once). What cannot be had is said and left out.
The last line counts; exit status 1 when something that ran went wrong.

    /usr/bin/python3 tests/support/chart/with_helm.py [--package FOLDER]
"""

import argparse
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import yaml

import chart

HELM = "helm.sh/helm/v3/cmd/helm@v3.18.4"
GO_LEAST = (1, 24)
TOOLS = chart.ROOT / "build" / "chart" / "tools"
SUPPORT = pathlib.Path(__file__).resolve().parent
KUBERNETES = "v1.33.2"  # of api/go.mod


def go():
    """A Go that builds modules of today; None where there is none."""
    for program in (shutil.which("go"), "/usr/local/go/bin/go"):
        if program and pathlib.Path(program).exists():
            said = subprocess.run([program, "version"], capture_output=True, text=True,
                                  env=dict(os.environ, GOTOOLCHAIN="local")).stdout
            found = re.search(r"go(\d+)\.(\d+)", said)
            if found and (int(found[1]), int(found[2])) >= GO_LEAST:
                return program
    return None


def with_go(name, command, cwd=None):
    """What Go says to @command, which is for @name; None, with the reason said."""
    compiler = go()
    if compiler is None:
        print(f"not run: {name}: no Go {GO_LEAST[0]}.{GO_LEAST[1]} or later to build it with")
        return None
    TOOLS.mkdir(parents=True, exist_ok=True)
    env = dict(os.environ, GOBIN=str(TOOLS), GOPATH=str(TOOLS / "go"), GOFLAGS="-mod=readonly",
               GOCACHE=str(TOOLS / "cache"), GO111MODULE="on", GOTOOLCHAIN="local")
    done = subprocess.run([compiler, *command], env=env, cwd=cwd, capture_output=True, text=True)
    if done.returncode != 0:
        print(f"not run: {name}: {(done.stderr.strip() or done.stdout)[-400:]}")
        return None
    return done.stdout


def built(name, command, cwd=None):
    """TOOLS/name, made by @command if it is not there; None, with the reason said."""
    program = TOOLS / name
    if program.exists():
        return program
    print(f"building {name}", flush=True)
    return None if with_go(name, command, cwd) is None else program


def helm():
    """This machine's Helm, or one that is built."""
    found = shutil.which("helm")
    return pathlib.Path(found) if found else built("helm", ["install", HELM])


def sets():
    """Files of values that the chart is looked at with."""
    return sorted((SUPPORT / "cases").glob("*.yaml")) + sorted(
        (chart.CHART / "examples").glob("values-*.yaml"))


def key(thing):
    return thing["kind"], thing["metadata"]["name"]


def with_helm(helm, folder):
    """Lint, render and compare each set of values; the rendered files, and what is wrong."""
    wrong, files = [], []
    for path in sets():
        lint = subprocess.run([helm, "lint", "--strict", chart.CHART, "-f", path],
                              capture_output=True, text=True)
        if lint.returncode != 0:
            wrong.append(f"{path.stem}: helm lint: {lint.stdout[-600:]}")
        done = subprocess.run([helm, "template", "rel", chart.CHART, "-n", "shop", "-f", path,
                               "--kube-version", "v1.33.0"], capture_output=True, text=True)
        if done.returncode != 0:
            wrong.append(f"{path.stem}: helm template: {done.stderr[-600:]}")
            continue
        theirs = {key(one): one for one in yaml.safe_load_all(done.stdout) if one}
        ours = {key(one): one
                for one in chart.render(files=[path], name="rel", namespace="shop").objects}
        wrong += [f"{path.stem}: {name} differs from what our renderer makes"
                  for name in sorted(ours.keys() | theirs.keys())
                  if ours.get(name) != theirs.get(name)]
        files.append(folder / path.name)
        files[-1].write_text(done.stdout)
    slip = subprocess.run([helm, "template", chart.CHART, "--set", "tls.enabld=true"],
                          capture_output=True, text=True)
    if slip.returncode == 0 or "enabld" not in slip.stderr:
        wrong.append("helm takes a name that the schema does not have")
    print(f"helm: {len(files)} sets of values linted, rendered and equal to our renderer's, "
          f"{len(wrong)} problems")
    return files, wrong


def with_kubernetes(files):
    source = b"".join(path.read_bytes() for path in sorted((SUPPORT / "api").iterdir()))
    name = f"apicheck-{hashlib.sha256(source).hexdigest()[:16]}"
    program = built(name, ["build", "-o", TOOLS / name, "."], cwd=SUPPORT / "api")
    if program is None:
        return []
    files = [*files, *sorted((chart.ROOT / "deploy" / "manifests").glob("*.yaml")),
             *sorted((chart.ROOT / "deploy" / "kubernetes").glob("*.yaml")),
             chart.CHART / "examples" / "sidecar.yaml"]
    done = subprocess.run([program, *files], capture_output=True, text=True)
    print(f"kubernetes {KUBERNETES}, its validation and its profile restricted: "
          f"{done.stdout.strip().splitlines()[-1]}")
    return done.stdout.strip().splitlines()[:-1] if done.returncode != 0 else []


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--package", metavar="FOLDER", help="put the packed chart there")
    arguments = parser.parse_args()
    program = helm()
    wrong, files = [], []
    with tempfile.TemporaryDirectory(prefix="pawl-chart-") as folder:
        if program is not None:
            files, wrong = with_helm(program, pathlib.Path(folder))
            if arguments.package:
                subprocess.run([program, "package", chart.CHART, "-d", arguments.package],
                               check=True)
        wrong += with_kubernetes(files)
    for one in wrong:
        print(one)
    print(f"{len(wrong)} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""The container image without an engine: the root of build_root.py as an archive that engines load.

    image.py ROOTFS_TAR OUT [--version V] [--revision R] [--source URL] [--architecture A]

OUT is an OCI image layout in a tar file, with the manifest that `docker load` reads beside it, so
docker, podman, skopeo and containerd all take it. User, ports, environment, entry point, labels and
the health check are those of the last stage of the Dockerfile beside this file. Same input, same
bytes; times are of SOURCE_DATE_EPOCH. It prints the image's digest.
"""

import argparse
import datetime
import gzip
import hashlib
import io
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tarfile

DOCKERFILE = pathlib.Path(__file__).resolve().with_name("Dockerfile")
OCI = "application/vnd.oci.image"
UNITS_NS = {"ms": 10 ** 6, "s": 10 ** 9, "m": 60 * 10 ** 9}


def last_stage(text):
    """(instruction, rest) of the last stage, lines joined and comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines()
    pairs = [tuple(line.strip().split(None, 1)) for line in joined if line.strip()]
    first = max(at for at, pair in enumerate(pairs) if pair[0] == "FROM")
    return pairs[first + 1:]


def pairs_of(rest):
    return dict(word.split("=", 1) for word in shlex.split(rest))


def health(rest):
    """HEALTHCHECK as the engines keep it: nanoseconds, and words in place of a line."""
    options, command = rest.split(" CMD ", 1)
    made = {"Test": ["CMD", *json.loads(command)]}
    for name, value in re.findall(r"--([a-z-]+)=(\S+)", options):
        key = "".join(part.capitalize() for part in name.split("-"))
        found = re.fullmatch(r"(\d+)(ms|s|m)", value)
        made[key] = int(found.group(1)) * UNITS_NS[found.group(2)] if found else int(value)
    return made


def config_of(text, arguments):
    """What an engine would make of the Dockerfile's last stage; @arguments as --build-arg."""
    known, config = {}, {"Env": [], "Labels": {}, "ExposedPorts": {}}
    for instruction, rest in last_stage(text):
        if instruction == "ARG":
            name, _, default = rest.partition("=")
            known[name] = arguments.get(name, default)
            continue
        rest = re.sub(r"\$\{(\w+)\}", lambda found: known[found.group(1)], rest)
        if instruction == "LABEL":
            config["Labels"].update(pairs_of(rest))
        elif instruction == "ENV":
            config["Env"] += [f"{name}={value}" for name, value in pairs_of(rest).items()]
        elif instruction == "EXPOSE":
            config["ExposedPorts"].update({port: {} for port in rest.split()})
        elif instruction == "ENTRYPOINT":
            config["Entrypoint"] = json.loads(rest)
        elif instruction == "HEALTHCHECK":
            config["Healthcheck"] = health(rest)
        elif instruction in ("USER", "STOPSIGNAL"):
            config[{"USER": "User", "STOPSIGNAL": "StopSignal"}[instruction]] = rest
        elif instruction == "WORKDIR":
            config["WorkingDir"] = rest
        elif instruction != "COPY":  # the root: the one layer
            raise SystemExit(f"image: {instruction} in the last stage is not known here")
    return config


class Archive:
    """Blobs by digest and a few named files, written in one order."""

    def __init__(self):
        self.files = {}

    def blob(self, data, kind):
        digest = hashlib.sha256(data).hexdigest()
        self.files[f"blobs/sha256/{digest}"] = data
        return {"mediaType": f"{OCI}.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    def json(self, value, kind):
        return self.blob(packed(value), kind)

    def write(self, path, epoch):
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
            for name in sorted({"blobs", "blobs/sha256", *self.files}):
                entry = tarfile.TarInfo(name)
                entry.mtime = epoch
                if name in self.files:
                    entry.size = len(self.files[name])
                else:
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry, io.BytesIO(self.files.get(name, b"")))


def packed(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def make(root, out, arguments, architecture, epoch):
    archive = Archive()
    created = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime(
        "%Y-%m-%dT%H:%M:%SZ")
    arguments = dict(arguments, CREATED=created)
    layer = archive.blob(gzip.compress(root, 6, mtime=0), "layer.v1.tar+gzip")
    config = archive.json({
        "architecture": architecture, "os": "linux", "created": created,
        "config": config_of(DOCKERFILE.read_text(), arguments),
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(root).hexdigest()]},
        "history": [{"created": created, "created_by": "deploy/container/build_root.py"}],
    }, "config.v1+json")
    manifest = archive.json({"schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json",
                             "config": config, "layers": [layer]}, "manifest.v1+json")
    name = f"pawl:{arguments['VERSION']}"
    manifest["annotations"] = {"org.opencontainers.image.ref.name": arguments["VERSION"],
                               "io.containerd.image.name": f"docker.io/library/{name}"}
    manifest["platform"] = {"architecture": architecture, "os": "linux"}
    place = {part["digest"]: "blobs/" + part["digest"].replace(":", "/")
             for part in (config, layer)}
    archive.files["oci-layout"] = packed({"imageLayoutVersion": "1.0.0"})
    archive.files["index.json"] = packed({"schemaVersion": 2, "manifests": [manifest]})
    archive.files["manifest.json"] = packed([{  # of docker load
        "Config": place[config["digest"]], "RepoTags": [name], "Layers": [place[layer["digest"]]]}])
    archive.write(out, epoch)
    return manifest["digest"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rootfs", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    for name in ("version", "revision", "source", "architecture"):
        parser.add_argument(f"--{name}")
    asked = parser.parse_args()
    arguments = {name.upper(): value for name, value in vars(asked).items()
                 if name in ("version", "revision", "source") and value is not None}
    if "VERSION" not in arguments:
        arguments["VERSION"] = re.search(r"(?m)^ARG VERSION=(\S+)", DOCKERFILE.read_text()).group(1)
    architecture = asked.architecture or subprocess.run(
        ["dpkg", "--print-architecture"], stdout=subprocess.PIPE, check=True,
        text=True).stdout.strip()  # Debian's names are Go's for what both have
    digest = make(asked.rootfs.read_bytes(), asked.out, arguments, architecture,
                  int(os.environ.get("SOURCE_DATE_EPOCH", "0")))
    print(f"{asked.out}: {asked.out.stat().st_size} bytes, {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""deploy/container/Dockerfile with a real builder: buildah, on a bare root in place of the base image.

    image_build.py

What comes out has to be what the build stage made, with its modes and owners, configured as
deploy/container/image.py reads the Dockerfile; and its programs run. It needs root and the network
of apt; nothing is pulled from a registry. Base and store lie below build/bare.
"""

import importlib.util
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time

import package_root
import soak
import suites

CONTAINER = suites.ROOT / "deploy" / "container"
BASE = "localhost/pawl-base"
ADDED = ("io.buildah.version",)  # labels


def image_module():
    spec = importlib.util.spec_from_file_location("image", CONTAINER / "image.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def copy_sources(folder):
    """The working tree as it is now: nobody's edit comes between two builds."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            cwd=suites.ROOT, stdout=subprocess.PIPE, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (suites.ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(suites.ROOT / name, folder / name)


class Builder:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.sources = self.folder / "sources"
        for path in (self.sources, self.folder / "tmp"):
            path.mkdir()
        copy_sources(self.sources)
        self.prefix = ["buildah", "--root", self.folder / "store", "--runroot",
                       self.folder / "run", "--storage-driver"]
        # Each layer is a whole copy without overlays, and not all file systems can carry those.
        probe = subprocess.run([*self.prefix, "overlay", "from", "scratch"], capture_output=True)
        self.prefix.append("overlay" if probe.returncode == 0 else "vfs")

    def run(self, *command):
        return package_root.run(*self.prefix, *command, cwd=self.sources,
                                env=dict(os.environ, TMPDIR=str(self.folder / "tmp")))

    def base(self):
        name = self.run("from", "scratch").split()[-1]
        self.run("add", "-q", name, package_root.CACHE, "/")
        self.run("commit", "-q", "--rm", name, BASE)

    def build(self, name, *options):
        self.run("bud", "--layers", "--isolation", "chroot", "--network", "host", "--format",
                 "docker", "--build-arg", f"BASE={BASE}", "--build-arg", "REVISION=abc", "-t", name,
                 "-f", "deploy/container/Dockerfile", *options, ".")

    def save(self, name):
        out = self.folder / "saved.tar"
        self.run("push", "-q", name, f"docker-archive:{out}:{name}")
        return out

    def read(self, name, path):
        """A file of the image @name."""
        container = self.run("from", name).split()[-1]
        folder = pathlib.Path(self.run("mount", container).split()[-1])
        data = (folder / path.lstrip("/")).read_bytes()
        self.run("rm", container)
        return data


def tree(data):
    """path -> what an entry of a tar file is, times left out."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for entry in tar:
            body = tar.extractfile(entry).read() if entry.isreg() else b""
            found[entry.name.strip("/")] = (entry.type, entry.mode & 0o7777, entry.uid, entry.gid,
                                            entry.linkname, body)
    return found


def compare(saved, wanted):
    """The image in the archive @saved with the root that the build stage made."""
    with tarfile.open(saved) as tar:
        listed = json.load(tar.extractfile("manifest.json"))[0]
        config = json.load(tar.extractfile(listed["Config"]))["config"]
        layers = [tar.extractfile(name).read() for name in listed["Layers"]]
    got = {}
    for layer in layers:
        got.update(tree(layer))
    wrong = sorted(set(got) ^ set(wanted)) + [name for name in sorted(wanted)
                                              if got.get(name) != wanted[name]]
    if wrong:
        raise SystemExit(f"image: not what the build stage made: {wrong[:20]}")
    text = (CONTAINER / "Dockerfile").read_text()
    for name, value in image_module().config_of(text, {"REVISION": "abc"}).items():
        found = config[name]
        if name == "Labels":
            found = {key: one for key, one in found.items() if key not in ADDED}
        if found != value:
            raise SystemExit(f"image: {name} is {found} where image.py reads {value}")
    soak.say(f"image: {len(got)} entries in {len(layers)} layers as they were made, "
             f"{saved.stat().st_size / 2 ** 20:.1f} MiB")
    return layers


def prove(folder):
    builder = Builder(folder)
    builder.base()
    begun = time.monotonic()
    builder.build("localhost/pawl:build", "--target", "build")
    builder.build("localhost/pawl:test")
    soak.say(f"image: built by buildah in {time.monotonic() - begun:.0f} s")
    made = builder.read("localhost/pawl:build", "/out/rootfs.tar")
    layers = compare(builder.save("localhost/pawl:test"), tree(made))
    root = builder.folder / "root"
    root.mkdir()
    for number, layer in enumerate(layers):
        path = builder.folder / f"layer{number}"
        path.write_bytes(layer)
        package_root.run("tar", "-C", root, "-xpf", path)
    for program in ("/usr/sbin/pawld", "/usr/bin/pawlctl"):
        said = package_root.run("chroot", "--userspec=65532:65532", root, program, "--version")
        soak.say(f"image: {said.strip()}")


def main():
    if os.geteuid() != 0:
        raise SystemExit("image: NOT RUN, it needs root")
    if shutil.which("buildah") is None:
        raise SystemExit("image: NOT RUN, there is no buildah")
    package_root.make_cache()
    folder = tempfile.mkdtemp(prefix="image-", dir=package_root.CACHE.parent)
    try:
        prove(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    soak.say("image: passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())

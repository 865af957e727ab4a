#!/usr/bin/env python3
"""The container's root file system, of a finished build: pawld, pawlctl and what they need to run.

    build_root.py BUILD TAR [--root FOLDER]

BUILD   a build folder with pawld and pawlctl (the release preset).
TAR     the root as a tar file. Same input, same bytes: entries are sorted, everything is of
        SOURCE_DATE_EPOCH (0 where that is not set), and owners are written and not looked up.
--root  the same, unpacked; it needs root, for files have owners.

What goes in is asked of the system that it runs on (Debian, with what the build needs), so there is
no list of libraries that could grow old: what the dynamic loader loads, by the way links lead
there; the time zones; the CAs that Debian's package trusts (none that was added to this machine);
for each package of these its licence, and its entry for scanners of images. No shell, no package
manager, nothing that is set-uid. The Dockerfile beside this file and ./dev package both run it.
"""

import argparse
import io
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile

#: Who runs pawld: no name service knows it, and it owns nothing elsewhere.
USER = 65532
PROGRAMS = {"/usr/sbin/pawld": "pawld", "/usr/bin/pawlctl": "pawlctl"}
LICENCES = {"/usr/share/doc/pawl/copyright": "deploy/debian/copyright",
            "/usr/share/doc/pawl/LICENSE": "LICENSE"}
ACCOUNTS = {
    "/etc/passwd": "root:x:0:0:root:/:/nonexistent\n"
                   f"pawl:x:{USER}:{USER}:pawl:/nonexistent:/nonexistent\n",
    "/etc/group": f"root:x:0:\npawl:x:{USER}:\n",
    "/etc/nsswitch.conf": "hosts: files dns\nservices: files\n",
}
#: Mode and owner. The last two are where volumes go; a root that is read-only has them, too.
FOLDERS = {"/dev": (0o755, 0), "/proc": (0o755, 0), "/sys": (0o755, 0), "/etc/pawl": (0o755, 0),
           "/run/pawl": (0o755, USER), "/var/lib/pawl": (0o700, USER)}
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
SOURCE = pathlib.Path(__file__).resolve().parents[2]


def run(*command):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, check=True,
                          env=dict(os.environ, LC_ALL="C"))
    return done.stdout.decode()


class Root:
    """Entries by path, in memory; nothing of this machine but their bytes."""

    def __init__(self, epoch):
        self.epoch = epoch
        self.entries = {}
        self.carried = set()

    def add(self, path, kind, data=b"", mode=0o644, owner=0):
        """A folder, file or link, and the folders above it."""
        parent = os.path.dirname(path)
        if parent not in ("/", path) and parent not in self.entries:
            self.add(parent, tarfile.DIRTYPE, mode=0o755)
        self.entries[path] = (kind, data, mode, owner)

    def file(self, path, data, mode=0o644):
        self.add(path, tarfile.REGTYPE, data if isinstance(data, bytes) else data.encode(), mode)

    def carry(self, path):
        """The file @path of this system, with all the links that lead to it, and its package."""
        real = "/"
        parts = list(pathlib.PurePath(path).parts[1:])
        while parts:
            part = parts.pop(0)
            if part == "..":
                real = os.path.dirname(real)
                continue
            step = os.path.join(real, part)
            if os.path.islink(step):
                target = os.readlink(step)
                self.add(step, tarfile.SYMTYPE, target.encode(), 0o777)
                words = [word for word in pathlib.PurePath(target).parts if word != "/"]
                real = "/" if target.startswith("/") else real
                parts = words + parts
                if step == "/usr/lib/ssl/cert.pem":
                    return  # what it leads to is made here
            else:
                real = step
        mode = os.stat(real).st_mode & 0o755
        self.file(real, pathlib.Path(real).read_bytes(), mode)
        self.carried.add(real)

    def write(self, out):
        with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for path in sorted(self.entries):
                kind, data, mode, owner = self.entries[path]
                entry = tarfile.TarInfo(path.lstrip("/"))
                entry.type, entry.mode, entry.mtime = kind, mode, self.epoch
                entry.uid = entry.gid = owner
                if kind == tarfile.SYMTYPE:
                    entry.linkname = data.decode()
                else:
                    entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))


def packages_of(paths):
    """Who own @paths; a package may know a file by the name from before /usr was all."""
    names = {name: path for path in paths for name in (path, re.sub(r"^/usr", "", path))}
    done = subprocess.run(["dpkg-query", "-S", *sorted(names)], stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.DEVNULL, env=dict(os.environ, LC_ALL="C"))
    owners = {}
    for line in done.stdout.splitlines():
        owner, _, name = line.rpartition(": ")
        if name in names and not owner.startswith("diversion "):
            owners[names[name]] = owner.partition(",")[0]
    if set(paths) - set(owners):
        raise SystemExit(f"build root: of no package: {sorted(set(paths) - set(owners))}")
    return set(owners.values())


def libraries(program):
    """What the dynamic loader maps for @program, itself included, for any processor of the kind."""
    paths = set()
    for line in run("ldd", program).splitlines():
        found = re.search(r"(/\S+) \(0x", line)
        if "not found" in line:
            raise SystemExit(f"build root: {program}: {line.strip()}")
        if found:
            paths.add(re.sub(r"/glibc-hwcaps/[^/]+/", "/", found.group(1)))
    return paths


def stripped(program):
    with tempfile.TemporaryDirectory() as folder:
        run("strip", "-s", "-o", f"{folder}/out", program)
        return pathlib.Path(folder, "out").read_bytes()


def authorities():
    """The list that update-ca-certificates would make of its own package and nothing else."""
    listed = [path for path in run("dpkg", "-L", "ca-certificates").split("\n")
              if path.startswith("/usr/share/ca-certificates/") and path.endswith(".crt")]
    texts = [pathlib.Path(path).read_text().rstrip("\n") + "\n" for path in sorted(listed)]
    if not texts:
        raise SystemExit("build root: ca-certificates has none")
    return "".join(texts)


def add_licences(root, packages):
    """What each package says of itself, and the texts that it names in place of its own."""
    for name in sorted({package.partition(":")[0] for package in packages}):
        licence = pathlib.Path(os.path.realpath(f"/usr/share/doc/{name}/copyright")).read_bytes()
        root.file(f"/usr/share/doc/{name}/copyright", licence)
        for named in re.findall(rb"/usr/share/common-licenses/[\w.+-]*\w", licence):
            if os.path.exists(named):  # some write "the licences in ...", or another's place
                root.carry(named.decode())


def add_packages(root):
    """Licences, as they demand, and what scanners read in images without a package manager."""
    packages = packages_of(root.carried) | {"base-files", "ca-certificates"}
    add_licences(root, packages)
    for package in sorted(packages):
        name = package.partition(":")[0]
        status = run("dpkg-query", "-s", package)
        # Files of settings with their sums are told, and none of them is here.
        status = re.sub(r"(?m)^Conffiles:\n(?: .*\n)*", "", status)
        root.file(f"/var/lib/dpkg/status.d/{name}", status)
    return packages


def build(folder, epoch):
    root = Root(epoch)
    for path, name in PROGRAMS.items():
        root.file(path, stripped(folder / name), 0o755)
        for library in libraries(folder / name):
            root.carry(library)
    for path in run("dpkg", "-L", "tzdata").split("\n"):
        # The same zones once more, and those that count leap seconds: no limit names them.
        wanted = re.match(r"/usr/share/zoneinfo/(?!posix/|right/)", path)
        if wanted and not os.path.isdir(path):
            root.carry(path)
    root.carry("/usr/lib/ssl/cert.pem")
    root.file(AUTHORITIES, authorities())
    root.carry("/etc/os-release")
    for path, text in ACCOUNTS.items():
        root.file(path, text)
    for path, name in LICENCES.items():
        root.file(path, (SOURCE / name).read_bytes())
    for path, (mode, owner) in FOLDERS.items():
        root.add(path, tarfile.DIRTYPE, mode=mode, owner=owner)
    return root, add_packages(root)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("tar", type=pathlib.Path)
    parser.add_argument("--root", type=pathlib.Path)
    asked = parser.parse_args()
    root, packages = build(asked.build, int(os.environ.get("SOURCE_DATE_EPOCH", "0")))
    asked.tar.parent.mkdir(parents=True, exist_ok=True)
    with asked.tar.open("wb") as out:
        root.write(out)
    if asked.root:
        asked.root.mkdir(parents=True)
        run("tar", "-C", asked.root, "--numeric-owner", "--same-owner", "-xpf", asked.tar)
    print(f"{asked.tar}: {asked.tar.stat().st_size} bytes, {len(root.entries)} entries, "
          f"{len(packages)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())

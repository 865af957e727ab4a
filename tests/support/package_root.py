"""The Debian packages in a bare root: install, start, answer, upgrade, keep state, purge.

    package_root.py [PACKAGES]      a folder with the packages (default: build/packages)

The root is a fresh Debian (debootstrap --variant=minbase), kept as build/bare/root.tar and unpacked
anew for each run. There is no systemd in it: pawld is started as the service does, as its user with
its command line. Everything that the packages left behind after a purge is told. It needs root.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import soak
import suites

CACHE = suites.ROOT / "build" / "bare" / "root.tar"
#: What dpkg, ldconfig and adduser keep for themselves, whatever was installed.
NOT_OURS = re.compile(r"^(var/lib/dpkg|var/log/(dpkg|apt|alternatives|lastlog|faillog|wtmp|btmp)|"
                      r"var/cache|etc/(passwd|group|shadow|gshadow|subuid|subgid|ld\.so)|"
                      r"var/lib/(apt|systemd)$|tmp|root|run$|run/(lock|adduser)|usr/share/man/cat|"
                      r"etc/\.pwd\.lock|proc|dev|sys|srv)")


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        raise SystemExit(f"package root: {' '.join(map(str, command))}: exit {done.returncode}\n"
                         f"{done.stdout[-4000:]}")
    return done.stdout


def make_cache():
    """debootstrap once; what the packages depend on is installed later, by apt."""
    if CACHE.exists():
        return
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    if shutil.which("debootstrap") is None:
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "debootstrap")
    with tempfile.TemporaryDirectory(dir=CACHE.parent) as folder:
        root = pathlib.Path(folder) / "root"
        run("debootstrap", "--variant=minbase", soak.BARE_SUITE, root, soak.mirror())
        soak.copy_apt(root)
        run("tar", "-C", root, "-cf", CACHE.with_suffix(".new"), ".")
        CACHE.with_suffix(".new").rename(CACHE)


class Root:
    """A bare root with /proc, /dev and /tmp while a command runs in it."""

    def __init__(self, folder):
        self.path = pathlib.Path(folder) / "root"
        self.path.mkdir()
        run("tar", "-C", self.path, "-xf", CACHE)

    def run(self, command):
        script = f"""set -e
mount -t proc proc {self.path}/proc
mount --rbind /dev {self.path}/dev
exec chroot {self.path} /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
    LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive TERM=dumb sh -ec '{command}'
"""
        return run("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation",
                   "private", "sh", "-c", script)

    def files(self):
        """Every path with the user and group that own it."""
        listed = run("find", self.path, "-xdev", "-printf", "%P %u %g %U %G\\n").splitlines()
        return {line.split()[0] for line in listed
                if len(line.split()) == 5 and not NOT_OURS.match(line)}


#: Start as the service does, ask, end; what a check prints is the result. No sleep: pawlctl is
#: asked until it is answered.
SESSION = r"""
install -d -o pawl -g pawl -m 0755 /run/pawl
setpriv --reuid pawl --regid pawl --init-groups env RUNTIME_DIRECTORY=/run/pawl \
    STATE_DIRECTORY=/var/lib/pawl /usr/sbin/pawld --config /etc/pawl/pawld.yaml >/tmp/log 2>&1 &
daemon=$!
tries=0
until pawlctl --addr unix:/run/pawl/pawld.sock ping >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ $tries -gt 2000 ] || ! kill -0 $daemon; then cat /tmp/log; exit 1; fi
done
%s
kill -TERM $daemon
wait $daemon
"""


def session(root, commands):
    return root.run(SESSION % commands)


def expect(text, pattern, what):
    if not re.search(pattern, text):
        raise SystemExit(f"package root: {what}: not found: {pattern}\n{text[-3000:]}")
    soak.say(f"package root: {what}")


def newer(packages, folder):
    """The same packages once more, with a higher version."""
    made = pathlib.Path(folder) / "newer"
    made.mkdir()
    for package in packages:
        with tempfile.TemporaryDirectory(dir=folder) as unpacked:
            run("dpkg-deb", "-R", package, f"{unpacked}/p")
            control = pathlib.Path(unpacked) / "p/DEBIAN/control"
            control.write_text(re.sub(r"(?m)^(Version: .*)$", r"\1+next", re.sub(
                r"(libpawl0 \(= [^)]*)\)", r"\1+next)", control.read_text())))
            run("dpkg-deb", "--root-owner-group", "-b", f"{unpacked}/p", made)
    return made


def prove(packages):
    debs = sorted(pathlib.Path(packages).glob("*.deb"))
    if len(debs) != 4:
        raise SystemExit(f"package root: not four packages in {packages}; ./dev package makes them")
    make_cache()
    with tempfile.TemporaryDirectory(prefix="packages-", dir=CACHE.parent) as folder:
        root = Root(folder)
        inside = root.path / "srv"
        # What they depend on first, so that all that is left later is theirs.
        depends = " ".join(run("dpkg-deb", "-f", deb, "Depends").strip() for deb in debs)
        names = sorted(set(re.findall(r"([a-z0-9.+-]+)(?: \([^)]*\))?(?:,|\s|$)", depends))
                       - {"libpawl0"})
        root.run("apt-get update -qq && apt-get install -y -qq --no-install-recommends "
                 + " ".join(names))
        before = root.files()
        for deb in debs:
            shutil.copy(deb, inside)
        root.run("dpkg -i /srv/*.deb")
        if not (root.path / "etc/systemd/system/multi-user.target.wants/pawld.service").is_symlink():
            raise SystemExit("package root: the service is not enabled")
        if any(root.path.glob("etc/systemd/system/*.wants/pawld.socket")):
            raise SystemExit("package root: the socket is enabled, which nobody asked for")
        soak.say("package root: installed, and enabled")
        first = session(root, "pawlctl --addr unix:/run/pawl/pawld.sock check --limit login alice\n"
                              "pawlctl --addr unix:/run/pawl/pawld.sock check --limit login alice\n"
                              "pawlctl --addr unix:/run/pawl/pawld.sock revoke subject --sub mallory")
        expect(first, r"allow", "started as the service does, and answered")
        for deb in inside.glob("*.deb"):
            deb.unlink()
        for deb in newer(debs, folder).glob("*.deb"):
            shutil.copy(deb, inside)
        (root.path / "etc/pawl/pawld.yaml").open("a").write("# kept\n")
        root.run("dpkg -i --force-confold /srv/*.deb")
        expect(root.run("dpkg-query -W pawld"), r"\+next", "upgraded")
        if not (root.path / "etc/pawl/pawld.yaml").read_text().endswith("# kept\n"):
            raise SystemExit("package root: the settings were changed by the upgrade")
        after = session(root, "pawlctl --addr unix:/run/pawl/pawld.sock --json "
                              "check --limit login --peek alice\n"
                              "pawlctl --addr unix:/run/pawl/pawld.sock --json "
                              "token check --jti j --sub mallory --iat 1000000000 || true")
        expect(after, r'"count": ?2\b', "counts are those from before the upgrade")
        expect(after, r'"status": ?"revoked"', "and so are revocations")
        root.run("dpkg -r pawld pawlctl libpawl-dev libpawl0")
        if not (root.path / "var/lib/pawl/pawl.db").exists():
            raise SystemExit("package root: remove took the state; only purge may")
        soak.say("package root: removed, the state stayed")
        root.run("dpkg -P pawld pawlctl libpawl-dev libpawl0; rm -f /srv/*.deb /tmp/log")
        left = sorted(root.files() - before)
        if left:
            raise SystemExit("package root: left behind: " + ", ".join(left))
        for name in ("passwd", "group"):
            if re.search(r"(?m)^pawl:", (root.path / "etc" / name).read_text()):
                raise SystemExit(f"package root: pawl is still in /etc/{name}")
        soak.say("package root: purged, nothing left")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("packages", nargs="?", default=suites.ROOT / "build" / "packages")
    asked = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("package root: NOT RUN, it needs root")
    begun = time.monotonic()
    prove(asked.packages)
    soak.say(f"package root: passed after {time.monotonic() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())

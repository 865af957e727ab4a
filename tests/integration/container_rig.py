"""A container as an engine makes one: the root of the image, read-only, in namespaces of its own,
pawld as process 1 and nobody's user. It needs root; its end is that of its namespaces."""

import json
import os
import pathlib
import re
import shlex
import signal
import subprocess

from conftest import PATIENCE_S, ROOT, Result, wait_for

USER = 65532
#: As the runtime does: /proc, /dev and /sys of its own, volumes, then all but volumes read-only.
#: Nothing of it is left to process 1 but what its command line says.
SCRIPT = r"""set -e
root=$1; shift
mount --bind "$root" "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t tmpfs -o nosuid,mode=755 tmpfs "$root/dev"
for device in null urandom; do
    touch "$root/dev/$device"
    mount --bind /dev/$device "$root/dev/$device"
done
mount -o remount,ro "$root/dev"
mount -t tmpfs -o nosuid,nodev,noexec tmpfs "$root/sys"
mkdir -p "$root/sys/fs/cgroup"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
%s
mount -o remount,bind,ro,nosuid,nodev "$root"
ip link set lo up
exec chroot --userspec=%d:%d --groups= "$root" "$@"
"""


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          **options)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


class Container:
    """Files of the host that are mounted: data (or none), run, and conf, which is read-only."""

    def __init__(self, root, folder, environment, data=True):
        self.root = pathlib.Path(root)
        self.folder = pathlib.Path(folder)
        self.environment = environment
        self.volumes = {}
        self.mount("/run/pawl", "run")
        self.mount("/etc/pawl", "conf")
        if data:
            self.mount("/var/lib/pawl", "data")
        self.folder.chmod(0o755)
        self.log_path = self.folder / "log"
        self.process = None
        self.pid = None
        self.groups = ()  # control groups, as folders

    def mount(self, inside, name=None):
        """A folder of the host at @inside, read-only below /etc; its path out here."""
        path = self.folder / (name or inside.rpartition("/")[2])
        path.mkdir()
        os.chown(path, USER, USER)
        self.volumes[inside] = path
        return path

    @property
    def unix(self):
        return f"unix:{self.folder}/run/pawld.sock"

    def start(self, *arguments, wait=True):
        mounts = []
        for inside, outside in self.volumes.items():
            options = "ro" if inside.startswith("/etc/") else "rw"
            target = f'"$root"{inside}'
            mounts += [f"mount --bind {shlex.quote(str(outside))} {target}",
                       f"mount -o remount,bind,{options},nosuid,nodev,noexec {target}"]
        script = SCRIPT % ("\n".join(mounts), USER, USER)
        self.pid = None
        log = open(self.log_path, "ab")
        self.seen = log.tell()
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child",
             "--propagation", "private", "sh", "-c", script, "sh", self.root, "/usr/sbin/pawld",
             *map(str, arguments)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=self.join_group,
            env=dict(word.split("=", 1) for word in self.environment))
        log.close()
        self.pid = wait_for(self.find_first, "process 1")
        if wait:
            wait_for(self.is_ready, "pawld ready")
        return self

    def join_group(self):
        for group in self.groups:
            (group / "cgroup.procs").write_text("0")

    def find_first(self):
        """The process that is 1 inside, once it is pawld, by the host's number."""
        if self.process.poll() is not None:
            raise AssertionError(f"ended with {self.process.returncode}: {self.text()}")
        own = self.process.pid
        children = pathlib.Path(f"/proc/{own}/task/{own}/children").read_text().split()
        for child in children:
            command = pathlib.Path(f"/proc/{child}/cmdline").read_bytes()
            if command.startswith(b"/usr/sbin/pawld\0"):
                return int(child)
        return None

    def is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"ended with {self.process.returncode}: {self.text()}")
        return self.event("ready")

    def text(self):
        with open(self.log_path, "rb") as file:
            file.seek(self.seen)
            return file.read().decode("utf-8", "replace")

    def events(self, name):
        found = []
        for line in self.text().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return [line for line in found if line.get("event") == name
                and line.get("level") != "audit"]

    def event(self, name):
        return next(iter(self.events(name)), None)

    def status_field(self, name):
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return re.search(rf"(?m)^{name}:[ \t]*(.*)$", text).group(1).split()

    def enter(self, *command):
        """As `kubectl exec` does, as the image's user, in the image's environment."""
        return subprocess.run(
            ["nsenter", "-t", str(self.pid), "-m", "-p", "-n", "-i", "-u", "-r", "-w",
             "-S", str(USER), "-G", str(USER), *map(str, command)],
            capture_output=True, text=True, timeout=2 * PATIENCE_S,
            env=dict(word.split("=", 1) for word in self.environment))

    def ctl(self, *arguments, check=None):
        result = Result(self.enter("pawlctl", "--json", *arguments))
        if check is not None:
            assert result.code == check, (arguments, result)
        return result

    def signal(self, number):
        os.kill(self.pid, number)

    def wait_end(self):
        code = self.process.wait(PATIENCE_S)
        self.process = None
        return code

    def stop(self):
        self.signal(signal.SIGTERM)
        return self.wait_end()

    def close(self):
        if self.process is None or self.process.poll() is not None:
            return
        if self.pid is not None:  # it has another user, so it outlives its parent
            os.kill(self.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait()


def unpack(tar, folder):
    folder.mkdir()
    run("tar", "-C", folder, "--numeric-owner", "--same-owner", "-xpf", tar)
    return folder


def image_module():
    """deploy/container/image.py, which reads the Dockerfile."""
    import importlib.util
    spec = importlib.util.spec_from_file_location("image", ROOT / "deploy/container/image.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

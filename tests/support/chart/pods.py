"""Runs a rendered pod on this machine as a kubelet would: an address of its own (a network
namespace), a read-only root of its own with the volumes where the pod mounts them, the pod's user
and group, no capabilities, arguments with their variables in place. No cgroups, no seccomp profile,
no image: the root is this machine's /usr and the build's pawld.

Needs root and `ip netns`; see deploy/demo/fleet.py for places.
"""

import os
import pathlib
import shlex
import shutil
import subprocess
import urllib.parse

import chart
import objects

SYSTEM = ("usr", "lib", "lib64", "bin", "sbin")


class Mount:
    """A volume as the kubelet lays it out: name -> ..data/name, ..data -> ..N, by rename."""

    def __init__(self, folder, mode, group):
        self.folder, self.mode, self.group, self.turn = pathlib.Path(folder), mode, group, 0
        self.folder.mkdir(parents=True)
        os.chown(self.folder, 0, group)
        self.folder.chmod(0o2755)

    def put(self, files):
        """@files: name -> text; in place of what was there, at once."""
        old, self.turn = self.folder / f"..{self.turn}", self.turn + 1
        new = self.folder / f"..{self.turn}"
        new.mkdir()
        new.chmod(0o755)
        for name, text in files.items():
            path = new / name
            path.write_text(text)
            os.chown(path, 0, self.group)
            path.chmod(self.mode)
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        link = self.folder / "..data_tmp"
        link.symlink_to(new.name)
        link.rename(self.folder / "..data")
        if old.exists():
            shutil.rmtree(old)


class Pod:
    """Pod @number of a rendered workload, with @secrets: name of Secret -> key -> text.

    @claims: where the volumes of claims are, which outlive a pod; in its own folder if not said.
    """

    def __init__(self, rig, place, folder, rendered, number, secrets, build, claims=None):
        workload = rendered.workload
        _, self.spec = objects.pod_of(workload)
        self.container = self.spec["containers"][0]
        self.rig, self.place, self.build = rig, place, pathlib.Path(build).resolve()
        self.folder = pathlib.Path(folder)
        self.name = f"{workload['metadata']['name']}-{number}"
        security = self.spec["securityContext"]
        self.user, self.group = security["runAsUser"], security["runAsGroup"]
        self.fs_group = security["fsGroup"]
        self.server, self.starts, self.volumes = None, 0, {}
        for volume in self.spec["volumes"]:
            self.volumes[volume["name"]] = self._volume(volume, rendered, secrets)
        for claim in workload["spec"].get("volumeClaimTemplates", []):
            name = claim["metadata"]["name"]
            self.volumes[name] = self._empty(name, claims and claims / f"{name}-{self.name}")

    def _empty(self, name, path=None):
        path = path or self.folder / name
        if not path.exists():
            path.mkdir(parents=True)
            os.chown(path, 0, self.fs_group)
            path.chmod(0o2777)
        return path

    def _volume(self, volume, rendered, secrets):
        if "emptyDir" in volume:
            return self._empty(volume["name"])
        if "configMap" in volume:
            mount = Mount(self.folder / volume["name"], 0o644, self.fs_group)
            mount.put(rendered.one("ConfigMap", volume["configMap"]["name"])["data"])
            return mount
        secret = volume["secret"]
        held = secrets[secret["secretName"]]
        names = {item["path"]: item["key"] for item in secret.get("items", [])} or {
            key: key for key in held}
        mount = Mount(self.folder / volume["name"], secret["defaultMode"], self.fs_group)
        mount.put({path: held[key] for path, key in names.items()})
        return mount

    def swap(self, rendered):
        """The ConfigMap has changed."""
        name = next(volume for volume in self.spec["volumes"] if "configMap" in volume)
        self.volumes[name["name"]].put(
            rendered.one("ConfigMap", name["configMap"]["name"])["data"])

    def rotate(self, secret, held):
        """The Secret of that name has changed; @held: key -> text of all of it."""
        for volume in self.spec["volumes"]:
            if volume.get("secret", {}).get("secretName") == secret:
                self.volumes[volume["name"]].put(held)

    # ---- running ----

    def _root(self, hosts, etc):
        """The commands that make the root; all of it ends with the process."""
        root = self.folder / "root"
        root.mkdir(exist_ok=True)
        lines = [f"mount -t tmpfs -o mode=0755 tmpfs {root}", f"cd {root}", "mkdir proc dev opt"]
        for name in SYSTEM:
            path = pathlib.Path("/", name)
            if path.is_symlink():
                lines.append(f"ln -s {os.readlink(path)} {name}")
            elif path.is_dir():
                lines.append(f"mkdir {name}; mount --rbind -o ro /{name} {name}")
        lines += ["mount -t proc proc proc", "mount --rbind /dev dev",
                  f"mount --bind -o ro {self.build} opt"]
        table = "".join(f"{address} {name}\\n" for name, address in hosts.items())
        lines += ["mkdir etc", f"printf '{table}' > etc/hosts"]
        lines += [f"printf %s {shlex.quote(text)} > etc/{name}" for name, text in etc.items()]
        for mount in self.container["volumeMounts"]:
            volume = self.volumes[mount["name"]]
            source = volume.folder if isinstance(volume, Mount) else volume
            target = mount["mountPath"].lstrip("/")
            lines.append(f"mkdir -p {target}; mount --bind {source} {target}")
            if mount.get("readOnly"):
                lines.append(f"mount -o remount,bind,ro {target}")
        return lines + [f"mount -o remount,ro {root}"], root

    def start(self, hosts=None, etc=None):
        """The container's process, as the namespace's only one. @hosts: names it can look up; @etc:
        further files of /etc, name -> text."""
        lines, root = self._root(hosts or {}, etc or {})
        facts = {"metadata.name": self.name, "status.podIP": self.place.host}
        words = chart.command_line(self.container, facts)
        env = chart.environment(self.container, facts)
        inside = ["setpriv", f"--reuid={self.user}", f"--regid={self.group}",
                  f"--groups={self.fs_group}", "--no-new-privs", "--bounding-set=-all",
                  "--inh-caps=-all", "env", "-i", *(f"{k}={v}" for k, v in env.items()),
                  "/opt/pawld", *words]
        script = "set -e\n" + "\n".join(lines) + f"\nexec chroot {root} {shlex.join(inside)}"
        self.starts += 1
        self.server = self.rig.Server(
            self.place, ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
            self.folder / f"log{self.starts}")
        return self

    def ctl(self, *words):
        """(exit status, output) of pawlctl in the container: over its socket."""
        run = self.volumes["run"] / "pawld.sock"
        done = subprocess.run([self.build / "pawlctl", "--addr", f"unix:{run}", "--json", *words],
                              capture_output=True, text=True, timeout=20)
        return done.returncode, done.stdout.strip() or done.stderr.strip()

    def probe(self, kind):
        """The status of the pod's probe @kind, asked as the kubelet does; 0: no answer in time."""
        rules = self.container[f"{kind}Probe"]
        get, limit_s = rules["httpGet"], rules.get("timeoutSeconds", 1)
        port = objects.named_ports(self.spec)[get["port"]]
        url = f"http://{self.place.host}:{port}{urllib.parse.quote(get['path'])}"
        done = subprocess.run(
            self.place.wrap(["curl", "-s", "-o", "/dev/null", "-m", str(limit_s), "-w", "%{http_code}",
                             url]), capture_output=True, text=True)
        return int(done.stdout or 0)

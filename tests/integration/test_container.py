"""The container image: what is in its root, that it is the same each time, and pawld living in it
as process 1. `./dev soak --only image` builds the Dockerfile itself, with buildah."""

import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import tarfile
import time

import pytest

import tls
from conftest import BUILD, ROOT, Connection, check_request, in_parallel, wait_for
from container_rig import USER, Container, image_module, run, unpack
from test_operations import ConfigMap, limits, replaced

pytestmark = pytest.mark.release

CONTAINER = ROOT / "deploy" / "container"
SIZE_MAX = 40 * 2 ** 20
#: Made by build_root.py; everything else is a file of a Debian package, to the byte.
MADE = {"usr/sbin/pawld", "usr/bin/pawlctl", "usr/share/doc/pawl/copyright",
        "usr/share/doc/pawl/LICENSE", "etc/passwd", "etc/group", "etc/nsswitch.conf",
        "etc/ssl/certs/ca-certificates.crt"}


def make_root(tar, **options):
    run("/usr/bin/python3", CONTAINER / "build_root.py", BUILD, tar, **options)
    return tar


@pytest.fixture(scope="module")
def tar(tmp_path_factory):
    return make_root(tmp_path_factory.mktemp("image") / "rootfs.tar")


@pytest.fixture(scope="module")
def root(tar):
    """Unpacked, where files can have owners."""
    if os.geteuid() != 0:
        pytest.skip("the files of the root have owners: it needs root")
    probe = subprocess.run(["unshare", "--mount", "--pid", "--net", "--fork", "mount", "-t",
                            "tmpfs", "none", "/mnt"], capture_output=True, text=True)
    if probe.returncode != 0:
        pytest.skip(f"no namespaces to make here: {probe.stderr.strip()}")
    # Short: volumes below it have sockets. Open to its user, as a runtime's folder is.
    folder = pathlib.Path(subprocess.run(["mktemp", "-d", "/tmp/pawl-root-XXXXXX"], check=True,
                                         capture_output=True, text=True).stdout.strip())
    folder.chmod(0o755)
    yield unpack(tar, folder / "root")
    shutil.rmtree(folder)


def entries(tar):
    with tarfile.open(tar) as archive:
        return {entry.name: entry for entry in archive}


# ---- the root ----------------------------------------------------------------------------------


def test_there_is_nothing_to_run_but_pawl(tar):
    runnable = {name for name, entry in entries(tar).items()
                if entry.isreg() and entry.mode & 0o111}
    loader = {name for name in runnable if re.fullmatch(r"usr/lib/[^/]+/(ld-linux.*|libc\.so\.6)",
                                                        name)}
    assert runnable - loader == {"usr/sbin/pawld", "usr/bin/pawlctl"}
    assert len(loader) == 2


def test_no_file_gives_rights_to_others(tar):
    for name, entry in entries(tar).items():
        if entry.issym():
            continue
        assert entry.isreg() or entry.isdir(), f"{name}: neither file nor folder"
        assert entry.mode & (stat.S_ISUID | stat.S_ISGID | 0o022) == 0, (name, oct(entry.mode))
        own = name in ("run/pawl", "var/lib/pawl")
        assert (entry.uid, entry.gid) == ((USER, USER) if own else (0, 0)), name


def test_it_is_small(tar):
    size = sum(entry.size for entry in entries(tar).values())
    print(f"root: {size / 2 ** 20:.1f} MiB, {SIZE_MAX >> 20} MiB at most")
    assert size < SIZE_MAX


def packaged():
    """path -> MD5, of all files of all packages here; paths as after the merge of /usr."""
    sums = {}
    for listed in pathlib.Path("/var/lib/dpkg/info").glob("*.md5sums"):
        for line in listed.read_text().splitlines():
            digest, _, path = line.partition("  ")
            sums[re.sub(r"^(lib|lib64|bin|sbin)/", r"usr/\1/", path)] = digest
    return sums


def test_every_file_is_one_of_a_package_or_known(tar):
    sums = packaged()
    with tarfile.open(tar) as archive:
        for entry in archive:
            name = entry.name
            if not entry.isreg() or name in MADE or name.startswith("var/lib/dpkg/status.d/"):
                continue
            data = archive.extractfile(entry).read()
            copyright_of = re.fullmatch(r"usr/share/doc/([^/]+)/copyright", name)
            if copyright_of and name not in sums:  # a link to that of another package
                assert os.path.exists(f"/{name}"), name
                continue
            assert hashlib.md5(data).hexdigest() == sums.get(name), f"{name}: whose is it?"


def test_each_package_comes_with_its_licence_and_its_entry_for_scanners(tar):
    names = set(entries(tar))
    packages = {name.rpartition("/")[2] for name in names if "/status.d/" in name
                and not name.endswith("status.d")}
    assert {"libc6", "tzdata", "ca-certificates", "libssl3"} <= packages
    with tarfile.open(tar) as archive:
        for package in packages:
            text = archive.extractfile(f"usr/share/doc/{package}/copyright").read().decode()
            # Debian's copyright files name the long texts, which another package has.
            named = set(re.findall(r"usr/share/common-licenses/(?:GPL|LGPL|Apache)-[0-9.]*[0-9]",
                                   text))
            assert named <= names, (package, named - names)
        assert "usr/share/common-licenses/LGPL-2.1" in names
        text = archive.extractfile("var/lib/dpkg/status.d/libc6").read().decode()
    assert re.search(r"(?m)^Package: libc6$", text) and re.search(r"(?m)^Version: \S+$", text)


def needed(path):
    """The libraries and the loader that an ELF file names; None: it is no such file."""
    if path.read_bytes()[:4] != b"\x7fELF":
        return None
    text = run("readelf", "-dl", path)
    names = re.findall(r"\(NEEDED\).*\[(.+)\]", text)
    return names, re.findall(r"program interpreter: (\S+)\]", text)


def test_every_library_and_link_leads_somewhere_inside(root):
    folders = [folder for folder in root.glob("usr/lib/*") if folder.is_dir()]
    inside = {path.name for folder in folders for path in folder.iterdir()}
    seen = 0
    for path in root.rglob("*"):
        if path.is_symlink():
            target = os.readlink(path)
            end = root / target.lstrip("/") if target.startswith("/") else path.parent / target
            assert end.exists(), f"{path} leads nowhere"
        elif path.is_file() and (found := needed(path)):
            seen += 1
            assert set(found[0]) <= inside, path
            assert all((root / loader.lstrip("/")).exists() for loader in found[1])
    assert seen > 10
    for program in ("/usr/sbin/pawld", "/usr/bin/pawlctl"):
        assert "pawl" in run("chroot", root, program, "--version")


def test_time_zones_and_authorities_are_there(tar):
    names = entries(tar)
    assert "usr/share/zoneinfo/Europe/Berlin" in names and "usr/share/zoneinfo/UTC" in names
    with tarfile.open(tar) as archive:
        text = archive.extractfile("etc/ssl/certs/ca-certificates.crt").read().decode()
    listed = {path.read_text().strip() for path in
              pathlib.Path("/usr/share/ca-certificates").rglob("*.crt")}
    found = {block.strip() for block in re.findall(
        r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.S)}
    assert len(found) > 50
    # Debian's, and none that somebody added to this machine.
    assert found == {block for text in listed for block in re.findall(
        r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.S)}


def test_same_input_gives_the_same_bytes(tar, tmp_path):
    again = tmp_path / "again" / "rootfs.tar"
    make_root(again, cwd=tmp_path, umask=0o077, env=dict(
        os.environ, PYTHONHASHSEED="7", LC_ALL="C.UTF-8", TZ="Asia/Tokyo"))
    assert again.read_bytes() == tar.read_bytes()
    later = make_root(tmp_path / "later.tar", env=dict(os.environ, SOURCE_DATE_EPOCH="1000000000"))
    assert {entry.mtime for entry in entries(later).values()} == {1000000000}


# ---- the image ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(tar):
    out = tar.with_name("pawl.tar")
    run("/usr/bin/python3", CONTAINER / "image.py", tar, out, "--revision", "abc")
    return out


def final_config():
    text = (CONTAINER / "Dockerfile").read_text()
    return image_module().config_of(text, {"REVISION": "abc"})


def test_engines_read_the_archive_as_either_kind(archive, tar, tmp_path):
    quiet = {"env": dict(os.environ, TMPDIR=str(tmp_path))}
    for kind in ("oci-archive", "docker-archive"):
        config = json.loads(run("skopeo", "inspect", "--config", f"{kind}:{archive}", **quiet))
        # As podman and containerd keep it, there is no place for the health check.
        wanted = {name: value for name, value in final_config().items() if name != "Healthcheck"}
        assert {name: config["config"][name] for name in wanted} == wanted | {
            "Labels": wanted["Labels"] | {"org.opencontainers.image.created": config["created"]}}
        assert config["rootfs"]["diff_ids"] == [
            "sha256:" + hashlib.sha256(tar.read_bytes()).hexdigest()]
    # Reads every blob and compares its digest.
    run("skopeo", "--insecure-policy", "copy", "-q", f"oci-archive:{archive}",
        f"dir:{tmp_path / 'copied'}", **quiet)


def test_the_archive_is_the_same_each_time_and_says_what_it_is(archive, tar, tmp_path):
    again = tmp_path / "again.tar"
    run("/usr/bin/python3", CONTAINER / "image.py", tar, again, "--revision", "abc")
    assert again.read_bytes() == archive.read_bytes()
    with tarfile.open(archive) as blobs:
        listed = json.load(blobs.extractfile("manifest.json"))[0]
        config = json.load(blobs.extractfile(listed["Config"]))
    assert config["config"]["Healthcheck"] == final_config()["Healthcheck"]
    labels = config["config"]["Labels"]
    assert labels["org.opencontainers.image.revision"] == "abc"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert config["architecture"] == run("dpkg", "--print-architecture").strip()


def test_the_dockerfile_says_what_the_build_makes():
    text = (CONTAINER / "Dockerfile").read_text()
    config = final_config()
    version = re.search(r"project\(pawl VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())
    assert config["Labels"]["org.opencontainers.image.version"] == version.group(1)
    assert config["User"] == f"{USER}:{USER}"
    printed = run(BUILD / "pawld", "--print-config", env={"RUNTIME_DIRECTORY": "/run/pawl",
                                                          "STATE_DIRECTORY": "/var/lib/pawl"})
    ports = set(re.findall(r"127\.0\.0\.1:(\d+)", printed))
    assert {port.partition("/")[0] for port in config["ExposedPorts"]} == ports and len(ports) == 2
    assert config["Healthcheck"]["Test"][:2] == ["CMD", "/usr/bin/pawlctl"]
    assert "PATH=/usr/sbin:/usr/bin" in config["Env"], "for kubectl exec ... pawlctl"
    for line in re.findall(r"(?m)^FROM (.*)$", text):
        assert re.fullmatch(r"\$\{BASE\} AS build|scratch", line), "pinned by --build-arg BASE"
    instructions = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    assert not re.search(r"amd64|x86|arm|-march|--platform", instructions)


def test_the_build_installs_what_the_list_marks():
    """Every library that CMake asks for comes with a marked package; buildah proves the rest."""
    marked = set(re.findall(r"(?m)^(\S+) +image: ", (ROOT / ".ci/packages").read_text()))
    modules = re.findall(r"pkg_check_modules\(\w+ REQUIRED IMPORTED_TARGET (\S+)\)",
                         (ROOT / "CMakeLists.txt").read_text())
    files = [run("pkg-config", "--variable=pcfiledir", module).strip() + f"/{module}.pc"
             for module in modules]
    owners = {line.partition(":")[0] for line in run("dpkg-query", "-S", *files).splitlines()}
    assert len(modules) > 10 and owners - marked == set()


# ---- alive -------------------------------------------------------------------------------------


@pytest.fixture
def make_container(root, tmp_path_factory):
    made = []

    def make(*arguments, start=True, conf=None, **options):
        folder = root.parent / f"c{len(made)}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        container = Container(root, folder, final_config()["Env"], **options)
        made.append(container)
        if conf is not None:
            (folder / "conf/pawld.yaml").write_text(conf)
            arguments = ("--config", "/etc/pawl/pawld.yaml", *arguments)
        if start:
            container.start(*arguments)
        return container

    yield make
    for container in made:
        container.close()


def test_it_answers_as_process_1_of_nobodys_user_in_a_root_that_cannot_be_written(make_container):
    container = make_container()
    assert container.status_field("NSpid")[-1] == "1"
    assert container.status_field("Uid") == [str(USER)] * 4 == container.status_field("Gid")
    assert container.status_field("Groups") == []
    assert container.status_field("CapEff") == ["0" * 16]
    mounts = pathlib.Path(f"/proc/{container.pid}/mountinfo").read_text().splitlines()
    modes = {line.split()[4]: line.split()[5].split(",")[0] for line in mounts}
    assert modes["/"] == "ro" == modes["/etc/pawl"] and modes["/run/pawl"] == "rw"
    assert container.ctl("check", "--rate", "2/hour", "k", check=0).json["verdict"] == "allow"
    container.ctl("check", "--rate", "2/hour", "k", check=0)
    container.ctl("check", "--rate", "2/hour", "k", check=1)
    container.ctl("revoke", "subject", "--sub", "mallory", check=0)
    sandbox = container.ctl("status", check=0).json["sandbox"]
    assert sandbox.startswith("seccomp"), sandbox
    assert container.status_field("Seccomp") == ["2"]
    assert not (container.root / "tmp").exists()
    assert {path.name for path in (container.folder / "data").iterdir()} >= {"pawl.db", "secret"}
    assert container.stop() == 0


def test_calendar_quotas_have_their_zones(make_container):
    container = make_container(conf="limits: {plan: {rate: 5/month, algorithm: calendar, "
                                    "zone: Europe/Berlin}}\n")
    assert container.ctl("check", "plan=k", check=0).json["verdict"] == "allow"


def test_the_health_check_is_good_while_it_answers_and_only_then(make_container, root):
    container = make_container()
    command = final_config()["Healthcheck"]["Test"][1:]
    assert container.enter(*command).returncode == 0
    container.signal(signal.SIGSTOP)
    begun = time.monotonic()
    assert container.enter(*command).returncode != 0
    assert time.monotonic() - begun < 10
    container.signal(signal.SIGCONT)
    wait_for(lambda: container.enter(*command).returncode == 0, "health again")
    assert container.stop() == 0
    gone = subprocess.run(["chroot", root, *command], capture_output=True)
    assert gone.returncode != 0


def test_sigterm_drains_and_no_request_fails(make_container, wire):
    container = make_container()
    connections = [Connection(wire, container.unix) for _ in range(20)]
    for connection in connections:
        connection.send(*[connection.request(check=check_request(wire, b"k", (10 ** 6, 60000)))
                          for _ in range(50)])
    begun = time.monotonic()
    container.signal(signal.SIGTERM)

    def answers(at):
        count = 0
        while (reply := connections[at].receive()) is not None:
            assert reply.status == wire.STATUS_OK or reply.HasField("goaway"), reply
            count += reply.HasField("check")
        connections[at].close()
        return count

    assert in_parallel(20, answers) == [50] * 20
    assert container.wait_end() == 0
    assert time.monotonic() - begun < 10  # server.drain_timeout
    assert container.event("stopped")["why"] == "drained"
    assert not (container.folder / "run/pawld.sock").exists()


def test_a_second_sigterm_ends_it_at_once(make_container, wire):
    container = make_container(conf="server: {drain_timeout: 1h, frame_timeout: 1h}\n")
    holding = Connection(wire, container.unix)
    holding.socket.sendall(b"\x00\x00\x01\x00half")
    container.ctl("ping", check=0)
    container.signal(signal.SIGTERM)
    wait_for(lambda: container.event("draining"), "the drain")
    container.signal(signal.SIGTERM)
    assert container.wait_end() == 1
    holding.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_it_serves_ends_it(make_container, number):
    """Process 1 has no default actions: without a handler it would wait for SIGKILL."""
    container = make_container(start=False)
    os.mkfifo(container.folder / "conf/pawld.yaml")  # nobody writes: reading the settings hangs
    container.start("--config", "/etc/pawl/pawld.yaml", wait=False)
    caught = wait_for(lambda: int(container.status_field("SigCgt")[0], 16) >> (number - 1) & 1 or
                      container.process.poll() is not None, "its handler", patience_s=10)
    assert caught and container.process.poll() is None
    container.signal(number)
    assert container.wait_end() == 128 + number


def test_sighup_reloads(make_container):
    container = make_container(conf=limits(5) + "watch: false\n")
    replaced(container.folder / "conf/pawld.yaml", limits(6) + "watch: false\n")
    container.signal(signal.SIGHUP)
    wait_for(lambda: container.event("reloaded"), "the reload")
    assert container.ctl("peek", "l=k", check=0).json["limits"][0]["limit_count"] == 6


def test_what_others_leave_to_it_is_no_zombie(make_container):
    container = make_container()
    # The shell ends, so its child falls to process 1 of the namespace.
    done = subprocess.run(["nsenter", "-t", str(container.pid), "-p", "sh", "-c",
                           "sleep 0.1 & sh -c 'echo $PPID' > /dev/null"], timeout=60)
    assert done.returncode == 0

    def children():
        own = container.pid
        return pathlib.Path(f"/proc/{own}/task/{own}/children").read_text().split()
    wait_for(lambda: children() == [], "the end of the orphan", patience_s=10)


def test_after_a_kill_it_starts_again_on_its_volumes(make_container):
    container = make_container()
    for _ in range(3):
        container.ctl("check", "--rate", "3/hour", "k", check=0)
    token = ("--jti", "a", "--exp", int(time.time()) + 3600)
    container.ctl("revoke", "token", *token, check=0)
    begun = time.monotonic()
    wait_for(lambda: time.monotonic() - container.ctl("status", check=0).json[
        "counter_unsaved_age_ms"] / 1000 > begun + 0.1, "the counts saved")
    container.signal(signal.SIGKILL)
    assert container.wait_end() != 0
    assert (container.folder / "run/pawld.sock").exists()
    container.start()
    container.ctl("check", "--rate", "3/hour", "k", check=1)
    assert container.ctl("token", "check", *token, check=1).json["status"] == "revoked"
    assert container.stop() == 0


def test_a_config_map_that_is_mounted_read_only_is_taken_when_it_is_swapped(make_container):
    container = make_container(start=False)
    shutil.rmtree(container.folder / "conf")
    config = ConfigMap(container.folder / "conf", "pawld.yaml", limits(5))
    container.start("--config", "/etc/pawl/pawld.yaml")

    def limit():
        return container.ctl("peek", "l=k", check=0).json["limits"][0]["limit_count"]

    config.put(limits(6))
    begun = time.monotonic()
    assert wait_for(lambda: container.event("reloaded"), "the reload")["by"] == "watch"
    print(f"taken after {time.monotonic() - begun:.2f} s")
    assert limit() == 6
    config.put("limits: {l: {rate: 7/fortnight}}\n")
    assert "fortnight" in wait_for(lambda: container.event("reload_refused"), "a refusal")["why"]
    assert limit() == 6
    status = container.ctl("status", check=0).json
    assert (status["reload_ok"], status["reload_failures"]) == (False, 1)
    config.put(limits(8))
    wait_for(lambda: limit() == 8, "the good one")
    assert container.stop() == 0


#: All that a user may have of them, in every container of the machine together.
HOLD_INOTIFY = f"""
import ctypes, os, sys
os.setgroups([]); os.setgid({USER}); os.setuid({USER})
library = ctypes.CDLL(None)
while library.inotify_init() >= 0:
    pass
print("held", flush=True)
sys.stdin.read()
"""


def test_a_swap_is_taken_where_other_containers_have_used_inotify_up(make_container):
    container = make_container(start=False)
    shutil.rmtree(container.folder / "conf")
    config = ConfigMap(container.folder / "conf", "pawld.yaml", limits(5))
    with subprocess.Popen(["/usr/bin/python3", "-c", HOLD_INOTIFY], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        container.start("--config", "/etc/pawl/pawld.yaml")
        status = container.ctl("status", check=0).json
        assert status["watch_whole"] is False and container.event("watch_incomplete")
        config.put(limits(6))
        assert wait_for(lambda: container.event("reloaded"), "the reload", 20)["by"] == "watch"
        other.stdin.close()
    assert container.stop() == 0


@pytest.fixture
def engine_at(tmp_path):
    """Start Redis with TLS in the network of a container; gone when the test ends."""
    made = []

    def start(container, pair):
        made.append(subprocess.Popen(
            ["nsenter", "-t", str(container.pid), "-n", "redis-server", "--port", "0", "--tls-port",
             "6379", "--tls-cert-file", pair[0], "--tls-key-file", pair[1], "--tls-auth-clients",
             "no", "--save", "", "--dir", tmp_path], stdout=subprocess.DEVNULL))

    yield start
    for engine in made:
        engine.kill()
        engine.wait()


def make_member(make_container, scheme, **options):
    """A container with the settings and the root secret of a fleet's member, not started."""
    container = make_container(
        start=False,
        conf="listen: [\"unix:/run/pawl/pawld.sock\", {uri: \"tcp:127.0.0.1:7401\", role: [check, "
             "read]}]\nsecret_file: secret\n"
             f"cluster: {{redis: [\"{scheme}://127.0.0.1:6379\"], "
             "advertise: \"tcp:127.0.0.1:7401\"}\n", **options)
    secret = container.folder / "conf/secret"
    secret.write_text("5a" * 32 + "\n")
    os.chown(secret, USER, USER)
    secret.chmod(0o400)
    return container


def test_one_of_a_fleet_needs_no_volume_for_data_and_trusts_the_image_s_authorities(
        make_container, engine_at, tmp_path):
    container = make_member(make_container, "rediss", data=False)
    # In the place of Debian's: what pawld trusts without a setting is this file of the image.
    trusted = container.mount("/etc/ssl/certs")
    authority = tls.Authority(tmp_path)
    shutil.copy(authority.certificate, trusted / "ca-certificates.crt")
    container.start("--config", "/etc/pawl/pawld.yaml", wait=False)
    engine_at(container, authority.leaf("engine", "IP:127.0.0.1"))
    wait_for(container.is_ready, "pawld ready")
    wait_for(lambda: container.ctl("check", "--rate", "5/hour", "k").code == 0, "a check")
    container.ctl("revoke", "subject", "--sub", "mallory", "--ack", "memory", check=0)
    assert container.stop() == 0


@pytest.fixture
def control_groups():
    """Fresh control groups of version 1 or 2, for processors and for memory; their folders."""
    top = pathlib.Path("/sys/fs/cgroup")
    made = []
    places = [top / "cpu", top / "memory"] if (top / "cpu").is_dir() else [top]
    try:
        for place in places:
            folder = place / f"pawl-test-{os.getpid()}"
            folder.mkdir()
            made.append(folder)
        yield made
    except OSError as error:
        pytest.skip(f"no control groups to make here: {error}")
    finally:
        for folder in made:
            wait_for(lambda: not (folder / "cgroup.procs").read_text(), "an empty group")
            folder.rmdir()


def test_it_keeps_to_the_quota_and_says_when_memory_is_short(make_container, control_groups):
    values = {"cpu.max": "50000 100000", "memory.max": str(300 << 20),
              "cpu.cfs_quota_us": "50000", "memory.limit_in_bytes": str(300 << 20)}
    written = 0
    for group in control_groups:
        for name, value in values.items():
            if (group / name).exists():
                (group / name).write_text(value)
                written += 1
    if written < 2:
        pytest.skip("no controllers of processors and memory here")
    container = make_container(start=False)
    container.groups = control_groups
    container.start()
    said = container.event("memory_limit_low")
    assert said["limit_bytes"] == 300 << 20 and said["tables_max_bytes"] > 300 << 20
    assert container.event("ready")["workers"] == 1
    assert container.stop() == 0
    small = make_container(start=False)
    small.groups = control_groups
    small.start("--set", "memory_max=8MiB", "--set", "revocations_max=65536", "--set",
                "leases_max=1024", "--set", "server.buffers_max=64MiB")
    assert small.event("memory_limit_low") is None
    assert small.stop() == 0


def test_a_member_of_a_fleet_counts_its_log_of_revocations(make_container, control_groups):
    """A million of them fits in what one node alone may take here, and not in a member."""
    for group in control_groups:
        for name in ("memory.max", "memory.limit_in_bytes"):
            if (group / name).exists():
                (group / name).write_text(str(300 << 20))
    settings = ["--set", "memory_max=8MiB", "--set", "revocations_max=1000000", "--set",
                "leases_max=1024", "--set", "server.buffers_max=64MiB"]
    alone = make_container(start=False)
    alone.groups = control_groups
    alone.start(*settings)
    assert alone.event("memory_limit_low") is None
    assert alone.stop() == 0
    member = make_member(make_container, "redis")
    member.groups = control_groups
    member.start("--config", "/etc/pawl/pawld.yaml", *settings, wait=False)
    said = wait_for(lambda: member.event("memory_limit_low"), "the warning")
    assert said["tables_max_bytes"] > 300 << 20
    member.stop()

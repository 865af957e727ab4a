"""The systemd units: as closed as they say, and with what pawld needs."""

import ctypes
import errno
import os
import pathlib
import re
import signal
import subprocess

import pytest

from conftest import BUILD, ROOT, wait_for

UNITS = ROOT / "deploy" / "systemd"
EXPOSURE_MAX = 2.0  # of 10; what systemd-analyze calls OK ends at 5


def exposure(unit):
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", unit],
                          capture_output=True, text=True)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    return float(found.group(1))


def values(unit, key):
    return re.findall(rf"^{key}=(.*)$", (UNITS / unit).read_text(), re.M)


def gate(unit):
    return exposure(unit) <= EXPOSURE_MAX


def test_the_service_is_rated_two_or_better():
    assert gate(UNITS / "pawld.service")


@pytest.mark.parametrize("taken", ["SystemCallFilter", r"Protect\w+|Private\w+",
                                   "CapabilityBoundingSet|User|Group"])
def test_a_weakened_service_does_not_pass(taken, tmp_path):
    weak = tmp_path / "pawld.service"
    lines = (UNITS / "pawld.service").read_text().splitlines(keepends=True)
    weak.write_text("".join(line for line in lines if not re.match(rf"({taken})=", line)))
    assert not gate(weak)


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path):
    for unit in ("pawld.service", "pawld.socket"):
        text = (UNITS / unit).read_text().replace("/usr/sbin/pawld", "/bin/true")
        (tmp_path / unit).write_text(re.sub(r"^Documentation=.*\n", "", text, flags=re.M))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", tmp_path / "pawld.service",
                           tmp_path / "pawld.socket"], capture_output=True, text=True)
    about_ours = [line for line in done.stderr.splitlines() if "pawld" in line]
    assert about_ours == []


def system_calls(name):
    """What a name or @group of SystemCallFilter= stands for."""
    if not name.startswith("@"):
        return {name}
    listed = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager", name], check=True,
                            capture_output=True, text=True).stdout
    found = set()
    for line in listed.splitlines()[1:]:
        word = line.strip()
        if word and not word.startswith("#"):
            found |= system_calls(word)
    return found


def allowed_calls():
    """What SystemCallFilter= of the service comes to."""
    allowed = set()
    for line in values("pawld.service", "SystemCallFilter"):
        names = set().union(*(system_calls(name) for name in line.lstrip("~").split()))
        allowed = allowed - names if line.startswith("~") else allowed | names
    return allowed | system_calls("@default")


def filter_calls(names):
    """Allow the calling process @names; all else fails with EPERM, as systemd does it."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    allow, eperm = 0x7FFF0000, 0x00050000 | errno.EPERM
    made = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(eperm)))
    for name in names:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # below: of other machines
            library.seccomp_rule_add(made, ctypes.c_uint32(allow), number, 0)
    if library.seccomp_load(made) != 0:
        raise OSError("seccomp_load")


@pytest.mark.release
def test_the_daemon_lives_with_the_calls_that_the_service_allows(make_daemon):
    names = sorted(allowed_calls())
    pawld = make_daemon("--http", "127.0.0.1:0", start=False)
    pawld.start(preexec_fn=lambda: filter_calls(names))
    status = (pathlib.Path("/proc") / str(pawld.process.pid) / "status").read_text()
    assert re.search(r"^Seccomp_filters:\s+([2-9])", status, re.M), "ours and its own"
    pawld.ctl("check", "--rate", "5/minute", "k", check=0)
    pawld.ctl("revoke", "subject", "--sub", "s", check=0)
    pawld.process.send_signal(signal.SIGHUP)
    wait_for(lambda: pawld.event("reloaded"), "a reload")
    assert pawld.stop() == 0


def test_the_service_allows_what_the_daemon_allows_itself():
    """pawld's own filter, set once it has started, must not need what the unit has taken."""
    allowed = allowed_calls()
    source = (ROOT / "daemon/adapter/sys/syscalls.c").read_text()
    table = re.search(r"\{\n((?:\s+\"\w+\",.*\n|\s*/\*.*\n|\s*\n)+)", source).group(1)
    own = set(re.findall(r'^\s+"(\w+)"', table, re.M))
    assert len(own) > 20
    # SQLite calls fchown for root alone, and sanitizers call mincore; the service is neither.
    assert sorted(own - allowed - {"fchown", "mincore"}) == []


def test_the_service_starts_pawld_with_options_that_it_takes(tmp_path):
    command = values("pawld.service", "ExecStart")[0].split()
    assert command[0] == "/usr/sbin/pawld"
    (tmp_path / "pawld.yaml").write_text((ROOT / "deploy/pawld.yaml").read_text())
    words = [word.replace("/etc/pawl/", f"{tmp_path}/") for word in command[1:]]
    done = subprocess.run([BUILD / "pawld", *words, "--check-config"], capture_output=True,
                          text=True, env={"PATH": os.environ["PATH"]})
    assert done.returncode == 0, done.stderr


def test_the_socket_is_one_that_the_sample_settings_listen_on():
    sample = (ROOT / "deploy/pawld.yaml").read_text()
    for path in values("pawld.socket", "ListenStream"):
        assert f"unix:{path}" in sample


def test_the_service_reloads_watches_and_gives_time_to_drain():
    assert values("pawld.service", "Type") == ["notify"]
    assert values("pawld.service", "ExecReload") == ["/bin/kill -HUP $MAINPID"]
    assert values("pawld.service", "WatchdogSec") == ["30s"]
    assert values("pawld.service", "RestartPreventExitStatus") == ["2"]
    drain = re.search(r"drain_timeout: (\d+)s", (ROOT / "deploy/pawld.yaml").read_text())
    assert int(values("pawld.service", "TimeoutStopSec")[0].rstrip("s")) > int(drain.group(1))

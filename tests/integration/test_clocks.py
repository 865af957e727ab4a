"""Clocks that are wrong: restarts with the wall clock an hour off, reboots, jumps of a year.

A preloaded library (tests/support/clock_shim.c) moves CLOCK_REALTIME and CLOCK_BOOTTIME of the
daemon and gives it another boot id. The daemon knows nothing of it.
"""

import os
import struct
import subprocess
import time
import uuid

import pytest

from conftest import ROOT, wait_for

HOUR = 3600
YEAR = 365 * 86400
WINDOW_MS = 60_000


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    path = tmp_path_factory.mktemp("shim") / "clock_shim.so"
    subprocess.run(["cc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", path,
                    ROOT / "tests" / "support" / "clock_shim.c"], check=True)
    return path


class Machine:
    """The clocks that one daemon sees."""

    def __init__(self, folder, shim):
        self.clocks = folder / "clocks"
        self.boot = folder / "boot_id"
        self.wall_s = self.boot_s = 0
        self.set()
        self.new_boot_id()
        # The sanitizer wants to be first; being second does not harm it here.
        options = os.environ.get("ASAN_OPTIONS", "")
        self.env = {"LD_PRELOAD": str(shim), "PAWL_SHIM_CLOCKS": str(self.clocks),
                    "PAWL_SHIM_BOOT_ID": str(self.boot),
                    "ASAN_OPTIONS": f"{options}:verify_asan_link_order=0"}

    def set(self, wall_s=None, boot_s=None):
        self.wall_s = self.wall_s if wall_s is None else wall_s
        self.boot_s = self.boot_s if boot_s is None else boot_s
        data = struct.pack("qq", int(self.wall_s * 1e9), int(self.boot_s * 1e9))
        if not self.clocks.exists():
            self.clocks.write_bytes(data)
        with open(self.clocks, "r+b") as file:  # in place: it is mapped
            file.write(data)

    def new_boot_id(self):
        self.boot.write_text(f"{uuid.uuid4()}\n")

    def reboot(self):
        """Another boot id, and a clock that counts from there."""
        self.new_boot_id()
        self.set(boot_s=30 - time.clock_gettime(time.CLOCK_BOOTTIME))


@pytest.fixture
def machine(make_daemon, shim, tmp_path):
    machine = Machine(tmp_path, shim)
    # The shim opens files of its own in the daemon, which the sandbox would keep it from.
    pawld = make_daemon("--set", "sandbox=false", env=machine.env, start=False)
    pawld.machine = machine
    pawld.start()
    return pawld


def peek(pawld, key="k", rate="3/minute", code=None):
    return pawld.ctl("peek", "--rate", rate, key, check=code).json["limits"][0]


def end(pawld, how):
    """Stop it in one of two ways, with all counts saved."""
    if how == "kill":
        pawld.wait_saved()
        pawld.kill()
    else:
        assert pawld.stop() == 0


def later():
    return int(time.time()) + HOUR


def test_the_shim_moves_the_daemon_s_clocks(machine):
    now = int(time.time())
    machine.ctl("token", "check", "--jti", "a", "--exp", now + 600, check=0)
    machine.machine.set(wall_s=HOUR)
    answer = machine.ctl("token", "check", "--jti", "a", "--exp", now + 600, check=1).json
    assert answer["status"] == "expired"
    machine.machine.set(wall_s=0)
    machine.ctl("token", "check", "--jti", "a", "--exp", now + 600, check=0)
    assert machine.event("ready")["time"][:4] == time.strftime("%Y", time.gmtime())


@pytest.mark.parametrize("how", ["stop", "kill"])
@pytest.mark.parametrize("wall_s", [-HOUR, 0, HOUR])
def test_a_reboot_with_a_wrong_wall_clock_is_never_over_and_locks_out_a_window_at_most(
        machine, how, wall_s):
    codes = [machine.ctl("check", "--rate", "3/minute", "k").code for _ in range(4)]
    assert codes == [0, 0, 0, 1]
    machine.ctl("check", "--rate", "3/minute", "other", check=0)
    end(machine, how)
    machine.machine.set(wall_s=wall_s)
    machine.machine.reboot()
    machine.start()
    # Whatever the clocks say: the three are in the window, and leave it within one.
    full = peek(machine, code=1)
    assert full["count"] == 3
    assert 0 < full["retry_after_ms"] <= WINDOW_MS and full["reset_after_ms"] <= WINDOW_MS
    machine.ctl("check", "--rate", "3/minute", "k", check=1)
    codes = [machine.ctl("check", "--rate", "3/minute", "other").code for _ in range(3)]
    assert codes == [0, 0, 1]


@pytest.mark.parametrize("how", ["stop", "kill"])
@pytest.mark.parametrize("wall_s", [-HOUR, HOUR])
def test_the_same_boot_with_a_wrong_wall_clock_goes_on_exactly(machine, how, wall_s):
    for _ in range(3):
        machine.ctl("check", "--rate", "3/minute", "k", check=0)
    first = time.monotonic()
    before = peek(machine, code=1)["retry_after_ms"]
    first_end = time.monotonic()
    end(machine, how)
    machine.machine.set(wall_s=wall_s)
    machine.start()
    second = time.monotonic()
    after = peek(machine, code=1)["retry_after_ms"]
    second_end = time.monotonic()
    # The two readings lie between these ends; a millisecond of rounding at each.
    assert (second - first_end) * 1000 - 3 <= before - after <= (second_end - first) * 1000 + 3


@pytest.mark.parametrize("wall_s", [-HOUR, HOUR])
def test_after_a_reboot_the_key_is_let_in_again(machine, wall_s):
    window_s = 4
    rate = f"2/{window_s}s"
    charged = time.monotonic()
    for _ in range(2):
        machine.ctl("check", "--rate", rate, "k", check=0)
    end(machine, "stop")
    machine.machine.set(wall_s=wall_s)
    machine.machine.reboot()
    machine.start()

    def let_in():
        asked = time.monotonic()
        allowed = machine.ctl("check", "--rate", rate, "k").code == 0
        # Never over: not before the charges have really left the window.
        assert not allowed or time.monotonic() >= charged + window_s, asked - charged
        return allowed

    wait_for(let_in, "the window's end", 30)


def test_a_wall_clock_step_in_a_running_daemon_does_not_touch_limits(machine):
    for _ in range(3):
        machine.ctl("check", "--rate", "3/minute", "k", check=0)
    for wall_s in (HOUR, -HOUR, YEAR, -YEAR, 0):
        machine.machine.set(wall_s=wall_s)
        left = peek(machine, code=1)
        assert left["count"] == 3 and 0 < left["retry_after_ms"] <= WINDOW_MS


def revoked(pawld, *claims, exp=None):
    answer = pawld.ctl("token", "check", "--jti", "x", *claims, "--exp", exp or later()).json
    return answer["status"]


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_jump_of_a_year_drops_no_revocation(machine, how):
    exp, iat = later(), int(time.time()) - 10
    sid = machine.ctl("family", "open", "--sub", "bob", "--jti", "r", "--exp", exp,
                      check=0).json["sid"]
    for what in (["token", "--jti", "t", "--exp", exp], ["subject", "--sub", "anna"],
                 ["client", "--client", "app"], ["family", "--sid", sid]):
        machine.ctl("revoke", *what, check=0)
    held = machine.status()["revocations"]

    def all_hold():
        assert machine.ctl("token", "check", "--jti", "t", "--exp", exp).json["status"] == "revoked"
        assert revoked(machine, "--sub", "anna", "--iat", iat, exp=exp) == "revoked"
        assert revoked(machine, "--client", "app", "--iat", iat, exp=exp) == "revoked"
        assert revoked(machine, "--sid", sid, exp=exp) == "revoked"
        assert machine.status()["revocations"] >= held

    all_hold()
    machine.machine.set(wall_s=YEAR)
    # A write and a few pulses under the wrong clock: what trims, trims now.
    machine.ctl("revoke", "token", "--jti", "other", "--exp", exp + YEAR, check=0)
    pulses = machine.status()["uptime_s"]
    wait_for(lambda: machine.status()["uptime_s"] >= pulses + 2, "two seconds of trimming")
    assert machine.ctl("token", "check", "--jti", "t", "--exp", exp).json["status"] in (
        "expired", "revoked")
    machine.machine.set(wall_s=0)
    all_hold()
    # The same over a restart in the wrong year, and one back.
    for wall_s in (YEAR, 0):
        end(machine, how)
        machine.machine.set(wall_s=wall_s)
        machine.start()
        assert machine.status()["frozen"] is False
    all_hold()


def test_a_reboot_into_the_past_keeps_revocations_and_families(machine):
    exp = later()
    sid = machine.ctl("family", "open", "--sub", "bob", "--jti", "r0", "--exp", exp,
                      check=0).json["sid"]
    machine.ctl("rotate", "--sid", sid, "--from", "r0", "--to", "r1", "--exp", exp, check=0)
    machine.ctl("rotate", "--sid", sid, "--from", "r1", "--to", "r2", "--exp", exp, check=0)
    machine.ctl("revoke", "token", "--jti", "t", "--exp", exp, check=0)
    machine.stop()
    machine.machine.set(wall_s=-HOUR)
    machine.machine.reboot()
    machine.start()
    machine.ctl("token", "check", "--jti", "t", "--exp", exp, check=1)
    # Grace may only shrink: a token two generations old is theft on any clock.
    stolen = machine.ctl("rotate", "--sid", sid, "--from", "r0", "--to", "x", "--exp", exp,
                         check=1).json
    assert stolen["result"] == "reuse"


def test_a_new_login_after_a_log_out_everywhere_passes_on_a_clock_that_went_back(machine):
    exp = later()
    old = machine.ctl("family", "open", "--sub", "anna", "--jti", "r", "--exp", exp,
                      check=0).json["sid"]
    machine.ctl("revoke", "subject", "--sub", "anna", check=0)
    machine.stop()
    machine.machine.set(wall_s=-HOUR)
    machine.start()
    new = machine.ctl("family", "open", "--sub", "anna", "--jti", "r", "--exp", exp,
                      check=0).json["sid"]
    iat = int(time.time()) - HOUR
    token = ["token", "check", "--jti", "a", "--sub", "anna", "--iat", iat, "--exp", iat + 600]
    machine.ctl(*token, "--sid", old, check=1)
    machine.ctl(*token, "--sid", new, check=0)


def test_log_ins_and_refreshes_go_on_after_a_clock_that_was_a_year_ahead(machine):
    exp = later()
    machine.machine.set(wall_s=YEAR)
    machine.ctl("revoke", "token", "--jti", "other", "--exp", exp + YEAR, check=0)
    machine.machine.set(wall_s=0)
    for _ in range(2):
        machine.ctl("revoke", "subject", "--sub", "anna", check=0)
        sid = machine.ctl("family", "open", "--sub", "anna", "--jti", "r0", "--exp", exp,
                          check=0).json["sid"]
        machine.ctl("token", "check", "--jti", "a", "--sub", "anna", "--sid", sid,
                    "--iat", int(time.time()), "--exp", exp, check=0)
        assert machine.ctl("rotate", "--sid", sid, "--from", "r0", "--to", "r1", "--exp", exp,
                           check=0).json["result"] == "rotated"
        machine.restart()
    machine.ctl("family", "open", "--sub", "eve", "--jti", "r", "--exp", int(time.time()) - 60,
                check=2)

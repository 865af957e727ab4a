"""What deploy/BACKUP.md promises, played: copies of a data_dir that is in use, exports, and each way
back, for one node alone and for a fleet. Where the text warns of an order, that order is played too,
and what it loses is lost here.
"""

import contextlib
import json
import os
import pathlib
import re
import secrets
import shutil
import signal
import sqlite3
import threading
import time

import pytest
import yaml

from cluster_rig import HOUR_MS, calm, rig, used, verdict
from conftest import ROOT, Connection, check_request, wait_for

GUIDE = ROOT / "deploy" / "BACKUP.md"


def soon():
    return int(time.time()) + 3600


# ---- one node: copies while it writes ------------------------------------------------------------


class Writer:
    """Revokes w0, w1, ... until it is stopped; `acknowledged` of them durable by now."""

    def __init__(self, wire, pawld):
        self.wire, self.exp = wire, soon()
        self.connection = Connection(wire, pawld.unix)
        self.acknowledged, self.ends = 0, False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.ends:
            numbers = range(self.acknowledged, self.acknowledged + 8)
            self.connection.send(*[self.connection.request(revoke=self.wire.Revoke(
                scope=self.wire.SCOPE_TOKEN, value=b"w%d" % i, exp=self.exp,
                ack=self.wire.ACK_DURABLE)) for i in numbers])
            for _ in numbers:
                reply = self.connection.receive()
                assert reply.revoke.acknowledged == self.wire.ACK_DURABLE, reply
            self.acknowledged += len(numbers)

    def __enter__(self):
        wait_for(lambda: self.acknowledged >= 200, "revocations under way")
        return self

    def __exit__(self, *_):
        self.ends = True
        self.thread.join()
        self.connection.close()


@pytest.fixture
def busy(pawld, wire):
    """A node with a history that goes on writing."""
    pawld.exp = soon()
    pawld.ctl("revoke", "subject", "--sub", "anna", check=0)
    pawld.sid = pawld.ctl("family", "open", "--sub", "bob", "--jti", "r0", "--exp", pawld.exp,
                          check=0).json["sid"]
    pawld.ctl("rotate", "--sid", pawld.sid, "--from", "r0", "--to", "r1", "--exp", pawld.exp,
              check=0)
    for _ in range(3):
        pawld.ctl("check", "--rate", "3/hour", "k", check=0)
    pawld.wait_saved()
    with Writer(wire, pawld) as writer:
        pawld.writer = writer
        yield pawld


def status_of(connection, wire, exp, **claims):
    return connection.call(token_check=wire.TokenCheck(
        token=wire.Token(exp=exp, **claims))).token_check.status


def assert_knows(pawld, wire, busy, acknowledged):
    """Whatever was durable when the copy began, and the login."""
    connection = Connection(wire, pawld.unix)
    for i in range(acknowledged):
        assert status_of(connection, wire, busy.exp, jti=b"w%d" % i) == wire.TOKEN_REVOKED, i
    assert status_of(connection, wire, busy.exp, jti=b"x", subject=b"anna",
                     iat=int(time.time()) - 60) == wire.TOKEN_REVOKED
    assert status_of(connection, wire, busy.exp, jti=b"nobody") == wire.TOKEN_VALID
    connection.close()
    turned = pawld.ctl("rotate", "--sid", busy.sid, "--from", "r1", "--to", "r2", "--exp", busy.exp,
                       check=0).json
    assert turned["result"] == "rotated"


def by_backup(source, target):
    """`.backup` of sqlite3; what is written meanwhile makes it begin anew."""
    with contextlib.closing(sqlite3.connect(source)) as one, \
            contextlib.closing(sqlite3.connect(target)) as other:
        one.backup(other, pages=4)


def by_vacuum(source, target):
    with contextlib.closing(sqlite3.connect(source)) as one:
        one.execute("VACUUM INTO ?", (str(target),))


@pytest.mark.parametrize("how", [by_backup, by_vacuum])
def test_the_database_is_copied_by_sqlite_while_pawld_writes(make_daemon, busy, wire, tmp_path, how):
    known = busy.writer.acknowledged
    copy = tmp_path / "data"
    copy.mkdir(mode=0o700)
    shutil.copy(busy.data_dir / "secret", copy)
    how(busy.data_dir / "pawl.db", copy / "pawl.db")
    wait_for(lambda: busy.writer.acknowledged > known, "writes go on")
    restored = make_daemon(data_dir=copy)
    assert restored.status()["frozen"] is False
    assert restored.event("store_mark_made_anew") is not None
    assert_knows(restored, wire, busy, known)


def test_a_snapshot_of_one_moment_is_whole_with_its_counts(make_daemon, busy, wire, tmp_path):
    """A process that stands still changes no file: what a snapshot of its volume would hold."""
    busy.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: pathlib.Path(f"/proc/{busy.process.pid}/stat").read_text().split()[2] == "T",
             "it stands still")
    known = busy.writer.acknowledged
    shutil.copytree(busy.data_dir, tmp_path / "data")
    busy.process.send_signal(signal.SIGCONT)
    restored = make_daemon(data_dir=tmp_path / "data")
    assert restored.status()["frozen"] is False
    assert_knows(restored, wire, busy, known)
    restored.ctl("check", "--rate", "3/hour", "k", check=1)


def test_files_copied_one_by_one_are_whole_or_found_out(make_daemon, busy, wire, tmp_path):
    """cp -r beside a pawld that writes: never a token called valid for want of a row."""
    for turn in range(4):
        known, copy = busy.writer.acknowledged, tmp_path / f"data{turn}"
        copy.mkdir(mode=0o700)
        for name in sorted(os.listdir(busy.data_dir), reverse=turn % 2 == 1):
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(busy.data_dir / name, copy)
        restored = make_daemon(data_dir=copy)
        connection = Connection(wire, restored.unix)
        good = {wire.TOKEN_REVOKED}
        if restored.status()["frozen"]:
            good.add(wire.TOKEN_UNDECIDED)
        for i in range(known):
            assert status_of(connection, wire, busy.exp, jti=b"w%d" % i) in good, (turn, i)
        connection.close()
        restored.kill()


def test_a_mark_newer_than_the_database_is_found_out(make_daemon, busy, tmp_path):
    """The same, in the order that is sure to go wrong: the database first, the mark much later."""
    copy = tmp_path / "data"
    copy.mkdir(mode=0o700)
    for name in ("secret", "pawl.db", "pawl.db-wal"):
        shutil.copy(busy.data_dir / name, copy)
    known = busy.writer.acknowledged
    wait_for(lambda: busy.writer.acknowledged > known + 50, "more revocations")
    shutil.copy(busy.data_dir / "mark", copy)
    restored = make_daemon(data_dir=copy)
    assert "older" in restored.event("store_frozen")["reason"]
    restored.ctl("thaw", "--lost-since", int(time.time()) - 60, check=0)
    assert restored.status()["frozen"] is False


# ---- one node: ways back -------------------------------------------------------------------------


def backed_up(pawld, tmp_path):
    """A copy of its data_dir, then log-outs that the copy has not."""
    pawld.exp = soon()
    pawld.ctl("revoke", "token", "--jti", "before", "--exp", pawld.exp, check=0)
    pawld.ctl("revoke", "subject", "--sub", "anna", check=0)
    pawld.sid = pawld.ctl("family", "open", "--sub", "bob", "--jti", "r0", "--exp", pawld.exp,
                          check=0).json["sid"]
    pawld.stop()
    shutil.copytree(pawld.data_dir, tmp_path / "backup")
    pawld.start()
    pawld.ctl("revoke", "token", "--jti", "after", "--exp", pawld.exp, check=0)
    pawld.kill()


def token(pawld, exp, *claims):
    return pawld.ctl("token", "check", "--exp", exp, *claims).json["status"]


def old(jti):
    """Claims of a token that was issued a minute ago."""
    return "--jti", jti, "--sub", "somebody", "--iat", int(time.time()) - 60


def assert_login(pawld, exp):
    """Who logs in now is served."""
    sid = wait_for(lambda: pawld.ctl("family", "open", "--sub", "new", "--jti", "n0",
                                     "--exp", exp).json.get("sid"), "a log-in")
    assert token(pawld, exp, "--jti", "n-access", "--sub", "new", "--sid", sid,
                 "--iat", int(time.time())) == "valid"


def test_an_older_copy_forgets_unless_it_is_started_frozen(make_daemon, pawld, tmp_path):
    backed_up(pawld, tmp_path)
    shutil.copytree(tmp_path / "backup", tmp_path / "plain")
    plain = make_daemon(data_dir=tmp_path / "plain")
    assert token(plain, pawld.exp, *old("before")) == "revoked"
    assert token(plain, pawld.exp, *old("after")) == "valid" # the warning of the text
    restored = make_daemon("--frozen", data_dir=tmp_path / "backup")
    assert token(restored, pawld.exp, *old("before")) == "revoked"
    assert token(restored, pawld.exp, *old("after")) == "undecided"
    restored.ctl("thaw", "--lost-since", int(time.time()) - 60, check=0)
    restored.arguments.clear()
    for again in (lambda: None, restored.restart):
        again()
        assert token(restored, pawld.exp, *old("after")) == "revoked"
        assert_login(restored, pawld.exp)


def test_an_export_comes_back_under_another_secret(make_daemon, pawld, tmp_path):
    backed_up(pawld, tmp_path)
    source = make_daemon(data_dir=tmp_path / "backup")
    source.ctl("export", "--out", tmp_path / "facts", json_output=False, check=0)
    fresh = make_daemon()
    taken = fresh.ctl("import", tmp_path / "facts", check=0).json
    assert taken["complete"] and taken["refused"] == 0 and taken["taken"] == 2
    assert token(fresh, pawld.exp, *old("before")) == "revoked"
    assert token(fresh, pawld.exp, "--jti", "x", "--sub", "anna",
                 "--iat", int(time.time()) - 60) == "revoked"
    assert token(fresh, pawld.exp, *old("after")) == "valid" # until the cutoff
    turned = fresh.ctl("rotate", "--sid", pawld.sid, "--from", "r0", "--to", "r1",
                       "--exp", pawld.exp).json
    assert turned["result"] == "unknown"
    fresh.ctl("revoke", "namespace", check=0)
    assert token(fresh, pawld.exp, *old("after")) == "revoked"
    assert_login(fresh, pawld.exp)


# ---- a fleet -------------------------------------------------------------------------------------

# Leases run out under a sanitizer's load.
of_a_fleet = [pytest.mark.release, pytest.mark.fleet]


def fleet_tests(function):
    for mark in of_a_fleet:
        function = mark(function)
    return function


def said(node, *words, code=0):
    got, answer = node.ctl(*words)
    assert got == code, (words, got, answer)
    return answer


def rotate(node, sid, presented, successor, exp):
    return node.ctl("rotate", "--sid", sid, "--from", presented, "--to", successor,
                    "--exp", exp)[1]["result"]


def dump(fleet, path):
    """A backup of the engine, as BGSAVE leaves one."""
    fleet.engines[0].ask("save")
    shutil.copy(fleet.engines[0].folder / "dump.rdb", path)


def engine_from(fleet, backup):
    """The engine's machine is lost; another one with @backup (None: nothing) in its place."""
    engine = fleet.engines[0]
    engine.kill()
    target = engine.folder / "dump.rdb"
    target.unlink(missing_ok=True)
    if backup is not None:
        shutil.copy(backup, target)
    engine.start()
    target.unlink(missing_ok=True)


@fleet_tests
def test_the_engine_of_a_backup_is_told_what_it_lacks(make_fleet, wire, tmp_path):
    fleet, exp = make_fleet(2), soon()
    first, second = fleet.nodes
    said(first, "revoke", "token", "--jti", "before", "--exp", exp)
    sid = said(first, "family", "open", "--sub", "s", "--jti", "f0", "--exp", exp)["sid"]
    later = said(first, "family", "open", "--sub", "t", "--jti", "g0", "--exp", exp)["sid"]
    dump(fleet, tmp_path / "backup.rdb")
    said(first, "revoke", "token", "--jti", "after", "--exp", exp)
    assert rotate(first, sid, "f0", "f1", exp) == "rotated"
    connection = Connection(wire, first.unix)
    for _ in range(30):
        connection.call(deadline_ms=5000, check=check_request(wire, b"k", (100, HOUR_MS)))
    connection.close()
    engine_from(fleet, tmp_path / "backup.rdb")
    calm(fleet)
    newcomer = fleet.add(1)[0]
    for jti in (b"before", b"after"):
        assert verdict(newcomer, wire, jti, exp).status == wire.TOKEN_REVOKED
    assert used(newcomer, wire, b"k", 100) == 30
    assert rotate(second, sid, "f1", "f2", exp) == "rotated"
    assert rotate(second, later, "g0", "g1", exp) == "rotated"


@fleet_tests
@pytest.mark.parametrize("engine", ["older", "empty"])
def test_engine_and_all_nodes_in_one_step_forget(make_fleet, wire, tmp_path, engine):
    """The order that the text warns of, and what is left with an engine that begins empty: log-outs of
    the node with a data_dir, and no refresh token."""
    fleet, exp = make_fleet(2, data_dir=engine == "empty"), soon()
    node = fleet.nodes[0]
    sid = said(node, "family", "open", "--sub", "s", "--jti", "f0", "--exp", exp)["sid"]
    dump(fleet, tmp_path / "backup.rdb")
    said(node, "revoke", "token", "--jti", "after", "--exp", exp)
    assert rotate(node, sid, "f0", "f1", exp) == "rotated"
    for one in fleet.nodes:
        one.kill()
    engine_from(fleet, tmp_path / "backup.rdb" if engine == "older" else None)
    for one in fleet.nodes:
        one.start(wait=False)
    calm(fleet)
    after = verdict(node, wire, b"after", exp).status
    if engine == "older":
        assert after == wire.TOKEN_VALID
        assert rotate(node, sid, "f1", "f2", exp) == "unknown" # the newest
        assert rotate(node, sid, "f0", "f9", exp) == "rotated" # a used one, once more
        said(node, "revoke", "namespace")
        assert rotate(node, sid, "f9", "f10", exp) == "revoked"
        assert said(node, "token", "check", "--exp", exp, *old("after"),
                    code=1)["status"] == "revoked"
    else:
        assert after == wire.TOKEN_REVOKED
        assert rotate(node, sid, "f1", "f2", exp) == "unknown"


def begin_again(make_fleet, secret):
    """Machines with nothing on them but the settings, and the root secret that was kept."""
    fleet = make_fleet(0, image=None)
    (fleet.folder / "secret").write_text(secret)
    (fleet.folder / "secret").chmod(0o600)
    return fleet


def assert_all_know(fleet, wire, exp):
    """What the backup had is refused; what it had not, was issued before the cut and is refused for
    that; who logs in now is served, everywhere."""
    sid = said(fleet.nodes[-1], "family", "open", "--sub", "new", "--jti", "n0", "--exp", exp)["sid"]
    for node in fleet.nodes:
        for jti in ("before", "after"):
            answer = node.ctl("token", "check", "--exp", exp, *old(jti))[1]
            assert answer["status"] == "revoked", (node.name, jti, answer)
        fresh = node.ctl("token", "check", "--exp", exp, "--jti", "n-access", "--sid", sid,
                         "--sub", "new", "--iat", int(time.time()))[1]
        assert fresh["status"] == "valid", (node.name, fresh)


def first_of(fleet, *arguments):
    """The first node alone, with @arguments for this start."""
    node = fleet.add(1, start=False, data_dir=True)[0]
    node.start = lambda wait=True: start_with(node, arguments, wait)
    return node


def start_with(node, arguments, wait):
    node.starts += 1
    node.server = rig.Server(node.place, [node.build / "pawld", "--config", node.config,
                                          *arguments], node.folder / f"log{node.starts}")
    if wait:
        rig.wait_until(lambda: node.status().get("slots_wanted", 1) == 0, f"{node.name} serving")
    return node


@fleet_tests
def test_a_fleet_comes_back_from_one_data_dir(make_daemon, make_fleet, wire, tmp_path):
    lost, exp = make_fleet(2, data_dir=True), soon()
    first, second = lost.nodes
    said(first, "revoke", "token", "--jti", "before", "--exp", exp)
    wait_for(lambda: second.status()["store_facts"] == 1, "the other member's journal has it")
    second.stop() # in order: it costs nothing
    shutil.copytree(second.folder / "data", tmp_path / "backup")
    said(first, "revoke", "token", "--jti", "after", "--exp", exp, "--ack", "memory")
    lost.close()
    for node in lost.nodes:
        shutil.rmtree(node.folder)
    # A look at it first, elsewhere: one node alone, under the fleet's secret.
    shutil.copytree(tmp_path / "backup", tmp_path / "look")
    look = make_daemon("--set", f"secret_file={tmp_path / 'secret'}", data_dir=tmp_path / "look")
    assert look.status()["frozen"] is False and look.status()["revocations"] == 1

    fleet = begin_again(make_fleet, (tmp_path / "secret").read_text())
    node = first_of(fleet, "--frozen")
    shutil.copytree(tmp_path / "backup", node.folder / "data", dirs_exist_ok=True)
    node.start()
    assert node.status()["frozen"] is True
    assert node.ctl("token", "check", "--exp", exp, *old("after"))[1]["status"] == "undecided"
    said(node, "thaw", "--lost-since", int(time.time()) - 60)
    said(node, "revoke", "namespace")
    fleet.add(2)
    calm(fleet)
    assert_all_know(fleet, wire, exp)


def test_the_patch_for_kubernetes_fits_the_manifests():
    """What the commands of the text name: the place of the arguments, the claim, the folder in it."""
    patch, = json.loads(re.search(r"--type=json -p [^']*'(.*?)'", GUIDE.read_text(), re.S)[1])
    objects = list(yaml.safe_load_all((ROOT / "deploy" / "manifests" / "pawl.yaml").read_text()))
    members = next(one for one in objects if one["kind"] == "StatefulSet")
    place = members
    *path, last = patch["path"].strip("/").split("/")
    for name in path:
        place = place[int(name) if name.isdigit() else name]
    assert patch["op"] == "add" and last == "-" and place[0] == "--config"
    assert patch["value"] == "--frozen"
    claim = members["spec"]["volumeClaimTemplates"][0]["metadata"]["name"]
    assert f"`{claim}-{members['metadata']['name']}-0`" in GUIDE.read_text()
    settings = next(one for one in objects if one["kind"] == "ConfigMap")["data"]["pawld.yaml"]
    assert yaml.safe_load(settings)["data_dir"] == "/var/lib/pawl/data"


@fleet_tests
def test_a_fleet_comes_back_from_an_export(make_daemon, make_fleet, wire, tmp_path):
    lost = make_daemon()
    backed_up(lost, tmp_path)
    make_daemon(data_dir=tmp_path / "backup").ctl(
        "export", "--out", tmp_path / "facts", json_output=False, check=0)
    fleet = begin_again(make_fleet, secrets.token_hex(32) + "\n")
    node = first_of(fleet)
    node.start()
    code, answer = node.ctl("import", tmp_path / "facts", timeout_s=60)
    assert code == 0 and answer["taken"] == 2, answer
    said(node, "revoke", "namespace")
    fleet.add(2)
    calm(fleet)
    assert_all_know(fleet, wire, lost.exp)


@fleet_tests
def test_a_member_that_lost_its_disk_is_told_by_the_others(make_fleet, wire):
    fleet, exp = make_fleet(2, data_dir=True), soon()
    for i in range(20):
        said(fleet.nodes[0], "revoke", "token", "--jti", f"d{i}", "--exp", exp)
    lost = fleet.nodes[1]
    lost.kill()
    shutil.rmtree(lost.folder / "data")
    (lost.folder / "data").mkdir(mode=0o700)
    lost.start(wait=False)
    calm(fleet)
    for i in range(20):
        assert verdict(lost, wire, b"d%d" % i, exp).status == wire.TOKEN_REVOKED
    wait_for(lambda: lost.status()["store_facts"] >= 20, "its journal has them too")

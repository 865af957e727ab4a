"""Damaged, lost, foreign, read-only and full stores: each says what and why, loses nothing, and
never calls a revoked token valid.

What all damage of pawl.db has in common is in `assert_frozen` and `thaw_and_check`.
"""

import os
import pathlib
import random
import signal
import sqlite3
import subprocess
import time

import pytest

from conftest import wait_for

PAGE = 4096


def later():
    return int(time.time()) + 3600


class Store:
    """A daemon with a history, and the questions about it."""

    def __init__(self, pawld, facts=60):
        self.pawld = pawld
        self.exp = later()
        self.iat = int(time.time()) - 5
        ctl = pawld.ctl
        for i in range(facts):
            self.revoke(f"t{i}")
        ctl("revoke", "subject", "--sub", "anna", check=0)
        self.sid = ctl("family", "open", "--sub", "bob", "--jti", "r0", "--exp", self.exp,
                       check=0).json["sid"]
        self.rotate("r0", "r1", check=0)
        for _ in range(3):
            ctl("check", "--rate", "3/hour", "k", check=0)
        pawld.wait_saved()

    def path(self, name="pawl.db"):
        return self.pawld.data_dir / name

    def revoke(self, jti, check=0):
        return self.pawld.ctl("revoke", "token", "--jti", jti, "--exp", self.exp, check=check)

    def rotate(self, old, new, check=None, sid=None):
        return self.pawld.ctl("rotate", "--sid", sid or self.sid, "--from", old, "--to", new,
                              "--exp", self.exp, check=check)

    def token(self, *claims):
        return self.pawld.ctl("token", "check", "--exp", self.exp, *claims).json["status"]

    def age(self, *claims):
        """Of a token issued before the damage."""
        return self.token(*claims, "--iat", self.iat)


@pytest.fixture
def store(pawld):
    return Store(pawld)


def aside(store, name="pawl.db"):
    return [path for path in store.pawld.data_dir.iterdir()
            if path.name.startswith(f"{name}.bad-") and not path.name.endswith("-wal")]


def assert_frozen(store, reason, hits=None):
    """The rules of a frozen node. @hits: jtis whose rows still hold."""
    pawld = store.pawld
    assert pawld.status()["frozen"] is True
    said = pawld.event("store_frozen")
    assert said is not None and reason in said["reason"], said
    assert "thaw" in said["do"]
    # Limits go on, with their counts.
    pawld.ctl("check", "--rate", "3/hour", "k", check=1)
    pawld.ctl("check", "--rate", "3/hour", "other", check=0)
    # A hit is still a hit; what does not hit is not known.
    for jti in hits or ():
        assert store.token("--jti", jti) == "revoked"
    for i in range(60):
        assert store.token("--jti", f"t{i}") in ("revoked", "undecided")
    unknown = pawld.ctl("token", "check", "--jti", "nobody", "--exp", store.exp, check=3).json
    assert unknown["status"] == "undecided" and unknown["fresh"] is False
    assert store.rotate("r1", "r2", check=3).json["result"] == "unavailable"
    opened = pawld.ctl("family", "open", "--sub", "eve", "--jti", "r", "--exp", store.exp)
    assert opened.code == 3, opened
    # Revocations are taken, durably where the file can be written.
    taken = store.revoke("taken-while-frozen").json
    assert taken["acknowledged"] == "durable"
    assert store.token("--jti", "taken-while-frozen") == "revoked"


def thaw_and_check(store, kept=True, moved=True):
    """Thaw, then old tokens are cut off and new log-ins pass, now and after a restart."""
    pawld = store.pawld
    report = pawld.ctl("thaw", "--lost-since", store.iat, check=0).json
    assert pawld.status()["frozen"] is False
    assert bool(aside(store)) == moved, (report, os.listdir(pawld.data_dir))
    # The clock bound (100 ms) after the thaw, a log-in is a new one.
    sid = wait_for(lambda: pawld.ctl("family", "open", "--sub", "new", "--jti", "n0",
                                     "--exp", store.exp).json.get("sid"), "a log-in")
    for end in (lambda: None, pawld.stop, pawld.kill):
        end()
        if pawld.process is None:
            pawld.start()
        assert pawld.status()["frozen"] is False
        assert store.age("--jti", "whoever", "--sub", "somebody") == "revoked"
        assert store.token("--jti", "no-iat") == "revoked"
        assert store.token("--jti", "taken-while-frozen", "--sid", sid) == "revoked"
        assert store.token("--jti", "n-access", "--sub", "new", "--sid", sid) == "valid"
        if kept:
            assert store.token("--jti", "t1", "--sid", sid) == "revoked"
        old = store.rotate("r1", "r2", check=1).json["result"]
        assert old in ("revoked", "unknown"), old
    assert store.rotate("n0", "n1", sid=sid, check=0).json["result"] == "rotated"


def flip(path, offset, bit=0):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))


# ---- pawl.db -----------------------------------------------------------------------------------


def fact_offset(store, jti):
    """Where a fact's body lies in pawl.db."""
    at = store.path().read_bytes().find(jti.encode())
    assert at > 0
    return at


def test_a_flipped_bit_in_a_fact_freezes_and_the_other_rows_still_hit(store):
    store.pawld.stop()
    flip(store.path(), fact_offset(store, "t33"))
    before = store.path().read_bytes()
    store.pawld.start()
    assert_frozen(store, "damaged", hits=["t1", "t59"])
    assert store.token("--jti", "t33") == "undecided"
    assert store.path().read_bytes() == before, "a damaged file is evidence: not a byte changes"
    thaw_and_check(store)
    assert aside(store)[0].read_bytes() == before


def test_a_page_of_noise_freezes(store):
    store.pawld.stop()
    size = store.path().stat().st_size
    with open(store.path(), "r+b") as file:
        file.seek(size // 2 // PAGE * PAGE)
        file.write(os.urandom(PAGE))
    store.pawld.start()
    assert_frozen(store, "pawl.db")
    thaw_and_check(store, kept=False)


@pytest.mark.parametrize("left", [1, 100, PAGE, 2 * PAGE + 7])
def test_a_truncated_database_freezes(store, left):
    store.pawld.stop()
    os.truncate(store.path(), left)
    store.pawld.start()
    assert_frozen(store, "pawl.db")
    thaw_and_check(store, kept=False)


@pytest.mark.parametrize("how, word", [("deleted", "is missing"), ("emptied", "is empty"),
                                       ("foreign", "pawl.db")])
def test_a_lost_database_is_not_taken_for_a_new_one(store, how, word):
    store.pawld.stop()
    if how == "deleted":
        store.path().unlink()
    elif how == "emptied":
        os.truncate(store.path(), 0)
    else:
        store.path().write_bytes(b"this is not a database\n" * 1000)
    store.pawld.start()
    assert_frozen(store, word)
    thaw_and_check(store, kept=False, moved=how != "deleted")


def test_an_older_copy_of_the_database_is_noticed(store):
    store.pawld.stop()
    backup = store.path().read_bytes()
    store.pawld.start()
    store.revoke("after-the-backup")
    store.pawld.stop()
    store.path().write_bytes(backup)
    store.pawld.start()
    assert_frozen(store, "older", hits=["t1"])
    assert store.token("--jti", "after-the-backup") == "undecided"
    thaw_and_check(store)


def test_facts_taken_out_by_another_program_are_noticed(store):
    store.pawld.stop()
    with sqlite3.connect(store.path()) as db:
        db.execute("DELETE FROM facts WHERE n = 20")
    db.close()
    store.pawld.start()
    assert_frozen(store, "facts")
    thaw_and_check(store)


def test_a_frozen_node_stays_frozen_over_kill_and_restart_and_keeps_what_it_took(store):
    store.pawld.stop()
    flip(store.path(), fact_offset(store, "t33"))
    store.pawld.start()
    assert_frozen(store, "damaged")
    for end in (store.pawld.kill, store.pawld.stop):
        end()
        store.pawld.start()
        assert store.pawld.status()["frozen"] is True
        assert store.token("--jti", "taken-while-frozen") == "revoked"
        assert store.token("--jti", "nobody") == "undecided"
    thaw_and_check(store)


def test_every_single_flip_is_harmless_or_noticed(make_daemon):
    """A sample, through the whole daemon; the unit tests flip every byte."""
    seed = int(os.environ.get("PAWL_SEED", time.time_ns() % 2 ** 32))
    print(f"PAWL_SEED={seed}")
    generator = random.Random(seed)
    pawld = make_daemon()
    store = Store(pawld)
    pawld.stop()
    good = {path.name: path.read_bytes() for path in pawld.data_dir.iterdir()}
    for _ in range(25):
        offset = generator.randrange(len(good["pawl.db"]))
        for path in pawld.data_dir.iterdir():
            if path.name not in good:
                path.unlink()
        for name, data in good.items():
            (pawld.data_dir / name).write_bytes(data)
        flip(store.path(), offset, generator.randrange(8))
        pawld.start(wait=False)
        wait_for(lambda: pawld.process.poll() is not None or pawld.event("ready"), "an answer")
        if pawld.process.poll() is None:
            for jti in ("t0", "t33", "t59"):
                assert store.token("--jti", jti) != "valid", offset
            assert store.age("--jti", "x", "--sub", "anna") != "valid", offset
            pawld.kill()
        else:  # refused to start: with a word of why
            assert "pawl.db" in str(pawld.event("stopped")), (offset, pawld.log())
            pawld.process = None


# ---- the log of SQLite -------------------------------------------------------------------------


def test_a_bad_frame_with_later_frames_behind_it_is_noticed(store):
    store.pawld.kill()
    wal = store.path("pawl.db-wal")
    assert wal.stat().st_size > 20 * (PAGE + 24)
    flip(wal, 32 + 10 * (PAGE + 24) + 24 + 100)
    store.pawld.start()
    assert_frozen(store, "pawl.db-wal")
    thaw_and_check(store, kept=False)


def test_a_torn_tail_of_the_log_loses_no_more_than_the_last_transaction(store):
    store.revoke("the-last-one")
    store.pawld.kill()
    wal = store.path("pawl.db-wal")
    os.truncate(wal, wal.stat().st_size - 10)
    store.pawld.start()
    for i in range(60):
        assert store.token("--jti", f"t{i}") == "revoked"
    if store.pawld.status()["frozen"]:
        assert store.token("--jti", "the-last-one") != "valid"


def test_a_log_that_was_deleted_is_noticed(store):
    store.pawld.kill()
    store.path("pawl.db-wal").unlink()
    store.pawld.start()
    assert_frozen(store, "pawl.db")
    thaw_and_check(store, kept=False)


# ---- refused at start --------------------------------------------------------------------------


def refused(pawld):
    """Starting fails; what is said, and nothing in the folder has changed."""
    def content():
        # The lock's process id, and an empty log that a look inside leaves, say nothing.
        found = {path.name: path.read_bytes() for path in pawld.data_dir.iterdir()
                 if path.name != "lock" and not path.name.endswith("-shm")}
        return {name: data for name, data in found.items() if data or name != "pawl.db-wal"}

    before = content()
    pawld.start(wait=False)
    assert pawld.process.wait(60) == 1
    pawld.process = None
    assert content() == before
    return pawld.event("stopped")["why"]


def test_a_database_of_a_newer_version_is_left_alone(store):
    store.pawld.stop()
    with sqlite3.connect(store.path()) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    why = refused(store.pawld)
    assert "99" in why and "newer" in why, why
    with sqlite3.connect(store.path()) as db:
        db.execute("PRAGMA user_version = 1")
    db.close()
    store.pawld.start()
    assert store.token("--jti", "t1") == "revoked"


def test_another_secret_is_refused_and_the_right_one_still_works(store):
    store.pawld.stop()
    secret = store.path("secret").read_bytes()
    store.path("secret").write_bytes(os.urandom(32))
    why = refused(store.pawld)
    assert "another secret" in why, why
    store.path("secret").write_bytes(secret)
    store.pawld.start()
    assert store.pawld.status()["frozen"] is False
    assert store.token("--jti", "t1") == "revoked"
    store.pawld.ctl("check", "--rate", "3/hour", "k", check=1)


def test_a_missing_secret_beside_a_store_is_not_made_anew(store):
    store.pawld.stop()
    store.path("secret").unlink()
    store.pawld.start(wait=False)
    assert store.pawld.process.wait(60) == 1
    assert "secret" in store.pawld.event("stopped")["why"]


# ---- counters ----------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["flipped", "foreign", "emptied", "deleted"])
def test_damaged_counters_are_set_aside_and_said_and_tokens_go_on(store, damage):
    store.pawld.stop()
    path = store.path("counters")
    if damage == "flipped":
        flip(path, path.stat().st_size - 5)
    elif damage == "foreign":
        path.write_bytes(os.urandom(10_000))
    elif damage == "emptied":
        os.truncate(path, 0)
    else:
        path.unlink()
    broken = path.read_bytes() if path.exists() else b""
    store.pawld.start()
    status = store.pawld.status()
    assert status["frozen"] is False
    assert store.token("--jti", "t1") == "revoked"
    store.pawld.ctl("check", "--rate", "3/hour", "new-key", check=0)
    if damage in ("flipped", "foreign"):
        said = store.pawld.event("counters_set_aside")
        assert said is not None and "counters" in said["detail"], store.pawld.log()
        assert [kept.read_bytes() for kept in aside(store, "counters")] == [broken]
    store.pawld.stop()
    store.pawld.start()
    left = store.pawld.ctl("peek", "--rate", "3/hour", "new-key", check=0).json["limits"][0]
    assert left["count"] == 1


# ---- disks -------------------------------------------------------------------------------------


def needs_mounts():
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    probe = subprocess.run(["unshare", "-m", "sh", "-c", "mount -t tmpfs none /mnt"],
                           capture_output=True)
    if probe.returncode != 0:
        pytest.skip(f"no mount namespace here: {probe.stderr.decode().strip()}")


def test_a_read_only_disk_is_refused_with_its_own_word(store):
    needs_mounts()
    store.pawld.stop()
    before = {path.name: path.read_bytes() for path in store.pawld.data_dir.iterdir()}
    folder = str(store.pawld.data_dir)
    store.pawld.start(wait=False, wrap=[
        "unshare", "-m", "sh", "-c",
        f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder} && exec \"$@\"", "sh"])
    assert store.pawld.process.wait(60) == 1
    store.pawld.process = None
    why = store.pawld.event("stopped")["why"]
    assert "read-only" in why.lower() or "cannot be written" in why, why
    assert folder in why
    assert {path.name: path.read_bytes() for path in store.pawld.data_dir.iterdir()} == before


def test_a_full_disk_acknowledges_nothing_and_recovers(make_daemon):
    needs_mounts()
    pawld = make_daemon(start=False)
    pawld.data_dir.mkdir(mode=0o700)
    folder = str(pawld.data_dir)
    pawld.start(wrap=["unshare", "-m", "sh", "-c",
                      f"mount -t tmpfs -o size=4m,mode=700 none {folder} && exec \"$@\"", "sh"])
    inside = pathlib.Path(f"/proc/{pawld.process.pid}/root{folder}")
    exp = later()
    sid = pawld.ctl("family", "open", "--sub", "bob", "--jti", "r0", "--exp", exp,
                    check=0).json["sid"]
    acked = []

    def revoke(jti):
        done = pawld.ctl("revoke", "token", "--jti", jti, "--exp", exp)
        assert done.code in (0, 3), done
        if done.code == 0:
            assert done.json["acknowledged"] == "durable"
            acked.append(jti)
        return done

    for i in range(20):
        assert revoke(f"before{i}").code == 0
    ballast = inside / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 65536)
        except OSError:
            pass
        try:
            while True:
                file.write(b"x")
        except OSError:
            pass
    refusals = []
    wait_for(lambda: (refusals.append(revoke(f"full{len(refusals)}")) or
                      refusals[-1].code == 3), "the disk to be full")
    # Its own clear word, and the limits go on.
    said = str([line for line in pawld.log() if line.get("level") in ("warn", "error")])
    assert "full" in said or "No space" in said or "space" in said, said
    pawld.ctl("check", "--rate", "5/minute", "k", check=0)
    answer = pawld.ctl("rotate", "--sid", sid, "--from", "r0", "--to", "r1", "--exp", exp)
    assert answer.code == 3 and answer.json["result"] == "unavailable", answer
    ballast.unlink()
    wait_for(lambda: revoke(f"after{len(acked)}").code == 0, "room again")
    answer = wait_for(lambda: (got := pawld.ctl("rotate", "--sid", sid, "--from", "r0", "--to",
                                                "r1", "--exp", exp)).code == 0 and got, "a refresh")
    assert answer.json["result"] == "rotated"
    # What lies on the disk is what was acknowledged: look at a copy through another daemon.
    pawld.process.send_signal(signal.SIGSTOP)
    copy = make_daemon(start=False)
    copy.data_dir.mkdir(mode=0o700)
    for path in inside.iterdir():
        if not path.name.endswith("-shm") and path.name != "lock":
            (copy.data_dir / path.name).write_bytes(path.read_bytes())
    pawld.process.send_signal(signal.SIGCONT)
    os.chmod(copy.data_dir / "secret", 0o600)
    copy.start()
    assert copy.status()["frozen"] is False
    for jti in acked:
        copy.ctl("token", "check", "--jti", jti, "--exp", exp, check=1)


# ---- by hand -----------------------------------------------------------------------------------


@pytest.mark.threads
def test_frozen_by_hand_and_thawed(store):
    pawld = store.pawld
    pawld.stop()
    pawld.arguments.append("--frozen")
    pawld.start()
    assert_frozen(store, "by hand", hits=["t1", "t59"])
    pawld.arguments.remove("--frozen")
    thaw_and_check(store)


def test_a_thaw_of_what_is_not_frozen_changes_nothing(store):
    result = store.pawld.ctl("thaw", "--lost-since", store.iat)
    assert result.code != 0
    assert store.age("--jti", "innocent") == "valid"
    assert store.rotate("r1", "r2", check=0).json["result"] == "rotated"

"""SIGHUP: new settings in place of the old, counts kept, nothing lost or half
done.
"""

import signal
import threading

import pytest

from conftest import PATIENCE_S, wait_for

NOW = 1_800_000_000


def events(pawld, name):
    """Of the log; the audit log, which shares its output here, has some of the same names."""
    return [line for line in pawld.log()
            if line.get("event") == name and line.get("level") != "audit"]


def replace(pawld, config):
    """In one piece: a reload of before may still be on its way, and reads no half of it."""
    (pawld.folder / "new.yaml").write_text(config)
    (pawld.folder / "new.yaml").rename(pawld.folder / "pawld.yaml")


def reload(pawld, config, event="reloaded"):
    """Ask for @config and wait for the daemon's word on it."""
    before = len(events(pawld, event))
    (pawld.folder / "pawld.yaml").write_text(config)
    pawld.process.send_signal(signal.SIGHUP)

    def said():
        lines = events(pawld, event)
        return lines[-1] if len(lines) > before else None

    return wait_for(said, event)


def at(pawld, seconds, *arguments, **options):
    return pawld.ctl("--now", int(seconds * 1000), *arguments, **options)


def count(pawld, name, when=NOW, index=0):
    return at(pawld, when, "peek", f"{name}=k", check=None).json["limits"][index]["count"]


@pytest.fixture
def clocked(make_daemon):
    def make(config):
        return make_daemon("--test-clock", config=config)
    return make


# ---- counts ------------------------------------------------------------------------------------


def test_a_rate_up_or_down_keeps_the_counts(clocked):
    pawld = clocked("limits: {l: {rate: 5/hour}}")
    at(pawld, NOW, "check", "--cost", 4, "l=k", check=0)
    reload(pawld, "limits: {l: {rate: 6/hour}}")
    assert count(pawld, "l") == 4
    at(pawld, NOW, "check", "--cost", 2, "l=k", check=0)
    at(pawld, NOW, "check", "l=k", check=1)
    reload(pawld, "limits: {l: {rate: 3/hour}}")
    answer = at(pawld, NOW, "check", "l=k", check=1).json["limits"][0]
    assert (answer["count"], answer["limit_count"], answer["remaining"]) == (6, 3, 0)
    at(pawld, NOW + 3599, "check", "l=k", check=1)
    at(pawld, NOW + 3600, "check", "--cost", 3, "l=k", check=0)


def test_a_shorter_window_keeps_the_events_that_lie_in_it(clocked):
    pawld = clocked("limits: {l: {rate: 5/hour}}")
    at(pawld, NOW, "check", "--cost", 2, "l=k", check=0)
    at(pawld, NOW + 100, "check", "--cost", 2, "l=k", check=0)
    reload(pawld, "limits: {l: {rate: 5/minute}}")
    assert count(pawld, "l", NOW + 110) == 2
    at(pawld, NOW + 110, "check", "--cost", 3, "l=k", check=0)
    at(pawld, NOW + 110, "check", "l=k", check=1)


def test_a_longer_window_keeps_the_events_it_still_has(clocked):
    pawld = clocked("limits: {l: {rate: 5/minute}}")
    at(pawld, NOW, "check", "--cost", 4, "l=k", check=0)
    reload(pawld, "limits: {l: {rate: 5/hour}}")
    assert count(pawld, "l", NOW + 30) == 4
    at(pawld, NOW + 30, "check", "--cost", 2, "l=k", check=1)
    assert count(pawld, "l", NOW + 120) == 4, "an hour counts, not the minute it was charged in"
    at(pawld, NOW + 3600, "check", "--cost", 5, "l=k", check=0)


def test_a_renamed_limit_starts_new(clocked):
    pawld = clocked("limits: {l: {rate: 2/hour}}")
    at(pawld, NOW, "check", "--cost", 2, "l=k", check=0)
    reload(pawld, "limits: {m: {rate: 2/hour}}")
    at(pawld, NOW, "check", "--cost", 2, "m=k", check=0)
    assert at(pawld, NOW, "check", "l=k").code not in (0, 1), "no such limit"
    # Another key with the same name is no renaming.
    reload(pawld, "limits: {other: {name: m, rate: 2/hour}}")
    at(pawld, NOW, "check", "m=k", check=1)


def test_a_removed_limit_is_gone_and_the_others_go_on(clocked):
    pawld = clocked("limits: {l: {rate: 2/hour}, m: {rate: 2/hour}}")
    at(pawld, NOW, "check", "--cost", 2, "l=k", check=0)
    at(pawld, NOW, "check", "--cost", 2, "m=k", check=0)
    reload(pawld, "limits: {m: {rate: 2/hour}}")
    assert at(pawld, NOW, "check", "l=k").code not in (0, 1)
    at(pawld, NOW, "check", "m=k", check=1)
    reload(pawld, "limits: {}")
    assert at(pawld, NOW, "check", "m=k").code not in (0, 1)


def test_rates_are_matched_by_position(clocked):
    pawld = clocked("limits: {l: {rate: [5/minute, 100/hour]}}")
    for second in (0, 120):
        at(pawld, NOW + second, "check", "--cost", 3, "l=k", check=0)
    now = NOW + 121
    assert [count(pawld, "l", now, i) for i in (0, 1)] == [3, 6]
    reload(pawld, "limits: {l: {rate: [6/minute, 200/hour, 9/day]}}")
    # The third is new and has seen nothing; the first two went on.
    assert [count(pawld, "l", now, i) for i in (0, 1, 2)] == [3, 6, 0]
    reload(pawld, "limits: {l: {rate: [6/minute]}}")
    assert count(pawld, "l", now) == 3


# ---- everything else that a reload may change --------------------------------------------------


def test_a_reload_applies_all_that_is_reloadable(make_daemon):
    pawld = make_daemon("--test-clock", config="""
limits: {l: {rate: 1/hour}}
tokens: {skew: 0s}
rotation: {mode: idempotent}
log: {level: info}
""")
    sids = [at(pawld, NOW, "family", "open", "--sub", "anna", "--jti", f"r{i}", "--exp", NOW + 900,
               check=0).json["sid"] for i in (0, 1)]

    def second_try(i):
        for to in ("a", "b"):
            answer = at(pawld, NOW + 1, "rotate", "--sid", sids[i], "--from", f"r{i}", "--to",
                        f"{to}{i}", "--exp", NOW + 900)
        return answer.json["result"]

    late = ["token", "check", "--jti", "j", "--exp", NOW - 30]
    assert second_try(0) == "grace"
    assert at(pawld, NOW, *late).json["status"] == "expired"
    reload(pawld, """
limits: {l: {rate: 2/hour, count_denied: true}}
tokens: {skew: 60s}
rotation: {mode: soft}
log: {level: info}
""")
    assert second_try(1) == "raced"
    assert at(pawld, NOW, *late).json["status"] == "valid"
    assert [at(pawld, NOW, "check", "l=k").code for _ in range(3)] == [0, 0, 1]
    # And the level of the log alone: the next refusal is an error, the next success is not told.
    (pawld.folder / "pawld.yaml").write_text("log: {level: error}")
    pawld.process.send_signal(signal.SIGHUP)
    wait_for(lambda: at(pawld, NOW, "check", "l=k").code not in (0, 1), "the reload")
    lines = len(pawld.log())
    reload(pawld, "log: {level: loud}", event="reload_refused")
    told = [line["event"] for line in pawld.log()[lines:] if line["level"] != "audit"]
    assert told == ["setting_wrong", "reload_refused"], told


# ---- what is refused ---------------------------------------------------------------------------


def test_a_bad_file_keeps_the_old_running_and_says_where(clocked):
    pawld = clocked("limits: {l: {rate: 1/hour}}")
    at(pawld, NOW, "check", "l=k", check=0)
    # The warning in line 1 comes first in the file; the refusal is about the error in line 3.
    said = reload(pawld, "rotation: {leeway: 90s}\nlimits:\n  l: {rate: 1/fortnight}\n",
                  event="reload_refused")
    assert "pawld.yaml:3:15" in said["why"] and "fortnight" in said["why"]
    at(pawld, NOW, "check", "l=k", check=1)
    wrong = reload(pawld, "limits: {l: {rate: 9/hour}, m: {rate: x}}\nlimitz: {}\n",
                   event="reload_refused")
    assert "limits.m" in wrong["why"]
    told = [line["why"] for line in pawld.log() if line.get("event") == "setting_wrong"]
    assert any("limitz" in why for why in told), "all errors are told, not the first alone"
    at(pawld, NOW, "check", "l=k", check=1)  # nothing of it was taken


def test_a_file_that_is_gone_keeps_the_old_running(clocked):
    pawld = clocked("limits: {l: {rate: 1/hour}}")
    (pawld.folder / "pawld.yaml").unlink()
    pawld.process.send_signal(signal.SIGHUP)
    wait_for(lambda: pawld.event("reload_refused"), "the refusal")
    at(pawld, NOW, "check", "l=k", check=0)


@pytest.mark.parametrize("text, name", [
    ("memory_max: 9MiB", "memory_max"),
    ("server: {workers: 3, backlog: 9}", "server.workers, server.backlog"),
    ("tokens: {max_lifetime: 1d}", "tokens.max_lifetime"),
])
def test_a_change_that_needs_a_restart_is_refused_by_name(clocked, text, name):
    pawld = clocked("limits: {l: {rate: 1/hour}}")
    said = reload(pawld, f"limits: {{l: {{rate: 2/hour}}}}\n{text}\n", event="reload_refused")
    assert f"need a restart: {name}" in said["why"]
    assert [at(pawld, NOW, "check", "l=k").code for _ in range(2)] == [0, 1], "all or nothing"


# ---- under load --------------------------------------------------------------------------------


@pytest.mark.threads
def test_50_reloads_under_load_lose_no_request(make_daemon, connect, wire):
    """Every request is answered, by the old rate or the new, and no count is lost between them."""
    text = "limits: {{l: {{rate: {}/hour}}, gone{}: {{rate: 5/hour}}}}"
    pawld = make_daemon(config=text.format(10 ** 9, 0))
    stop = threading.Event()
    seen = []

    def load(i):
        connection = connect(pawld.unix if i % 2 else pawld.tcp_uri)
        asked = answered = allowed = 0
        while not stop.is_set():
            batch = [connection.request(check=wire.Check(items=[wire.CheckItem(
                limit=b"l", key=[b"k"], on_error=wire.ON_ERROR_CLOSED)])) for _ in range(50)]
            connection.send(*batch)
            asked += len(batch)
            for request in batch:
                reply = connection.receive()
                assert reply.id == request.id and reply.status == wire.STATUS_OK, reply
                answered += 1
                allowed += reply.check.verdict == wire.VERDICT_ALLOW
        seen.append((asked, answered, allowed))

    threads = [threading.Thread(target=load, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    try:
        for i in range(50):
            replace(pawld, text.format(10 ** 9 + i % 2, i % 3 + 1))
            pawld.process.send_signal(signal.SIGHUP)
            # The log tells of repeats once a second only; the new limit is there at once.
            wait_for(lambda: pawld.ctl("limits", f"gone{i % 3 + 1}").code == 0, "the reload")
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert len(seen) == 4 and all(asked == answered for asked, answered, _ in seen)
    total = sum(allowed for _, _, allowed in seen)
    counted = pawld.ctl("peek", "l=k", check=0).json["limits"][0]["count"]
    assert counted == total > 0


def test_a_sighup_while_the_store_loads_ends_nothing(make_daemon):
    pawld = make_daemon(config="limits: {l: {rate: 1/hour}}", start=False)

    def asked_early():
        """Held from before the settings are read until the loop's first pulse, 100 ms after it
        began to turn: on a busy machine it may take some starts to be there in time."""
        pawld.start(wait=False)
        while pawld.event("ready") is None and pawld.process.poll() is None:
            with open(f"/proc/{pawld.process.pid}/status") as file:
                held = next(line for line in file if line.startswith("SigBlk:"))
            if int(held.split()[1], 16) & 1 << (signal.SIGHUP - 1):
                pawld.process.send_signal(signal.SIGHUP)
                return True
        pawld.stop()
        return False

    wait_for(asked_early, "a start that holds SIGHUP")
    pawld.wait_ready()
    wait_for(lambda: pawld.event("reloaded"), "the reload that was asked for early")

"""Refresh tokens through the daemon: one winner, healed retries, detected theft."""

import time

import pytest

from conftest import in_parallel

NOW = 1_800_000_000


def at(pawld, seconds, *arguments, **options):
    return pawld.ctl("--now", int(seconds * 1000), *arguments, **options)


def rotate(pawld, when, sid, old, new, **options):
    return at(pawld, when, "rotate", "--sid", sid, "--from", old, "--to", new,
              "--exp", NOW + 900, **options)


@pytest.fixture
def clocked(make_daemon):
    return make_daemon("--test-clock")


def opened(pawld, when=NOW, jti="r0"):
    return at(pawld, when, "family", "open", "--sub", "anna", "--jti", jti, "--exp", NOW + 900,
              check=0).json["sid"]


def test_a_family_refreshed_retried_raced_and_stolen(clocked):
    sid = opened(clocked)
    first = rotate(clocked, NOW + 1, sid, "r0", "r1", check=0).json
    assert (first["result"], first["generation"], first["successor"]) == ("rotated", 1, "r1")
    # The API server retries: the same proposal gets the same answer.
    assert rotate(clocked, NOW + 2, sid, "r0", "r1", check=0).json["result"] == "rotated"
    # Another tab: the same successor again.
    grace = rotate(clocked, NOW + 3, sid, "r0", "other", check=0).json
    assert (grace["result"], grace["successor"]) == ("grace", "r1")
    assert rotate(clocked, NOW + 4, sid, "r1", "r2", check=0).json["result"] == "rotated"
    # r0 is two generations old: theft; the family dies with it.
    assert rotate(clocked, NOW + 5, sid, "r0", "thief", check=1).json["result"] == "reuse"
    assert rotate(clocked, NOW + 6, sid, "r2", "r3", check=1).json["result"] == "revoked"
    at(clocked, NOW + 6, "token", "check", "--jti", "a", "--sid", sid, "--exp", NOW + 900, check=1)


def test_a_first_token_that_no_rotation_would_take_is_refused_at_the_log_in(clocked):
    month = 30 * 86_400
    for extra, code in ((0, 0), (1, 2)):
        answer = at(clocked, NOW, "family", "open", "--sub", "anna", "--jti", f"j{extra}",
                    "--exp", NOW + month + extra, check=code)
    assert "tokens.max_lifetime" in answer.error


def test_late_after_the_leeway_is_reuse(clocked):
    sid = opened(clocked)
    rotate(clocked, NOW + 1, sid, "r0", "r1", check=0)
    assert rotate(clocked, NOW + 12, sid, "r0", "x", check=1).json["result"] == "reuse"


@pytest.mark.threads
def test_one_winner_of_32_concurrent_rotations(make_daemon):
    pawld = make_daemon()
    exp = int(time.time()) + 3600
    sid = pawld.ctl("family", "open", "--sub", "anna", "--jti", "r0", "--exp", exp,
                    check=0).json["sid"]

    def race(i):
        return pawld.ctl("rotate", "--sid", sid, "--from", "r0", "--to", f"n{i}", "--exp", exp).json

    answers = in_parallel(32, race)
    results = [answer["result"] for answer in answers]
    assert results.count("rotated") == 1, results
    assert set(results) <= {"rotated", "grace", "raced"}, results
    winner = next(answer for answer in answers if answer["result"] == "rotated")["successor"]
    assert {a["successor"] for a in answers if a["result"] == "grace"} <= {winner}
    again = pawld.ctl("rotate", "--sid", sid, "--from", "r0", "--to", winner, "--exp", exp,
                      check=0).json
    assert (again["result"], again["successor"]) == ("rotated", winner)


def test_a_stolen_family_stays_dead_after_kill_9_and_restart(clocked):
    sid = opened(clocked)
    rotate(clocked, NOW + 1, sid, "r0", "r1", check=0)
    rotate(clocked, NOW + 2, sid, "r1", "r2", check=0)
    clocked.kill()
    clocked.start()
    assert rotate(clocked, NOW + 3, sid, "r0", "x", check=1).json["result"] == "reuse"
    for end in (clocked.kill, clocked.stop):
        end()
        clocked.start()
        assert rotate(clocked, NOW + 4, sid, "r2", "y", check=1).json["result"] == "revoked"


def test_log_out_ends_a_family_without_alarm(clocked):
    sid = opened(clocked)
    at(clocked, NOW + 1, "family", "end", "--sid", sid, check=0)
    answer = rotate(clocked, NOW + 2, sid, "r0", "r1", check=1).json
    assert (answer["result"], answer["reason"]) == ("revoked", "logout")
    assert clocked.event("refresh_token_reuse") is None


def test_an_unknown_family_is_unknown_and_not_created(clocked):
    assert rotate(clocked, NOW, "no-such-family", "r0", "r1",
                  check=1).json["result"] == "unknown"


def test_strict_mode_still_knows_the_retry(make_daemon):
    pawld = make_daemon("--test-clock", "--set", "rotation.leeway=0s")
    sid = opened(pawld)
    rotate(pawld, NOW + 1, sid, "r0", "r1", check=0)
    assert rotate(pawld, NOW + 1, sid, "r0", "r1", check=0).json["result"] == "rotated"
    assert rotate(pawld, NOW + 1, sid, "r0", "x", check=1).json["result"] == "reuse"


def test_a_log_out_everywhere_stops_the_refresh(clocked):
    sid = opened(clocked)
    at(clocked, NOW + 1, "revoke", "subject", "--sub", "anna", check=0)
    assert rotate(clocked, NOW + 2, sid, "r0", "r1", check=1).json["result"] == "revoked"


def test_the_end_of_a_family_s_life_clamps_and_ends(make_daemon):
    pawld = make_daemon("--test-clock", "--set", "rotation.family_max=5m")
    sid = opened(pawld)
    assert rotate(pawld, NOW + 1, sid, "r0", "r1", check=0).json["successor_exp"] == NOW + 300
    late = rotate(pawld, NOW + 301, sid, "r1", "r2", check=1).json
    assert late["result"] in ("expired", "family_expired")

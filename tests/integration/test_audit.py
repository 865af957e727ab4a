"""The audit log of a running daemon: what is in it, what is masked, where it goes, what happens
when its disk is full."""

import json
import os
import pathlib
import re
import signal
import time

import pytest

from conftest import check_request, wait_for

MASKED = re.compile(r"^.{0,40}\*\*\*[0-9a-f]{8}$")


@pytest.fixture
def audited(make_daemon, tmp_path):
    """A daemon with an audit file, and how to read it."""
    path = tmp_path / "audit.log"

    def make(*arguments, denied=100, **options):
        pawld = make_daemon("--set", f"audit.file={path}", "--set",
                            f"audit.denied_per_second={denied}", *arguments, **options)
        pawld.audit_path = path
        return pawld
    return make


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def events(pawld, name, count=1):
    """The lines of event @name, when there are @count."""
    def enough():
        found = [line for line in lines(pawld.audit_path) if line["event"] == name]
        return found if len(found) >= count else None
    return wait_for(enough, f"{count} lines of {name}")


def later():
    return int(time.time()) + 3600


def test_a_revocation_says_who_what_and_why_and_masks_whom(audited):
    pawld = audited()
    answer = pawld.ctl("revoke", "subject", "--sub", "alice@example.org", "--reason", "compromised",
                       "--actor", "root@example.org", "--iss", "https://a", check=0).json
    line = events(pawld, "revoked")[0]
    assert (line["scope"], line["reason"], line["issuer"]) == (
        "subject", "compromised", "https://a")
    assert (line["peer"], line["uid"], line["ns"]) == ("unix", os.getuid(), "default")
    assert (line["id"], line["until"], line["result"]) == (answer["id"], answer["until"], "done")
    assert line["value"].startswith("al***") and MASKED.match(line["value"])
    assert line["actor"].startswith("ro***")
    assert line["level"] == "audit" and line["time"].endswith("Z")
    assert "alice@" not in pawld.audit_path.read_text()


def test_the_same_identity_has_the_same_mask_everywhere(audited):
    pawld = audited()
    pawld.ctl("revoke", "subject", "--sub", "alice", check=0)
    pawld.ctl("token", "check", "--sub", "alice", "--iat", int(time.time()) - 60, check=1)
    revoked, denied = events(pawld, "revoked")[0], events(pawld, "denied")[0]
    assert revoked["value"] == denied["subject"]
    assert (denied["token"], denied["scope"], denied["reason"]) == (
        "revoked", "subject", "logout_all")


def test_families_cancels_resets_and_every_call_of_an_admin_are_told(audited):
    pawld = audited()
    fact = pawld.ctl("revoke", "token", "--jti", "j", "--exp", later(), check=0).json["id"]
    pawld.ctl("unrevoke", fact, "--actor", "ops", check=0)
    cancel = events(pawld, "unrevoked")[0]
    assert (cancel["asked"], cancel["canceled"], cancel["result"]) == (1, 1, "done")
    sid = pawld.ctl("family", "open", "--sub", "u", "--jti", "a", "--exp", later(),
                    check=0).json["sid"]
    pawld.ctl("family", "end", "--sid", sid, check=0)
    assert MASKED.match(events(pawld, "family_ended")[0]["value"])
    pawld.ctl("check", "--rate", "5/minute", "192.0.2.77", check=0)
    pawld.ctl("reset", "--rate", "5/minute", "192.0.2.77", check=0)
    reset = events(pawld, "reset")[0]
    assert reset["records"] == 1 and reset["key"].startswith("192.0.***")
    assert [line["request"] for line in events(pawld, "admin_call", 2)] == ["unrevoke", "reset"]


def test_a_stolen_refresh_token_and_a_foreign_one_are_told(audited):
    pawld = audited("--set", "rotation.leeway=0s")
    exp = later()
    sid = pawld.ctl("family", "open", "--sub", "alice", "--jti", "a", "--exp", exp,
                    check=0).json["sid"]
    rotate = ["rotate", "--sid", sid, "--exp", exp]
    pawld.ctl(*rotate, "--from", "a", "--to", "b", check=0)
    pawld.ctl(*rotate, "--from", "b", "--to", "x", "--sub", "bob", check=1)
    assert events(pawld, "refresh_token_mismatch")[0]["subject"].startswith("b***")
    pawld.ctl(*rotate, "--from", "a", "--to", "c", check=1)
    stolen = events(pawld, "refresh_token_reuse")[0]
    assert stolen["result"] == "reuse" and stolen["subject"].startswith("al***")
    assert MASKED.match(stolen["sid"])


def test_denials_are_sampled_and_the_rest_is_counted_and_said(audited, connect, wire):
    pawld = audited(denied=2)
    connection = connect(pawld.unix)
    for _ in range(60):
        connection.call(check=check_request(wire, b"10.1.2.3", rate=(1, 3600000)))
    more = events(pawld, "denied_more")
    told = [line for line in lines(pawld.audit_path) if line["event"] == "denied"]
    assert told and all(line["key"].startswith("10.1.***") for line in told)

    def all_said():
        now = lines(pawld.audit_path)
        return sum(line.get("count", 1) for line in now
                   if line["event"] in ("denied", "denied_more")) == 59
    wait_for(all_said, "every denial told or counted")
    assert more[0]["count"] > 0 and pawld.status()["audit_denied_not_written"] > 0


def test_with_none_a_second_denials_are_only_counted(audited):
    pawld = audited(denied=0)
    for _ in range(3):
        pawld.ctl("check", "--rate", "1/hour", "k")
    assert events(pawld, "denied_more")[0]["count"] >= 1
    assert not [line for line in lines(pawld.audit_path) if line["event"] == "denied"]


def test_a_request_without_its_role_is_told(audited, connect, wire):
    pawld = audited()
    refused = connect(pawld.tcp_uri).call(revoke=wire.Revoke(scope=wire.SCOPE_TOKEN, value=b"j"))
    assert refused.status == wire.STATUS_DENIED
    line = events(pawld, "forbidden")[0]
    assert line["role"] == "revoke" and line["peer"].startswith("tcp:127.0.0.1:")


def test_reloads_taken_and_refused_and_both_ends_are_told(audited):
    pawld = audited(config="limits: {api: {rate: 5/minute}}\n")
    pawld.process.send_signal(signal.SIGHUP)
    assert events(pawld, "reloaded")[0]["by"] == "signal"
    (pawld.folder / "pawld.yaml").write_text("limits: {api: {rate: 5/fortnight}}\n")
    pawld.process.send_signal(signal.SIGHUP)
    refused = events(pawld, "reload_refused")[0]
    assert refused["by"] == "signal" and "fortnight" in refused["why"]
    pawld.stop()
    told = lines(pawld.audit_path)
    assert told[0]["event"] == "started" and told[-1]["event"] == "stopped"


def test_a_reload_opens_the_file_anew_for_logrotate(audited):
    pawld = audited()
    pawld.ctl("revoke", "token", "--jti", "one", "--exp", later(), check=0)
    events(pawld, "revoked")
    assert pawld.audit_path.stat().st_mode & 0o7777 == 0o600
    old = pawld.audit_path.with_suffix(".1")
    pawld.audit_path.rename(old)
    pawld.process.send_signal(signal.SIGHUP)
    wait_for(pawld.audit_path.exists, "the new file")
    pawld.ctl("revoke", "token", "--jti", "two", "--exp", later(), check=0)
    assert len(events(pawld, "revoked")) == 1
    assert [line for line in lines(old) if line["event"] == "revoked"]


def test_a_file_that_cannot_be_opened_keeps_the_old_one_and_stops_no_start_silently(
        audited, make_daemon, tmp_path):
    path = tmp_path / "audit.log"
    config = {"audit": {"file": str(path)}}
    pawld = make_daemon(config=json.dumps(config))
    pawld.audit_path = path
    config["audit"]["file"] = str(tmp_path / "nowhere" / "audit")
    (pawld.folder / "pawld.yaml").write_text(json.dumps(config))
    pawld.process.send_signal(signal.SIGHUP)
    refused = wait_for(lambda: pawld.event("reload_refused"), "the refusal")
    assert refused["part"] == "audit" and "nowhere" in refused["why"]
    events(pawld, "reload_refused")
    pawld.ctl("revoke", "token", "--jti", "j", "--exp", later(), check=0)
    events(pawld, "revoked")
    broken = make_daemon(config=json.dumps(config), start=False).start(wait=False)
    assert broken.process.wait(60) != 0
    broken.process = None
    assert "nowhere" in broken.log_path.read_text()


def test_without_a_file_the_lines_are_among_those_of_the_log(make_daemon):
    pawld = make_daemon()
    pawld.ctl("revoke", "token", "--jti", "j", "--exp", later(), check=0)
    line = wait_for(lambda: pawld.event("revoked"), "the line")
    assert line["level"] == "audit"


def test_a_full_disk_stops_nothing_and_is_counted(audited, make_daemon):
    pawld = make_daemon("--set", "audit.file=/dev/full")
    for i in range(20):
        pawld.ctl("revoke", "token", "--jti", f"j{i}", "--exp", later(), check=0)
    failed = wait_for(lambda: pawld.event("audit_write_failed"), "the word on it")
    assert "space" in failed["why"].lower()
    status = pawld.status()
    assert status["audit_write_errors"] >= 1 and status["audit_lines"] == 0
    assert status["audit_waiting_bytes"] > 0
    assert pawld.stop() == 0


ROOT = pathlib.Path(__file__).resolve().parents[2]


def words_of(header, macro):
    """The words of an X-macro list in a header."""
    text = (ROOT / header).read_text("utf-8")
    body = text.split(f"#define {macro}(X)", 1)[1].split("\n\n", 1)[0]
    return re.findall(r'X\(\w+,[^)"]*"(\w+)"\)', body)


@pytest.mark.parametrize("header, macro, page", [
    ("daemon/ops/audit.h", "PAWL_AUDIT_EVENT_MAP", "deploy/AUDIT.md"),
    ("daemon/port/jwt.h", "PAWL_JWT_REASON_MAP", "deploy/TOKENS.md"),
    ("daemon/core/verdict.h", "PAWL_TOKEN_CAUSE_MAP", "deploy/TOKENS.md"),
])
def test_every_event_and_every_reason_is_on_its_page(header, macro, page):
    words = [word for word in words_of(header, macro) if word != "none"]
    assert len(words) >= 8
    described = set(re.findall(r"^\| `(\w+)` \|", (ROOT / page).read_text("utf-8"), re.M))
    assert not set(words) - described, f"{page} says nothing of these"

"""What operators do with pawlctl: watch, export, import, completion."""

import json
import os
import shutil
import stat
import subprocess
import threading

import pytest

from conftest import BUILD, wait_for

PAWLCTL = str(BUILD / "pawlctl")


def revoke(pawld, *arguments, **options):
    return pawld.ctl("revoke", *arguments, **options)


def lines_of(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def filled(pawld):
    """A daemon that holds a revocation of every scope."""
    revoke(pawld, "token", "--jti", "j-1", "--exp", "2000000000", "--reason", "compromised")
    revoke(pawld, "family", "--sid", "family-1")
    revoke(pawld, "subject", "--sub", "s-1", "--iss", "https://i", "--before", "1700000000")
    revoke(pawld, "client", "--client", "c-1")
    revoke(pawld, "key", "--kid", "k-1")
    revoke(pawld, "opaque", stdin="very secret token")
    return pawld


def held(pawld):
    """What it refuses: a verdict for each scope."""
    checks = [("--jti", "j-1"), ("--sid", "family-1", "--jti", "x"),
              ("--sub", "s-1", "--iss", "https://i", "--jti", "x", "--iat", "1600000000"),
              ("--client", "c-1", "--jti", "x", "--iat", "1600000000"),
              ("--kid", "k-1", "--jti", "x")]
    verdicts = [pawld.ctl("token", "check", *check).json["status"] for check in checks]
    opaque = pawld.ctl("token", "check", "--opaque", stdin="very secret token").json["status"]
    return verdicts + [opaque]


def test_an_export_imported_elsewhere_refuses_the_same(filled, make_daemon, tmp_path):
    canceled = revoke(filled, "token", "--jti", "forgiven", "--exp", "2000000000").json["id"]
    filled.ctl("unrevoke", canceled)
    path = tmp_path / "facts.jsonl"
    assert filled.ctl("export", "--out", str(path), json_output=False).code == 0
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert "very secret token" not in path.read_text("utf-8")
    assert "forgiven" not in path.read_text("utf-8")
    other = make_daemon()
    assert "revoked" not in held(other)
    result = other.ctl("import", str(path))
    assert result.code == 0 and result.json["refused"] == 0 and result.json["taken"] == 6
    assert held(other) == held(filled) == ["revoked"] * 6
    assert other.ctl("token", "check", "--jti", "forgiven").json["status"] == "valid"
    assert other.ctl("import", str(path)).code == 0, "twice does no harm"


def test_an_export_does_not_overwrite(filled, tmp_path):
    path = tmp_path / "facts.jsonl"
    path.write_text("mine")
    assert filled.ctl("export", "--out", str(path)).code == 2
    assert path.read_text() == "mine"


def test_bad_lines_are_named_and_the_rest_is_taken(pawld):
    lines = ['{"scope":"token","value":"good-1","exp":2000000000}', "", "not json",
             '{"scope":"nonsense","value":"x"}', '{"scope":"token"}',
             '{"scope":"opaque","value":"raw token"}',
             '{"scope":"token","value":"good-2","exp":"soon"}',
             '{"scope":"token","value":"good-3","exp":2000000000}']
    result = pawld.ctl("import", stdin="\n".join(lines))
    assert result.code == 1
    assert result.json == {"taken": 2, "refused": 5, "skipped": 1, "complete": True}
    for number in (3, 4, 5, 6, 7):
        assert f"line {number}: " in result.error
    assert pawld.ctl("token", "check", "--jti", "good-3").json["status"] == "revoked"


def test_a_large_import_shows_its_progress_and_is_whole(pawld):
    count = 5000
    lines = "".join(f'{{"scope":"token","value":"bulk-{i}","exp":2000000000}}\n'
                    for i in range(count))
    result = pawld.ctl("import", "--progress", stdin=lines)
    assert result.code == 0 and result.json["taken"] == count
    assert f"{count} facts" in result.error
    assert pawld.status()["revocations"] == count


def test_an_import_to_nobody_stops_and_says_so(pawld):
    pawld.stop()
    result = pawld.ctl("import", stdin='{"scope":"token","value":"a","exp":2000000000}\n' * 5)
    assert result.code == 3 and result.json["complete"] is False


def test_watch_prints_what_is_revoked_from_now_on(filled):
    process = subprocess.Popen([PAWLCTL, "--addr", filled.unix, "--json", "watch", "--count", "2"],
                               stdout=subprocess.PIPE)
    try:
        wait_for(lambda: filled.status()["watches_waiting"] == 1, "the watch to wait")
        revoke(filled, "token", "--jti", "seen-1", "--exp", "2000000000")
        revoke(filled, "subject", "--sub", "seen-2")
        output, _ = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    facts = lines_of(output.decode())
    assert [fact["value"] for fact in facts] == ["seen-1", "seen-2"]
    assert [fact["scope"] for fact in facts] == ["token", "subject"]
    again = filled.ctl("watch", "--since", facts[0]["id"], "--count", "1")
    assert again.json["value"] == "seen-2"


def test_a_watch_whose_reader_leaves_ends(filled):
    process = subprocess.Popen([PAWLCTL, "--addr", filled.unix, "--json", "watch", "--snapshot"],
                               stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline()
        process.stdout.close()
        ended = threading.Event()

        def feed():
            i = 0
            while not ended.is_set():
                revoke(filled, "token", "--jti", f"more-{i}", "--exp", "2000000000")
                i += 1

        thread = threading.Thread(target=feed)
        thread.start()
        process.wait(timeout=60)
        ended.set()
        thread.join()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.parametrize("shell,check", [("bash", ["bash", "-n"]), ("zsh", ["zsh", "-n"]),
                                         ("fish", ["fish", "-n"])])
def test_completion_is_a_script_that_its_shell_reads(shell, check, tmp_path):
    script = subprocess.run([PAWLCTL, "completion", shell], check=True, stdout=subprocess.PIPE)
    assert b"--jti" in script.stdout or b"-l jti" in script.stdout
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "completion"
    path.write_bytes(script.stdout)
    subprocess.run([*check, str(path)], check=True)


def complete(words):
    """What bash completes @words to."""
    script = ('source /dev/stdin; COMP_WORDS=(%s); COMP_CWORD=%d; _pawlctl; printf "%%s\\n" '
              '"${COMPREPLY[@]}"' % (" ".join(f"'{word}'" for word in words), len(words) - 1))
    source = subprocess.run([PAWLCTL, "completion", "bash"], check=True, stdout=subprocess.PIPE)
    done = subprocess.run(["bash", "-c", script], input=source.stdout, stdout=subprocess.PIPE,
                          check=True)
    return done.stdout.decode().split()


def test_bash_completes_commands_and_the_options_each_takes():
    assert "revoke" in complete(["pawlctl", "re"]) and "reset" in complete(["pawlctl", "re"])
    assert complete(["pawlctl", "token", "check", "--jt"]) == ["--jti"]
    assert complete(["pawlctl", "check", "--jt"]) == []
    assert "--rate" in complete(["pawlctl", "check", "--"])


def test_help_of_the_first_word_of_a_command_names_those_that_begin_so(make_daemon):
    nobody = make_daemon(start=False)
    for word, commands in (("token", ("token check", "token verify", "token mint")),
                           ("family", ("family open", "family end"))):
        said = nobody.ctl("help", word, json_output=False, check=0).text
        assert all(command in said for command in commands), said
    assert nobody.ctl("help", "tok", json_output=False).code == 2


def test_members_of_a_node_alone_are_itself(pawld):
    answer = pawld.ctl("members")
    assert answer.code == 0 and answer.json["view"] == 0
    member, = answer.json["members"]
    assert member["state"] == "serving" and member["frozen"] is False
    assert len(bytes.fromhex(member["node"])) == 16 and member["address"] is None
    assert member["version"] == pawld.ctl("status").json["version"]
    lines = pawld.ctl("members", json_output=False).text.splitlines()
    assert lines[0].split() == ["node", "address", "state", "version", "uptime", "view"]
    assert lines[1].split()[0] == member["node"] and len(lines) == 2

"""Start, stop, restart, reload: counts go on, nothing is lost, errors say what to do."""

import os
import signal
import socket
import subprocess
import time

import pytest

from conftest import BUILD, check_request, wait_for

NOW_MS = 1_800_000_000_000


def test_counts_go_on_exactly_over_sigterm(pawld):
    for _ in range(7):
        pawld.ctl("check", "--rate", "10/hour", "k", check=0)
    assert pawld.stop() == 0
    pawld.start()
    assert pawld.ctl("peek", "--rate", "10/hour", "k", check=0).json["limits"][0]["count"] == 7
    codes = [pawld.ctl("check", "--rate", "10/hour", "k").code for _ in range(4)]
    assert codes == [0, 0, 0, 1]


def test_counts_older_than_the_bound_survive_kill_9(pawld):
    for _ in range(3):
        pawld.ctl("check", "--rate", "3/hour", "k", check=0)
    charged = time.monotonic()
    wait_for(lambda: (time.monotonic() - charged) * 1000 >
             pawld.status()["counter_unsaved_age_ms"], "the bound to pass the last charge")
    pawld.kill()
    pawld.start()
    pawld.ctl("check", "--rate", "3/hour", "k", check=1)


def test_an_exact_limit_is_saved_before_the_answer(make_daemon):
    pawld = make_daemon(config="limits: {otp: {rate: 2/hour, consistency: exact}}")
    for _ in range(2):
        pawld.ctl("check", "otp=k", check=0)
    pawld.kill()
    pawld.start()
    pawld.ctl("check", "otp=k", check=1)


def test_a_clean_stop_leaves_one_database_and_no_log(pawld):
    pawld.ctl("revoke", "subject", "--sub", "anna", check=0)
    assert pawld.stop() == 0
    names = set(os.listdir(pawld.data_dir))
    assert "pawl.db" in names and not names & {"pawl.db-wal", "pawl.db-shm"}
    assert {"counters", "secret"} <= names


def test_the_data_dir_is_private_and_locked(pawld, make_daemon):
    assert os.stat(pawld.data_dir).st_mode & 0o777 == 0o700
    assert os.stat(pawld.data_dir / "secret").st_mode & 0o777 == 0o600
    other = make_daemon(start=False, data_dir=pawld.data_dir)
    other.start(wait=False)
    assert other.process.wait(60) != 0
    assert any("in use" in str(line) for line in other.log()), other.log()


def test_another_secret_is_refused_with_its_own_message(pawld):
    pawld.ctl("revoke", "subject", "--sub", "anna", check=0)
    pawld.stop()
    (pawld.data_dir / "secret").write_bytes(os.urandom(32))
    pawld.start(wait=False)
    assert pawld.process.wait(60) != 0
    assert "secret" in str(pawld.log())


def test_test_clock_is_refused_on_a_used_data_dir(pawld):
    pawld.stop()
    pawld.arguments.append("--test-clock")
    pawld.start(wait=False)
    assert pawld.process.wait(60) != 0
    assert "test-clock" in str(pawld.log())


def test_a_request_time_is_refused_without_the_test_clock(pawld):
    assert pawld.ctl("--now", NOW_MS, "check", "--rate", "1/minute", "k").code != 0


def test_reload_keeps_counts_and_a_bad_one_changes_nothing(make_daemon):
    pawld = make_daemon(config="limits: {l: {rate: 5/hour}}")
    for _ in range(4):
        pawld.ctl("check", "l=k", check=0)
    (pawld.folder / "pawld.yaml").write_text("limits: {l: {rate: 6/hour}}")
    pawld.process.send_signal(signal.SIGHUP)
    wait_for(lambda: pawld.event("reloaded"), "the reload")
    assert [pawld.ctl("check", "l=k").code for _ in range(3)] == [0, 0, 1]
    (pawld.folder / "pawld.yaml").write_text("limits: {l: {rate: 7/fortnight}}")
    pawld.process.send_signal(signal.SIGHUP)
    wait_for(lambda: pawld.event("reload_refused"), "the refusal")
    assert "fortnight" in str(pawld.event("reload_refused"))
    pawld.ctl("check", "l=k", check=1)


def test_sigterm_answers_what_is_in_flight(pawld, connect, wire):
    connections = [connect(pawld.unix) for _ in range(20)]
    for connection in connections:
        connection.send(*[connection.request(check=check_request(wire, b"k", rate=(10 ** 6, 60000)))
                          for _ in range(50)])
    pawld.process.send_signal(signal.SIGTERM)
    for connection in connections:
        answers, goaways = 0, 0
        while (reply := connection.receive()) is not None:
            answers += reply.HasField("check")
            goaways += reply.HasField("goaway")
        assert answers == 50 and goaways >= 1
    assert pawld.process.wait(60) == 0


def test_the_stale_socket_of_a_killed_daemon_is_replaced(pawld):
    pawld.kill()
    assert pawld.socket.exists()
    pawld.start()
    pawld.status()


def test_a_live_socket_is_left_alone(pawld, make_daemon):
    other = make_daemon(start=False, tcp=False)
    other.socket = pawld.socket
    other.start(wait=False)
    assert other.process.wait(60) != 0
    pawld.status()


def test_plain_tcp_beyond_loopback_is_refused(make_daemon):
    pawld = make_daemon("--listen", "tcp:0.0.0.0:0", start=False)
    pawld.start(wait=False)
    assert pawld.process.wait(60) != 0
    assert "insecure" in str(pawld.log())


def test_config_errors_come_all_at_once_with_their_places(tmp_path):
    config = tmp_path / "bad.yaml"
    config.write_text("memory_max: 1\nlimitz: {}\nlimits:\n  a: {rate: 5/fortnight}\n")
    done = subprocess.run([BUILD / "pawld", "--check-config", "--config", config],
                          capture_output=True, text=True)
    text = done.stdout + done.stderr
    assert done.returncode == 2 or done.returncode == 1
    for place in ("bad.yaml:1:", "bad.yaml:2:", "bad.yaml:4:"):
        assert place in text, text


def test_print_config_parses_back(tmp_path):
    command = [BUILD / "pawld", "--print-config", "--data-dir", tmp_path / "d"]
    first = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (tmp_path / "again.yaml").write_text(first)
    second = subprocess.run([BUILD / "pawld", "--print-config", "--config",
                             tmp_path / "again.yaml"], capture_output=True, text=True,
                            check=True).stdout
    assert first == second


def test_roles_over_tcp_are_check_and_read(pawld):
    tcp = pawld.tcp_uri
    pawld.ctl("check", "--rate", "5/minute", "k", addr=tcp, check=0)
    pawld.ctl("status", addr=tcp, check=0)
    for command in (["revoke", "subject", "--sub", "s"], ["reset", "--rate", "5/minute", "k"],
                    ["thaw", "--lost-since", "1"],
                    ["family", "open", "--sub", "s", "--jti", "j", "--exp", "+1h"]):
        assert pawld.ctl(*command, addr=tcp).code not in (0, 1), command


def test_status_has_the_fields_that_others_rely_on(pawld):
    status = pawld.status()
    for name in ("version", "frozen", "keys", "overflow_keys", "revocations", "memory_bytes",
                 "members", "uptime_s", "fsyncs", "counter_unsaved_age_ms"):
        assert name in status, name
    assert status["frozen"] is False and status["members"] == 1


def test_a_frame_that_is_no_message_closes_its_connection_alone(pawld, connect, wire):
    good, bad = connect(pawld.unix), connect(pawld.unix)
    bad.socket.sendall(b"\x00\x00\x00\x04\xff\xff\xff\xff")
    reply = bad.receive()
    assert reply.status == wire.STATUS_INVALID
    assert bad.receive().HasField("goaway")
    assert bad.receive() is None
    assert good.call(ping=wire.Ping()).status == wire.STATUS_OK


def test_a_frame_over_the_cap_closes_its_connection_alone(pawld, connect, wire):
    good, bad = connect(pawld.unix), connect(pawld.unix)
    bad.socket.sendall(b"\xff\xff\xff\xff" + b"x" * 100)
    try:
        while bad.receive() is not None:
            pass
    except ConnectionResetError:
        pass
    assert good.call(ping=wire.Ping()).status == wire.STATUS_OK

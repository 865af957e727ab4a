"""The daemon killed, stopped and slow in the middle of load: policies, deadlines, recovery."""

import collections
import os
import signal
import socket
import threading

import pytest

import rig
import servers

#: The deadline is 20 ms; what a busy machine may add to it before a test calls it late.
DEADLINE_US, SLACK_US = 20_000, 1_000_000


def during(site, path, action):
    """Load @path, do @action in the middle, and give the socket errors that wrk saw."""
    def noted():
        return len(site.work())
    seen = noted()
    with servers.loading(site.url + path, 8) as load:
        servers.wait_for(lambda: noted() > seen + 100, "some requests answered")
        action()
        seen = noted()
        servers.wait_for(lambda: noted() > seen + 300, "and some more")
        return load.end()[2]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_policies_hold_while_the_daemon_is_away_and_it_is_asked_again_when_back(make_daemon, site,
                                                                                number):
    daemon = make_daemon()
    made = site(daemon.unix, workers=2, threads=4)
    pid = daemon.process.pid
    try:
        for path in ("/open/", "/closed/"):  # both over their rate: what follows is policy
            servers.load_until(made, path, 150, 4)
        errors = during(made, "/open/", daemon.kill if number == signal.SIGKILL
                           else lambda: rig.stop(daemon))
        assert errors == ""
        assert made.request("GET", "/open/")[0] == 200, "open admits"
        status, headers, _ = made.request("GET", "/closed/")
        assert status == 429 and int(headers["Retry-After"]) >= 1, "closed refuses, with a time"
        allowed = collections.Counter(
            made.request("GET", "/pawl100/")[0] for _ in range(250))
        assert set(allowed) == {200, 429} and 100 <= allowed[200] <= 200, "local, in 2 workers"
        rows = made.work()
        assert {status for _, status, _ in rows} == {200, 429}, "none raised"
        slowest = max(row[0] for row in rows)
        assert slowest < DEADLINE_US + SLACK_US
    finally:
        if number == signal.SIGSTOP:
            os.kill(pid, signal.SIGCONT)
    if number == signal.SIGKILL:
        daemon.start()
    servers.wait_for(lambda: made.request("GET", "/open/")[0] == 429
                     or daemon.status()["keys"] > 0, "the daemon is asked again")


def test_without_a_daemon_each_worker_admits_its_share(tmp_path, site):
    made = site(f"unix:{tmp_path}/nobody.sock", workers=4, threads=8,
                pawl={"EXPECTED_WORKERS": 4})
    servers.load_until(made, "/pawl100/", 400, 32)
    shares = {}
    for path in tmp_path.glob("worker.*"):
        lines = [line.split() for line in path.read_text().splitlines() if "/pawl100/" in line]
        if lines:
            shares[path.name] = sum(line[1] == "200" for line in lines)
            if len(lines) < 25:  # a worker that was hardly asked
                shares.pop(path.name)
    assert shares and set(shares.values()) == {25}


class Delay:
    """Forwards a Unix socket to another, each answer @late_s late."""

    def __init__(self, folder, target, late_s):
        self.path, self._target, self.late_s = f"{folder}/slow.sock", target, late_s
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(self.path)
        self._server.listen(64)
        self._open = [self._server]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._target)
            self._open += [near, far]
            threading.Thread(target=self._pump, args=(near, far, 0), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, self.late_s), daemon=True).start()

    def _pump(self, source, sink, late_s):
        waiting = threading.Event()
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                waiting.wait(late_s() if callable(late_s) else late_s)
                sink.sendall(data)
        except OSError:
            pass

    def close(self):
        for one in self._open:
            one.close()


def test_a_slow_daemon_costs_no_request_more_than_the_deadline(daemon, tmp_path, site):
    late = {"s": 0.0}
    proxy = Delay(tmp_path, str(daemon.socket), lambda: late["s"])
    try:
        made = site(f"unix:{proxy.path}", workers=2, threads=4)
        assert made.request("GET", "/open/")[0] == 200
        late["s"] = 0.2
        errors = during(made, "/open/", lambda: None)
        assert errors == ""
        rows = made.work()
        assert {status for _, status, _ in rows} <= {200, 429}
        assert max(row[0] for row in rows) < DEADLINE_US + SLACK_US
        late["s"] = 0.0
        rig.wait_for(lambda: made.request("GET", "/open/")[0] == 429, "its answers are heard again")
    finally:
        proxy.close()

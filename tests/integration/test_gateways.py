"""The gateways' snippets under deploy/gateways/, as they are but for their ports: real nginx, Caddy
and HAProxy between a plain client and a small upstream, limits and log-out seen by that client."""

import http.client
import http.server
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

import pytest

import web
from conftest import PATIENCE_S, ROOT, wait_for
from web import ask, bearer, mint

GATEWAYS = ROOT / "deploy" / "gateways"
CONFIG = """
limits:
  api: {{rate: 3/minute}}
jwt:
  issuers:
    - issuer: https://auth.example
      audience: api
      keys:
        - {{kid: h1, alg: HS256, secret_file: {folder}/h1.secret}}
"""


class Upstream(http.server.ThreadingHTTPServer):
    """Answers 200 with the headers that it was sent, one a line; counts connections."""

    daemon_threads = True

    def __init__(self):
        self.connections = 0
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def process_request(self, request, client_address):
        self.connections += 1
        super().process_request(request, client_address)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        size = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(size)
        body = f"served {size}\n{self.headers}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *arguments):
        pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Gateway:
    """One of them, with the snippet's three ports replaced."""

    def __init__(self, kind, folder, pawl_port, app_port):
        self.kind = kind
        self.folder = pathlib.Path(folder)
        self.port = free_port()
        self.ports = {"7402": pawl_port, "8000": app_port, "8080": self.port}
        for file in (GATEWAYS / kind).iterdir():
            text = file.read_text()
            for old, new in self.ports.items():
                text = text.replace(f"127.0.0.1:{old}", f"127.0.0.1:{new}")
            (self.folder / file.name).write_text(text)
        self.log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen(self.command(), cwd=self.folder, stdout=self.log,
                                        stderr=self.log, stdin=subprocess.DEVNULL,
                                        env=dict(os.environ, HOME=str(self.folder)))

        def ready():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            return listens(self.port)
        wait_for(ready, f"{kind} listening")

    def command(self):
        if self.kind == "nginx":
            (self.folder / "nginx.conf").write_text(
                "daemon off; master_process off; pid nginx.pid; error_log stderr;\n"
                "events { }\nhttp { access_log off;\n"
                + "".join(f"{name}_temp_path {name}_temp;\n" for name in
                          ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
                + "include pawl.conf; }\n")
            return ["/usr/sbin/nginx", "-p", str(self.folder), "-c", "nginx.conf", "-e", "stderr"]
        if self.kind == "caddy":
            return ["caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile"]
        return ["/usr/sbin/haproxy", "-db", "-f", "haproxy.cfg"]

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE_S)
        self.log.close()


@pytest.fixture(params=["nginx", "caddy", "haproxy"])
def gateway(request, make_daemon, tmp_path):
    binary = {"nginx": "/usr/sbin/nginx", "haproxy": "/usr/sbin/haproxy"}.get(request.param,
                                                                           request.param)
    assert shutil.which(binary), f"{request.param} is in .ci/packages"
    daemon = web.with_http(make_daemon, tmp_path, config=CONFIG)
    upstream = Upstream()
    with tempfile.TemporaryDirectory(prefix="pawl-gw-") as folder:
        made = Gateway(request.param, folder, daemon.http, upstream.server_address[1])
        made.daemon = daemon
        made.upstream = upstream
        yield made
        made.stop()
    upstream.shutdown()
    upstream.server_close()


def test_limits_reach_the_caller_with_their_retry_after(gateway):
    answers = [ask(gateway.port, "/thing") for _ in range(4)]
    assert [answer.code for answer in answers] == [200, 200, 200, 429], answers
    assert all(b"served" in answer.body for answer in answers[:3])
    denied = answers[3]
    assert 1 <= int(denied.headers["Retry-After"]) <= 60
    assert b"served" not in denied.body
    assert '"api";q=3;w=60' in denied.headers["RateLimit-Policy"]
    assert '"api";r=0' in denied.headers["RateLimit"]


def test_who_claims_another_address_is_counted_all_the_same(gateway):
    codes = [ask(gateway.port, "/thing", headers={"X-Forwarded-For": f"9.9.9.{i}",
                                                  "X-Real-IP": f"8.8.8.{i}",
                                                  "X-Pawl-Key": str(i)}).code for i in range(4)]
    assert codes == [200, 200, 200, 429]


def test_a_log_out_is_seen_by_the_next_request(gateway):
    token = mint(jti="session-1")
    answer = ask(gateway.port, "/thing", headers=bearer(token))
    assert answer.code == 200, answer
    assert b"x-pawl-subject: alice" in answer.body.lower()
    gateway.daemon.ctl("revoke", "token", "--iss", web.ISSUER, "--jti", "session-1",
                       "--exp", "2000000000", check=0)
    answer = ask(gateway.port, "/thing", headers=bearer(token))
    assert answer.code == 401, answer
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert b"served" not in answer.body


def test_names_that_a_client_makes_up_do_not_pass(gateway):
    for path in ("/thing", "/open/thing"):
        answer = ask(gateway.port, path, headers={"X-Pawl-Subject": "root", "X-Pawl-Client": "x"})
        assert answer.code == 200
        assert b"root" not in answer.body and b"client: x" not in answer.body.lower(), answer.body


def test_a_body_goes_to_the_upstream_alone(gateway):
    answer = ask(gateway.port, "/thing", "POST", {"Content-Type": "application/json"},
                 body="x" * 5000)
    assert answer.code == 200 and b"served 5000" in answer.body


def test_without_pawld_what_is_closed_is_503_and_what_is_open_goes_on(gateway):
    assert ask(gateway.port, "/open/thing").code == 200
    gateway.daemon.kill()
    answer = ask(gateway.port, "/thing")
    assert answer.code == 503, answer
    assert b"served" not in answer.body
    answer = ask(gateway.port, "/open/thing")
    assert answer.code == 200 and b"served" in answer.body, answer
    # an unknown token is no known fact: never 401
    assert ask(gateway.port, "/thing", headers=bearer(mint())).code == 503


def test_the_upstreams_own_errors_pass(gateway):
    """error_page and handle_errors are for pawl's answers, not for the app's."""
    original = Handler.do_GET

    def failing(self):
        self.send_response(500)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"mine")
    Handler.do_GET = failing
    try:
        answer = ask(gateway.port, "/thing")
        assert (answer.code, answer.body) == (500, b"mine")
    finally:
        Handler.do_GET = original


def test_connections_are_kept(gateway):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE_S)
    for _ in range(30):
        connection.request("GET", "/open/thing")
        response = connection.getresponse()
        response.read()
    connection.close()
    assert gateway.upstream.connections <= 6
    if gateway.kind != "haproxy": # its Lua client keeps what it likes
        assert gateway.daemon.status()["http_connections"] <= 4

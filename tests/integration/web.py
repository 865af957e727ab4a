"""What the tests of the HTTP endpoints share: a daemon with a port, plain requests, a token maker."""

import base64
import hashlib
import hmac
import http.client
import json
import socket
import time
import urllib.parse

from conftest import PATIENCE_S, wait_for

ISSUER = "https://auth.example"
SECRET = b"a secret of some forty bytes, for tests only"
CREDENTIALS = {"web": "the secret of web, 32 bytes long", "reader": "the secret of reader, 32 bytes!"}

CONFIG = """
limits:
  login: {{rate: 2/minute}}
  api: {{rate: [60/minute, 1000/day]}}
  soft: {{rate: 1/minute, shadow: true}}
jwt:
  issuers:
    - issuer: https://auth.example
      audience: api
      keys:
        - {{kid: h1, alg: HS256, secret_file: {folder}/h1.secret}}
credentials:
  - {{id: web, secret_file: {folder}/web.secret, role: [check, revoke]}}
  - {{id: reader, secret_file: {folder}/reader.secret, role: check, namespaces: [other]}}
"""


def write_secret(path, data):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    path.chmod(0o600)


def with_http(make_daemon, tmp_path, *arguments, config=None, start=True, **options):
    """A daemon with HTTP on a free port (daemon.http), issuers, limits and credentials."""
    write_secret(tmp_path / "h1.secret", SECRET)
    for name, secret in CREDENTIALS.items():
        write_secret(tmp_path / f"{name}.secret", secret)
    text = (CONFIG if config is None else config).format(folder=tmp_path)
    daemon = make_daemon("--http", "127.0.0.1:0", *arguments, config=text, start=False, **options)
    if start:
        daemon.start()
        daemon.http = http_port(daemon)
    return daemon


def http_port(daemon):
    return wait_for(lambda: daemon.event("http_listening"), "http listening")["port"]


class Answer:
    def __init__(self, response):
        self.code = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.code} {dict(self.headers)} {self.body[:300]!r}>"


def ask(port, path, method="GET", headers=None, form=None, body=None, host="127.0.0.1"):
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
    headers = dict(headers or {})
    if form is not None:
        body = urllib.parse.urlencode(form)
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        method = "POST"
    try:
        connection.request(method, path, body=body, headers=headers)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def raw(port, data, timeout_s=PATIENCE_S):
    """Bytes as they are, and all that comes back until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout_s) as connection:
        connection.sendall(data)
        answer = b""
        while True:
            piece = connection.recv(65536)
            if not piece:
                return answer
            answer += piece


def basic(user, secret=None):
    text = f"{user}:{CREDENTIALS[user] if secret is None else secret}"
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def mint(kid="h1", **claims):
    """A token that the daemon of with_http() takes, signed with HS256 by hand."""
    now = int(time.time())
    payload = {"iss": ISSUER, "aud": "api", "sub": "alice", "jti": "j1", "client_id": "app",
               "iat": now, "exp": now + 600, **claims}
    payload = {name: value for name, value in payload.items() if value is not None}
    text = ".".join(b64(json.dumps(part, separators=(",", ":")).encode())
                    for part in ({"alg": "HS256", "kid": kid, "typ": "JWT"}, payload))
    return text + "." + b64(hmac.new(SECRET, text.encode(), hashlib.sha256).digest())


def check(port, *parameters, headers=None, **named):
    """/v1/check; parameters that repeat as pairs, the others by name."""
    query = urllib.parse.urlencode([*parameters, *named.items()])
    return ask(port, f"/v1/check?{query}", headers=headers)

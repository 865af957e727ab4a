"""The HTTP endpoints as their callers see them: plain requests against a real daemon."""

import http.client
import re
import signal
import socket
import urllib.parse

import pytest

import web
from conftest import PATIENCE_S, in_parallel, wait_for
from web import ask, basic, bearer, check, mint


@pytest.fixture
def daemon(make_daemon, tmp_path):
    return web.with_http(make_daemon, tmp_path)


# ---- who is served ----

@pytest.mark.parametrize("host", ["evil.example", "evil.example:7402", "localhost.evil.example",
                                  "127.0.0.1.evil.example", "[::1", "localhost:x", "2130706433"])
def test_an_unknown_host_is_refused(daemon, host):
    answer = ask(daemon.http, "/metrics", headers={"Host": host})
    assert answer.code == 421, answer
    assert b"pawl_" not in answer.body


@pytest.mark.parametrize("host", ["localhost", "LocalHost:80", "127.0.0.1", "[::1]:7402",
                                  "10.1.2.3:7402"])
def test_literal_addresses_and_localhost_are_served(daemon, host):
    assert ask(daemon.http, "/healthz", headers={"Host": host}).code == 200


def test_names_in_the_settings_are_served_too(make_daemon, tmp_path):
    daemon = web.with_http(make_daemon, tmp_path, "--set", "http_hosts=[pawl.internal]")
    assert ask(daemon.http, "/healthz", headers={"Host": "Pawl.Internal:7402"}).code == 200
    assert ask(daemon.http, "/healthz", headers={"Host": "internal"}).code == 421


def test_no_host_or_two_are_refused(daemon):
    for head in (b"GET /healthz HTTP/1.0\r\n\r\n",
                 b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n"
                 b"Connection: close\r\n\r\n"):
        assert web.raw(daemon.http, head).split(b" ", 2)[1] == b"400"


def test_paths_and_methods_that_are_not_there(daemon):
    assert ask(daemon.http, "/").code == 404
    assert ask(daemon.http, "/metrics/").code == 404
    answer = ask(daemon.http, "/metrics", method="DELETE")
    assert (answer.code, answer.headers["Allow"]) == (405, "GET, HEAD")
    answer = ask(daemon.http, "/oauth/revoke")
    assert (answer.code, answer.headers["Allow"]) == (405, "POST")
    assert ask(daemon.http, "/v1/check", method="PUT").headers["Allow"] == "GET, HEAD, POST"


def test_head_is_get_without_the_body(daemon):
    answer = ask(daemon.http, "/metrics", method="HEAD")
    assert answer.code == 200 and answer.body == b""
    assert int(answer.headers["Content-Length"]) > 1000


def test_bodies_have_a_type_a_size_and_a_place(daemon):
    port = daemon.http
    assert ask(port, "/oauth/revoke", "POST", basic("web"), body="{}").code == 415
    json_type = {"Content-Type": "application/json", **basic("web")}
    assert ask(port, "/oauth/revoke", "POST", json_type, body="{}").code == 415
    assert ask(port, "/healthz", "GET", body="x").code == 400
    assert ask(port, "/oauth/revoke", headers=basic("web"), form={"token": "x" * 8193}).code == 400
    big = web.raw(port, b"POST /oauth/revoke HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                        b"application/x-www-form-urlencoded\r\nContent-Length: 24577\r\n\r\n")
    assert big.split(b" ", 2)[1] == b"413"
    assert ask(port, "/oauth/revoke", headers=basic("web"),
               form={"token": "%" * 8000}).code == 200 # escaped wholly it fits


def test_a_body_without_a_length_is_cut_off_too(daemon):
    head = (b"POST /oauth/revoke HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
            b"application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n"
            b"Connection: close\r\n\r\n")
    chunk = b"4000\r\n" + b"a" * 0x4000 + b"\r\n"
    assert web.raw(daemon.http, head + chunk * 3 + b"0\r\n\r\n").split(b" ", 2)[1] == b"413"
    with socket.create_connection(("127.0.0.1", daemon.http), PATIENCE_S) as endless:
        endless.sendall(head)
        with pytest.raises(OSError):
            for _ in range(10_000): # 160 MiB: it is closed long before
                endless.sendall(chunk)


@pytest.mark.parametrize("headers", [
    b"Content-Length: 4\r\nTransfer-Encoding: chunked", b"Content-Length: 4\r\nContent-Length: 4",
    b"Content-Length: 4\r\nContent-Length: 5", b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
])
def test_a_body_with_two_ends_is_refused_and_nothing_behind_it_is_read(daemon, headers):
    said = web.raw(daemon.http, b"POST /oauth/introspect HTTP/1.1\r\nHost: localhost\r\n"
               b"Content-Type: application/x-www-form-urlencoded\r\n" + headers +
               b"\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 400 ") and b"invalid_request" in said
    assert said.count(b"HTTP/1.1 ") == 1


def test_headers_have_a_ceiling(daemon):
    answer = ask(daemon.http, "/healthz", headers={"X-Long": "a" * 60_000})
    assert answer.code in (413, 431)
    assert ask(daemon.http, "/v1/check?" + "a" * 60_000).code in (413, 414, 431)


def test_connections_have_a_ceiling_and_silent_ones_end(make_daemon, tmp_path):
    daemon = web.with_http(make_daemon, tmp_path, "--set", "http_connections_max=4",
                           "--set", "http_timeout=1s")
    silent = [socket.create_connection(("127.0.0.1", daemon.http), PATIENCE_S) for _ in range(6)]
    silent[0].sendall(b"GET /healthz HTTP/1.1\r\nHo") # half a request is silence too
    for connection in silent[:4]:
        connection.settimeout(PATIENCE_S)
        assert connection.recv(4096).startswith((b"", b"HTTP/1.1 408"))
    for connection in silent:
        connection.close()
    wait_for(lambda: ask(daemon.http, "/healthz").code == 200, "served again")


def test_nothing_may_be_stored_and_figures_count(daemon):
    for path in ("/metrics", "/healthz", "/readyz", "/v1/check?limit=api&key=a"):
        answer = ask(daemon.http, path)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert ask(daemon.http, "/nowhere").code == 404
    status = daemon.status()
    assert status["http_requests"] == 5 and status["http_refused"] == 1


@pytest.mark.threads
def test_many_requests_on_one_connection_and_many_connections(daemon):
    def work(i):
        connection = http.client.HTTPConnection("127.0.0.1", daemon.http, timeout=PATIENCE_S)
        codes = []
        for j in range(50):
            connection.request("GET", f"/v1/check?limit=api&key={i}-{j}")
            codes.append(web.Answer(connection.getresponse()).code)
        connection.close()
        return codes
    assert in_parallel(8, work) == [[200] * 50] * 8


# ---- health ----

def test_health_and_readiness_say_why(daemon):
    for path in ("/healthz", "/readyz"):
        answer = ask(daemon.http, path)
        assert answer.code == 200 and answer.json["status"] == "ok"
        assert answer.json["reasons"] == [] and answer.json["workers"] >= 1


def test_a_frozen_node_is_ready_and_says_frozen(make_daemon, tmp_path):
    daemon = web.with_http(make_daemon, tmp_path, "--frozen")
    answer = ask(daemon.http, "/readyz")
    assert answer.code == 200 and answer.json["frozen"] is True
    assert check(daemon.http, limit="api", key="a").code == 200 # limits go on
    answer = check(daemon.http, token="required", headers=bearer(mint()))
    assert answer.code == 503, answer # never 401 from what is not known


def test_a_draining_node_is_healthy_and_not_ready(make_daemon, tmp_path, connect):
    daemon = web.with_http(make_daemon, tmp_path, "--set", "server.drain_timeout=30s")
    held = connect(daemon.unix) # a session that does not leave
    held.socket.sendall(b"\0\0\1") # in the middle of a frame
    wait_for(lambda: daemon.status()["edge_sessions"] >= 2, "the session")
    daemon.process.send_signal(signal.SIGTERM)
    answer = wait_for(lambda: (lambda a: a if a.code == 503 else None)(ask(daemon.http, "/readyz")),
                      "not ready")
    assert answer.json["reasons"] == ["draining"]
    assert ask(daemon.http, "/healthz").code == 200
    # nobody decides any more: that is no refusal, and the caller's word on it counts
    answer = wait_for(lambda: (lambda a: a if a.code != 200 else None)(
        check(daemon.http, limit="api", key="late")), "undecided")
    assert answer.code == 503 and answer.json["verdict"] == "undecided", answer
    answer = check(daemon.http, limit="api", key="late", on_error="open")
    assert answer.code == 200 and answer.headers["X-Pawl-Reason"] == "fallback", answer
    assert check(daemon.http, token="required", limit="api", key="a", on_error="open",
                 headers=bearer(mint())).code == 503 # open is for limits, never for tokens
    held.close()
    daemon.process.wait(PATIENCE_S)


# ---- /v1/check: limits ----

def test_the_pace_is_kept_and_the_headers_tell(daemon):
    first = check(daemon.http, limit="login", key="alice")
    assert first.code == 200 and first.json == {"verdict": "allow"}
    assert first.headers["RateLimit-Policy"] == '"login";q=2;w=60'
    assert re.fullmatch(r'"login";r=1;t=\d+', first.headers["RateLimit"])
    assert first.headers["X-RateLimit-Limit"] == "2"
    assert first.headers["X-RateLimit-Remaining"] == "1"
    assert check(daemon.http, limit="login", key="alice").code == 200
    denied = check(daemon.http, limit="login", key="alice")
    assert denied.code == 429, denied
    assert 1 <= int(denied.headers["Retry-After"]) <= 60
    assert denied.headers["X-Pawl-Limit"] == "login"
    assert denied.json == {"verdict": "deny", "reason": "rate_limited"}
    assert check(daemon.http, limit="login", key="bob").code == 200


def test_several_limits_are_all_or_none(daemon):
    limits = [("limit", "api"), ("limit", "login")]
    answers = [check(daemon.http, *limits, key="k") for _ in range(3)]
    assert [answer.code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["RateLimit-Policy"] == \
        '"api";q=60;w=60, "api-2";q=1000;w=86400, "login";q=2;w=60'
    peek = check(daemon.http, ("peek", "1"), limit="api", key="k")
    assert '"api";r=58' in peek.headers["RateLimit"] # the refusal charged nothing


def test_names_of_limits_are_quoted_where_they_are_told(make_daemon, tmp_path):
    name = 'we"i\\rd,one;q:9'
    daemon = web.with_http(make_daemon, tmp_path,
                           config="limits: {{'" + name + "': {{rate: 1/minute}}}}")
    answer = check(daemon.http, limit=name, key="k")
    assert answer.code == 200, answer
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    assert answer.headers["RateLimit-Policy"] == f'"{quoted}";q=1;w=60'
    assert f'pawl_limit_allowed_total{{limit="{quoted}",namespace="default"}} 1' in \
        ask(daemon.http, "/metrics").body.decode()


def test_it_listens_on_ipv6_too(make_daemon):
    daemon = make_daemon("--http", "[::1]:0")
    port = web.http_port(daemon)
    assert ask(port, "/healthz", host="::1").code == 200
    assert check_at("::1", port, "rate").code == 400


def check_at(host, port, limit):
    return ask(port, f"/v1/check?limit={limit}&key=a", host=host)


def test_an_address_that_is_taken_is_said_by_name(daemon, make_daemon):
    other = make_daemon("--http", f"127.0.0.1:{daemon.http}", start=False)
    other.start(wait=False)
    assert other.process.wait(PATIENCE_S) == 1
    why = other.event("stopped")["why"]
    assert f"127.0.0.1:{daemon.http}" in why and "in use" in why, why


def test_a_cost_that_never_fits_is_403_and_has_no_retry(daemon):
    answer = check(daemon.http, limit="login", key="k", cost="3")
    assert answer.code == 403 and "Retry-After" not in answer.headers
    assert check(daemon.http, limit="login", key="k", cost="2").code == 200


def test_a_limit_in_shadow_mode_refuses_nobody_and_tells_nobody(daemon):
    for _ in range(3):
        answer = check(daemon.http, limit="soft", key="k")
        assert answer.code == 200 and "RateLimit" not in answer.headers


def test_the_address_is_the_last_one_that_the_gateway_wrote(daemon):
    def by(*values, **named):
        with socket.create_connection(("127.0.0.1", daemon.http), PATIENCE_S) as connection:
            query = urllib.parse.urlencode({"limit": "login", **named})
            head = f"GET /v1/check?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            head += "".join(f"X-Forwarded-For: {value}\r\n" for value in values)
            connection.sendall(head.encode() + b"\r\n")
            return int(connection.makefile("rb").readline().split()[1])
    # a client that writes addresses of its own in front changes nothing
    assert [by("6.6.6.1, 1.2.3.4"), by("6.6.6.2, 1.2.3.4"), by("6.6.6.3", "1.2.3.4:5555")] == \
        [200, 200, 429]
    assert by("1.2.3.4, 9.9.9.9", hops=1) == 429
    assert by("1.2.3.4, 8.8.8.8", hops=1, address="x-forwarded-for") == 429
    assert by("5.5.5.5") == 200
    # an IPv6 customer is a /64
    assert [by("2001:db8::1"), by("[2001:db8::2]:443"), by("2001:db8::3")] == [200, 200, 429]
    for bad in ("", "unknown", "1.2.3.4, unknown", "1.2.3", "1.2.3.4,"):
        assert by(bad) == 400, bad
    assert by("1.2.3.4", hops=1) == 400 and by("1.2.3.4", hops=17) == 400


def test_x_real_ip_counts_where_the_gateway_says_so(daemon):
    spoofed = {"X-Real-IP": "6.6.6.6", "X-Forwarded-For": "1.2.3.4"}
    for code in (200, 200, 429):
        assert check(daemon.http, limit="login", headers=spoofed).code == code
        spoofed["X-Real-IP"] = f"7.7.7.{code % 100}"
    answer = check(daemon.http, limit="login", address="x-real-ip",
                   headers={"X-Real-IP": "8.8.8.8"})
    assert answer.code == 200
    assert check(daemon.http, limit="login", address="x-real-ip").code == 400


def test_a_key_header_counts_with_by_header_alone(daemon):
    headers = {"X-Forwarded-For": "1.2.3.4", "X-Pawl-Key": "one"}
    assert check(daemon.http, limit="login", headers=headers).code == 200
    headers["X-Pawl-Key"] = "two" # a client's try to be somebody else
    assert check(daemon.http, limit="login", headers=headers).code == 200
    headers["X-Pawl-Key"] = "three"
    assert check(daemon.http, limit="login", headers=headers).code == 429
    assert check(daemon.http, limit="login", by="header", headers=headers).code == 200
    assert check(daemon.http, limit="login", by="header").code == 400


def test_key_parts_are_not_joined(daemon):
    one = [("key", "a_b"), ("key", "c")]
    other = [("key", "a"), ("key", "b_c")]
    assert [check(daemon.http, *one, limit="login").code for _ in range(3)] == [200, 200, 429]
    assert check(daemon.http, *other, limit="login").code == 200
    assert check(daemon.http, *[("key", "x")] * 9, limit="login").code == 400


@pytest.mark.parametrize("query", [
    "", "limit=", "limit=nowhere&key=a", "limits=login&key=a", "limit=login&key=a&cost=0",
    "limit=login&key=a&cost=1x", "limit=login&key=a&token=maybe", "limit=login&key=a&by=name",
    "limit=login&key=a&cost=1&cost=2", "limit=login&key=%zz", "=a", "limit=login&key=a&on_error=x",
    "limit=login&by=subject", "limit=login&key=a&by=header", "limit=login&key=a&undecided=maybe",
    "&".join(["limit=login"] * 17) + "&key=a", "limit=login&limit=login&key=a",
])
def test_a_question_that_is_wrong_is_400_and_says_what(daemon, query):
    answer = ask(daemon.http, f"/v1/check?{query}")
    assert answer.code == 400, answer
    assert answer.json["error"] == "invalid_request" and answer.json["error_description"]


def test_a_form_says_the_same_as_a_query(daemon):
    for code in (200, 200, 429):
        assert ask(daemon.http, "/v1/check?limit=login", form={"key": "form"}).code == code


# ---- /v1/check: tokens ----

def test_a_token_is_verified_and_its_names_are_handed_on(daemon):
    answer = check(daemon.http, token="required", headers=bearer(mint(sub="al ice\u00e9", sid="s1")))
    assert answer.code == 200, answer
    assert answer.headers["X-Pawl-Subject"] == "al%20ice%C3%A9"
    assert answer.headers["X-Pawl-Client"] == "app"
    assert answer.headers["X-Pawl-Token-Id"] == "j1"
    assert answer.headers["X-Pawl-Issuer"] == web.ISSUER


def test_a_401_says_in_www_authenticate_why(daemon):
    port = daemon.http
    missing = check(port, token="required", realm="shop")
    assert (missing.code, missing.headers["WWW-Authenticate"]) == (401, 'Bearer realm="shop"')
    for token, reason in ((mint(exp=1), "token_expired"), (mint()[:-4] + "AAAA", "token_invalid"),
                          (mint(aud="other"), "token_invalid"), ("ey.x.y", "token_invalid")):
        answer = check(port, token="required", headers=bearer(token))
        assert answer.code == 401 and answer.json["reason"] == reason, answer
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
        assert "X-Pawl-Subject" not in answer.headers
    for header in ("Bearer", "Bearer a b", "Basic abc=", "Negotiate abc"):
        answer = check(port, token="required", headers={"Authorization": header})
        assert answer.code == 401 and answer.json["reason"] == "token_malformed", answer


def test_an_optional_token_may_be_missing_but_not_bad(daemon):
    port = daemon.http
    assert check(port, token="optional").code == 200
    assert check(port, token="optional", limit="api", key="a").code == 200
    assert check(port, token="optional", headers=bearer(mint(exp=1))).code == 401
    answer = check(port, token="optional", limit="api", key="a", headers=bearer(mint()))
    assert answer.code == 200 and answer.headers["X-Pawl-Subject"] == "alice"


def test_a_bad_token_charges_nothing(daemon):
    port = daemon.http
    for _ in range(5):
        assert check(port, token="required", limit="login", key="k",
                     headers=bearer(mint(exp=1))).code == 401
    for code in (200, 200, 429):
        assert check(port, token="required", limit="login", key="k",
                     headers=bearer(mint())).code == code


def test_a_log_out_is_seen_by_the_next_request(daemon):
    token = mint(jti="gone")
    assert check(daemon.http, token="required", headers=bearer(token)).code == 200
    daemon.ctl("revoke", "token", "--iss", web.ISSUER, "--jti", "gone", "--exp", "2000000000",
               check=0)
    answer = check(daemon.http, token="required", headers=bearer(token))
    assert answer.code == 401 and answer.json["reason"] == "token_revoked"


def test_limits_may_be_counted_by_whose_the_token_is(daemon):
    def by(sub, **claims):
        return check(daemon.http, limit="login", by="subject", token="required",
                     headers=bearer(mint(sub=sub, **claims)))
    assert [by("ann").code, by("ann", jti="j2").code, by("ann", jti="j3").code] == [200, 200, 429]
    answer = by("ben")
    assert answer.code == 200 and answer.headers["X-Pawl-Subject"] == "ben"
    assert by(None).code == 401 # nobody to be counted by
    assert by("ann", exp=1).code == 401
    answer = check(daemon.http, limit="login", by="client", token="required", headers=bearer(mint()))
    assert answer.code == 200


def test_an_opaque_token_is_known_by_its_hash(daemon):
    def opaque(token):
        return check(daemon.http, token="required", token_type="opaque", headers=bearer(token)).code
    assert opaque("key-1234567890") == 200
    daemon.ctl("revoke", "opaque", stdin="key-1234567890", check=0)
    assert opaque("key-1234567890") == 401
    assert opaque("key-1234567891") == 200


def test_without_an_issuer_nothing_is_known_of_a_token(make_daemon, tmp_path):
    daemon = web.with_http(make_daemon, tmp_path, config="limits: {{api: {{rate: 5/minute}}}}")
    answer = check(daemon.http, token="required", headers=bearer(mint()))
    assert answer.code == 503 and answer.json["verdict"] == "undecided", answer
    answer = check(daemon.http, token="required", undecided="allow", headers=bearer(mint()))
    assert answer.code == 200 and answer.headers["X-Pawl-Verdict"] == "undecided"
    assert "X-Pawl-Subject" not in answer.headers


# ---- OAuth ----

def revoke(daemon, token, who="web", **form):
    return ask(daemon.http, "/oauth/revoke", headers=basic(who) if who else None,
               form={"token": token, **form})


def introspect(daemon, token, who="web", **form):
    return ask(daemon.http, "/oauth/introspect", headers=basic(who) if who else None,
               form={"token": token, **form})


def test_a_caller_proves_himself_first(daemon):
    wrong = [None, {"Authorization": "Basic x"}, basic("web", "wrong"), basic("nobody", "x" * 32),
             bearer(mint()), basic("web", "")]
    for path in ("/oauth/revoke", "/oauth/introspect"):
        for headers in wrong:
            answer = ask(daemon.http, path, headers=headers, form={"token": mint()})
            assert answer.code == 401, (path, headers, answer)
            assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
            assert answer.json["error"] == "invalid_client"
            assert b"active" not in answer.body
    # those that showed a credential were counted and are in the audit log, the secret is not
    assert daemon.status()["http_credentials_wrong"] == 2 * 3
    wait_for(lambda: any(line.get("event") == "authentication_failed" for line in daemon.log()),
             "the audit line")
    # and nothing was revoked by those
    assert introspect(daemon, mint()).json["active"] is True


def test_a_caller_has_his_roles_in_his_namespaces(daemon):
    token = mint(jti="mine")
    assert revoke(daemon, token, who="reader").code == 403 # role check alone
    assert introspect(daemon, token, who="reader").code == 200
    assert introspect(daemon, token, who="reader", ns="default").code == 403
    assert revoke(daemon, token).code == 200
    assert introspect(daemon, token).json == {"active": False}
    # in the reader's namespace it was not revoked
    assert introspect(daemon, token, who="reader").json["active"] is True


def test_revoke_then_introspect(daemon):
    token = mint(jti="r1", sid="family")
    active = introspect(daemon, token).json
    assert active["active"] is True
    assert (active["sub"], active["jti"], active["client_id"], active["iss"]) == \
        ("alice", "r1", "app", web.ISSUER)
    assert active["exp"] > active["iat"] > 0
    assert revoke(daemon, token, token_type_hint="access_token").code == 200
    assert introspect(daemon, token).json == {"active": False}
    assert revoke(daemon, token).code == 200 # again is no error


def test_a_revocation_outlives_the_daemon(daemon):
    token = mint(jti="durable")
    assert revoke(daemon, token).code == 200
    daemon.kill()
    daemon.start()
    daemon.http = web.http_port(daemon)
    assert introspect(daemon, token).json == {"active": False}


def test_tokens_that_are_no_good_need_no_revoking(daemon):
    for token in (mint(exp=1), mint()[:-4] + "AAAA", "not.a.token", "ey.x.y", "opaque"):
        assert revoke(daemon, token, token_type_hint="nonsense").code == 200, token
        assert introspect(daemon, token).json == {"active": False}
    for form in ({}, {"token": ""}):
        for path in ("/oauth/revoke", "/oauth/introspect"):
            answer = ask(daemon.http, path, headers=basic("web"), form=form)
            assert answer.code == 400 and answer.json["error"] == "invalid_request", answer
    answer = ask(daemon.http, "/oauth/revoke", headers=basic("web"),
                 form=[("token", "a"), ("token", "b")])
    assert answer.code == 400


def test_a_log_out_is_not_said_to_be_done_while_the_token_s_key_has_not_come(daemon):
    token = mint(kid="tomorrow")
    answer = revoke(daemon, token)
    assert answer.code == 503 and answer.headers["Retry-After"] == "1"
    assert daemon.ctl("revoke", "jwt", stdin=token).code == 3
    assert introspect(daemon, token).json == {"active": False}


def test_an_opaque_token_is_revoked_by_its_hash_and_never_active(daemon):
    assert introspect(daemon, "some-opaque-token").json == {"active": False}
    assert revoke(daemon, "some-opaque-token").code == 200
    answer = check(daemon.http, token="required", token_type="opaque",
                   headers=bearer("some-opaque-token"))
    assert answer.code == 401


def test_a_token_in_the_address_is_refused(daemon):
    answer = ask(daemon.http, f"/oauth/introspect?token={mint()}", headers=basic("web"),
                 form={"token": mint()})
    assert answer.code == 400


def test_what_is_not_known_is_503(make_daemon, tmp_path):
    daemon = web.with_http(make_daemon, tmp_path, "--frozen")
    answer = introspect(daemon, mint())
    assert answer.code == 503 and answer.headers["Retry-After"], answer
    assert b"active" not in answer.body


def test_no_token_and_no_secret_in_what_is_written(daemon):
    token = mint(jti="unseen")
    revoke(daemon, token)
    revoke(daemon, "opaque-text-that-is-secret")
    introspect(daemon, token)
    ask(daemon.http, "/oauth/revoke", headers=basic("web", "a wrong secret, long enough"),
        form={"token": token})
    check(daemon.http, token="required", headers=bearer(token))
    daemon.stop()
    for path in [daemon.log_path, *daemon.data_dir.iterdir()]:
        data = path.read_bytes()
        for secret in (token, token.split(".")[2], "opaque-text-that-is-secret",
                       web.CREDENTIALS["web"], "a wrong secret"):
            assert secret.encode() not in data, (path, secret)

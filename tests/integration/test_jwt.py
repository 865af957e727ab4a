"""Signed tokens through the daemon: verified, refused each for its own reason, logged out, rotated;
keys that come and go while it runs; and no token in anything that is written.

Tokens are made by pawlctl and by PyJWT: two makers that share no line with the verifier or with
each other. What makes a token bad is written by hand.
"""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import subprocess
import threading
import time

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from conftest import BUILD, check_request, in_parallel, wait_for

ISSUER = "https://auth.example"
NOW = 1_800_000_000  # a fixed civil time, for the test clock
ALGORITHMS = ["HS256", "HS512", "RS256", "PS256", "ES256", "ES384", "EdDSA"]


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def b64_json(value):
    return b64(json.dumps(value, separators=(",", ":")).encode())


class Keys:
    """A private key of every kind and the files that pawld and pawlctl read."""

    def __init__(self, folder):
        self.folder = folder
        self.private = {}
        rsa_key = rsa.generate_private_key(65537, 2048)
        for alg, key in {"RS256": rsa_key, "PS256": rsa_key,
                         "ES256": ec.generate_private_key(ec.SECP256R1()),
                         "ES384": ec.generate_private_key(ec.SECP384R1()),
                         "EdDSA": ed25519.Ed25519PrivateKey.generate()}.items():
            self.private[alg] = key
            self.write(f"{alg}.pem", key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption()))
            self.write(f"{alg}.pub.pem", key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
        for alg in ("HS256", "HS512"):
            self.private[alg] = b64(os.urandom(64)).encode()
            self.write(f"{alg}.secret", self.private[alg] + b"\n")

    def write(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        path.chmod(0o600)

    def entry(self, alg, kid=None, **more):
        where = "secret_file" if alg.startswith("HS") else "file"
        name = f"{alg}.secret" if alg.startswith("HS") else f"{alg}.pub.pem"
        return {"kid": kid or alg.lower(), "alg": alg, where: str(self.folder / name), **more}

    def jwk(self, alg, kid):
        text = pyjwt.algorithms.get_default_algorithms()[alg].to_jwk(
            self.private[alg].public_key())
        return {**json.loads(text), "kid": kid, "alg": alg, "use": "sig"}

    def mint(self, alg="RS256", kid=None, headers=None, **claims):
        """A good token by PyJWT; a claim that is None is left out."""
        now = int(time.time())
        payload = {"iss": ISSUER, "aud": "api", "sub": "alice@example.org", "jti": "j-1",
                   "iat": now, "exp": now + 300, **claims}
        payload = {name: value for name, value in payload.items() if value is not None}
        return pyjwt.encode(payload, self.private[alg], algorithm=alg,
                            headers={"kid": kid or alg.lower(), **(headers or {})})

    def sign(self, header, payload, alg="HS256"):
        """Header and payload as text or object, signed right, whatever they say."""
        parts = [value if isinstance(value, str) else json.dumps(value)
                 for value in (header, payload)]
        text = ".".join(b64(part.encode()) for part in parts)
        if alg == "HS256":
            signature = hmac.digest(self.private[alg], text.encode(), hashlib.sha256)
        else:
            signature = self.private["RS256"].sign(text.encode(), padding.PKCS1v15(),
                                                   hashes.SHA256())
        return f"{text}.{b64(signature)}"


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    return Keys(tmp_path_factory.mktemp("keys"))


def config_of(*issuers, **more):
    """A config file as JSON, which is YAML."""
    return json.dumps({"jwt": {"issuers": list(issuers), **more}})


def issuer_of(keys, *algs, **more):
    return {"issuer": ISSUER, "audience": "api",
            "keys": [keys.entry(alg) for alg in algs or ALGORITHMS], **more}


@pytest.fixture
def verifier(make_daemon, keys):
    return make_daemon(config=config_of(issuer_of(keys)))


def verify(pawld, token, *arguments, check=None):
    return pawld.ctl(*[a for a in arguments if str(a).startswith("--now")],
                     "token", "verify", *[a for a in arguments if not str(a).startswith("--now")],
                     stdin=token, check=check).json


def reload(pawld):
    before = pawld.status()
    pawld.process.send_signal(1)

    def done():
        now = pawld.status()
        return now["reloads"] + now["reload_failures"] > \
            before["reloads"] + before["reload_failures"] and now
    return wait_for(done, "the reload")


# ---- good tokens -------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_token_of_every_algorithm_and_of_either_maker_is_valid(verifier, keys, alg):
    found = verify(verifier, keys.mint(alg, jti="py"), check=0)
    assert found["status"] == "valid" and found["reason"] is None
    assert found["claims"]["sub"] == "alice@example.org" and found["claims"]["jti"] == "py"
    key = (["--secret-file", keys.folder / f"{alg}.secret"] if alg.startswith("HS")
           else ["--key", keys.folder / f"{alg}.pem"])
    minted = verifier.ctl("token", "mint", "--alg", alg, *key, "--kid", alg.lower(), "--iss",
                          ISSUER, "--aud", "api", "--sub", "bob", "--jti", "ctl", "--sid", "s-1",
                          json_output=False, check=0).text
    found = verify(verifier, minted, check=0)
    assert found["claims"] == {**found["claims"], "iss": ISSUER, "sub": "bob", "jti": "ctl",
                               "sid": "s-1", "kid": alg.lower()}
    # And the other way round: what pawlctl signs is right for PyJWT.
    key = keys.private[alg]
    public = key if alg.startswith("HS") else key.public_key()
    assert pyjwt.decode(minted.strip(), public, algorithms=[alg], audience="api")["jti"] == "ctl"


def test_a_subject_that_is_a_number_is_the_same_subject_as_text(verifier, keys):
    token = keys.mint(sub=None, jti="n")
    assert verify(verifier, token, check=0)["status"] == "valid"
    header = {"alg": "HS256", "kid": "hs256"}
    payload = {"iss": ISSUER, "aud": "api", "sub": 42, "exp": int(time.time()) + 300,
               "iat": int(time.time()) - 60}
    number = keys.sign(header, payload)
    assert verify(verifier, number, check=0)["claims"]["sub"] == "42"
    verifier.ctl("revoke", "subject", "--sub", "42", check=0)
    assert verify(verifier, number, check=1)["scope"] == "subject"


def test_without_keys_a_token_is_undecided_and_never_refused(make_daemon, keys):
    pawld = make_daemon()
    found = verify(pawld, keys.mint(), check=3)
    assert (found["status"], found["reason"]) == ("undecided", "no_keys")
    refused = pawld.ctl("revoke", "jwt", stdin=keys.mint(), check=2)
    assert "no keys" in refused.error


def test_a_token_of_the_greatest_length_is_verified_and_a_longer_one_is_refused(
        verifier, keys, connect, wire):
    # 8192 characters of a token whose signature has 43: the padding's length is found by trying.
    fitting = next(token for token in (keys.mint("HS256", pad="x" * n) for n in range(5900, 6000))
                   if len(token) in (8191, 8192))
    assert verify(verifier, fitting, check=0)["status"] == "valid"
    assert verifier.ctl("token", "verify", stdin=keys.mint("HS256", pad="x" * 6100)).code == 2
    reply = connect(verifier.unix).call(token_check=wire.TokenCheck(
        token=wire.Token(raw=keys.mint("HS256", pad="x" * 6100).encode())))
    assert reply.status == wire.STATUS_INVALID and b"caps" in reply.error


# ---- ECDSA's two signatures of one text --------------------------------------------------------

ORDERS = {  # SEC 2: n of P-256 and P-384
    "ES256": 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551,
    "ES384": int("ffffffffffffffffffffffffffffffffffffffffffffffff"
                 "c7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16),
}


def both_signatures(token, alg):
    """The text with its low s and with its high s; either is made of the other without the key."""
    head, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    half = len(raw) // 2
    s = int.from_bytes(raw[half:], "big")
    return [f"{head}.{b64(raw[:half] + value.to_bytes(half, 'big'))}"
            for value in sorted((s, ORDERS[alg] - s))]


@pytest.mark.parametrize("alg", ORDERS)
def test_the_twin_of_a_signature_is_the_same_token_and_as_revoked(verifier, keys, alg):
    for jti in ("j-7", None):  # known by its jti, or by the hash of what was signed
        low, high = both_signatures(keys.mint(alg, jti=jti), alg)
        assert low != high
        for token in (low, high):
            assert verify(verifier, token, check=0)["status"] == "valid"
        verifier.ctl("revoke", "jwt", stdin=low, check=0)
        for token in (high, low):
            assert verify(verifier, token, check=1)["status"] == "revoked"


@pytest.mark.parametrize("alg", ORDERS)
def test_an_issuer_of_low_s_alone_refuses_the_twin_of_a_signature(make_daemon, keys, alg):
    pawld = make_daemon(config=config_of(issuer_of(keys, ecdsa_s="low")))
    minted = pawld.ctl("token", "mint", "--alg", alg, "--key", keys.folder / f"{alg}.pem", "--kid",
                       alg.lower(), "--iss", ISSUER, "--aud", "api", "--sub", "bob", "--jti", "m",
                       json_output=False, check=0).text.strip()
    low, high = both_signatures(minted, alg)
    assert minted == low
    for _ in range(2):  # the second time from the cache
        assert verify(pawld, low, check=0)["status"] == "valid"
        found = verify(pawld, high, check=1)
        assert (found["status"], found["reason"]) == ("invalid", "high_s")
    assert pawld.status()["jwt_refused_high_s"] == 2
    assert verify(pawld, keys.mint("RS256"), check=0)["status"] == "valid"
    # The issuer signed it all the same: whoever holds either form can have it ended.
    pawld.ctl("revoke", "jwt", stdin=high, check=0)
    assert verify(pawld, low, check=1)["status"] == "revoked"


def test_who_revokes_a_jwt_as_an_opaque_text_is_told_that_it_goes_on(verifier, keys):
    token = keys.mint("ES256", jti="opaque-1")
    told = verifier.ctl("revoke", "opaque", stdin=token, check=0)
    assert "revoke jwt" in told.error
    assert verify(verifier, token, check=0)["status"] == "valid"
    assert verifier.ctl("revoke", "opaque", stdin="an.api.key", check=0).error == ""
    assert verifier.ctl("revoke", "jwt", stdin=token, check=0).error == ""
    assert verify(verifier, token, check=1)["status"] == "revoked"


# ---- bad tokens, each with its reason ----------------------------------------------------------


def good_payload(**more):
    now = int(time.time())
    return {"iss": ISSUER, "aud": "api", "sub": "a", "jti": "j", "iat": now, "exp": now + 300,
            **more}


HEADER = {"alg": "HS256", "typ": "JWT", "kid": "hs256"}


def without(value, *names):
    return {name: item for name, item in value.items() if name not in names}


def flip_signature(keys):
    head, _, signature = keys.mint("RS256").rpartition(".")
    raw = bytearray(base64.urlsafe_b64decode(signature + "=="))
    raw[17] ^= 1
    return f"{head}.{b64(bytes(raw))}"


def der_signature(keys):
    """The same signature in the form that certificates have it in: DER."""
    head, _, signature = keys.mint("ES256").rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    return f"{head}.{b64(der)}"


def loose_bits(keys):
    """43 characters hold 258 bits, the MAC has 256: the last two have to be zero."""
    token = keys.mint("HS256")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]


def confused(keys):
    """The public key as an HMAC secret."""
    public = (keys.folder / "RS256.pub.pem").read_bytes()
    text = f"{b64_json({**HEADER, 'kid': 'rs256'})}.{b64_json(good_payload())}"
    return f"{text}.{b64(hmac.digest(public, text.encode(), hashlib.sha256))}"


def other_rsa(keys):
    stranger = rsa.generate_private_key(65537, 2048)
    return pyjwt.encode(good_payload(), stranger, algorithm="RS256", headers={"kid": "rs256"})


BAD = {
    "two parts": ("parts", lambda k: k.mint().rpartition(".")[0]),
    "stripped signature": ("parts", lambda k: k.mint().rpartition(".")[0] + "."),
    "four parts": ("parts", lambda k: k.mint() + ".x"),
    "padded": ("base64", lambda k: k.mint() + "=="),
    "other alphabet": ("base64", lambda k: k.mint()[:-2] + "+/"),
    "stray bits": ("base64", loose_bits),
    "white space": ("base64", lambda k: k.mint().replace(".", ".\n", 1)),
    "no JSON": ("json", lambda k: k.sign(HEADER, "{'iss': 1}")),
    "an array": ("json", lambda k: k.sign(HEADER, "[1]")),
    "nested": ("json", lambda k: k.sign(HEADER, good_payload(x=json.loads("[" * 64 + "]" * 64)))),
    "twice in payload": ("duplicate", lambda k: k.sign(
        HEADER, json.dumps(good_payload())[:-1] + ',"sub":"root"}')),
    "twice in header": ("duplicate", lambda k: k.sign(
        json.dumps(HEADER)[:-1] + ',"alg":"HS256"}', good_payload())),
    "crit": ("crit", lambda k: k.sign({**HEADER, "crit": ["exp"]}, good_payload())),
    "crit unknown": ("crit", lambda k: k.sign({**HEADER, "crit": ["x"], "x": 1}, good_payload())),
    "no alg": ("alg_missing", lambda k: k.sign(without(HEADER, "alg"), good_payload())),
    "none": ("alg_none", lambda k: k.sign({**HEADER, "alg": "none"}, good_payload())),
    "nOnE": ("alg_none", lambda k: k.sign({**HEADER, "alg": "nOnE"}, good_payload())),
    "NONE": ("alg_none", lambda k: k.sign({**HEADER, "alg": "NONE"}, good_payload())),
    "foreign alg": ("alg_unknown", lambda k: k.sign({**HEADER, "alg": "HS255"}, good_payload())),
    "small letters": ("alg_unknown", lambda k: k.sign({**HEADER, "alg": "hs256"}, good_payload())),
    "wrong typ": ("type", lambda k: k.sign({**HEADER, "typ": "dpop+jwt"}, good_payload())),
    "another issuer": ("issuer", lambda k: k.mint(iss="https://evil.example")),
    "no issuer": ("issuer", lambda k: k.mint(iss=None)),
    "unknown kid": ("key_unknown", lambda k: k.mint(kid="rs257")),
    "no kid": ("key_unknown", lambda k: k.sign(without(HEADER, "kid"), good_payload())),
    "public key as secret": ("alg_mismatch", confused),
    "PS for RS": ("alg_mismatch", lambda k: k.mint("PS256", kid="rs256")),
    "curve of another": ("alg_mismatch", lambda k: k.mint("ES384", kid="es256")),
    "flipped bit": ("signature", flip_signature),
    "another key": ("signature", other_rsa),
    "DER": ("signature", der_signature),
    "longer signature": ("signature", lambda k: k.mint("ES256") + "AAAA"),
    "exp as text": ("claim", lambda k: k.sign(HEADER, good_payload(exp="1900000000"))),
    "exp as float": ("claim", lambda k: k.sign(HEADER, good_payload(exp=1900000000.5))),
    "sub as list": ("claim", lambda k: k.sign(HEADER, good_payload(sub=["a"]))),
    "jti too long": ("claim", lambda k: k.sign(HEADER, good_payload(jti="x" * 1000))),
    "no exp": ("exp_missing", lambda k: k.mint(exp=None)),
    "nbf": ("not_yet_valid", lambda k: k.mint(nbf=int(time.time()) + 900)),
    "iat ahead": ("not_yet_valid", lambda k: k.mint(iat=int(time.time()) + 200)),
    "another audience": ("audience", lambda k: k.mint(aud="billing")),
    "no audience": ("audience", lambda k: k.mint(aud=None)),
    "lives too long": ("lifetime", lambda k: k.mint(exp=int(time.time()) + 40 * 86400)),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory, keys):
    """One daemon for all bad tokens: none of them changes anything."""
    from conftest import Daemon
    import tempfile
    with tempfile.TemporaryDirectory(prefix="pawl-it-") as folder:
        daemon = Daemon(folder, config=config_of(issuer_of(keys)))
        try:
            yield daemon.start()
        finally:
            daemon.stop()


@pytest.mark.parametrize("name", BAD)
def test_a_bad_token_is_invalid_for_its_own_reason(shared, keys, name):
    reason, make = BAD[name]
    found = verify(shared, make(keys), check=1)
    assert (found["status"], found["reason"]) == ("invalid", reason)
    assert "claims" not in found or reason in ("lifetime", "not_yet_valid")


def test_an_expired_token_is_expired_and_one_within_the_skew_is_not(shared, keys):
    now = int(time.time())
    assert verify(shared, keys.mint(iat=now - 900, exp=now - 60), check=1)["status"] == "expired"
    assert verify(shared, keys.mint(iat=now - 900, exp=now - 1), check=0)["status"] == "valid"


def test_a_cached_token_expires_all_the_same(make_daemon, keys):
    pawld = make_daemon("--test-clock", "--set", "server.workers=1",
                        config=config_of(issuer_of(keys)))
    token = keys.mint(iat=NOW, exp=NOW + 100)
    at = f"--now={NOW * 1000}"
    assert verify(pawld, token, at, check=0)["status"] == "valid"
    assert verify(pawld, token, at, check=0)["status"] == "valid"
    assert pawld.status()["jwt_cache_hits"] >= 1
    late = f"--now={(NOW + 106) * 1000}"
    assert verify(pawld, token, late, check=1)["status"] == "expired"


def test_audience_type_and_issuer_may_be_asked_for(verifier, keys):
    billing = keys.mint(aud=["billing", "web"])
    assert verify(verifier, billing, check=1)["reason"] == "audience"
    verify(verifier, billing, "--aud", "web", check=0)
    assert verify(verifier, keys.mint(), "--aud", "web", check=1)["reason"] == "audience"
    typed = keys.mint(token_type="refresh")
    verify(verifier, typed, "--type", "refresh", check=0)
    assert verify(verifier, typed, "--type", "access", check=1)["reason"] == "type"
    verify(verifier, typed, "--iss", ISSUER, check=0)
    assert verify(verifier, typed, "--iss", "https://else", check=1)["reason"] == "issuer"


# ---- claims and whole tokens -------------------------------------------------------------------


@pytest.mark.parametrize("revoke", [
    ["token", "--jti", "j", "--exp", "+1h"], ["subject", "--sub", "u"], ["client", "--client", "c"],
    ["family", "--sid", "f"], ["key", "--kid", "rs256"], ["namespace"]])
def test_a_log_out_kills_the_token_whichever_way_it_is_asked_about(verifier, keys, revoke):
    now = int(time.time())
    token = keys.mint(jti="j", sub="u", client_id="c", sid="f", iat=now - 5, exp=now + 300)
    claims = ["--jti", "j", "--sub", "u", "--client", "c", "--sid", "f", "--kid", "rs256",
              "--iat", now - 5, "--exp", now + 300]
    by_claims = verifier.ctl("token", "check", *claims, check=0).json
    whole = verify(verifier, token, check=0)
    assert by_claims["status"] == whole["status"] == "valid"
    verifier.ctl("revoke", *revoke, check=0)  # no issuer: it is the only one configured
    by_claims = verifier.ctl("token", "check", *claims, check=1).json
    whole = verify(verifier, token, check=1)
    assert [by_claims[name] for name in ("status", "reason", "scope")] == [
        whole[name] for name in ("status", "reason", "scope")]
    assert whole["scope"] == revoke[0]


def test_a_token_without_jti_is_revoked_by_what_was_signed(verifier, keys):
    one, two = keys.mint(jti=None), keys.mint(jti=None, sub="other")
    verifier.ctl("revoke", "jwt", stdin=one, check=0)
    assert verify(verifier, one, check=1)["scope"] == "signed"
    verify(verifier, two, check=0)


def test_one_request_admits_a_call(verifier, keys, connect, wire):
    connection = connect(verifier.unix)

    def admit(token):
        return connection.call(check=check_request(
            wire, b"k", rate=(2, 60000), token=wire.Token(raw=token.encode()))).check

    bad = admit(flip_signature(keys))
    assert (bad.verdict, bad.token.status) == (wire.VERDICT_DENY, wire.TOKEN_INVALID)
    assert bad.token.detail == b"signature" and not bad.token.HasField("claims")
    assert bad.results[0].count == 0 and bad.results[0].charge == 0
    good = keys.mint(jti="one")
    first = admit(good)
    assert first.verdict == wire.VERDICT_ALLOW and first.results[0].count == 1
    assert first.token.claims.subject == b"alice@example.org"
    assert [admit(good).verdict for _ in range(2)] == [wire.VERDICT_ALLOW, wire.VERDICT_DENY]
    verifier.ctl("revoke", "jwt", stdin=good, check=0)
    after = admit(good)
    assert (after.verdict, after.token.status) == (wire.VERDICT_DENY, wire.TOKEN_REVOKED)


def test_many_checks_of_one_read_each_get_the_claims_of_their_own_token(
        verifier, keys, connect, wire):
    """Claims wait packed beside the checks that are put off: none may get those of another."""
    connection = connect(verifier.unix)
    tokens = [keys.mint("HS256", jti=f"t{i}", sub=f"user-{i}", pad="x" * (i * 50))
              for i in range(64)]
    requests = [connection.request(check=check_request(
        wire, f"k{i}".encode(), token=wire.Token(raw=token.encode())))
        for i, token in enumerate(tokens)]
    connection.send(*requests)
    replies = {reply.id: reply for reply in (connection.receive() for _ in requests)}
    for i, request in enumerate(requests):
        found = replies[request.id].check
        assert found.verdict == wire.VERDICT_ALLOW
        assert found.token.claims.subject == f"user-{i}".encode()
        assert found.token.claims.jti == f"t{i}".encode()


def test_what_the_caller_says_beside_a_whole_token_does_not_count(verifier, keys, connect, wire):
    verifier.ctl("revoke", "token", "--jti", "j-1", "--exp", "+1h", check=0)
    reply = connect(verifier.unix).call(token_check=wire.TokenCheck(token=wire.Token(
        raw=keys.mint().encode(), jti=b"innocent", subject=b"innocent", sid=b"innocent")))
    assert reply.token_check.status == wire.TOKEN_REVOKED


# ---- revoking whole tokens ---------------------------------------------------------------------


def test_a_whole_token_is_revoked_even_when_it_is_for_others_or_over(verifier, keys):
    now = int(time.time())
    for token in (keys.mint(jti="over", iat=now - 900, exp=now - 600),
                  keys.mint(jti="else", aud="billing"), keys.mint(jti="nbf", nbf=now + 600)):
        answer = verifier.ctl("revoke", "jwt", stdin=token, check=0).json
        assert answer["acknowledged"] == "durable"
    assert verifier.ctl("token", "check", "--jti", "else", "--exp", now + 300).code == 1


def test_a_token_that_is_not_ours_is_not_revoked(verifier, keys):
    refused = verifier.ctl("revoke", "jwt", stdin=other_rsa(keys), check=2)
    assert "signature" in refused.error
    verifier.ctl("token", "check", "--jti", "j", "--exp", "+1h", check=0)


def test_a_whole_token_revokes_itself_and_its_family_only_when_asked_to(verifier, keys):
    one, sister = (keys.mint(jti=jti, sid="login-1") for jti in ("a", "b"))
    verifier.ctl("revoke", "jwt", stdin=one, check=0)
    assert verify(verifier, one, check=1)["scope"] == "token"
    verify(verifier, sister, check=0)
    verifier.ctl("revoke", "jwt", "--family", stdin=sister, check=0)
    assert verify(verifier, sister, check=1)["scope"] == "family"
    refused = verifier.ctl("revoke", "jwt", "--family", stdin=keys.mint(sid=None))
    assert refused.code == 2


def test_an_opaque_token_is_revoked_from_standard_input(verifier):
    verifier.ctl("token", "check", "--opaque", stdin="secret-api-key\n", check=0)
    verifier.ctl("revoke", "opaque", stdin="secret-api-key", check=0)
    assert verifier.ctl("token", "check", "--opaque", stdin="secret-api-key",
                        check=1).json["scope"] == "opaque"


# ---- rotation of whole tokens ------------------------------------------------------------------


def rotate(connection, wire, token, to, **more):
    exp = int(time.time()) + 3600
    return connection.call(rotate=wire.Rotate(
        presented=wire.Token(raw=token.encode(), **more), next_jti=to.encode(),
        next_exp=exp)).rotate


def test_a_whole_refresh_token_is_verified_and_rotated_by_its_own_claims(
        verifier, keys, connect, wire):
    connection = connect(verifier.unix)
    exp = int(time.time()) + 3600
    sid = verifier.ctl("family", "open", "--sub", "u", "--jti", "r0", "--exp", exp,
                       check=0).json["sid"]
    first = keys.mint(sub="u", jti="r0", sid=sid, exp=exp, gen=0, token_type="refresh")
    assert rotate(connection, wire, first, "r1", type=b"access").result == wire.ROTATE_INVALID
    assert rotate(connection, wire, flip_signature(keys), "r1").result == wire.ROTATE_INVALID
    done = rotate(connection, wire, first, "r1", type=b"refresh")
    assert (done.result, done.generation) == (wire.ROTATE_ROTATED, 1)
    second = keys.mint(sub="u", jti="r1", sid=sid, exp=exp, gen=1)
    assert rotate(connection, wire, second, "r2").result == wire.ROTATE_ROTATED
    # What the caller says of the presented token does not count: theft is seen all the same.
    stolen = rotate(connection, wire, first, "r9", jti=b"r2", sid=b"other")
    assert stolen.result == wire.ROTATE_REUSE
    assert rotate(connection, wire, keys.mint(sub="u", jti="r2", sid=sid, exp=exp),
                  "r3").result == wire.ROTATE_REVOKED


# ---- keys come and go --------------------------------------------------------------------------


def test_a_key_has_a_state(make_daemon, keys):
    issuer = issuer_of(keys, "RS256")
    issuer["keys"] += [keys.entry("RS256", kid="old", state="verify_only"),
                       keys.entry("RS256", kid="next", state="pending"),
                       keys.entry("RS256", kid="stolen", state="revoked")]
    pawld = make_daemon(config=config_of(issuer))
    verify(pawld, keys.mint(kid="old"), check=0)
    assert verify(pawld, keys.mint(kid="next"), check=1)["reason"] == "key_pending"
    found = verify(pawld, keys.mint(kid="stolen"), check=1)
    assert (found["status"], found["reason"], found["scope"]) == (
        "revoked", "key_compromised", "key")


def test_a_key_is_revoked_by_a_reload_and_what_it_vouched_for_in_the_cache_with_it(
        make_daemon, keys):
    issuer = issuer_of(keys, "RS256", "ES256")
    pawld = make_daemon(config=config_of(issuer))
    token = keys.mint("RS256")
    for _ in range(3):
        verify(pawld, token, check=0)
    issuer["keys"][0]["state"] = "revoked"
    (pawld.folder / "pawld.yaml").write_text(config_of(issuer))
    reload(pawld)
    assert verify(pawld, token, check=1)["status"] == "revoked"
    issuer["keys"] = issuer["keys"][1:]
    (pawld.folder / "pawld.yaml").write_text(config_of(issuer))
    reload(pawld)
    assert verify(pawld, token, check=1)["reason"] == "key_unknown"
    verify(pawld, keys.mint("ES256"), check=0)


def test_a_jwks_file_is_read_again_at_a_reload_and_a_bad_one_changes_nothing(make_daemon, keys,
                                                                            tmp_path):
    jwks = tmp_path / "keys.json"
    jwks.write_text(json.dumps({"keys": [keys.jwk("RS256", "one")]}))
    pawld = make_daemon("--set", "watch=false", config=config_of(
        {"issuer": ISSUER, "audience": "api", "jwks_file": str(jwks)}))
    verify(pawld, keys.mint(kid="one"), check=0)
    jwks.write_text(json.dumps({"keys": [keys.jwk("RS256", "two"), keys.jwk("ES256", "three")]}))
    reload(pawld)
    verify(pawld, keys.mint(kid="two"), check=0)
    verify(pawld, keys.mint("ES256", kid="three"), check=0)
    assert verify(pawld, keys.mint(kid="one"), check=1)["reason"] == "key_unknown"
    jwks.write_text('{"keys": [')
    refused = reload(pawld)
    assert refused["reload_failures"] == 1 and refused["jwt_reload_failed"] == 1
    assert str(jwks) in pawld.event("reload_refused")["why"]
    verify(pawld, keys.mint(kid="two"), check=0)


def test_keys_refresh_by_themselves_where_nothing_watches(make_daemon, keys, tmp_path):
    folder = tmp_path / "jwks"
    folder.mkdir()
    (folder / "a.json").write_text(json.dumps({"keys": [keys.jwk("RS256", "one")]}))
    pawld = make_daemon("--set", "watch=false", config=config_of(
        {"issuer": ISSUER, "audience": "api", "jwks_file": str(folder)}, refresh="1s"))
    verify(pawld, keys.mint(kid="one"), check=0)
    assert verify(pawld, keys.mint("ES256", kid="two"), check=1)["reason"] == "key_unknown"
    (folder / "b.json").write_text(json.dumps({"keys": [keys.jwk("ES256", "two")]}))
    wait_for(lambda: verify(pawld, keys.mint("ES256", kid="two"))["status"] == "valid",
             "the new file of keys")
    (folder / "b.json").write_text("no json")
    failed = wait_for(lambda: pawld.event("jwt_reload_failed"), "the refusal")
    assert "b.json" in failed["why"]
    verify(pawld, keys.mint("ES256", kid="two"), check=0)  # the keys before go on
    verify(pawld, keys.mint(kid="one"), check=0)


@pytest.mark.threads
def test_keys_that_are_replaced_under_load_refuse_no_good_token(make_daemon, keys, connect, wire,
                                                                tmp_path):
    jwks = tmp_path / "keys.json"
    lasting = [keys.jwk("RS256", "one"), keys.jwk("ES256", "two")]
    jwks.write_text(json.dumps({"keys": lasting}))
    pawld = make_daemon("--set", "watch=false", config=config_of(
        {"issuer": ISSUER, "audience": "api", "jwks_file": str(jwks)}))
    tokens = [keys.mint("RS256", kid="one", jti=f"r{i}").encode() for i in range(20)]
    tokens += [keys.mint("ES256", kid="two", jti=f"e{i}").encode() for i in range(20)]
    done = threading.Event()

    def ask(index):
        if index == 0:
            try:
                for i in range(10):
                    more = [keys.jwk("PS256", f"new-{i}")] if i % 2 == 0 else []
                    jwks.write_text(json.dumps({"keys": more + lasting}))
                    reload(pawld)
            finally:
                done.set()
            return set()
        connection, seen = connect(pawld.unix), set()
        while not done.is_set():
            connection.send(*(connection.request(check=check_request(
                wire, b"k", rate=(10**9, 60000), token=wire.Token(raw=raw))) for raw in tokens))
            for _ in tokens:
                reply = connection.receive().check
                seen.add((reply.verdict, reply.token.status, reply.token.detail))
        return seen

    seen = set.union(*in_parallel(4, ask))
    assert seen == {(wire.VERDICT_ALLOW, wire.TOKEN_VALID, b"")}
    assert pawld.status()["jwt_key_loads"] == 11


def test_a_start_without_its_key_is_refused_with_the_file_s_name(make_daemon, keys):
    issuer = issuer_of(keys, "RS256")
    issuer["keys"][0]["file"] = "/nowhere/key.pem"
    pawld = make_daemon(config=config_of(issuer), start=False)
    pawld.start(wait=False)
    assert pawld.process.wait(60) != 0
    pawld.process = None
    assert "/nowhere/key.pem" in pawld.log_path.read_text()


# ---- settings that are seen --------------------------------------------------------------------


def test_the_claims_of_subject_client_and_family_have_the_names_of_the_settings(make_daemon, keys):
    pawld = make_daemon(config=config_of(issuer_of(
        keys, "RS256", subject_claim="uid", client_claim="azp", sid_claim="session")))
    token = keys.mint(uid="U", azp="C", session="F", sub="ignored", client_id="ignored",
                      sid="ignored")
    claims = verify(pawld, token, check=0)["claims"]
    assert (claims["sub"], claims["client_id"], claims["sid"]) == ("U", "C", "F")
    pawld.ctl("revoke", "family", "--sid", "F", check=0)
    assert verify(pawld, token, check=1)["scope"] == "family"


def test_type_and_token_type_of_the_settings_keep_other_tokens_out(make_daemon, keys):
    pawld = make_daemon(config=config_of(issuer_of(
        keys, "RS256", type="at+jwt", token_type="access", audience=["web", "api"])))
    good = keys.mint(headers={"typ": "at+jwt"}, token_type="access")
    verify(pawld, good, check=0)
    for token in (keys.mint(token_type="access"),
                  keys.mint(headers={"typ": "at+jwt"}, token_type="refresh"),
                  keys.mint(headers={"typ": "at+jwt"})):
        assert verify(pawld, token, check=1)["reason"] == "type"


def test_an_issuer_without_audience_does_not_look_at_it(make_daemon, keys):
    issuer = without(issuer_of(keys, "RS256"), "audience")
    pawld = make_daemon(config=config_of(issuer))
    verify(pawld, keys.mint(aud="anything"), check=0)
    verify(pawld, keys.mint(aud=None), check=0)


def test_without_a_cache_every_token_is_verified_anew(make_daemon, keys):
    pawld = make_daemon(config=config_of(issuer_of(keys), cache_max=0))
    token = keys.mint()
    for _ in range(3):
        verify(pawld, token, check=0)
    status = pawld.status()
    assert status["jwt_cache_entries"] == 0 and status["jwt_cache_hits"] == 0


def test_an_issuer_that_is_left_out_is_the_only_one_configured(make_daemon, keys):
    pawld = make_daemon(config=config_of(issuer_of(keys, "RS256")))
    exp = int(time.time()) + 300
    pawld.ctl("revoke", "token", "--jti", "a", "--exp", exp, "--iss", ISSUER, check=0)
    pawld.ctl("token", "check", "--jti", "a", "--exp", exp, check=1)
    pawld.ctl("revoke", "token", "--jti", "j-1", "--exp", exp, check=0)
    assert verify(pawld, keys.mint(), check=1)["status"] == "revoked"
    two = make_daemon(config=config_of(issuer_of(keys, "RS256"), issuer_of(
        keys, "ES256", issuer="https://second.example")))
    two.ctl("revoke", "token", "--jti", "a", "--exp", exp, "--iss", ISSUER, check=0)
    two.ctl("token", "check", "--jti", "a", "--exp", exp, check=0)  # which issuer is not said


def test_issuers_do_not_lend_each_other_their_keys(make_daemon, keys):
    pawld = make_daemon(config=config_of(issuer_of(keys, "RS256"), issuer_of(
        keys, "ES256", issuer="https://second.example")))
    verify(pawld, keys.mint("RS256"), check=0)
    verify(pawld, keys.mint("ES256", iss="https://second.example"), check=0)
    assert verify(pawld, keys.mint("ES256"), check=1)["reason"] == "key_unknown"
    assert verify(pawld, keys.mint("RS256", iss="https://second.example"),
                  check=1)["reason"] == "key_unknown"


# ---- nothing of it is written anywhere ---------------------------------------------------------


def test_no_token_and_no_secret_is_in_anything_that_is_written(make_daemon, keys, connect, wire,
                                                               tmp_path):
    audit = tmp_path / "audit.log"
    config = json.loads(config_of(issuer_of(keys)))
    config["audit"] = {"file": str(audit)}
    config["log"] = {"level": "debug"}
    pawld = make_daemon(config=json.dumps(config))
    tokens = [keys.mint(alg, jti=f"secret-{alg}") for alg in ALGORITHMS]
    connection = connect(pawld.unix)
    for token in tokens:
        raw = token.encode()
        connection.call(token_check=wire.TokenCheck(token=wire.Token(raw=raw)))
        connection.call(check=check_request(wire, b"k", token=wire.Token(raw=raw)))
        connection.call(rotate=wire.Rotate(presented=wire.Token(raw=raw), next_jti=b"n"))
        pawld.ctl("revoke", "jwt", stdin=token, check=0)
        pawld.ctl("revoke", "opaque", stdin=token, check=0)
        connection.call(token_check=wire.TokenCheck(token=wire.Token(raw=raw + b"x")))
    limits = pathlib.Path(f"/proc/{pawld.process.pid}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4] == "0", "a core file would hold what is in memory"
    pawld.stop()
    written = {path: path.read_bytes() for path in
               [*pawld.data_dir.rglob("*"), pawld.log_path, audit] if path.is_file()}
    assert audit in written and len(written) >= 4
    for path, data in written.items():
        for token in tokens:
            _, payload, signature = token.split(".")
            assert payload.encode() not in data and signature.encode() not in data, path
            assert base64.urlsafe_b64decode(signature + "==") not in data, path
        assert keys.private["HS256"] not in data, path
        if path in (pawld.log_path, audit):
            assert b"alice@example.org" not in data and b"secret-RS256" not in data, path


def test_pawlctl_takes_no_token_as_an_argument(verifier, keys):
    for command in (["token", "verify"], ["revoke", "jwt"], ["token", "check", "--opaque"]):
        assert verifier.ctl(*command, keys.mint(), stdin="").code == 2
    minted = subprocess.run([BUILD / "pawlctl", "token", "mint", "--alg", "HS256", "--secret-file",
                             "/nowhere"], capture_output=True, text=True, check=False)
    assert minted.returncode == 2 and "/nowhere" in minted.stderr

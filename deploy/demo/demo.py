"""./dev demo: start pawld on a temporary socket and play the main job through pawlctl.

One line per claim; each line's answers are compared with what pawl promises. The last line is
``N answers, 0 wrong``, and the exit status is 0 only then.
"""

import argparse
import base64
import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

CONFIG = """\
limits:
  login:   {rate: 5/minute, on_error: closed}
  address: {rate: 5/minute, on_error: closed}
  api:     {rate: [3/second, 5/minute], on_error: open}
  report:  {rate: 10/hour}
  search:  {rate: 1/minute, algorithm: gcra, burst: 3}
  mails:   {rate: 2/month, algorithm: calendar, zone: Europe/Berlin, anchor_day: 1}
  jobs:    {rate: 2/10m, algorithm: concurrency}
  words:   {rate: 1000/hour}
  plan:    {rate: 1/hour, overrides: {partner: 3/hour}, bypass: ["probe-*"]}
  plan.premium: {rate: 2/hour}
  canary:  {rate: 1/hour, shadow: true}
jwt:
  issuers:
    - issuer: https://auth.example
      audience: api
      keys: [{kid: h1, alg: HS256, secret_file: h1.secret}]
"""

#: A second pawld, with the least memory there is, for what happens when it is full.
SMALL = """\
memory_max: 8MiB
limits:
  fill:     {rate: 5/day}
  overflow: {rate: 5/day, when_full: overflow}
  open:     {rate: 1/day, when_full: open}
  closed:   {rate: 5/day, when_full: closed}
"""


class Demo:
    def __init__(self, build, folder, config=CONFIG):
        self.build = pathlib.Path(build).resolve()
        self.folder = pathlib.Path(folder)
        self.config = config
        self.addr = f"unix:{self.folder / 'pawld.sock'}"
        self.answers = 0
        self.wrong = 0
        self.process = None

    def start(self):
        config = self.folder / "pawld.yaml"
        config.write_text(self.config)
        secret = self.folder / "h1.secret"
        if not secret.exists():
            secret.touch(0o600)
            secret.write_bytes(base64.b64encode(os.urandom(48)))
        log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(
            [self.build / "pawld", "--config", config, "--listen", self.addr,
             "--data-dir", self.folder / "data"], stdout=log, stderr=log)
        log.close()
        end = time.monotonic() + 30
        while self.ctl("status", count=False)[0] != 0:
            if time.monotonic() > end or self.process.poll() is not None:
                sys.stderr.write((self.folder / "log").read_text())
                raise SystemExit("pawld did not start")
            time.sleep(0.02)

    def stop(self, number=signal.SIGTERM):
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None

    def ctl(self, *arguments, count=True, stdin=None):
        done = subprocess.run([self.build / "pawlctl", "--addr", self.addr, "--json",
                               *map(str, arguments)], capture_output=True, text=True, input=stdin)
        self.answers += count
        try:
            return done.returncode, json.loads(done.stdout)
        except ValueError:
            return done.returncode, {"error": done.stderr.strip()}

    def claim(self, text, seen, wanted):
        """One line. @seen and @wanted are compared as they are."""
        good = seen == wanted
        self.wrong += not good
        print(f"{'ok   ' if good else 'WRONG'}  {text}: {seen}"
              + ("" if good else f"  (wanted {wanted})"), flush=True)

    # ---- the main job ----

    def limits(self):
        codes = [self.ctl("check", "login=anna", "address=10.0.0.7")[0] for _ in range(6)]
        self.claim("login, 5/minute per user name and per address at once: 5 pass, the 6th does not",
                   codes, [0, 0, 0, 0, 0, 1])
        answer = self.ctl("check", "login=anna", "address=10.0.0.8")[1]
        left = self.ctl("check", "--peek", "address=10.0.0.8")[1]
        self.claim("all or none: the refused name names itself and charges the new address nothing",
                   ([limit["allowed"] for limit in answer["limits"]], left["limits"][0]["count"]),
                   ([False, True], 0))
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            codes = list(pool.map(
                lambda _: self.ctl("check", "--rate", "20/minute", "crowd", count=False)[0],
                range(40)))
        self.answers += 40
        self.claim("40 callers at once under 20/minute: exactly", codes.count(0), 20)
        codes = [self.ctl("check", "--limit", "api", "ben")[0] for _ in range(4)]
        self.claim("a burst of 3/second inside 5/minute: 3 pass, then the burst is over", codes,
                   [0, 0, 0, 1])
        answer = self.ctl("check", "--limit", "report", "--cost", 7, "carol")[1]["limits"][0]
        self.claim("a report that costs 7 of 10 leaves", answer["remaining"], 3)
        code, denied = self.ctl("check", "--limit", "report", "--cost", 7, "carol")
        self.claim("the next one does not fit, and is told when it will",
                   (code, 0 < denied["limits"][0]["retry_after_ms"] <= 3600000), (1, True))
        self.claim("a peek shows the same and charges nothing",
                   self.ctl("peek", "--limit", "report", "carol")[1]["limits"][0]["count"], 7)
        self.ctl("refund", "--limit", "report", "--cost", 5, "--charge", answer["charge"], "carol")
        code, again = self.ctl("check", "--limit", "report", "--cost", 7, "carol")
        self.claim("5 refunded by the charge's name, and it fits",
                   (code, again["limits"][0]["count"]), (0, 9))

    def kinds(self):
        """Limits beyond the sliding window."""
        def passed(count, *arguments):
            return [self.ctl("check", *arguments)[0] for _ in range(count)].count(0)

        self.claim("gcra, 1/minute with a burst of 3: of 5 at once pass", passed(5, "search=dora"), 3)
        self.claim("a quota of 2 in each month of Berlin's calendar: of 3 pass",
                   passed(3, "mails=dora"), 2)
        charges = [self.ctl("check", "jobs=dora")[1]["limits"][0]["charge"] for _ in range(3)]
        self.ctl("refund", "--charge", charges[0], "jobs=dora")
        self.claim("2 jobs at once: the third has no slot, until one of them ends",
                   (charges[2], self.ctl("check", "jobs=dora")[0]), (None, 0))
        lease = self.ctl("reserve", "--min", 100, "--max", 5000, "words=dora")[1]
        back = self.ctl("commit", "--used", 300, lease["lease"])[1]["refunded"]
        again = self.ctl("commit", "--used", 0, lease["lease"])[0]
        self.claim("reserve up to 5000 of 1000, use 300: the rest goes back, once",
                   (lease["granted"], back, again), (1000, 700, 1))
        self.claim("a partner's own rate, a probe that is never limited, everybody else",
                   (passed(4, "plan=partner"), passed(4, "plan=probe-7"), passed(4, "plan=dora")),
                   (3, 4, 1))
        self.claim("the premium tier of the same limit", passed(4, "plan.premium=dora"), 2)
        seen = passed(3, "canary=dora")
        figures = {limit["limit"]: limit for limit in self.ctl("top")[1]["limits"]}
        self.claim("a limit in shadow denies nobody, and counts whom it would have denied",
                   (seen, figures["canary"]["shadow_denied"]), (3, 2))

    def full(self):
        """More keys than memory_max has room for: what each word of when_full makes of a new one."""
        folder = self.folder / "small"
        folder.mkdir()
        small = Demo(self.build, folder, SMALL)
        try:
            small.start()
            small.flood()
        finally:
            small.stop()
        self.answers += small.answers
        self.wrong += small.wrong

    def flood(self):
        def codes(times, key):
            return [self.ctl("check", key)[0] for _ in range(times)]

        before = codes(1, "open=early") + codes(1, "closed=early")
        filled = self.ctl("bench", "--limit", "fill", "--keys", 1 << 30, "--requests", 300_000,
                          "--connections", 4, "--in-flight", 64, count=False)[0]
        status = self.ctl("status")[1]
        records = status["memory_records_bytes"] + status["memory_index_bytes"]
        self.claim("300000 keys against 8 MiB: all answered, within the ceiling, not all with a record",
                   (filled, records <= 8 << 20, 0 < status["keys"] < 300_000), (0, True, True))
        self.claim("keys that had a record keep it: the one at 1/day is denied, the one at 5/day passes",
                   (before, codes(1, "open=early"), codes(1, "closed=early")), ([0, 0], [1], [0]))
        self.claim("when_full: overflow counts a new key in a cell it may share, and never over 5/day",
                   codes(7, "overflow=late"), [0, 0, 0, 0, 0, 1, 1])
        self.claim("when_full: open lets a new key at 1/day pass uncounted", codes(3, "open=late"),
                   [0, 0, 0])
        self.claim("when_full: closed denies a new key", codes(2, "closed=late"), [1, 1])

    def tokens(self):
        exp = int(time.time()) + 3600
        token = ["token", "check", "--jti", "access-1", "--exp", exp]
        before = self.ctl(*token)[1]["status"]
        acknowledged = self.ctl("revoke", "token", "--jti", "access-1",
                                "--exp", exp)[1]["acknowledged"]
        self.claim("a token is valid, revoked (acknowledged when on disk), and then refused",
                   (before, acknowledged, self.ctl(*token)[1]["status"]),
                   ("valid", "durable", "revoked"))
        old = self.ctl("family", "open", "--sub", "dora", "--jti", "d0", "--exp", exp)[1]["sid"]
        iat = int(time.time())
        self.ctl("revoke", "subject", "--sub", "dora")
        new = self.ctl("family", "open", "--sub", "dora", "--jti", "d1", "--exp", exp)[1]["sid"]

        def session(sid):
            return self.ctl("token", "check", "--jti", "x", "--sub", "dora", "--sid", sid,
                            "--iat", iat, "--exp", exp)[1]["status"]

        self.claim("log-out everywhere ends the old session and spares a login in the same second",
                   (session(old), session(new)), ("revoked", "valid"))

    def signed(self):
        def mint(audience, *claims):
            return self.ctl("token", "mint", "--alg", "HS256", "--kid", "h1", "--secret-file",
                            self.folder / "h1.secret", "--iss", "https://auth.example", "--aud",
                            audience, "--sub", "gina", "--sid", "s-1", *claims,
                            count=False)[1]["token"]

        def verify(token):
            answer = self.ctl("token", "verify", stdin=token)[1]
            return answer["status"], answer["reason"]

        token, sister = mint("api", "--jti", "g1"), mint("api", "--jti", "g2")
        good = verify(token)
        acknowledged = self.ctl("revoke", "jwt", stdin=token)[1]["acknowledged"]
        self.claim("a signed token is verified, logged out, and then refused",
                   (good[0], acknowledged, verify(token)[0]), ("valid", "durable", "revoked"))
        still = verify(sister)[0]
        self.ctl("family", "end", "--sid", "s-1")
        self.claim("another token of that login is good until the login itself is ended",
                   (still, verify(sister)[0]), ("valid", "revoked"))
        head, _, mac = token.rpartition(".")
        forged = f"{head}.{'B' if mac[0] == 'A' else 'A'}{mac[1:]}"
        self.claim("a forged one, a stripped one and one for somebody else, each with its reason",
                   (verify(forged)[1], verify(f"{head}.")[1], verify(mint("billing"))[1]),
                   ("signature", "parts", "audience"))

    def families(self):
        exp = int(time.time()) + 3600
        sid = self.ctl("family", "open", "--sub", "emil", "--jti", "r0", "--exp", exp)[1]["sid"]

        def rotate(old, new):
            answer = self.ctl("rotate", "--sid", sid, "--from", old, "--to", new, "--exp", exp)[1]
            return answer["result"], answer.get("successor") or ""

        self.claim("a refresh token is exchanged", rotate("r0", "r1"), ("rotated", "r1"))
        self.claim("the API server lost the answer and asks again", rotate("r0", "r1"),
                   ("rotated", "r1"))
        self.claim("another tab is late: the same successor, no second branch",
                   rotate("r0", "tab-2"), ("grace", "r1"))
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda i: rotate("r1", f"race-{i}")[0], range(8)))
        self.claim("8 at once with 8 successors: one winner", results.count("rotated"), 1)
        self.claim("a thief plays the token of two generations ago", rotate("r0", "thief")[0],
                   "reuse")
        self.claim("and the whole family is dead", rotate("r1", "r9")[0], "revoked")
        return sid, exp

    def crash(self, sid, exp):
        for _ in range(10):
            self.ctl("check", "--limit", "report", "frank", count=False)
        self.answers += 10
        charged = time.monotonic()
        while True:  # until what was charged is older than what may be lost
            age_ms = (time.monotonic() - charged) * 1000
            bound_ms = self.ctl("status", count=False)[1]["counter_unsaved_age_ms"]
            if age_ms > bound_ms:
                break
            time.sleep(0.02)
        self.stop(signal.SIGKILL)
        self.start()
        self.claim("kill -9 and a new start: the revoked token is refused, the family stays dead",
                   (self.ctl("token", "check", "--jti", "access-1", "--exp", exp)[1]["status"],
                    self.ctl("rotate", "--sid", sid, "--from", "r1", "--to", "r9",
                             "--exp", exp)[1]["result"]),
                   ("revoked", "revoked"))
        self.claim(f"no count older than the printed bound ({bound_ms} ms) was lost",
                   self.ctl("check", "--limit", "report", "frank")[0], 1)

    def play(self):
        self.limits()
        self.kinds()
        self.full()
        self.tokens()
        self.signed()
        self.crash(*self.families())
        print(f"{self.answers} answers, {self.wrong} wrong", flush=True)
        return 0 if self.wrong == 0 else 1


def main():
    parser = argparse.ArgumentParser(prog="./dev demo")
    parser.add_argument("build")
    parser.add_argument("--stay", action="store_true", help="leave pawld running until ctrl-c")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through `finally`: pawld ends too
    with tempfile.TemporaryDirectory(prefix="pawl-demo-") as folder:
        os.chmod(folder, 0o755)
        demo = Demo(arguments.build, folder)
        try:
            demo.start()
            code = demo.play()
            if arguments.stay:
                print(f"pawld stays up; try: build/release/pawlctl --addr {demo.addr} "
                      "check --rate 5/minute me", flush=True)
                try:
                    demo.process.wait()
                except KeyboardInterrupt:
                    print()
            return code
        finally:
            demo.stop()


if __name__ == "__main__":
    sys.exit(main())

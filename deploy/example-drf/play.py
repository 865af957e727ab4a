"""./dev example: pawld, the API under gunicorn with 4 workers, and a session with curl.

Each step is printed: what was asked, what came back, and whether that is what the API promises.
The last line is ``N answers, 0 wrong``, and the exit status is 0 only then. --stay leaves
everything up.
"""

import argparse
import base64
import hashlib
import itertools
import json
import os
import pathlib
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse

import pyotp

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PYTHON = sys.executable
PASSWORD = "correct horse battery"
CLIENT = ("-u", "warehouse:warehouse secret")
BACK = "https://app.example/back"
PATIENCE_S = 60
#: manage.py migrate && manage.py example_data, in one process.
PREPARE = """
import django
from django.core.management import call_command
django.setup()
call_command("migrate", verbosity=0)
call_command("example_data")
"""


#: In the names of people that a step makes up: it is one step.
_ALIKE = re.compile(r"(?<=nobody)\d|(?<=new)\d")
_UUID = re.compile(r"([0-9a-f]{8})-[0-9a-f-]{27}")


def short(value, limit=26):
    """A value as a reader wants it: long texts (tokens) by their beginning."""
    if isinstance(value, dict):
        return {name: short(one) for name, one in value.items()}
    if isinstance(value, str) and len(value) > limit and " " not in value:
        return value[:8] + "..."
    return value


class Answer:
    """What curl saw."""

    def __init__(self, text):
        head, _, self.text = text.partition("\r\n\r\n")
        lines = head.split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {name.lower(): value for name, _, value in
                        (line.partition(": ") for line in lines[1:])}

    @property
    def json(self):
        try:
            found = json.loads(self.text)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def code(self):
        return self.json.get("code", "")

    def __str__(self):
        if self.status >= 400:
            wait = self.headers.get("retry-after")
            return f"{self.status} {self.code}" + (f", Retry-After: {wait}" if wait else "")
        if not self.json:
            place = self.headers.get("location", "")
            return f"{self.status} {place[:60]}".rstrip()
        told = json.dumps(short(self.json))
        return f"{self.status} {told if len(told) < 110 else told[:107] + '...'}"


class Play:
    def __init__(self, build, folder):
        self.build, self.folder = pathlib.Path(build).resolve(), pathlib.Path(folder)
        self.processes, self.asked = [], []
        self.answers, self.wrong, self.url, self.http = 0, 0, "", ""
        self.addr = f"unix:{self.folder / 'pawld.sock'}"
        self.log_file = self.folder / "security.log"
        inherited = os.environ.get("PYTHONPATH", "")
        self.env = dict(
            os.environ, EXAMPLE_DATA=str(self.folder), PAWL_ADDR=self.addr, EXAMPLE_PROXIES="1",
            EXAMPLE_SECURITY_LOG=str(self.log_file), EXAMPLE_ONE_TIME_LIMIT="one_time_code",
            # Four workers, curl and whatever else this machine does share its processors: an
            # answer of pawld that is ready may wait for longer than the 20 ms of production.
            EXAMPLE_DEADLINE_MS=os.environ.get("EXAMPLE_DEADLINE_MS", "5000"),
            DJANGO_SETTINGS_MODULE="project.settings", PYTHONDONTWRITEBYTECODE="1",
            PYTHONPATH=os.pathsep.join(filter(None, [
                str(HERE), str(ROOT / "client" / "python" / "src"), inherited])))

    # ---- servers --------------------------------------------------------------------------------

    def run(self, command, log):
        with open(self.folder / log, "ab") as file:
            process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL,
                                       stdout=file, stderr=file, env=self.env, cwd=HERE)
        self.processes.append(process)
        return process

    def wait(self, process, log, condition):
        end = time.monotonic() + PATIENCE_S
        while not condition((self.folder / log).read_text("utf-8", "replace")):
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit((self.folder / log).read_text() + f"\n{log}: did not start")
            time.sleep(0.02)

    def start_pawld(self):
        (self.folder / "pawld.log").unlink(missing_ok=True)
        self.pawld = self.run(
            [self.build / "pawld", "--config", HERE / "pawld.yaml", "--listen", self.addr,
             "--http", "127.0.0.1:0", "--data-dir", self.folder / "pawl"], "pawld.log")
        self.wait(self.pawld, "pawld.log", lambda text: '"ready"' in text)

    def start(self):
        self.start_pawld()
        self.site = self.run([PYTHON, "-m", "gunicorn", "--preload", "-w", "4", "-b",
                              "127.0.0.1:0", "project.wsgi:application"], "gunicorn.log")
        subprocess.run([PYTHON, "-c", PREPARE], env=self.env, cwd=HERE, check=True,
                       stdout=subprocess.DEVNULL)
        listening = re.compile(r"Listening at: (http://127\.0\.0\.1:\d+)")
        self.wait(self.site, "gunicorn.log", lambda text: listening.search(text)
                  and text.count("Booting worker") == 4)
        self.url = listening.search((self.folder / "gunicorn.log").read_text()).group(1)

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            process.wait(30)

    # ---- asking ---------------------------------------------------------------------------------

    def curl(self, method, path, body=None, bearer="", address="203.0.113.1", form=None,
             times=0, extra=()):
        """@address: as the proxy in front of the API tells it. @times: so many at once, and a list
        of answers."""
        command = ["curl", "-sS", "-X", method, "-H", f"X-Forwarded-For: {address}",
                   "-H", "Expect:", "--max-time", str(PATIENCE_S), *extra]
        shown = ["curl"] + (["-X", method] if method != "GET" else []) + [
            path if len(path) < 70 else path.partition("?")[0] + "?..."]
        if bearer:
            command += ["-H", f"Authorization: Bearer {bearer}"]
            shown += ["-H", f"'Authorization: Bearer {short(bearer)}'"]
        if body is not None:
            command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
            shown += ["-d", f"'{json.dumps(short(body))}'"]
        for name, value in (form or {}).items():
            command += ["--data-urlencode", f"{name}={value}"]
            shown += ["-d", f"{name}={short(value)}"]
        for flag in range(0, len(extra), 2):
            if extra[flag] in ("-u", "-H", "-F"):
                shown += [extra[flag], f"'{extra[flag + 1]}'"]
        if times:
            return self._together(command, path, times, shown)
        done = subprocess.run([*command, "-i", self.url + path], capture_output=True, check=True)
        return self._note(" ".join(shown), [Answer(done.stdout.decode())])[0]

    def _together(self, command, path, times, shown):
        """One curl process with @times transfers: they are under way at the same time."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            subprocess.run([*command, "-i", "-Z", "--parallel-immediate", "--parallel-max", "16",
                            "-o", f"{folder}/#1", f"{self.url}{path}?[1-{times}]"],
                           capture_output=True, check=True)
            answers = [Answer((pathlib.Path(folder) / str(number)).read_bytes().decode())
                       for number in range(1, times + 1)]
        return self._note(f"{' '.join(shown)}   ({times} at once)",
                          sorted(answers, key=lambda one: one.status))

    def _note(self, shown, answers):
        self.asked += [(shown, one) for one in answers]
        self.answers += len(answers)
        return answers

    def login(self, name, address, password=PASSWORD):
        return self.curl("POST", "/auth/login/", {"username": name, "password": password},
                         address=address)

    def sign_up(self, number):
        return self.curl("POST", "/auth/signup/", {
            "username": f"new{number}", "email": f"new{number}@example.org",
            "password": PASSWORD}, address="203.0.113.50")

    def refresh(self, token, **more):
        return self.curl("POST", "/auth/refresh/", {"refresh": token}, address="203.0.113.9",
                         **more)

    def me(self, access):
        return self.curl("GET", "/me/", bearer=access)

    # ---- telling --------------------------------------------------------------------------------

    def title(self, text):
        print(f"\n== {text}", flush=True)

    def claim(self, text, seen, wanted):
        """Print what was asked since the last claim, and whether it came out as promised."""
        for _, group in itertools.groupby(self.asked, key=lambda one: _ALIKE.sub("", one[0])):
            group = list(group)
            print("  $ " + _UUID.sub(r"\1...", group[0][0]))
            runs = [(said, len(list(run))) for said, run in
                    itertools.groupby(group, key=lambda one: re.sub(r"(After: )\d+", r"\1...",
                                                                    str(one[1])))]
            for said, count in runs[:4]:
                print(f"    {said}" + (f"   x{count}" if count > 1 else ""))
        self.asked = []
        good = seen == wanted
        self.wrong += not good
        print(f"{'ok   ' if good else 'WRONG'}  {text}" + (
            "" if good else f": {seen}  (wanted {wanted})"), flush=True)

    # ---- the session ----------------------------------------------------------------------------

    def log_in(self):
        self.title("Logging in")
        seen = [self.login("anna", f"198.51.100.{n}", "wrong").status for n in range(6)]
        self.claim("guessing anna's password from six addresses: 5 a minute for the name",
                   seen, [401] * 5 + [429])
        seen = [self.login(f"nobody{n}", "198.51.100.99", "wrong").status for n in range(6)]
        self.claim("six names from one address: 5 a minute for the address",
                   seen, [401] * 5 + [429])
        seen = self.login("bert", "192.0.2.66, 198.51.100.99").status
        self.claim("a made-up X-Forwarded-For in front does not help", seen, 429)
        bert = self.login("bert", "203.0.113.2")
        self.claim("bert, from elsewhere, is not held up", bert.status, 200)
        me = self.me(bert.json["access"])
        self.claim("every answer says what is left: " + me.headers.get("ratelimit", ""),
                   [name in me.headers for name in ("x-ratelimit-limit", "x-ratelimit-remaining",
                                                    "ratelimit", "x-request-id")], [True] * 4)
        made = [self.sign_up(n) for n in range(4)]
        self.claim("sign-up: 3 an hour from one address, and when to come again",
                   ([one.status for one in made],
                    int(made[-1].headers.get("retry-after", 0)) > 3000),
                   ([201, 201, 201, 429], True))
        return bert.json["access"]

    def burst(self, bert):
        self.title("Many at once")
        answers = self.curl("GET", "/me/", bearer=bert, times=80)
        allowed = sum(one.status == 200 for one in answers)
        self.claim("80 at once to 4 workers under 60/minute, one was used: exactly 59 pass",
                   (allowed, {one.status for one in answers}), (59, {200, 429}))

    def race(self):
        self.title("Refreshing")
        pair = self.login("cleo", "203.0.113.3").json
        answers = self.refresh(pair["refresh"], times=16)
        heads = {one.json.get("refresh") for one in answers}
        self.claim("16 refreshes of one token at once: all are answered, with one successor",
                   ({one.status for one in answers}, len(heads)), ({200}, 1))
        self.claim("and the successor works",
                   self.refresh(answers[0].json["refresh"]).status, 200)

    def everywhere(self):
        self.title("Logging out everywhere")
        phone = self.login("cleo", "203.0.113.4").json
        laptop = self.login("cleo", "203.0.113.5").json
        done = self.curl("POST", "/auth/logout-everywhere/", {}, bearer=phone["access"])
        seen = {one.code for pair in (phone, laptop)
                for one in self.curl("GET", "/me/", bearer=pair["access"], times=8)}
        self.claim("phone and laptop are refused by every worker, access tokens too",
                   (done.status, seen, self.refresh(laptop["refresh"]).status),
                   (204, {"token_revoked"}, 401))
        new = self.login("cleo", "203.0.113.6")
        self.claim("a new log-in, in the same second, works", self.me(new.json["access"]).status,
                   200)
        return new.json["access"]

    def stolen(self):
        self.title("A stolen refresh token")
        mine = self.login("root", "203.0.113.7").json
        self.refresh(mine["refresh"])
        thief = self.refresh(mine["refresh"])  # within the grace: the same successor
        self.claim("a retry, or a second tab, is not punished", thief.status, 200)
        theirs = self.refresh(thief.json["refresh"]).json
        answer = self.refresh(mine["refresh"])
        self.claim("the token of two generations ago comes back: theft is noticed",
                   (answer.status, answer.code), (401, "token_reuse"))
        self.claim("and the whole log-in is dead, the thief's access token too",
                   (self.me(theirs["access"]).status, self.refresh(theirs["refresh"]).status),
                   (401, 401))

    def documents(self, cleo, dora):
        self.title("Documents")
        made = self.curl("POST", "/documents/", {
            "title": "Notes", "body": "<p>hello</p><script>steal()</script>"}, bearer=cleo)
        self.claim("a document is made, its HTML cleaned",
                   (made.status, "<script" in made.json.get("body", "")), (201, False))
        path = f"/documents/{made.json['id']}/"
        self.claim("nobody else learns that it is there",
                   self.curl("GET", path, bearer=dora).status, 404)
        me = self.me(dora).json
        self.curl("POST", path + "share/", {"user": me["id"]}, bearer=cleo)
        self.claim("shared with dora: she reads it and may not change it",
                   (self.curl("GET", path, bearer=dora).status,
                    self.curl("PATCH", path, {"title": "x"}, bearer=dora).status), (200, 403))
        (self.folder / "virus.pdf").write_bytes(b"MZ" + bytes(100))
        (self.folder / "paper.pdf").write_bytes(b"%PDF-1.4\n%%EOF\n")
        seen = [self.curl("PUT", path + "file/", bearer=cleo, extra=(
            "-F", f"file=@{name}", "--output-dir", str(self.folder))).status
            for name in self._here("virus.pdf", "paper.pdf")]
        self.claim("a program that is called .pdf is refused, a pdf is taken", seen, [400, 200])

    def _here(self, *names):
        os.chdir(self.folder)  # so that curl is shown, and asked, without this folder's name
        return names

    def second_factor(self, dora):
        self.title("A second factor")
        wish = {"name": "backup", "expires": time.strftime(
            "%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86_400)), "scope": "read"}
        self.claim("a service token wants a second factor first",
                   self.curl("POST", "/me/tokens/", wish, bearer=dora).code,
                   "second_factor_needed")
        secret = self.curl("POST", "/auth/second-factor/", {}, bearer=dora).json["secret"]
        code = pyotp.TOTP(secret).now()
        right, again = [self.curl("POST", "/auth/second-factor/verify/", {"code": code},
                                  bearer=dora) for _ in range(2)]
        self.claim("each code is accepted once", (right.status, again.status), (200, 400))
        made = self.curl("POST", "/me/tokens/", wish, bearer=right.json["access"])
        token = made.json.get("token", "")
        self.claim("the log-in that showed it may make one; the token reads, and does not write",
                   (made.status, self.me(token).status,
                    self.curl("PATCH", "/me/", {"first_name": "x"}, bearer=token).status),
                   (201, 200, 403))
        self.curl("DELETE", f"/me/tokens/{made.json.get('id')}/", bearer=dora)
        self.claim("deleted: refused by every worker",
                   {one.code for one in self.curl("GET", "/me/", bearer=token, times=8)},
                   {"token_revoked"})

    def services(self):
        self.title("OAuth2")
        token = self.curl("POST", "/oauth/token/", form={
            "grant_type": "client_credentials", "scope": "products:read"},
            extra=CLIENT).json["access_token"]
        self.claim("scope products:read: reading is allowed, writing is not",
                   (self.curl("GET", "/products/", bearer=token).status,
                    self.curl("POST", "/products/", {"name": "x", "price_cents": 1},
                              bearer=token).status), (200, 403))
        self.curl("POST", "/oauth/revoke_token/", form={"token": token}, extra=CLIENT)
        self.claim("revoked: refused by every worker", {
            one.code for one in self.curl("GET", "/products/", bearer=token, times=8)},
            {"token_revoked"})
        jar = ("-b", str(self.folder / "jar"), "-c", str(self.folder / "jar"))
        page = self.curl("GET", "/auth/session/", extra=jar).text
        csrf = re.search(r'csrfmiddlewaretoken" value="([^"]+)', page).group(1)
        self.curl("POST", "/auth/session/", form={
            "username": "dora", "password": PASSWORD, "csrfmiddlewaretoken": csrf}, extra=jar,
            address="203.0.113.11")
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(
            hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        asked = self.curl("GET", "/oauth/authorize/?" + urllib.parse.urlencode({
            "response_type": "code", "client_id": "phone", "redirect_uri": BACK, "scope": "read",
            "code_challenge": challenge, "code_challenge_method": "S256"}), extra=jar)
        code = re.search(r"code=([^&]+)", asked.headers.get("location", "code=none")).group(1)
        grant = {"grant_type": "authorization_code", "code": code, "client_id": "phone",
                 "redirect_uri": BACK}
        stolen = self.curl("POST", "/oauth/token/", form={**grant, "code_verifier": "x" * 43})
        self.claim("a browser logs in, an application gets a code: without its PKCE verifier "
                   "the code is worth nothing", (asked.status, stolen.status), (302, 400))

    def outage(self, cleo):
        self.title("pawld is gone")
        self.pawld.terminate()
        self.pawld.wait(PATIENCE_S)
        answers = [self.me(cleo) for _ in range(3)]
        self.claim("nobody can tell whether a token is good: 503, never 401",
                   {(one.status, one.code) for one in answers}, {(503, "unavailable")})
        self.start_pawld()
        end = time.monotonic() + PATIENCE_S
        back = 0
        while back < 8 and time.monotonic() < end:  # each of the workers has to find it again
            back = back + 1 if self.me(cleo).status == 200 else 0
            time.sleep(0.05 if not back else 0)
        self.asked = self.asked[-8:]
        self.claim("it is back: so is the API, nothing was restarted", back, 8)
        self.claim("and the address that signed up three times still waits: the counts survived",
                   self.sign_up(9).status, 429)

    def seen(self):
        self.title("What was seen")
        text = self.log_file.read_text()
        events = {json.loads(line)["event"] for line in text.splitlines()}
        wanted = {"login_failed", "login_succeeded", "throttled", "reuse_detected", "revoked",
                  "permission_denied", "suspicious_input", "request_refused", "token_refused",
                  "backend_error"}
        self.claim("the security log has " + ", ".join(sorted(wanted)), wanted - events, set())
        self.claim("and no name, address, mail or token", [
            word for word in ("anna", "bert", "198.51.100", "203.0.113", "eyJ", "pwo_",
                              "example.org") if word in text], [])

    def play(self):
        begun = time.monotonic()
        bert = self.log_in()
        self.burst(bert)
        self.race()
        cleo = self.everywhere()
        self.stolen()
        dora = self.login("dora", "203.0.113.10").json["access"]
        self.documents(cleo, dora)
        self.second_factor(dora)
        self.services()
        self.outage(cleo)
        self.seen()
        print(f"\n{time.monotonic() - begun:.0f} s\n{self.answers} answers, {self.wrong} wrong",
              flush=True)
        return 0 if self.wrong == 0 else 1

    def stay(self):
        print(f"the API stays up at {self.url}: anna, bert, cleo (has a plan), dora, root (staff); "
              f"password '{PASSWORD}'; pawld at {self.addr}; control-C ends both", flush=True)
        try:
            self.site.wait()
        except KeyboardInterrupt:
            print()


def main():
    parser = argparse.ArgumentParser(prog="./dev example")
    parser.add_argument("build", help="the folder of pawld")
    parser.add_argument("--stay", action="store_true", help="leave everything up until control-C")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through `finally`
    with tempfile.TemporaryDirectory(prefix="pawl-example-") as folder:
        play = Play(arguments.build, folder)
        try:
            play.start()
            code = play.play()
            if arguments.stay:
                play.stay()
            return code
        finally:
            os.chdir("/")
            play.stop()


if __name__ == "__main__":
    sys.exit(main())

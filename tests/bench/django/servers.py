"""Servers around the Django project for tests and figures: an application server, Redis, wrk.

Each picks a free port, is waited for by what it says or answers, and is ended by its process id.
"""

import contextlib
import http.client
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3"
PATIENCE_S = 60


def wait_for(condition, what):
    end = time.monotonic() + PATIENCE_S
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true within {PATIENCE_S} s")
        time.sleep(0.02)


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextlib.contextmanager
def running(command, log, env=None, cwd=None):
    """A process and all that it started, gone at the end."""
    with open(log, "ab") as file:
        process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL,
                                   stdout=file, stderr=file, env=env, cwd=cwd,
                                   start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                pass
        with contextlib.suppress(ProcessLookupError):  # its own session: workers that stayed
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def redis_server(folder):
    """A Redis without persistence; gives its URL."""
    port = free_port()
    command = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "",
               "--appendonly", "no", "--dir", folder]
    with running(command, pathlib.Path(folder) / "redis.log"):
        def answers():
            with contextlib.suppress(OSError):
                with socket.create_connection(("127.0.0.1", port), 1) as link:
                    link.sendall(b"PING\r\n")
                    return link.recv(16).startswith(b"+PONG")
        wait_for(answers, "Redis answers")
        yield f"redis://127.0.0.1:{port}/0"


class Site:
    """The project under an application server."""

    def __init__(self, folder, port, process):
        self.folder, self.port, self.process = pathlib.Path(folder), port, process

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def request(self, method, path, body=None, headers=(), timeout_s=PATIENCE_S):
        """(status, headers, body)"""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            link.request(method, path, body, dict(headers))
            answer = link.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            link.close()

    def workers(self):
        """The process ids of those who answer."""
        found = subprocess.run(["ps", "--ppid", str(self.process.pid), "-o", "pid="],
                               capture_output=True, text=True)
        return [int(word) for word in found.stdout.split()]

    def work(self):
        """(microseconds, status, path) of each request, as the workers noted it."""
        rows = []
        for path in self.folder.glob("worker.*"):
            for line in path.read_text().splitlines():
                microseconds, status, where = line.split()
                rows.append((int(microseconds), int(status), where))
        return rows

    def log(self):
        return (self.folder / "server.log").read_text()


def environment(folder, address, redis="", pawl="{}", **more):
    paths = [str(HERE), os.environ.get("PYTHONPATH", "")]
    return dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in paths if path),
                DJANGO_SETTINGS_MODULE="project_settings", FLEET_DIR=str(folder),
                FLEET_REDIS=redis, FLEET_PAWL=pawl, PAWL_ADDR=address,
                PYTHONDONTWRITEBYTECODE="1", **more)


def manage(env, *arguments):
    subprocess.run([PYTHON, "-m", "django", *arguments], env=env, check=True, capture_output=True)


@contextlib.contextmanager
def gunicorn(folder, env, workers=4, threads=8, kind="gthread", preload=False):
    """The project under gunicorn."""
    command = [PYTHON, "-m", "gunicorn", "--workers", workers, "--bind", "127.0.0.1:0",
               "--worker-class", kind, "--timeout", "120", "--log-level", "info"]
    command += ["--threads", threads] if kind == "gthread" else []
    command += ["--worker-connections", "200"] if kind == "gevent" else []
    command += ["--preload"] if preload else []
    if kind == "gevent" and preload:  # gevent's advice: patch before anything is loaded
        early = pathlib.Path(folder) / "gunicorn.conf.py"
        early.write_text("import gevent.monkey\ngevent.monkey.patch_all()\n")
        command += ["--config", early]
    log = pathlib.Path(folder) / "server.log"
    with running([*command, "project_wsgi:application"], log, env) as process:
        def listening():
            assert process.poll() is None, log.read_text()
            text = log.read_text()
            found = re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", text)
            booted = text.count("Booting worker") >= workers
            return found and booted and int(found.group(1))
        yield Site(folder, wait_for(listening, "gunicorn listens"), process)


@contextlib.contextmanager
def uvicorn(folder, env, workers=1):
    """The project under uvicorn: asyncio."""
    port = free_port()
    command = [PYTHON, "-m", "uvicorn", "--host", "127.0.0.1", "--port", port, "--workers",
               workers, "--lifespan", "off", "--no-access-log", "project_asgi:application"]
    log = pathlib.Path(folder) / "server.log"
    with running(command, log, env) as process:
        site = Site(folder, port, process)

        def answers():
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(OSError):
                return site.request("GET", "/plain/")[0] == 200
        wait_for(answers, "uvicorn answers")
        yield site


class Load:
    """wrk asking one address until it is told to end."""

    def __init__(self, url, connections=32, threads=1, seconds=600):
        self.process = subprocess.Popen(
            ["wrk", "-t", str(threads), "-c", str(connections), "-d", f"{seconds}s",
             "--timeout", "60s", url], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def end(self):
        """Stop asking; (answers, admitted, errors)."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.result()

    def result(self):
        output = self.process.communicate()[0]
        answers = int(re.search(r"(\d+) requests in", output).group(1))
        refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
        errors = re.search(r"Socket errors: (.*)", output)
        return answers, answers - (int(refused.group(1)) if refused else 0), (
            errors.group(1) if errors else "")


@contextlib.contextmanager
def loading(url, connections=32):
    """A :class:`Load` that is gone at the end, whatever happens."""
    made = Load(url, connections)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()
        made.process.wait()


def load(url, seconds=6, connections=32):
    """wrk for a fixed time, for figures; (answers, admitted, errors)."""
    return Load(url, connections, seconds=seconds).result()


def load_until(site, path, answers, connections=32):
    """wrk until the workers have noted @answers more of @path; (answers, admitted, errors)."""
    def noted():
        return sum(where == path for _, _, where in site.work())
    before = noted()
    with loading(site.url + path, connections) as made:
        wait_for(lambda: noted() - before >= answers, f"{answers} answers of {path}")
        return made.end()

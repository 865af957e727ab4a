"""Prefork, threads, greenlets, an event loop: each under load, and with a worker killed."""

import concurrent.futures
import os
import signal

import pytest

import conftest
import rig
import servers

KINDS = [("gunicorn", {"workers": 2, "threads": 4, "preload": True}),
         ("gunicorn", {"workers": 2, "kind": "gevent"}),
         ("gunicorn", {"workers": 2, "kind": "gevent", "preload": True}),
         ("uvicorn", {"workers": 1})]
NAMES = ["preload", "gevent", "gevent_preload", "uvicorn"]


@pytest.mark.parametrize("server, options", KINDS, ids=NAMES)
def test_a_limit_is_exact_under_load(daemon, site, server, options):
    made = site(daemon.unix, server, pawl=conftest.PATIENT, **options)
    answers, admitted, errors = servers.load_until(made, "/pawl100/", 300, connections=16)
    assert (admitted, errors) == (100, ""), made.log()
    assert {status for _, status, path in made.work() if path == "/pawl100/"} == {200, 429}


@pytest.mark.parametrize("options", [
    {"workers": 2, "threads": 4, "preload": True}, {"workers": 2, "kind": "gevent"}],
    ids=["preload", "gevent"])
def test_a_killed_worker_takes_no_count_with_it(daemon, site, options):
    made = site(daemon.unix, "gunicorn", pawl=conftest.PATIENT, **options)
    before = made.workers()
    with servers.loading(made.url + "/pawl1000/", 16) as load:
        servers.wait_for(lambda: len(made.work()) > 200, "some requests answered")
        os.kill(before[0], signal.SIGKILL)
        servers.wait_for(lambda: set(made.workers()) - set(before), "a new worker")
        servers.wait_for(lambda: any(status == 429 for _, status, _ in made.work()),
                         "the limit is reached")
        _, admitted, _ = load.end()
    # What the killed worker was in the middle of was charged and not answered: never more.
    assert 1000 - 16 <= admitted <= 1000
    assert made.request("GET", "/pawl1000/")[0] == 429


def test_a_killed_worker_of_uvicorn_takes_no_count_with_it(daemon, site):
    """Old releases of uvicorn start no other in its place: the one that stays goes on."""
    made = site(daemon.unix, "uvicorn", workers=2, pawl=conftest.PATIENT)
    with servers.loading(made.url + "/pawl1000/", 16) as load:
        servers.wait_for(lambda: len(list(made.folder.glob("worker.*"))) == 2
                         and len(made.work()) > 200, "both have answered")
        killed = sorted(made.folder.glob("worker.*"))[0]
        os.kill(int(killed.suffix[1:]), signal.SIGKILL)
        servers.wait_for(lambda: any(status == 429 for _, status, _ in made.work()),
                         "the limit is reached")
        _, admitted, _ = load.end()
    assert 1000 - 16 <= admitted <= 1000
    assert made.request("GET", "/pawl1000/")[0] == 429


def test_a_gevent_worker_goes_on_while_one_greenlet_waits(daemon, site):
    """A daemon that is stopped holds up those who ask it, for their deadline, and nobody else."""
    made = site(daemon.unix, "gunicorn", workers=1, kind="gevent",
                pawl=conftest.PATIENT)
    assert made.request("GET", "/pawl1000/")[0] == 200
    rig.stop(daemon)
    try:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(made.request, "GET", "/pawl1000/")
            for _ in range(20):
                assert made.request("GET", "/plain/")[0] == 200
            assert not waiting.done()
            os.kill(daemon.process.pid, signal.SIGCONT)
            assert waiting.result()[0] == 200
    finally:
        os.kill(daemon.process.pid, signal.SIGCONT)

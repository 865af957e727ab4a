"""The asyncio client."""

import asyncio
import os
import signal
import time

import pytest

import pawl
from pawl import errors
from rig import stop

LATER = int(time.time()) + 3600


@pytest.fixture
def make_client(backend):
    def make(addresses, **options):
        options.setdefault("check_deadline_ms", 20_000)
        options.setdefault("durable_deadline_ms", 20_000)
        return pawl.AsyncClient(addresses, backend=backend, **options)
    return make


def run(client, body):
    async def main():
        async with client:
            return await body(client)
    return asyncio.run(main())


def test_tasks_share_one_connection_and_the_limit_is_exact(make_client, daemon):
    async def body(client):
        answers = await asyncio.gather(*(client.check("a", "100/hour") for _ in range(200)))
        return sum(answer.allowed for answer in answers), client._line().handle.figures()
    admitted, figures = run(make_client(daemon.unix), body)
    assert (admitted, figures["connects"]) == (100, 1)


def test_every_call_of_the_blocking_client_is_there():
    names = {name for name in vars(pawl.Client) if not name.startswith("_")}
    assert names - set(dir(pawl.AsyncClient)) == {"figures", "resolve", "connections_max"}


def test_tokens_families_reservations_and_figures(make_client, daemon):
    async def body(client):
        await client.ping()
        family = await client.family_open("u", LATER)
        token = pawl.Token(jti=family.jti, sid=family.sid, subject="u", exp_s=LATER)
        assert (await client.token_check(token)).token.status == "valid"
        assert (await client.rotate(token, LATER)).result == "rotated"
        await client.family_end(family.sid)
        assert (await client.token_check(token)).token.status == "revoked"
        done = await client.revoke("token", "x", exp_s=LATER)
        assert (await client.unrevoke([done.id])).canceled == 1
        held = await client.reserve([pawl.item("a", "10/m")], max=5)
        assert await client.commit(held.lease, 1) == held.granted - 1
        held = await client.reserve([pawl.item("a", "10/m")], max=5)
        assert await client.cancel(held.lease) == held.granted
        charged = pawl.item("a", "10/m")
        assert await client.refund(charged) == 1
        await client.check("a", "10/m")
        assert await client.reset("a", "10/m") == 1
        assert (await client.stats("members")) == {"members": 1}
        assert await client.limits() == []
    run(make_client(daemon.unix), body)


def test_a_waiting_task_holds_no_other_up(make_client, daemon):
    async def body(client):
        await client.check("a", "10/h")
        stop(daemon)
        try:
            waiting = asyncio.ensure_future(client.check("a", "10/h"))
            for _ in range(100):
                await asyncio.sleep(0)
            assert not waiting.done()
        finally:
            os.kill(daemon.process.pid, signal.SIGCONT)
        return (await waiting).rates[0].count
    assert run(make_client(daemon.unix), body) == 2


def test_a_canceled_task_gives_its_request_up(make_client, daemon):
    async def body(client):
        await client.check("a", "10/h")
        stop(daemon)
        try:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.check("a", "10/h"), 0.05)
        finally:
            os.kill(daemon.process.pid, signal.SIGCONT)
        assert (await client.check("b", "10/h")).rates[0].count == 1
        return client._line()._waiting
    assert run(make_client(daemon.unix), body) == {}


def test_a_stopped_daemon_costs_the_deadline_and_then_nothing(make_client, daemon):
    async def body(client):
        await client.check("a", "100/h", deadline_ms=20_000)
        stop(daemon)
        try:
            return [(await client.check("a", "100/h")).info.cause for _ in range(10)]
        finally:
            os.kill(daemon.process.pid, signal.SIGCONT)
    causes = run(make_client(daemon.unix, check_deadline_ms=20), body)
    assert causes[:5] == ["timeout"] * 5 and "breaker" in causes


def test_without_a_daemon_the_policy_answers_and_writes_raise(make_client, tmp_path):
    async def body(client):
        assert (await client.check("a", "1/m", on_error="closed")).outcome == "deny"
        assert (await client.rotate(pawl.Token(jti="a", sid="b"), LATER)).result == "unavailable"
        with pytest.raises(errors.Unavailable):
            await client.revoke("token", "a")
    run(make_client(f"unix:{tmp_path}/nobody.sock"), body)


def test_one_client_in_several_loops(make_client, daemon):
    client = make_client(daemon.unix)
    for count in range(1, 4):
        answer = run(client, lambda c: c.check("a", "10/h"))
        assert answer.rates[0].count == count


def test_a_loop_that_ended_without_close_leaves_nothing_behind(make_client, daemon):
    client = make_client(daemon.unix)
    for count in range(1, 4):
        assert asyncio.run(client.check("a", "10/h")).rates[0].count == count


def test_a_loop_for_each_request_leaves_no_descriptors(make_client, daemon):
    client, loops = make_client(daemon.unix), []

    async def ask():
        loops.append(asyncio.get_running_loop())  # somebody else may hold it
        await client.check("a", "100/hour")
        given_up = asyncio.ensure_future(client.check("a", "100/hour"))
        await asyncio.sleep(0)
        given_up.cancel()
        return len(os.listdir("/proc/self/fd"))
    found = [asyncio.run(ask()) for _ in range(20)]
    assert max(found[2:]) <= found[1], found


def test_closing_under_a_call_cancels_it_and_is_no_error_of_the_loop(make_client, daemon):
    client, errors_of_loop = make_client(daemon.unix), []

    async def main():
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: errors_of_loop.append(context))
        call = asyncio.ensure_future(client.check("a", "100/hour"))
        await asyncio.sleep(0)
        await client.close()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.sleep(0)
        assert (await client.check("a", "100/hour")).allowed, "it may be used again"
        await client.close()
    asyncio.run(main())
    assert errors_of_loop == []

"""The memory client beside a real pawld, on one clock: the same answers on drawn histories."""

import itertools

import pytest
import rig
from hypothesis import HealthCheck, given, settings, strategies

import pawl
from pawl.testing import MemoryClient, TestDaemon

WEEK_S = 7 * 86_400
_names = itertools.count()


@pytest.fixture(scope="module")
def daemon():
    with TestDaemon(str(rig.BUILD / "pawld")) as started:
        yield started


class Pair:
    """One question to both; their answers have to be the same."""

    def __init__(self, daemon):
        self.clock = daemon.clock
        self.real = daemon.client(check_deadline_ms=30_000, durable_deadline_ms=30_000)
        self.memory = MemoryClient(self.clock)
        self.name = f"h{next(_names)}"  # each history has keys and users of its own

    def check(self, wanted, peek, mode):
        items = [pawl.item((self.name, key), rates, cost=cost, precision=256)
                 for key, rates, cost in wanted]
        answers = [client.check_many(items, peek=peek, mode=mode)
                   for client in (self.real, self.memory)]
        assert answers[0].info.source == "daemon"
        assert told(answers[0]) == told(answers[1]), (wanted, peek, mode)


def told(answer):
    rows = [(row.item, row.rate_index, row.limit, row.count, row.remaining, row.retry_after_ms,
             row.reset_after_ms, row.never, row.allowed) for row in answer.rates]
    return answer.outcome, answer.retry_after_ms, answer.never, rows


rates = strategies.sampled_from(["1/s", "3/2s", "5/m", "2/s, 5/m", "0/m"])
checks = strategies.tuples(
    strategies.sampled_from([0, 0, 0.001, 0.5, 0.999, 1, 2, 30, 60]),
    strategies.lists(strategies.tuples(strategies.sampled_from("ab"), rates,
                                       strategies.integers(1, 3)),
                     min_size=1, max_size=2, unique_by=lambda one: one[0]),
    strategies.booleans(), strategies.sampled_from(["atomic", "each"]))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=strategies.lists(checks, min_size=1, max_size=15))
def test_limits_are_decided_alike(daemon, history):
    pair = Pair(daemon)
    for pause_s, wanted, peek, mode in history:
        pair.clock.advance(pause_s)
        pair.check(wanted, peek, mode)


steps = strategies.tuples(strategies.sampled_from([0, 0, 1, 9.999, 10, 10.001, 30]),
                          strategies.integers(0, 4),
                          strategies.sampled_from(["rotate", "rotate", "rotate", "again",
                                                   "stranger", "end", "cutoff", "check"]))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=strategies.lists(steps, min_size=1, max_size=10))
def test_rotations_and_log_outs_are_decided_alike(daemon, history):
    pair = Pair(daemon)
    clients = (pair.real, pair.memory)
    subject = pair.name
    jtis = [f"{pair.name}-0"]
    pair.clock.advance(1)  # families are minted later than all cutoffs, which lie 100 ms ahead
    exp_s = pair.clock() // 1000 + WEEK_S
    sids = [client.family_open(subject, exp_s, jti=jtis[0]).sid for client in clients]
    last = None
    for number, (pause_s, back, kind) in enumerate(history, 1):
        pair.clock.advance(pause_s)
        presented = jtis[max(0, len(jtis) - 1 - back)]
        more = {"generation": back} if kind == "stranger" and back else {}
        presented = "nobody" if kind == "stranger" else presented
        if kind == "end":
            for client, sid in zip(clients, sids):
                client.family_end(sid)
        elif kind == "cutoff":
            for client in clients:
                client.revoke("subject", subject)
        elif kind == "check":
            found = [client.token_check(pawl.Token(jti=presented, sid=sid, subject=subject))
                     for client, sid in zip(clients, sids)]
            assert found[0].token.status == found[1].token.status
        else:
            proposed = last if kind == "again" and last else f"{pair.name}-{number}"
            answers = [client.rotate(pawl.Token(jti=presented, sid=sid, subject=subject), exp_s,
                                     next_jti=proposed, verified=True, **more)
                       for client, sid in zip(clients, sids)]
            words = [(answer.result, answer.successor) for answer in answers]
            assert words[0] == words[1], (history[:number], answers)
            if answers[0].result == "rotated" and answers[0].successor not in jtis:
                jtis.append(proposed)
                last = proposed



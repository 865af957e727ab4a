"""Checks that arrive in one read: decided together, with the effects of one after the other."""

import time

from conftest import check_request


def ask(connection, *bodies):
    """Send all in one write; the replies in the order of the requests."""
    requests = [connection.request(**body) for body in bodies]
    connection.send(*requests)
    replies = {}
    for _ in requests:
        reply = connection.receive()
        replies[reply.id] = reply
    return [replies[request.id] for request in requests]


def verdicts(wire, replies):
    return [reply.check.verdict == wire.VERDICT_ALLOW for reply in replies]


def hour(count):
    return (count, 3600000)


def test_of_a_hundred_checks_in_one_read_the_first_ten_pass(pawld, connect, wire):
    connection = connect(pawld.unix)
    replies = ask(connection, *[{"check": check_request(wire, b"k", hour(10))}] * 100)
    assert verdicts(wire, replies) == [True] * 10 + [False] * 90
    assert [reply.check.results[0].count for reply in replies[:10]] == list(range(1, 11))


def test_a_reset_between_checks_of_one_read_takes_effect_between_them(pawld, connect, wire):
    connection = connect(pawld.unix)
    check = {"check": check_request(wire, b"k", hour(1))}
    reset = {"reset": wire.Reset(key=[b"k"], rates=[wire.Rate(count=1, window_ms=3600000)])}
    replies = ask(connection, check, check, reset, check, check)
    assert replies[2].reset.records == 1
    assert verdicts(wire, [replies[i] for i in (0, 1, 3, 4)]) == [True, False, True, False]


def test_rates_that_change_from_check_to_check_are_each_the_callers_own(pawld, connect, wire):
    connection = connect(pawld.unix)
    rates = [hour(5), hour(7), hour(7), (5, 60000), hour(5)] * 13
    bodies = [{"check": check_request(wire, b"%d" % i, rate)} for i, rate in enumerate(rates)]
    for reply, (count, window_ms) in zip(ask(connection, *bodies), rates):
        assert reply.check.results[0].limit_count == count
        assert reply.check.results[0].window_ms == window_ms


def test_a_refused_check_leaves_its_neighbours_alone(pawld, connect, wire):
    connection = connect(pawld.unix)
    good = check_request(wire, b"good", hour(3))
    twice = wire.Check(items=[check_request(wire, b"x", hour(8)).items[0],
                              *[check_request(wire, b"same", hour(9)).items[0]] * 2])
    bad_rate = check_request(wire, b"bad", (5, 0))
    # Its second rate is made where the refused one lay.
    both = wire.Check(items=[check_request(wire, b"a", hour(9)).items[0],
                             check_request(wire, b"b", hour(4)).items[0]])
    replies = ask(connection, *[{"check": one} for one in
                                (good, twice, both, bad_rate, bad_rate, good)])
    assert [reply.status for reply in replies] == [
        wire.STATUS_OK, wire.STATUS_INVALID, wire.STATUS_OK, wire.STATUS_INVALID,
        wire.STATUS_INVALID, wire.STATUS_OK]
    assert [result.limit_count for result in replies[2].check.results] == [9, 4]
    assert replies[5].check.results[0].limit_count == 3
    assert replies[5].check.results[0].count == 2


def test_checks_of_many_limits_fill_a_batch_and_the_next(pawld, connect, wire):
    connection = connect(pawld.unix)
    wide = [wire.Check(items=[check_request(wire, b"%d-%d" % (n, i), hour(50)).items[0]
                              for i in range(40)]) for n in range(5)]
    for reply in ask(connection, *[{"check": one} for one in wide + wide]):
        assert reply.check.verdict == wire.VERDICT_ALLOW
        assert len(reply.check.results) == 40


def test_a_token_that_is_revoked_before_a_check_of_the_same_read_does_not_charge(pawld, connect,
                                                                                wire):
    connection = connect(pawld.unix)
    later = int(time.time()) + 3600
    check = check_request(wire, b"k", hour(10))
    check.token.CopyFrom(wire.Token(jti=b"j", exp=later))
    revoke = wire.Revoke(scope=wire.SCOPE_TOKEN, value=b"j", exp=later)
    replies = ask(connection, {"check": check}, {"revoke": revoke}, {"check": check})
    assert verdicts(wire, [replies[0], replies[2]]) == [True, False]
    assert replies[2].check.token.status == wire.TOKEN_REVOKED
    assert replies[2].check.results[0].count == 1

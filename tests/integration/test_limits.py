"""Limits through the daemon: exact under concurrency, on each transport, across reconnects."""

import pytest

from conftest import check_request, in_parallel


@pytest.mark.threads
def test_400_concurrent_pawlctl_get_exactly_100(make_daemon):
    pawld = make_daemon()

    def ask(i):
        addr = pawld.unix if i % 2 == 0 else pawld.tcp_uri
        return pawld.ctl("check", "--rate", "100/minute", "one-key", addr=addr).code

    codes = in_parallel(400, ask)
    assert sorted(set(codes)) == [0, 1], codes
    assert codes.count(0) == 100


@pytest.mark.threads
def test_a_limit_is_exact_over_unix_and_tcp_and_reconnects(pawld, connect, wire):
    def ask(i):
        allowed = 0
        for round_ in range(5):  # a new connection each round
            connection = connect(pawld.unix if (i + round_) % 2 else pawld.tcp_uri)
            for _ in range(10):
                reply = connection.call(check=check_request(wire, b"k", rate=(150, 600000)))
                allowed += reply.check.verdict == wire.VERDICT_ALLOW
        return allowed

    assert sum(in_parallel(8, ask)) == 150


def test_all_or_none_over_two_keys(make_daemon):
    pawld = make_daemon(config="""
limits:
  login:   {rate: 5/minute, on_error: closed}
  address: {rate: 3/minute, on_error: closed}
""")
    for _ in range(3):
        pawld.ctl("check", "login=anna", "address=10.0.0.1", check=0)
    denied = pawld.ctl("check", "login=anna", "address=10.0.0.1", check=1).json
    assert denied["verdict"] == "deny"
    assert [limit["allowed"] for limit in denied["limits"]] == [True, False]
    # The refusal charged nothing: the user name has two left, from another address.
    left = pawld.ctl("check", "--peek", "login=anna", check=0).json["limits"][0]
    assert (left["count"], left["remaining"]) == (3, 2)


def test_each_mode_charges_what_fits(make_daemon):
    pawld = make_daemon(config="limits: {a: {rate: 1/minute}, b: {rate: 5/minute}}")
    pawld.ctl("check", "a=x", check=0)
    pawld.ctl("check", "--mode", "each", "a=x", "b=x", check=1)
    assert pawld.ctl("check", "--peek", "b=x", check=0).json["limits"][0]["count"] == 1


def test_burst_and_sustained_rates_together(pawld):
    for _ in range(3):
        pawld.ctl("check", "--rate", "3/second,5/hour", "k", check=0)
    denied = pawld.ctl("check", "--rate", "3/hour,5/day", "other", "--cost", 4, check=1).json
    assert [limit["never"] for limit in denied["limits"]] == [True, False]
    assert [limit["rate_index"] for limit in denied["limits"]] == [0, 1]


def test_each_key_argument_is_a_key_of_its_own(pawld):
    answer = pawld.ctl("check", "--rate", "5/minute", "a=b", "c", check=0).json
    assert [limit["key"] for limit in answer["limits"]] == ["a=b", "c"]


def test_the_same_record_twice_is_invalid(pawld):
    result = pawld.ctl("check", "--rate", "5/minute", "k", "k")
    assert result.code == 2 and "twice" in result.error + result.text


def test_peek_charges_nothing_and_makes_no_record(pawld):
    pawld.ctl("peek", "--rate", "5/minute", "k", check=0)
    assert pawld.status()["keys"] == 0


def test_refund_by_charge_and_reset(pawld):
    first = pawld.ctl("check", "--rate", "5/hour", "--cost", 3, "k", check=0).json["limits"][0]
    pawld.ctl("check", "--rate", "5/hour", "--cost", 3, "k", check=1)
    pawld.ctl("refund", "--rate", "5/hour", "--cost", 2, "--charge", first["charge"], "k", check=0)
    again = pawld.ctl("check", "--rate", "5/hour", "--cost", 3, "k", check=0).json["limits"][0]
    assert again["count"] == 4
    pawld.ctl("reset", "--rate", "5/hour", "k", check=0)
    assert pawld.ctl("peek", "--rate", "5/hour", "k").json["limits"][0]["count"] == 0


def test_a_limit_that_is_not_configured_is_named(pawld):
    result = pawld.ctl("check", "--limit", "nosuch", "k")
    assert result.code == 2 and "nosuch" in result.error


def test_cost_and_times_of_an_answer(make_daemon):
    pawld = make_daemon("--test-clock")
    t = 1_800_000_000_000
    one = pawld.ctl("--now", t, "check", "--rate", "2/minute", "k", check=0).json["limits"][0]
    assert one | {"charge": 0} == one | {
        "charge": 0, "limit_count": 2, "count": 1, "remaining": 1, "window_ms": 60000,
        "oldest_age_ms": 0, "retry_after_ms": 0, "never": False, "allowed": True,
        "reset_after_ms": 60000}
    pawld.ctl("--now", t + 10_000, "check", "--rate", "2/minute", "k", check=0)
    denied = pawld.ctl("--now", t + 20_000, "check", "--rate", "2/minute", "k", check=1)
    denied = denied.json["limits"][0]
    assert denied["retry_after_ms"] == 40_000 and denied["oldest_age_ms"] == 20_000
    assert denied["reset_after_ms"] == 50_000
    # One ms early is refused, on time is allowed: the event exactly one window old has left.
    pawld.ctl("--now", t + 59_999, "check", "--rate", "2/minute", "k", check=1)
    pawld.ctl("--now", t + 60_000, "check", "--rate", "2/minute", "k", check=0)


def test_count_denied_records_the_refused(make_daemon):
    pawld = make_daemon("--test-clock",
                        config="limits: {l: {rate: 1/minute, count_denied: true}}")
    t = 1_800_000_000_000
    pawld.ctl("--now", t, "check", "l=k", check=0)
    pawld.ctl("--now", t + 50_000, "check", "l=k", check=1)
    pawld.ctl("--now", t + 70_000, "check", "l=k", check=1)
    pawld.ctl("--now", t + 131_000, "check", "l=k", check=0)


def test_namespaces_do_not_meet(pawld):
    pawld.ctl("--ns", "a", "check", "--rate", "1/hour", "k", check=0)
    pawld.ctl("--ns", "b", "check", "--rate", "1/hour", "k", check=0)
    pawld.ctl("--ns", "a", "check", "--rate", "1/hour", "k", check=1)


def test_key_parts_do_not_run_together(pawld, connect, wire):
    connection = connect(pawld.unix)

    def ask(*parts):
        item = wire.CheckItem(key=parts, on_error=wire.ON_ERROR_CLOSED,
                              rates=[wire.Rate(count=1, window_ms=60000)])
        return connection.call(check=wire.Check(items=[item])).check.verdict

    assert ask(b"a_b", b"c") == wire.VERDICT_ALLOW
    assert ask(b"a", b"b_c") == wire.VERDICT_ALLOW
    assert ask(b"a_b", b"c") == wire.VERDICT_DENY


def test_limits_are_listed(make_daemon):
    pawld = make_daemon(config="limits: {api: {rate: [60/minute, 1000/day], on_error: open}}")
    listed = pawld.ctl("limits", check=0).json
    assert listed["limits"][0]["name"] == "api"
    assert [rate["count"] for rate in listed["limits"][0]["rates"]] == [60, 1000]

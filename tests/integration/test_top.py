"""What operators look at: figures of limits, the keys denied most, the last revocations."""

import time

import pytest

from conftest import in_parallel, wait_for
from test_algorithms import T, Asker, asker, clocked, reload  # noqa: F401 (fixtures)


def top(ask, ns=b"", **fields):
    reply = ask.call(ns=ns, top=ask.wire.Top(**fields))
    assert reply.status == ask.wire.STATUS_OK, reply
    return reply.top


def test_figures_of_limits_go_on_over_a_reload(clocked, wire):
    pawld, ask = clocked("limits: {a: {rate: 2/minute}, b: {rate: 1/minute}}")
    for _ in range(5):
        ask.check("a", now=T)
    ask.check("a", now=T, peek=True)  # does not count
    reload(pawld, "limits: {c: {rate: 1/minute}, a: {rate: 3/minute}}")
    ask.check("a", now=T)
    ask.check("c", now=T)
    rates = [wire.Rate(count=1, window_ms=1000)]
    for _ in range(2):
        ask.check(rates=rates, now=T)
    figures = {f.limit.decode(): (f.allowed, f.denied) for f in top(ask).limits}
    assert figures == {"": (1, 1), "a": (3, 3), "b": (0, 0), "c": (1, 0)}


def test_items_of_one_check_count_each_for_its_limit(clocked, wire):
    _, ask = clocked("limits: {a: {rate: [9/minute, 1/hour]}, b: {rate: 9/minute}}")
    for _ in range(2):
        ask.call(T, check=wire.Check(items=[ask.item("a"), ask.item("b")]))
    figures = {f.limit: (f.allowed, f.denied) for f in top(ask).limits}
    # b had room both times; that a refused the second check is a's figure.
    assert (figures[b"a"], figures[b"b"]) == ((1, 1), (2, 0))


def test_the_keys_denied_most_are_shown_masked(clocked, wire):
    _, ask = clocked("limits: {l: {rate: 1/hour}}")
    for key, times in ((b"alice@example.org", 6), (b"10.11.12.13", 4), (b"bob", 2),
                       ((b"tenant", b"carol"), 3)):
        for _ in range(times):
            ask.check("l", key, now=T)
    keys = top(ask).keys
    assert [(k.denied, k.limit, k.last_ms) for k in keys] == [
        (5, b"l", T), (3, b"l", T), (2, b"l", T), (1, b"l", T)]
    shown = [k.key.decode() for k in keys]
    assert shown[0].startswith("al***") and len(shown[0]) == 13
    assert shown[1].startswith("10.11.***") and "12" not in shown[1].split("***")[0]
    assert shown[2].startswith("te***") and "|ca***" in shown[2]
    assert not any(name in text for name in ("alice", "carol", "12.13") for text in shown)
    assert [k.denied for k in top(ask, keys_max=2).keys] == [5, 3]


def test_denials_within_batches_and_reservations_name_the_right_key(clocked, wire):
    _, ask = clocked("limits: {l: {rate: 1/hour, bypass: [free]}}")
    requests = []
    for i in range(40):
        items = [ask.item("l", b"free"), ask.item("l", b"%c%c-key" % (65 + i % 4, 97 + i % 4))]
        requests.append(ask.connection.request(now_ms=T, check=wire.Check(items=items)))
    ask.connection.send(*requests)
    for _ in requests:
        ask.connection.receive()
    ask.call(T, reserve=wire.Reserve(items=[ask.item("l", b"Aa-key")], min=1))
    keys = {k.key[:2].decode(): k.denied for k in top(ask).keys}
    assert keys == {"Aa": 10, "Bb": 9, "Cc": 9, "Dd": 9}


def test_a_namespace_sees_its_own_only(clocked, wire):
    _, ask = clocked("limits: {l: {rate: 1/hour}, m: {rate: 1/hour, namespace: shop}}")
    for _ in range(2):
        ask.check("l", b"anna", now=T)
        ask.call(T, ns=b"shop", check=wire.Check(items=[ask.item("m", b"bert")]))
    ask.call(T, ns=b"shop", revoke=wire.Revoke(scope=wire.SCOPE_SUBJECT, value=b"dora"))
    own, shop = top(ask), top(ask, ns=b"shop")
    assert [f.limit for f in own.limits] == [b"", b"l"]
    assert [f.limit for f in shop.limits] == [b"", b"m"]
    assert ([k.key[:2] for k in own.keys], [k.key[:2] for k in shop.keys]) == ([b"an"], [b"be"])
    assert (len(own.events), len(shop.events)) == (0, 1)


def test_the_last_revocations_are_shown_masked_newest_first(pawld, asker, wire):
    ask = asker(pawld)
    exp = int(time.time()) + 3600
    pawld.ctl("revoke", "token", "--jti", "token-one", "--exp", exp, check=0)
    pawld.ctl("revoke", "subject", "--sub", "alice", check=0)
    sid = pawld.ctl("family", "open", "--sub", "anna", "--jti", "r0", "--exp", exp,
                    check=0).json["sid"]
    pawld.ctl("revoke", "family", "--sid", sid, check=0)
    events = wait_for(lambda: len(top(ask).events) >= 3 and top(ask).events, "three revocations")
    assert [e.scope for e in events] == [wire.SCOPE_FAMILY, wire.SCOPE_SUBJECT, wire.SCOPE_TOKEN]
    assert [e.value[:5] for e in events[1:]] == [b"al***", b"to***"]
    assert events[1].reason == wire.REASON_LOGOUT_ALL
    assert all(abs(e.at_ms / 1000 - time.time()) < 3600 for e in events)
    assert sid not in str(events) and len(top(ask, events_max=1).events) == 1


def test_a_theft_that_ends_a_family_is_among_the_revocations(make_daemon, connect, wire):
    pawld = make_daemon()
    ask = Asker(connect(pawld.unix), wire)
    exp = int(time.time()) + 3600
    sid = pawld.ctl("family", "open", "--sub", "anna", "--jti", "r0", "--exp", exp,
                    check=0).json["sid"]
    for old, new in (("r0", "r1"), ("r1", "r2"), ("r0", "x")):
        pawld.ctl("rotate", "--sid", sid, "--from", old, "--to", new, "--exp", exp)
    events = wait_for(lambda: top(ask).events, "the family's end")
    assert (events[0].scope, events[0].reason) == (wire.SCOPE_FAMILY, wire.REASON_REUSE)


@pytest.mark.threads
def test_reading_while_all_workers_deny(make_daemon, connect, wire):
    pawld = make_daemon("--set", "server.workers=2", config="limits: {l: {rate: 1/hour}}")

    def work(i):
        ask = Asker(connect(pawld.unix), wire)
        if i % 4 == 0:
            for _ in range(20):
                top(ask, keys_max=256, events_max=256)
            return
        for j in range(150):
            ask.check("l", b"key-%d" % (j % 40))
            if j % 50 == 0:
                ask.call(revoke=wire.Revoke(scope=wire.SCOPE_SUBJECT, value=b"s%d" % j))

    in_parallel(8, work)
    ask = Asker(connect(pawld.unix), wire)
    assert sum(k.denied for k in top(ask, keys_max=256).keys) >= ask.figures("l").denied == 860


def test_top_needs_the_role_read(make_daemon, connect, wire):
    pawld = make_daemon("--set", 'listen=["unix:all", {uri: "unix:few", role: check}]', start=False)
    pawld.arguments[1] = pawld.arguments[1].replace("unix:", f"unix:{pawld.folder}/")
    pawld.socket = pawld.folder / "all"
    pawld.start()
    few = Asker(connect(f"unix:{pawld.folder}/few"), wire)
    reply = few.call(top=wire.Top())
    assert reply.status == wire.STATUS_DENIED and b"read" in reply.error
    assert top(Asker(connect(pawld.unix), wire)).limits[0].limit == b""

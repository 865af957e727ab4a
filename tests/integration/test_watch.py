"""Watching: facts in the order in which the store took them, once each, and waiting for the next."""

import threading

import pytest

from conftest import wait_for


def revoke(connection, wire, jti, exp=2000000000):
    reply = connection.call(revoke=wire.Revoke(scope=wire.SCOPE_TOKEN, value=jti, exp=exp))
    assert reply.status == wire.STATUS_OK, reply
    return reply.revoke.id


def snapshot(connection, wire, **fields):
    """All facts held, page by page."""
    facts, cursors = [], []
    while True:
        watch = wire.Watch(snapshot=not cursors, cursors=cursors, **fields)
        reply = connection.call(watch=watch)
        assert reply.status == wire.STATUS_OK, reply
        facts += reply.watch.facts
        cursors = reply.watch.cursors
        if reply.watch.snapshot_end:
            return facts, cursors


def waiting(pawld):
    return pawld.status()["watches_waiting"]


def test_a_snapshot_holds_every_fact_once_and_in_order(pawld, connect, wire):
    connection = connect(pawld.unix)
    for i in range(300):
        revoke(connection, wire, b"jti-%03d" % i)
    facts, _ = snapshot(connection, wire, facts_max=7)
    assert [i for i, fact in enumerate(facts) if b"jti-%03d" % i not in fact] == []
    assert len(facts) == 300
    assert len(snapshot(connection, wire)[0]) == 300


def test_one_who_waits_hears_of_the_next_fact(pawld, connect, wire):
    watcher, writer = connect(pawld.unix), connect(pawld.unix)
    revoke(writer, wire, b"before")
    request = watcher.request(watch=wire.Watch(wait_ms=60000))
    watcher.send(request)
    wait_for(lambda: waiting(pawld) == 1, "the watch to be parked")
    revoke(writer, wire, b"after")
    reply = watcher.receive()
    assert reply.id == request.id and len(reply.watch.facts) == 1
    assert b"after" in reply.watch.facts[0]
    again = watcher.call(watch=wire.Watch(cursors=reply.watch.cursors))
    assert not again.watch.facts and again.watch.snapshot_end


def test_a_wait_ends_without_a_fact(pawld, connect, wire):
    reply = connect(pawld.unix).call(watch=wire.Watch(wait_ms=50))
    assert reply.status == wire.STATUS_OK and not reply.watch.facts


def test_many_who_wait_hear_of_every_fact_exactly_once(pawld, connect, wire):
    count = 40
    heard = [[] for _ in range(8)]
    connections = [connect(pawld.unix) for _ in heard]
    _, cursors = snapshot(connections[0], wire)

    def follow(connection, facts):
        at = cursors
        first = True
        while len(facts) < count:
            watch = wire.Watch(cursors=at, snapshot=first and not at, wait_ms=60000)
            reply = connection.call(watch=watch).watch
            facts += reply.facts
            at, first = reply.cursors, False

    threads = [threading.Thread(target=follow, args=pair) for pair in zip(connections, heard)]
    for thread in threads:
        thread.start()
    writer = connect(pawld.unix)
    for i in range(count):
        revoke(writer, wire, b"jti-%03d" % i)
    for thread in threads:
        thread.join()
    for facts in heard:
        assert len(facts) == count
        assert all(b"jti-%03d" % i in fact for i, fact in enumerate(facts))


def test_a_cursor_that_is_not_known_is_a_gap(pawld, connect, wire):
    reply = connect(pawld.unix).call(
        watch=wire.Watch(cursors=[wire.Cursor(origin=b"x" * 16, sequence=5)], wait_ms=1000))
    assert reply.status == wire.STATUS_OK
    assert reply.watch.gap and not reply.watch.snapshot_end


@pytest.mark.parametrize("cursors", [[(b"short", 1)], [(b"x" * 16, 0)], [(b"x" * 16, 1)] * 2])
def test_a_malformed_cursor_is_refused(pawld, connect, wire, cursors):
    watch = wire.Watch(cursors=[wire.Cursor(origin=o, sequence=s) for o, s in cursors])
    assert connect(pawld.unix).call(watch=watch).status == wire.STATUS_INVALID


def test_new_facts_want_the_role_read_and_all_of_them_admin(pawld, connect, wire):
    connection = connect(pawld.tcp_uri)
    assert connection.call(watch=wire.Watch()).status == wire.STATUS_OK
    assert connection.call(watch=wire.Watch(snapshot=True)).status == wire.STATUS_DENIED


def test_facts_of_a_namespace_are_for_those_who_may_read_there(make_daemon, connect, wire,
                                                               tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("a shared secret of some length")
    secret.chmod(0o600)
    daemon = make_daemon(config=f"credentials: [{{id: a, secret_file: {secret}, "
                                "role: [read, admin], namespaces: [a]}]\n")
    writer = connect(daemon.unix)
    for ns in (b"a", b"b"):
        reply = writer.call(revoke=wire.Revoke(scope=wire.SCOPE_SUBJECT, value=b"of-" + ns),
                            namespace=ns)
        assert reply.status == wire.STATUS_OK
    reader = connect(daemon.tcp_uri)
    hello = wire.Hello(version_min=1, version_max=1, namespace=b"a", credential_id=b"a",
                       credential=b"a shared secret of some length")
    assert reader.call(hello=hello, ping=wire.Ping()).status == wire.STATUS_OK
    facts, _ = snapshot(reader, wire)
    assert len(facts) == 1 and b"of-a" in facts[0]
    assert len(snapshot(writer, wire)[0]) == 2
    # and the roles told to a hello are those in its own namespace, whose facts were looked at last
    both = connect(daemon.tcp_uri).call(hello=hello, watch=wire.Watch(snapshot=True))
    assert len(both.watch.facts) == 1
    assert set(both.hello.roles) == {wire.ROLE_READ, wire.ROLE_ADMIN}


def test_a_drain_answers_those_who_wait(make_daemon, connect, wire):
    daemon = make_daemon()
    connection = connect(daemon.unix)
    connection.send(connection.request(watch=wire.Watch(wait_ms=60000)))
    wait_for(lambda: waiting(daemon) == 1, "the watch to be parked")
    daemon.process.terminate()
    replies = iter(connection.receive, None)
    assert any(reply.HasField("watch") for reply in replies)
    assert daemon.process.wait(timeout=60) == 0


def test_a_watcher_that_leaves_is_forgotten(pawld, connect, wire):
    connection = connect(pawld.unix)
    connection.send(connection.request(watch=wire.Watch(wait_ms=60000)))
    wait_for(lambda: waiting(pawld) == 1, "the watch to be parked")
    connection.close()
    wait_for(lambda: waiting(pawld) == 0, "the watch to be dropped")

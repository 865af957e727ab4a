"""Settings of a fleet that a single node shows: each changes what it does, not only what it reads."""

import pathlib
import sys

import pytest

from conftest import BUILD, ROOT

sys.path.insert(0, str(ROOT / "deploy" / "demo"))
import fleet as rig # noqa: E402


class Alone:
    """One engine, and nodes that are each a fleet of their own kind."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.engine = rig.Redis(rig.Loopback(), self.folder / "e0")
        self.servers, self.nodes = [self.engine], []

    def add(self, wait=True, **cluster):
        if "sentinel" not in cluster:
            cluster = {"redis": [self.engine.uri], **cluster}
        node = rig.Node(BUILD, rig.Loopback(), self.folder, f"n{len(self.nodes)}", cluster)
        self.nodes.append(node)
        node.start(wait=False)
        if wait:
            rig.wait_until(lambda: node.status()["slots_wanted"] == 0 and node.status()["engine_up"]
                           and node.status()["members"] == 1, "a node that serves")
        return node

    def close(self):
        for server in [node.server for node in self.nodes] + self.servers:
            server.kill()


@pytest.fixture
def alone(tmp_path):
    found = Alone(tmp_path)
    yield found
    found.close()


def revoke(node, *words):
    return node.ctl("revoke", "token", "--jti", "j", "--exp", "4000000000", *words)[1]


def test_fleets_with_prefixes_of_their_own_share_an_engine(alone):
    one, other = alone.add(prefix="one"), alone.add(prefix="other")
    for node in (one, other):
        assert node.status()["members"] == 1
    keys = alone.engine.ask("keys", "*").splitlines()
    assert {key.split(":")[0] for key in keys} == {"{one", "{other"}


def test_a_strict_node_has_no_engine_that_may_forget(alone):
    alone.engine.set("maxmemory-policy", "allkeys-lru")
    trusting = alone.add(prefix="trusting")
    assert trusting.status()["engine_unsafe"] is True
    assert '"event":"engine_unsafe"' in trusting.server.text()
    strict = alone.add(wait=False, strict=True)
    rig.wait_until(lambda: '"event":"engine_refused"' in strict.server.text(), "its refusal")
    assert "set volatile-ttl" in strict.server.text()
    assert '"event":"engine_up"' not in strict.server.text()
    alone.engine.set("maxmemory-policy", "volatile-ttl")
    rig.wait_until(lambda: '"event":"ready"' in strict.server.text(), "an engine set as it should be")
    assert strict.status()["engine_unsafe"] is False


def test_what_a_revocation_waits_for_is_as_the_settings_say(alone):
    node = alone.add(ack="memory", acks={"shop": "quorum"})
    assert revoke(node)["asked"] == "memory"
    assert revoke(node, "--ns", "shop")["asked"] == "quorum"
    assert revoke(node, "--ns", "shop", "--ack", "durable")["asked"] == "durable"


def test_an_engine_is_given_up_after_the_commands_timeout(alone):
    hasty = alone.add(prefix="hasty", command_timeout="100ms")
    patient = alone.add(prefix="patient", command_timeout="20s")
    before = {node: node.status()["heartbeats_unanswered"] for node in alone.nodes}

    def missed(node):
        return node.status()["heartbeats_unanswered"] - before[node]

    alone.engine.pause()
    try:
        # The patient one's first is due after two seconds, which no setting makes longer.
        rig.wait_until(lambda: missed(hasty) > 0, "a heartbeat that is given up")
        assert missed(patient) == 0
    finally:
        alone.engine.resume()


def test_sentinels_are_asked_for_that_name_as_that_user(alone):
    sentinel = rig.Sentinel(rig.Loopback(), alone.folder / "s0", alone.engine)
    alone.servers.append(sentinel)
    sentinel.ask("acl", "setuser", "watcher", "on", ">good", "+@all", "~*", "&*")
    sentinel.ask("acl", "setuser", "default", "-sentinel")
    good, bad = alone.folder / "good", alone.folder / "bad"
    for path in (good, bad):
        path.write_text(path.name + "\n")
        path.chmod(0o600)

    def asking(name="pawl", user="watcher", password=good):
        return {"name": name, "nodes": [sentinel.uri], "user": user, "password_file": str(password)}

    node = alone.add(sentinel=asking())
    assert node.status()["engine_address"] == f"{alone.engine.host}:{alone.engine.port}"
    for settings, why in ((asking(name="another"), "does not know the master of that name"),
                          (asking(password=bad), "WRONGPASS"),
                          (asking(user="nobody"), "WRONGPASS")):
        refused = alone.add(wait=False, sentinel=settings)
        rig.wait_until(lambda node=refused, text=why: text in node.server.text(), why)
        assert '"event":"engine_up"' not in refused.server.text()

"""A fleet whose members are known by names, as pods are: names that come later than their process,
that lead to the machine of before, and that get another address while everything runs."""

import json
import pathlib
import shutil

import pytest

from cluster_rig import PATIENT_MS, ask, rig
from conftest import BUILD, check_request

pytestmark = [pytest.mark.release,
              pytest.mark.skipif(not rig.namespaces_work(),
                                 reason="network namespaces need root, ip and nft")]
HOUR_MS = 3600000


class Names:
    """What the places of a network find in /etc/hosts (ip-netns(8) puts it there), each its own."""

    def __init__(self):
        self.folders = {}

    def add(self, place):
        folder = pathlib.Path("/etc/netns") / place.namespace
        folder.mkdir(parents=True)
        self.folders[place.namespace] = folder
        (folder / "nsswitch.conf").write_text("hosts: files\n")
        (folder / "hosts").write_text("127.0.0.1 localhost\n")

    def say(self, names):
        """The same file goes on, for it is mounted."""
        text = "".join(f"{address} {name} fleet.pawl\n" for name, address in names.items())
        for folder in self.folders.values():
            with open(folder / "hosts", "r+", encoding="utf-8") as hosts:
                hosts.truncate()
                hosts.write("127.0.0.1 localhost\n" + text)

    def close(self):
        for folder in self.folders.values():
            shutil.rmtree(folder)


NAME_SERVER = r"""
import socket, struct, sys
names = dict(pair.split("=") for pair in sys.argv[2:])
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 53))
while True:
    asked, who = server.recvfrom(512)
    at, labels = 12, []
    while asked[at]:
        labels.append(asked[at + 1:at + 1 + asked[at]].decode())
        at += 1 + asked[at]
    kind = struct.unpack(">H", asked[at + 1:at + 3])[0]
    address = names.get(".".join(labels)) if kind == 1 else None
    answer = b"" if address is None else (
        b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4) + socket.inet_aton(address))
    server.sendto(asked[:2] + struct.pack(">HHHHH", 0x8580, 1, len(answer) > 0, 0, 0) +
                  asked[12:at + 5] + answer, who)
"""


class NameServers:
    """Two of them as resolv.conf has them: the first does not answer, the second does."""

    def __init__(self, network, names, folder):
        self.silent, place = network.place("dns0"), network.place("dns1")
        self.silent.nft("add rule ip pawl in udp dport 53 drop")
        for tag in names.folders.values():
            (tag / "nsswitch.conf").write_text("hosts: dns\n")
            (tag / "resolv.conf").write_text(
                f"nameserver {self.silent.host}\nnameserver {place.host}\n")
        script = folder / "name_server.py"
        script.write_text(NAME_SERVER)
        self.command = ["/usr/bin/python3", script, place.host]
        self.place, self.log = place, folder / "names.log"
        self.server = None

    def start(self, addresses):
        self.server = rig.Server(
            self.place, [*self.command, *(f"{name}={at}" for name, at in addresses.items())],
            self.log)

    def close(self):
        if self.server is not None:
            self.server.kill()


class Named:
    def __init__(self, folder):
        self.network, self.names = rig.Network(), Names()
        self.fleet = None
        try:
            self.fleet = rig.Fleet(BUILD, folder, place=self.network.place)
            for i in range(3):
                place = self.network.place(f"n{i}")
                self.names.add(place)
                self.fleet.nodes.append(rig.Node(
                    BUILD, place, folder, f"n{i}",
                    {**self.fleet.where(), "advertise": f"tcp:n{i}.pawl:7401",
                     "seeds": "fleet.pawl:7401"}))
        except BaseException:
            self.close()
            raise
        self.nodes = self.fleet.nodes
        self.addresses = {f"n{i}.pawl": node.place.host for i, node in enumerate(self.nodes)}

    def move(self, node, host):
        """Give @node, which is not running, another address."""
        place = node.place
        for what, address in (("del", place.host), ("add", host)):
            self.network.run("ip", "-n", place.namespace, "addr", what, f"{address}/24", "dev",
                             "eth0")
        place.host = host
        config = json.loads(node.config.read_text())
        config["listen"][1]["uri"] = f"tcp:{host}:7401"
        node.config.write_text(json.dumps(config))

    def close(self):
        if self.fleet is not None:
            self.fleet.close()
        self.network.close()
        self.names.close()


@pytest.fixture
def named(tmp_path):
    made = Named(tmp_path)
    yield made
    made.close()


def all_decide(nodes, wire):
    """Whether each of @nodes gets a verdict about keys of every member."""
    replies = [ask(node, wire, deadline_ms=PATIENT_MS, check=check_request(
        wire, b"key-%d" % number, (1000, HOUR_MS))) for node in nodes for number in range(16)]
    return all(reply.status == wire.STATUS_OK for reply in replies)


def test_a_node_joins_when_its_name_leads_to_it(named, wire):
    first, second, late = named.nodes
    named.names.say({name: named.addresses[name] for name in ("n0.pawl", "n1.pawl")})
    for node in named.nodes:
        node.start(wait=False)
    rig.wait_until(lambda: "n2.pawl" in late.status()["engine_note"], "who misses its name")
    rig.wait_until(lambda: [node.status()["members"] for node in (first, second)] == [2, 2],
                   "the others without it")
    assert all_decide((first, second), wire)
    named.names.say(named.addresses)
    named.fleet.settle()
    assert all_decide(named.nodes, wire)
    rig.wait_until(lambda: all(member["version"] for node in named.nodes
                               for member in node.members()), "versions, told after the view")

    late.kill() # a pod that is made anew gets another address, and its name a moment later
    named.move(late, "10.77.0.77")
    late.start(wait=False)
    rig.wait_until(lambda: "another machine" in late.server.text(), "who misses its address")
    named.names.say({**named.addresses, "n2.pawl": late.place.host})
    named.fleet.settle()
    rig.wait_until(lambda: all_decide(named.nodes, wire), "a verdict about every key")


def test_who_lies_behind_another_address_joins_all_the_same(named, wire):
    """A forwarded port, a router's address: no name leads here."""
    named.names.say({**named.addresses, "n1.pawl": "192.0.2.1"})
    named.nodes[0].start(wait=False)
    named.nodes[1].start(wait=False)
    rig.wait_until(lambda: [node.status()["members"] for node in named.nodes[:2]] == [2, 2],
                   "a member that nobody reaches")
    assert "joining all the same" in named.nodes[1].server.text()


def test_who_cannot_reach_the_engine_asks_the_members(named, wire):
    """It never joins, and passes on what they count: by their view, which changes meanwhile."""
    named.names.say(named.addresses)
    first, second, cut = named.nodes
    named.fleet.engines[0].place.deaf_to(cut.place)
    for node in (first, second):
        node.start(wait=False)
    rig.wait_until(lambda: [node.status()["members"] for node in (first, second)] == [2, 2],
                   "two members")
    cut.start(wait=False)
    rig.wait_until(lambda: cut.status()["members"] == 2, "a view, asked of the members")
    assert not cut.status()["engine_up"]
    assert all_decide((cut,), wire)
    verdicts = [ask(node, wire, deadline_ms=PATIENT_MS, check=check_request(
        wire, b"shared", (10, HOUR_MS))).check.verdict for _ in range(6) for node in named.nodes]
    assert verdicts.count(wire.VERDICT_ALLOW) == 10
    second.stop()
    rig.wait_until(lambda: cut.status()["members"] == 1, "the next view, too")
    assert all_decide((cut,), wire)


def test_one_of_two_name_servers_is_down(named, wire, tmp_path):
    """Each look-up costs the time of the silent one first, and still is in time to connect."""
    servers = NameServers(named.network, named.names, tmp_path)
    try:
        servers.start(named.addresses)
        for node in named.nodes[:2]:
            node.start(wait=False)
        rig.wait_until(lambda: [node.status()["members"] for node in named.nodes[:2]] == [2, 2],
                       "two members")
        rig.wait_until(lambda: all(node.status()["slots_wanted"] == 0
                                   for node in named.nodes[:2]), "their slots", 20)
        rig.wait_until(lambda: all_decide(named.nodes[:2], wire), "a verdict about every key", 20)
    finally:
        servers.close()

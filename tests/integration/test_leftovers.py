"""That each test ends what it has begun is looked at after each (conftest.py). Here: that the look
sees something."""

import contextlib
import subprocess
import sys

import pytest

import leftovers
from conftest import ROOT

sys.path.insert(0, str(ROOT / "deploy" / "demo"))
import fleet as rig  # noqa: E402 (its folder is known only now)


def test_a_process_that_is_left_is_seen_and_ended(monkeypatch):
    monkeypatch.setattr(leftovers, "SOON_S", 0.2)
    before = leftovers.here()
    with subprocess.Popen(["sleep", "1000"]) as left:
        said = leftovers.since(before)
        with contextlib.suppress(ProcessLookupError):
            left.kill()  # if it was not seen
    assert (said, left.returncode) == ([f"process {left.pid}: sleep 1000 "], -9)
    assert leftovers.since(before) == []


@pytest.mark.skipif(not rig.namespaces_work(), reason="network namespaces need root, ip and nft")
def test_a_namespace_that_is_left_is_seen_and_removed(monkeypatch):
    monkeypatch.setattr(leftovers, "SOON_S", 0.2)
    before = leftovers.here()
    network = rig.Network()
    network.place("left")
    assert leftovers.since(before) == [f"namespace {network.tag}-hub",
                                       f"namespace {network.tag}-left"]
    assert leftovers.since(before) == []


@pytest.mark.skipif(not rig.namespaces_work(), reason="network namespaces need root, ip and nft")
def test_a_place_that_cannot_be_made_whole_goes_with_its_network(monkeypatch):
    before = leftovers.here()
    network = rig.Network()
    with monkeypatch.context() as patch:
        patch.setattr(rig.Namespace, "nft", lambda *_: network.run("false"))
        with pytest.raises(rig.Trouble):
            network.place("half")
    network.close()
    assert leftovers.since(before) == []

"""Fixtures of several files here; those of pure_rig become visible by their names."""

import pytest
import rig

import pure_rig

wire = pure_rig.wire
make_fake = pure_rig.make_fake


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return rig.tls_files().Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server_pair(authority):
    return authority.leaf("server", "DNS:localhost,IP:127.0.0.1")

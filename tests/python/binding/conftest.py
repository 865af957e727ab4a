"""Fixtures of the pure client's tests; they become visible by their names."""

import pure_rig

wire = pure_rig.wire
make_fake = pure_rig.make_fake

"""./dev example, as a reader runs it."""

import os
import re
import subprocess
import sys

from conftest import EXAMPLE

import rig


def test_the_session_plays_to_its_end_and_nothing_is_wrong():
    env = {name: value for name, value in os.environ.items()
           if not name.startswith(("EXAMPLE_", "PAWL_ADDR"))}
    done = subprocess.run([sys.executable, EXAMPLE / "play.py", rig.BUILD], env=env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
    last = done.stdout.splitlines()[-1]
    assert re.fullmatch(r"[1-9][0-9]+ answers, 0 wrong", last), done.stdout[-4000:]
    assert done.returncode == 0
    assert "$ curl -X POST /auth/login/" in done.stdout

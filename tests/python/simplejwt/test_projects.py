"""The same in other projects: without simplejwt's blacklist app, with RS256, on the pure client.

What is decided when simplejwt is imported needs a process of its own.
"""

import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
PROJECTS = {
    "without-the-blacklist-app": ({"SIMPLEJWT_BLACKLIST": "0"}, ("refresh", "logout", "bridge")),
    "with-rs256": ({"SIMPLEJWT_ALGORITHM": "RS256"}, ("refresh",)),
    "pure-python": ({"PAWL_BACKEND": "pure"}, ("refresh", "logout", "import")),
}


@pytest.mark.skipif(os.environ.get("SIMPLEJWT_INNER") == "1", reason="inside of itself")
@pytest.mark.parametrize("project", PROJECTS)
def test_refresh_and_log_out_in_another_project(project):
    changes, files = PROJECTS[project]
    environment = dict(os.environ, SIMPLEJWT_INNER="1", **changes)
    environment.pop("PYTEST_XDIST_WORKER", None)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
         *(str(HERE / f"test_{name}.py") for name in files)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout

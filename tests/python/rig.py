"""What the tests of the Python package share: daemons as the integration tests start them.

Nothing of that is copied: the fixtures' file is loaded by its path, because both folders have a
``conftest.py`` and tests in folders below may have another.
"""

import importlib
import importlib.util
import os
import pathlib
import signal
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
#: Where the package under test lies; the sanitizer's suite names a built copy.
PACKAGE = pathlib.Path(os.environ.get("PAWL_PYTHON", ROOT / "client" / "python" / "src"))


def _load_integration():
    name = "pawl_integration_rig"
    if name not in sys.modules:
        path = ROOT / "tests" / "integration" / "conftest.py"
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        sys.path.append(str(path.parent))  # of what it imports beside itself
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path.remove(str(path.parent))
    return sys.modules[name]


integration = _load_integration()
BUILD = integration.BUILD
PATIENCE_S = integration.PATIENCE_S
Daemon = integration.Daemon
Connection = integration.Connection
wait_for = integration.wait_for
in_parallel = integration.in_parallel
check_request = integration.check_request


def stop(daemon):
    """SIGSTOP, and wait until it has: the signal alone lets a process go on for a moment."""
    pid = daemon.process.pid
    os.kill(pid, signal.SIGSTOP)
    stat = pathlib.Path(f"/proc/{pid}/task")
    wait_for(lambda: all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T"
                         for task in stat.iterdir()), "pawld is stopped")


def use_package():
    """Let this process and those that it starts import the package under test."""
    path = str(PACKAGE)
    if path not in sys.path:
        sys.path.insert(0, path)
    inherited = os.environ.get("PYTHONPATH", "")
    if path not in inherited.split(os.pathsep):
        os.environ["PYTHONPATH"] = path + (os.pathsep + inherited if inherited else "")


def tls_files():
    """tests/integration/tls.py: certificates of a test's own authority."""
    name = "pawl_integration_tls"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "tests/integration/tls.py")
        module = importlib.util.module_from_spec(spec)
        ours = sys.modules.get("conftest")
        sys.modules["conftest"] = integration  # the one that it means
        try:
            spec.loader.exec_module(module)
        finally:
            if ours is None:
                del sys.modules["conftest"]
            else:
                sys.modules["conftest"] = ours
        sys.modules[name] = module
    return sys.modules[name]


def backend_class(name):
    """The Handle of backend @name; skips (or fails) where it is missing."""
    module = {"native": "pawl._native", "pure": "pawl._pure"}[name]
    try:
        return importlib.import_module(module).Handle
    except ImportError as error:
        if name == "native" and os.environ.get("PAWL_REQUIRE_NATIVE") == "1":
            raise
        pytest.skip(f"{module}: {error}")

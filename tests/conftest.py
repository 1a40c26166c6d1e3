"""Fixtures for all tests, and what keeps tests and the user's own daemon apart."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from support import inherited_signals, processes
from support.daemon_process import DaemonProcess, forked_daemons, remove_logs
from support.tools import REQUIRE_VARIABLE
from support.transports import SETTINGS, over

# A busy machine is slow, and the first example compiles what all others use.
hypothesis.settings.register_profile("boardd", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("boardd")

#: In the environment of whatever this session starts.
SESSION_VARIABLE = "BOARDD_TEST_SESSION"

#: Longer than a daemon with nothing to write needs to leave.
GRACE_SECS = 10.0

#: Of a test that is marked slow, its fixtures included; others have pytest's setting ``timeout``.
SLOW_TIMEOUT_SECS = 900


#: Runtime directories that this session has made: autostarted daemons have them in their
#: environment, and none of the session's own variables.
_runtime_directories: list[str] = []


def short_directory() -> str:
    """Makes a directory whose sockets keep below the 107 bytes that the kernel takes.

    On a tmpfs if there is one, as a user's is: clients keep their logs there.
    """
    parent = "/dev/shm" if os.path.isdir("/dev/shm") else "/tmp"
    _runtime_directories.append(tempfile.mkdtemp(prefix="bd-", dir=parent))
    return _runtime_directories[-1]


def pytest_configure(config: pytest.Config) -> None:
    """Takes what the user's shell and daemon set out of what the tests hand on."""
    inherited_signals.keep_from_children()
    # Hundreds of processes import the same modules: they are compiled once.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    for name in list(os.environ):
        if name.startswith("BOARDD_") and name != REQUIRE_VARIABLE:
            del os.environ[name]
    os.environ[SESSION_VARIABLE] = uuid.uuid4().hex
    # What files hold is what tests log; those of these two ask for them.
    os.environ["BOARDD_SYSTEM_METRICS"] = os.environ["BOARDD_PROVENANCE"] = "0"
    # Lines as people read them, which tests look for.
    os.environ["BOARDD_LOG_FORMAT"] = "text"
    # Fixtures wider than a test, and code that runs at import, are kept apart too.
    os.environ["XDG_RUNTIME_DIR"] = short_directory()
    # Daemons read no settings file of the user's.
    os.environ["XDG_CONFIG_HOME"] = os.path.join(os.environ["XDG_RUNTIME_DIR"], "settings")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Gives slow tests more time, unless ``--timeout`` says how much each test has."""
    if config.getoption("timeout") is not None:
        return
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT_SECS))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leaves modules and tests out of garbage collections: tests that collect look at their own."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Ends daemons that outlived every test, and fails the session for them."""
    left = processes.daemons(SESSION_VARIABLE, {os.environ[SESSION_VARIABLE]})
    left += processes.daemons("XDG_RUNTIME_DIR", set(_runtime_directories))
    for process in left:
        processes.end(process, grace_secs=0)
    forked = forked_daemons()
    if left or forked:
        lines = "\n".join((*map(str, left), *(f"pid {pid}, forked" for pid in forked)))
        session.config.stash[_LEFT] = f"daemons left over by the tests:\n{lines}"
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    """Removes the session's runtime directory, and what clients have left for its daemons."""
    remove_logs()
    shutil.rmtree(os.environ["XDG_RUNTIME_DIR"], ignore_errors=True)


_LEFT = pytest.StashKey[str]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says why a session without a failed test failed."""
    text = terminalreporter.config.stash.get(_LEFT, "")
    if text:
        terminalreporter.write_line(text, red=True)


@pytest.fixture(autouse=True)
def runtime_directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """``XDG_RUNTIME_DIR`` of the test: a short path, removed at its end.

    A daemon that a client started there is ended after the test; one that was
    started otherwise and not ended fails it.
    """
    directory = short_directory()
    monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
    yield Path(directory)
    left = processes.daemons("XDG_RUNTIME_DIR", {directory})
    for process in left:
        processes.end(process, grace_secs=GRACE_SECS)
    shutil.rmtree(directory)
    forgotten = [process for process in left if "--autostarted" not in process.arguments]
    assert not forgotten, f"the test left running: {', '.join(map(str, forgotten))}"


@pytest.fixture
def daemon(runtime_directory: Path, tmp_path: Path) -> Iterator[DaemonProcess]:
    """A running daemon that writes below ``tmp_path / "logs"``."""
    with DaemonProcess(tmp_path) as process:
        yield process


@pytest.fixture(params=SETTINGS, ids=lambda name: name.replace(" ", "_"))
def transport(request: pytest.FixtureRequest) -> Iterator[str]:
    """How records reach the daemon, here and in scripts: the test runs once over each.

    ``support.transports.check_transport`` says whether they do.
    """
    name: str = request.param
    with over(name):
        yield name

"""A runtime directory that srun, su or docker exec left behind: client and commands agree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.tensorboard_reader import read_events
from support.tools import require_root

# A user of its own, so that its directory in /tmp is this test's.
AS_USER = "import os, sys; user = int(sys.argv.pop(1)); os.getuid = lambda: user; "
LOG = """
from boardd_client import SummaryWriter
sw = SummaryWriter(sys.argv[1])
sw.add_scalar("loss", 1.0, 1)
"""
COMMAND = "from boardd.cli import main; sys.exit(main())"


def run(code: str, user: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", AS_USER + code, str(user), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def user() -> Iterator[int]:
    number = 10**9 + os.getpid()
    yield number
    run(COMMAND, number, "stop")
    shutil.rmtree(f"/tmp/boardd-{number}", ignore_errors=True)


def of_another_user(base: Path) -> None:
    require_root()
    base.mkdir(0o700)
    os.chown(base, 12345, -1)


@pytest.mark.parametrize("make", [lambda base: None, of_another_user], ids=["missing", "foreign"])
def test_nothing_is_lost_and_status_and_stop_find_the_daemon(
    make: Callable[[Path], None],
    user: int,
    runtime_directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = runtime_directory / "stale"
    make(base)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    monkeypatch.setenv("BOARDD_EXIT_TIMEOUT_SECS", "60")
    done = run(LOG, user, str(tmp_path / "logs"))
    assert (done.returncode, done.stderr) == (0, "")
    assert [event.step for event in read_events(tmp_path / "logs") if event.summary.value] == [1]
    status = run(COMMAND, user, "status")
    assert f"unix:/tmp/boardd-{user}/boardd.sock" in status.stdout, status.stderr
    stop = run(COMMAND, user, "stop")
    assert "has stopped" in stop.stdout, stop.stderr
    assert not base.exists() or not list(base.iterdir())

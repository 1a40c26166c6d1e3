"""A disk that does not answer: a real one, frozen."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from boardd_client import SummaryWriter
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import read_events
from support.tools import require_program, require_root
from support.waiting import wait_until

pytestmark = pytest.mark.slow

#: More than --writers.
HUNG_RUNS = 12


class FrozenDisk:
    """An ext4 whose writers hang while it ``is_frozen``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_frozen = False

    def freeze(self) -> None:
        subprocess.run(["fsfreeze", "--freeze", str(self.path)], check=True, timeout=120)
        self.is_frozen = True

    def thaw(self) -> None:
        if self.is_frozen:
            subprocess.run(["fsfreeze", "--unfreeze", str(self.path)], check=True, timeout=120)
            self.is_frozen = False


@pytest.fixture(autouse=True)
def no_autostart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the client wait for the test's own next daemon, however long the first takes to end."""
    monkeypatch.setenv("BOARDD_AUTOSTART", "0")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FrozenDisk]:
    require_root()
    for program in ("mkfs.ext4", "fsfreeze"):
        require_program(program)
    image, path = tmp_path / "image", tmp_path / "logs" / "disk"
    with open(image, "wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, timeout=120)
    path.mkdir(parents=True)
    if subprocess.run(
        ["mount", "-o", "loop", str(image), str(path)],
        capture_output=True,
        timeout=120,
    ).returncode:
        pytest.skip("a file cannot be mounted here")
    frozen = FrozenDisk(path)
    try:
        yield frozen
    finally:
        frozen.thaw()
        subprocess.run(["umount", "--lazy", str(path)], check=True, timeout=120)


def steps(run: Path) -> list[int]:
    return [read.step for read in read_events(run) if read.HasField("summary")]


def test_runs_on_a_disk_that_hangs_hold_no_other_up(tmp_path: Path, disk: FrozenDisk) -> None:
    with DaemonProcess(tmp_path) as daemon, contextlib.ExitStack() as writers:

        def writer(*names: str) -> SummaryWriter:
            logdir = daemon.logdir.joinpath(*names)
            return writers.enter_context(SummaryWriter(logdir, address=daemon.address))

        hung = [writer("disk", str(number)) for number in range(HUNG_RUNS)]
        for sw in hung:
            sw.add_scalar("loss", 0.0, 0)
            assert sw.flush(timeout=60)
        disk.freeze()
        for sw in hung:
            sw.add_scalar("loss", 1.0, 1)
        late = writer("disk", "late")  # its directory cannot even be made
        late.add_scalar("loss", 1.0, 1)

        def noticed() -> int:
            return sum("not answered" in run.trouble for run in daemon.status().runs)

        wait_until(lambda: noticed() == HUNG_RUNS + 1, "all that hangs is noticed")
        # Another process's run, for all records of one are acknowledged in their order.
        script = (
            "import sys\n"
            "from boardd_client import SummaryWriter\n"
            "with SummaryWriter(sys.argv[1], address=sys.argv[2]) as sw:\n"
            "    for step in range(50):\n"
            "        sw.add_scalar('loss', 1.0, step)\n"
            "        assert sw.flush(timeout=30.0), step\n"
        )
        command = ["-c", script, str(daemon.logdir / "free"), daemon.address]
        subprocess.run([sys.executable, *command], check=True, timeout=120)
        assert steps(daemon.logdir / "free") == list(range(50))
        disk.thaw()
        for sw in (*hung, late):
            assert sw.flush(timeout=60)
        assert not any(run.trouble for run in daemon.status().runs)
    for number in range(HUNG_RUNS):
        assert steps(disk.path / str(number)) == [0, 1]
    assert steps(disk.path / "late") == [1]


def test_a_daemon_leaves_although_a_disk_hangs(tmp_path: Path, disk: FrozenDisk) -> None:
    with DaemonProcess(tmp_path, "--drain-secs", "1") as daemon:
        sw = SummaryWriter(disk.path / "run", address=daemon.address)
        sw.add_scalar("loss", 0.0, 0)
        assert sw.flush(timeout=60)
        disk.freeze()
        sw.add_scalar("loss", 1.0, 1)
        wait_until(lambda: any(run.trouble for run in daemon.status().runs), "trouble")
        # A process whose thread is in an uninterruptible call ends when that returns.
        daemon.signal(15)
        daemon.wait_log("has left")
        disk.thaw()
        assert daemon.wait() == 0
    with DaemonProcess(tmp_path, socket=daemon.socket) as daemon:
        assert sw.close(timeout=60)
    assert 1 in steps(disk.path / "run")

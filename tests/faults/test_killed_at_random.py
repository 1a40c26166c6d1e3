"""What a call has logged is written once, whichever process is killed, and beside a full disk."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from boardd_protos.log_directory import log_directories
from support.daemon_process import DaemonProcess
from support.independent_reader import points
from support.tools import tmpfs
from support.waiting import wait_until

#: Logs until it is killed, and keeps in a file how many calls have returned.
TRAINER = """
import os, sys, time
from boardd_client import SummaryWriter

logdir, tag, count, last = sys.argv[1:]
told = os.open(count, os.O_WRONLY | os.O_CREAT)
sw = SummaryWriter(logdir)
for step in range(int(last)):
    sw.add_scalar(tag, step / 2, step)
    os.pwrite(told, (step + 1).to_bytes(8, "little"), 0)
    time.sleep(0.0005)
time.sleep(60)
"""
#: More than a trainer comes to.
ENDLESS = 60_000
VICTIMS = ("trainer", "daemon", "both")


class Trainer:
    """A process that logs scalars under a tag of its own."""

    def __init__(self, socket: Path, run: Path, tag: str, last: int = ENDLESS) -> None:
        self.tag = tag
        self._count = run.parent.parent / f"{tag}.count"
        self._process = subprocess.Popen(
            [sys.executable, "-c", TRAINER, str(run), tag, str(self._count), str(last)],
            env={**os.environ, "BOARDD_ADDRESS": f"unix:{socket}", "BOARDD_AUTOSTART": "0"},
        )

    @property
    def logged(self) -> int:
        """How many calls have returned."""
        return int.from_bytes(self._count.read_bytes(), "little") if self._count.exists() else 0

    def kill(self) -> None:
        """Kills it with SIGKILL."""
        self._process.kill()
        self._process.wait(timeout=120)


def is_all_written(daemon: DaemonProcess) -> bool:
    """Whether no log of a dead trainer is left, and nobody's records are out."""
    logs = [log for directory in log_directories(daemon.socket) for log in directory.glob("*")]
    return not logs and not daemon.status().sessions


def assert_once(run: Path, trainers: list[Trainer]) -> None:
    """Checks that all that was logged is there once; the last call may not have returned."""
    for trainer in trainers:
        found = points(run, trainer.tag)
        assert len(found) in (trainer.logged, trainer.logged + 1), trainer.tag
        assert found == [(step, step / 2) for step in range(len(found))], trainer.tag


@pytest.mark.parametrize("seed", range(2))
def test_whoever_is_killed_when_all_that_was_logged_is_there_once(
    tmp_path: Path, runtime_directory: Path, seed: int
) -> None:
    chance = random.Random(seed)
    run = tmp_path / "logs" / "run"
    socket = runtime_directory / "s"
    with ExitStack() as stack:
        daemon = stack.enter_context(DaemonProcess(tmp_path, socket=socket))
        trainers = [Trainer(socket, run, "life0")]
        stack.callback(lambda: trainers[-1].kill())
        for victims in chance.sample(VICTIMS, len(VICTIMS)):
            trainer = trainers[-1]
            until = trainer.logged + chance.randrange(1, 400)
            wait_until(lambda trainer=trainer, until=until: trainer.logged >= until)
            if victims != "trainer":
                daemon.kill()
            if victims != "daemon":
                trainer.kill()
                trainers.append(Trainer(socket, run, f"life{len(trainers)}"))
            if victims != "trainer":
                daemon = stack.enter_context(DaemonProcess(tmp_path, socket=socket))
        trainers[-1].kill()
        wait_until(lambda: is_all_written(daemon))
        assert_once(run, trainers)


def test_both_are_killed_beside_a_full_disk(tmp_path: Path, runtime_directory: Path) -> None:
    socket = runtime_directory / "s"
    with tmpfs(tmp_path / "logs" / "small", "size=512k") as disk:
        run = disk / "run"
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(480 << 10))  # there is room for some of what is logged
        with DaemonProcess(tmp_path, socket=socket) as daemon:
            trainer = Trainer(socket, tmp_path / "logs" / "small" / "run", "loss", 1_000)
            try:
                wait_until(lambda: any("No space" in one.trouble for one in daemon.status().runs))
                wait_until(lambda: trainer.logged == 1_000)
            finally:
                daemon.kill()
                trainer.kill()
        assert 0 < len(points(run, "loss")) < 1_000
        with DaemonProcess(tmp_path, socket=socket) as second:
            wait_until(lambda: any("No space" in one.trouble for one in second.status().runs))
            ballast.unlink()
            wait_until(lambda: is_all_written(second))
            assert_once(run, [trainer])

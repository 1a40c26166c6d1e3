"""Disks without space, and without inodes, that are freed again while processes are killed.

``TORTURE=long`` goes on for longer.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from support.tools import tmpfs
from support.torture_rig import WAIT_SECS, Rig
from support.torture_scale import Progress, long_or, seed
from support.transports import SETTINGS
from support.waiting import wait_until

ROUNDS = long_or(2, 60)
VICTIMS = ("daemon", "trainer", "both")
#: Each daemon begins a file in each run; there are this many inodes besides.
SPARE_INODES = 40
OPTIONS = {"space": "size=64m", "inodes": f"nr_inodes={SPARE_INODES + 8 * ROUNDS}"}


def fill_space(ballast: Path) -> None:
    """Writes until nothing more fits."""
    with (ballast / "space").open("wb", buffering=0) as file:
        for size_bytes in (1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while file.write(bytes(size_bytes)) == size_bytes:
                    pass


def use_up_inodes(ballast: Path) -> None:
    """Makes files until there can be no more."""
    with contextlib.suppress(OSError):
        for number in itertools.count():
            (ballast / str(number)).touch()


FILLS: dict[str, Callable[[Path], None]] = {"space": fill_space, "inodes": use_up_inodes}


def is_held_up(rig: Rig) -> bool:
    """Whether a run of the daemon waits for room."""
    return any(os.strerror(errno.ENOSPC) in run.trouble for run in rig.daemon.status().runs)


@pytest.mark.slow
@pytest.mark.parametrize("lacking", FILLS)
def test_all_that_is_logged_is_there_once_when_the_disk_was_full(
    lacking: str, tmp_path: Path, runtime_directory: Path
) -> None:
    chance = random.Random(seed())
    progress = Progress(ROUNDS)
    with (
        tmpfs(tmp_path / "logs" / "small", OPTIONS[lacking]) as disk,
        Rig(tmp_path, runtime_directory / "s", chance, "logs/small") as rig,
    ):
        ballast = disk / "ballast"
        ballast.mkdir()
        for _ in range(ROUNDS):
            FILLS[lacking](ballast)
            # A daemon that comes next begins new files.
            for victims in ("daemon", chance.choice(VICTIMS)):
                transport = chance.choice(list(SETTINGS))
                rig.kill(victims, transport)
                rig.progress(chance.randrange(1, 60), transport)
            rig.daemon.wait_ready()
            wait_until(lambda: is_held_up(rig), "a run waits for room", WAIT_SECS)
            for path in ballast.iterdir():
                path.unlink()
            rig.progress(chance.randrange(1, 60), chance.choice(list(SETTINGS)))
            rig.kill(chance.choice(VICTIMS), chance.choice(list(SETTINGS)))
            progress.step(f"{rig.killed}")
        rig.end()
        assert rig.judge()

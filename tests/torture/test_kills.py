"""Daemons and trainers killed at any moment, while both of TensorBoard's loaders tail the logdir.

The short form kills a few. ``TORTURE=long``, as ``make torture`` has it, kills 1,000 daemons,
500 trainers and 100 times both. ``TORTURE_SEED`` plays a history again.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from support.tailing_tensorboard import tailing
from support.torture_rig import Rig
from support.torture_scale import Progress, long_or, seed
from support.transports import SETTINGS

KILLS = {"daemon": long_or(10, 1000), "trainer": long_or(5, 500), "both": long_or(3, 100)}
#: At most so many steps are logged between two kills.
STEPS = 60


@pytest.mark.slow
def test_all_that_is_logged_is_shown_once_whoever_is_killed(
    tmp_path: Path, runtime_directory: Path
) -> None:
    chance = random.Random(seed())
    victims = [who for who, count in KILLS.items() for _ in range(count)]
    chance.shuffle(victims)
    progress = Progress(len(victims))
    with Rig(tmp_path, runtime_directory / "s", chance) as rig, tailing(rig.logdir) as boards:
        for who in victims:
            transport = chance.choice(list(SETTINGS))
            rig.progress(chance.randrange(1, STEPS), transport)
            rig.kill(who, transport)
            progress.step(f"{rig.killed}")
        rig.end()
        count = rig.judge()
        assert count
        for board in boards:
            board.wait_shown(count)

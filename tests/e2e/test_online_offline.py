"""What the daemon merged of ranks, and what ``boardd merge`` makes of the ranks' own files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from boardd.events.event_pb2 import Event
from boardd.merge.merge import merge
from boardd.merge.merge_run import MergeOptions
from support.daemon_process import DaemonProcess
from support.independent_reader import records
from support.tensorboard_reader import LOADERS, event_files, read_scalars
from support.waiting import wait_until

RANKS = 4
STEPS = 30
#: How many points each tag of ``WORKER`` has in each directory.
SHARED = {
    "loss": sum(1 + step % 3 for step in range(STEPS)),
    **dict.fromkeys(("whole", "least", "stage/odd"), STEPS),
}
POINTS = {
    ".": {
        **SHARED,
        **dict.fromkeys(("weights", "default", "auto", "image", "curve"), STEPS // 10),
        "only_two": STEPS,
        "note": 1,
    },
    **dict.fromkeys(("max", "min"), SHARED),
    **{
        f"group/{name}{extreme}": {"group": STEPS // 10}
        for name in "ab"
        for extreme in ("", "/max", "/min")
    },
}

WORKER = """
import os, sys
import numpy as np
from boardd_client import SummaryWriter
logdir, reduce, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
with SummaryWriter(logdir, reduce=reduce, per_rank="all", on_full="block") as sw:
    rank = int(os.environ["RANK"])
    rng = np.random.default_rng(rank)
    sw.add_text("note", f"rank {rank}", 0)
    for step in range(steps):
        for _ in range(1 + step % 3):  # as if gradients were accumulated
            sw.add_scalar("loss", rng.normal() * 10.0 ** rng.integers(-20, 20), step)
        sw.add_scalar("whole", step * rank, step)
        sw.add_scalar("least", rng.normal(), step, reduce="min")
        if rank % 2:
            sw.add_scalar("stage/odd", rng.normal(), step)
        if rank == 2:
            sw.add_scalar("only two", rng.normal(), step, reduce="max")
        if step % 10 == 0:
            weights = rng.normal(rank, 1 + rank, 1000)
            sw.add_histogram("weights", weights, step, bins=64)
            sw.add_histogram("default", weights.astype(np.float32), step, bins="default")
            sw.add_histogram("auto", weights, step, bins="auto")
            sw.add_image("image", rng.random((3, 4, 5)), step)
            sw.add_pr_curve(
                "curve", rng.integers(0, 2, 50), rng.random(50), 11, step, weights=rng.random(50)
            )
            sw.add_scalars("group", {"a": rng.normal(), "b": rng.normal()}, step)
    assert sw.flush(timeout=60)
"""


class Point(NamedTuple):
    """One event that shows something, without the file it is in."""

    wall_time: float
    step: int
    values: bytes


#: What tells of the group, which depends on how ranks came, or of the merge.
OWN_TAGS = ("boardd/",)


def shown(run: Path) -> dict[str, list[Point]]:
    """The points of each tag in one directory, in their order."""
    found: dict[str, list[Point]] = {}
    for file in event_files(run):
        for data in records(file.read_bytes()):
            event = Event.FromString(data)
            for value in event.summary.value:
                if not value.tag.startswith(OWN_TAGS):
                    point = Point(event.wall_time, event.step, value.SerializeToString())
                    found.setdefault(value.tag, []).append(point)
    return found


def merged_directories(root: Path) -> dict[str, dict[str, list[Point]]]:
    """The points of all merged runs beneath ``root``; ranks are left out."""
    directories = {path.parent for path in root.rglob("*tfevents*")}
    return {
        str(directory.relative_to(root)): points
        for directory in sorted(directories)
        if not any(part.startswith("rank_") for part in directory.relative_to(root).parts)
        and (points := shown(directory))
    }


def counts(directories: dict[str, dict[str, list[Point]]]) -> dict[str, dict[str, int]]:
    return {
        directory: {tag: len(points) for tag, points in tags.items()}
        for directory, tags in directories.items()
    }


def run_ranks(daemon: DaemonProcess, program: str, *arguments: object, **environ: str) -> None:
    """Runs ``program`` as each rank, to its end."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)],
            env={
                **os.environ,
                "BOARDD_ADDRESS": daemon.address,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(RANKS),
                **environ,
            },
        )
        for rank in range(RANKS)
    ]
    assert [worker.wait(120) for worker in workers] == [0] * RANKS


@pytest.mark.parametrize("reduce", ["mean", "sum", "last"])
def test_online_equals_offline(tmp_path: Path, daemon: DaemonProcess, reduce: str) -> None:
    logdir = daemon.logdir / "run"
    run_ranks(daemon, WORKER, logdir, reduce, STEPS)
    wait_until(
        lambda: counts(merged_directories(logdir)) == POINTS,
        "all points are written",
    )
    daemon.close()
    online = merged_directories(logdir)
    merge([logdir], tmp_path / "out", MergeOptions())
    offline = merged_directories(tmp_path / "out")
    assert list(offline) == list(online)
    for directory, tags in online.items():
        assert sorted(offline[directory]) == sorted(tags)
        for tag, points in tags.items():
            assert offline[directory][tag] == points, (directory, tag)


RESUMING = """
import os, sys
import numpy as np
from boardd_client import SummaryWriter
logdir, begin, end = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = np.random.default_rng(begin * 10 + int(os.environ["RANK"]))
with SummaryWriter(logdir, on_full="block") as sw:
    for step in range(begin, end):
        sw.add_scalar("loss", rng.normal(), step)
        if step % 5 == 0 and begin == 0:
            sw.add_scalar("only before", rng.normal(), step)
    assert sw.flush(timeout=60)
"""


@pytest.mark.parametrize("begin", [12, 19, 20])
def test_a_relaunch_from_a_checkpoint_is_shown_alike(
    tmp_path: Path, daemon: DaemonProcess, begin: int
) -> None:
    logdir = daemon.logdir / "run"
    for attempt, (first, end) in enumerate(((0, 20), (begin, 25))):
        run_ranks(
            daemon,
            RESUMING,
            *(logdir, first, end),
            TORCHELASTIC_RUN_ID="job",
            TORCHELASTIC_RESTART_COUNT=str(attempt),
        )
        wait_until(
            lambda last=end - 1: any(one.step == last for one in shown(logdir).get("loss", ())),
            "all points are written",
        )
    daemon.close()
    merge([logdir], tmp_path / "out", MergeOptions())
    for loader in LOADERS:
        online, offline = read_scalars(logdir, loader), read_scalars(tmp_path / "out", loader)
        for run in (".", "min", "max"):
            for tag in ("loss", "only_before"):
                assert offline[run][tag] == online[run][tag], (run, tag)
            assert [one.step for one in online[run]["loss"]] == list(range(25))

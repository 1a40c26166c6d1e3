"""Several workers of one launch: one daemon, one logdir, one writer in each run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from boardd_client import SummaryWriter
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import event_files, read_events, read_scalars
from support.waiting import wait_until

IMAGES = """
import sys
import numpy as np
from boardd_client import SummaryWriter
sw = SummaryWriter(sys.argv[1], on_full="block")
batch = np.random.default_rng(0).random((64, 3, 224, 224), np.float32)
for step in range(8):
    sw.add_image("batch", batch, step)
    print("logged", flush=True)
sys.exit(not sw.close(timeout=60))
"""

WORKER = """
import sys
from boardd_client import SummaryWriter
with SummaryWriter(sys.argv[1]) as sw:
    for step in range(50):
        sw.add_scalar("loss", step + float(sys.argv[2]), step)
    assert sw.flush(timeout=60)
"""

LAUNCHERS = {
    "torchrun": lambda rank: {"RANK": rank, "WORLD_SIZE": "3", "LOCAL_RANK": rank},
    "openmpi": lambda rank: {"OMPI_COMM_WORLD_RANK": rank, "OMPI_COMM_WORLD_SIZE": "3"},
    "dmlc": lambda rank: {
        "DMLC_ROLE": "worker",
        "DMLC_NUM_WORKER": "3",
        "DMLC_WORKER_ID": rank,
    },
}


def run_workers(logdir: Path, environments: list[dict[str, str]]) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(logdir), str(100 * index)],
            env={**os.environ, **environment},
        )
        for index, environment in enumerate(environments)
    ]
    assert [worker.wait(120) for worker in workers] == [0] * len(workers)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_each_rank_has_its_sub_run(launcher: str, daemon: DaemonProcess, tmp_path: Path) -> None:
    logdir = tmp_path / "logs"
    variables = LAUNCHERS[launcher]
    run_workers(
        logdir,
        [{**variables(str(rank)), "BOARDD_ADDRESS": daemon.address} for rank in range(3)],
    )
    daemon.terminate()  # all ranks have left, and their points are written
    scalars = read_scalars(logdir)
    assert sorted(scalars) == [".", "max", "min", "rank_0", "rank_1", "rank_2"]
    steps = list(range(50))
    for run, offset in ((".", 100.0), ("min", 0.0), ("max", 200.0)):
        merged = scalars[run]["loss"]
        assert [point.step for point in merged] == steps
        assert [point.value for point in merged] == [step + offset for step in steps]
    for rank in range(3):
        points = scalars[f"rank_{rank}"]["loss"]
        assert [point.step for point in points] == list(range(50))
        assert [point.value for point in points] == [step + 100.0 * rank for step in range(50)]
        assert len(event_files(logdir / f"rank_{rank}")) == 1


def test_ranks_start_one_daemon_between_them(tmp_path: Path, runtime_directory: Path) -> None:
    logdir = tmp_path / "logs"
    run_workers(logdir, [LAUNCHERS["torchrun"](str(rank)) for rank in range(3)])
    wait_until(
        lambda: len(read_scalars(logdir).get(".", {}).get("loss", ())) == 50, "the merged points"
    )
    assert sorted(read_scalars(logdir)) == [".", "max", "min", "rank_0", "rank_1", "rank_2"]
    assert len(list(logdir.rglob("events.out.tfevents.*"))) == 6


@pytest.mark.usefixtures("transport")
def test_workers_without_a_rank_do_not_collide(daemon: DaemonProcess, tmp_path: Path) -> None:
    logdir = tmp_path / "logs"
    environment = {
        "DMLC_ROLE": "worker",
        "DMLC_NUM_WORKER": "2",
        "BOARDD_ADDRESS": daemon.address,
    }
    run_workers(logdir, [environment, environment])
    scalars = read_scalars(logdir)
    assert len(scalars) == 2
    assert all(run.startswith("worker_") for run in scalars)


@pytest.mark.usefixtures("transport")
def test_two_processes_that_share_a_run_share_its_file(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    """Without ranks both write the same run: one file, nothing lost."""
    logdir = tmp_path / "logs"
    with SummaryWriter(str(logdir), address=daemon.address) as sw:
        sw.add_scalar("here", 1.0, 0)
        assert sw.flush(timeout=60)
        run_workers(logdir, [{"BOARDD_ADDRESS": daemon.address}] * 2)
        sw.add_scalar("here", 1.0, 1)
        assert sw.flush(timeout=60)
    assert len(event_files(logdir)) == 1
    tags = [value.tag for event in read_events(logdir) for value in event.summary.value]
    assert tags.count("loss") == 100
    assert tags.count("here") == 2


@pytest.mark.usefixtures("transport")
@pytest.mark.slow
def test_large_images_of_one_run_do_not_hold_up_another(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    logdir = tmp_path / "logs"
    images = subprocess.Popen(
        [sys.executable, "-c", IMAGES, str(logdir / "images")],
        env={**os.environ, "BOARDD_ADDRESS": daemon.address},
        stdout=subprocess.PIPE,
    )
    assert images.stdout is not None
    with SummaryWriter(str(logdir / "scalars"), address=daemon.address) as sw:
        assert images.stdout.readline() == b"logged\n"
        flushed = 0
        while images.poll() is None:
            sw.add_scalar("loss", 1.0, flushed)
            assert sw.flush(timeout=60)
            flushed += 1
    assert flushed >= 3, "scalars waited for the images"
    assert images.wait(120) == 0
    images.stdout.close()
    steps = [event.step for event in read_events(logdir / "images") if event.summary.value]
    assert steps == list(range(8))

"""Several ranks log to one run: what users ask for, and what TensorBoard's loader finds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import ScalarPoint, open_reader, read_histograms, read_scalars
from support.waiting import wait_until

RANKS = 3
END_SECS = 60.0
#: As the launcher of each rank says; ``sw`` may be made with other arguments.
BEGIN = """
import sys
import numpy as np
from boardd_client import SummaryWriter
logdir, rank, launch = sys.argv[1], int(sys.argv[2]), sys.argv[3]
"""


@contextmanager
def ranks(
    daemon: DaemonProcess,
    script: str,
    count: int = RANKS,
    *,
    of: int = RANKS,
    launch: str = "one",
    address: str = "",
) -> Iterator[list[subprocess.Popen[str]]]:
    """Runs ``script`` as the first ``count`` ranks ``of`` so many, until the body ends."""
    with ExitStack() as stack:
        started = []
        for rank in range(count):
            environment = {
                "BOARDD_ADDRESS": address or daemon.address,
                "BOARDD_RANK": str(rank),
                "BOARDD_WORLD_SIZE": str(of),
            }
            process = subprocess.Popen(
                [sys.executable, "-c", BEGIN + script, str(daemon.logdir), str(rank), launch],
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            started.append(process)
        yield started


def run_ranks(daemon: DaemonProcess, script: str, *, launch: str = "one") -> None:
    """Runs ``script`` as all ranks, and waits until the daemon has closed what they logged."""
    with ranks(daemon, script, launch=launch) as started:
        assert [process.wait(END_SECS) for process in started] == [0] * RANKS
    daemon.wait_closed(END_SECS)


def values(points: list[ScalarPoint]) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in points]


def test_a_scalar_becomes_what_reduce_says(daemon: DaemonProcess) -> None:
    run_ranks(
        daemon,
        """
with SummaryWriter(logdir, reduce="sum") as sw:
    for step in range(4):
        sw.add_scalar("of the writer", 10 * step + rank, step)
        for reduce in ("mean", "min", "max"):
            sw.add_scalar(reduce, 10 * step + rank, step, reduce=reduce)
        # The rank that logs it last is not the last rank.
        time_of_rank = 1000 + step + (0.1, 0.3, 0.2)[rank]
        sw.add_scalar("last", 10 * step + rank, step, walltime=time_of_rank, reduce="last")
""",
    )
    runs = read_scalars(daemon.logdir)
    expected = {
        "of_the_writer": [(step, 30.0 * step + 3) for step in range(4)],
        "mean": [(step, 10.0 * step + 1) for step in range(4)],
        "min": [(step, 10.0 * step) for step in range(4)],
        "max": [(step, 10.0 * step + 2) for step in range(4)],
        "last": [(step, 10.0 * step + 1) for step in range(4)],
    }
    assert {tag: values(runs["."][tag]) for tag in expected} == expected
    for tag in expected:
        assert values(runs["min"][tag]) == expected["min"]
        assert values(runs["max"][tag]) == expected["max"]
        for rank in range(RANKS):
            own = [(step, 10.0 * step + rank) for step in range(4)]
            assert values(runs[f"rank_{rank}"][tag]) == own


@pytest.mark.parametrize(
    ("per_rank", "kept"),
    [("none", set()), ("scalars", {"loss"}), ("all", {"loss", "weights"})],
)
def test_each_rank_keeps_what_per_rank_says(
    daemon: DaemonProcess, per_rank: str, kept: set[str]
) -> None:
    run_ranks(
        daemon,
        f"""
with SummaryWriter(logdir, per_rank={per_rank!r}) as sw:
    sw.add_scalar("loss", rank, 0)
    sw.add_histogram("weights", np.full(5, rank), 0, bins=4)
""",
    )
    assert values(read_scalars(daemon.logdir)["."]["loss"]) == [(0, 1.0)]
    (merged,) = read_histograms(daemon.logdir)["."]["weights"]
    assert merged.buckets[:, 2].sum() == 5 * RANKS
    for rank in range(RANKS):
        run = f"rank_{rank}"
        found = {
            *read_scalars(daemon.logdir).get(run, {}),
            *read_histograms(daemon.logdir).get(run, {}),
        }
        assert found == kept


def test_curves_of_one_plot_are_merged_each(daemon: DaemonProcess) -> None:
    run_ranks(
        daemon,
        """
with SummaryWriter(logdir) as sw:
    for step in range(3):
        sw.add_scalars("accuracy", {"train": step + rank, "valid": step - rank}, step)
""",
    )
    runs = read_scalars(daemon.logdir)
    offsets = {
        "train": {"": 1, "/min": 0, "/max": 2},
        "valid": {"": -1, "/min": -2, "/max": 0},
    }
    for name, of_run in offsets.items():
        for run, offset in of_run.items():
            points = values(runs[f"accuracy/{name}{run}"]["accuracy"])
            assert points == [(step, float(step + offset)) for step in range(3)], (name, run)


def test_neither_flush_nor_close_waits_for_another_rank(daemon: DaemonProcess) -> None:
    script = """
sw = SummaryWriter(logdir)
sw.add_scalar("loss", 1.5, 0)
assert sw.flush(timeout=60)
print("flushed", flush=True)
assert sw.close(timeout=60)
"""
    with ranks(daemon, script, 1) as (alone,):
        assert alone.stdout is not None
        assert alone.stdout.readline() == "flushed\n"
        assert alone.wait(END_SECS) == 0
    # The others may still come, so the point is not made yet; it is in the rank's own run.
    runs = read_scalars(daemon.logdir)
    assert values(runs["rank_0"]["loss"]) == [(0, 1.5)]
    assert "." not in runs
    daemon.kill()  # which leaves the point to the next one


def test_where_rank_0_alone_logs_its_points_appear_when_nobody_else_may_join(
    tmp_path: Path,
) -> None:
    script = """
sw = SummaryWriter(logdir)
for step in range(5):
    sw.add_scalar("loss", 10 - step, step)
    assert sw.flush(timeout=60)
sys.stdin.readline()  # and goes on training
"""
    with (
        DaemonProcess(tmp_path, "--join-secs", "0.5") as daemon,
        ranks(daemon, script, 1) as (one,),
    ):
        expected = [(step, 10.0 - step) for step in range(5)]
        with open_reader(tmp_path / "logs") as reader:

            def shows_all() -> bool:
                assert one.poll() is None
                reader.reload()
                return values(reader.scalars().get(".", {}).get("loss", [])) == expected

            wait_until(shows_all, "all points")
            assert {point.value for point in reader.scalars()["."]["boardd/group/coverage"]} == {1}
            assert not {"min", "max"} & {*reader.runs()}
        one.communicate(timeout=120)
        daemon.wait_closed(END_SECS)


def test_a_second_launch_into_the_directory_takes_the_place_of_the_first(
    daemon: DaemonProcess,
) -> None:
    script = """
first = 0 if launch == "one" else 4
with SummaryWriter(logdir, launch=launch) as sw:
    for step in range(first, first + 6):
        sw.add_scalar("loss", rank + (0 if launch == "one" else 100), step)
"""
    run_ranks(daemon, script, launch="one")
    run_ranks(daemon, script, launch="two")
    runs = read_scalars(daemon.logdir)
    for run, offset in ((".", 1), ("min", 0), ("max", 2)):
        first = [(step, float(offset)) for step in range(4)]
        second = [(step, 100.0 + offset) for step in range(4, 10)]
        assert values(runs[run]["loss"]) == first + second, run


def test_a_job_started_again_while_leases_of_killed_ranks_last_takes_their_place(
    tmp_path: Path,
) -> None:
    script = """
import os, signal
again = launch == "again"
sw = SummaryWriter(logdir, launch="one")
first = 4 if again else 0
for step in range(first, first + 6):
    sw.add_scalar("loss", rank + 100 * again, step)
assert sw.flush(30)
if again:
    sw.close()
else:
    os.kill(os.getpid(), signal.SIGKILL)
"""
    with DaemonProcess(tmp_path, "--listen", "127.0.0.1:0") as daemon:
        address = daemon.tcp_address
        with ranks(daemon, script, address=address) as started:
            assert [process.wait(END_SECS) for process in started] == [-signal.SIGKILL] * RANKS
        with ranks(daemon, script, launch="again", address=address) as started:
            assert [process.wait(END_SECS) for process in started] == [0] * RANKS
        assert daemon.terminate() == 0
        loss = read_scalars(daemon.logdir)["."]["loss"]
        expected = [(step, 1.0) for step in range(4)] + [(step, 101.0) for step in range(4, 10)]
        assert values(loss) == expected

"""A daemon whose clients have nothing to say for a while."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import threading
import time
from pathlib import Path

import boardd
import numpy as np
import psutil
import pytest
from boardd.host import kernel_compiler
from boardd_client import SummaryWriter
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import read_histograms, read_scalars
from support.waiting import wait_until

TESTS = Path(__file__).resolve().parents[1]


def compiler_bytes(pid: int) -> int:
    """How much of numba's compiler is resident in a process."""
    total, is_inside = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if "-" in line.partition(" ")[0]:
            is_inside = "libllvmlite" in line
        elif is_inside and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


def children(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children()]


@pytest.mark.slow
def test_records_do_not_wait_for_kernels_that_are_not_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a fresh installation, where another daemon's process compiles at the moment."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    (source,) = boardd.__path__
    package = tmp_path / "environment" / "boardd"
    shutil.copytree(source, package)
    monkeypatch.setattr(kernel_compiler, "_PACKAGE", package)
    note = kernel_compiler.note_path()
    assert package in note.parents
    values = np.arange(50_000, dtype=np.float32)
    with open(note.with_name(kernel_compiler.LOCK_NAME), "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with (
            DaemonProcess(tmp_path, environ={"PYTHONPATH": str(package.parent)}) as daemon,
            SummaryWriter(str(daemon.logdir), address=daemon.address) as writer,
        ):
            for step in range(1000):
                writer.add_scalar("loss", step, step)
            writer.add_histogram("values", values, bins=1000, global_step=0)
            assert writer.flush(60)
            assert compiler_bytes(daemon.pid) == 0
            (compiler,) = children(daemon.pid)
            wait_until(lambda: os.getpriority(os.PRIO_PROCESS, compiler) == 19)
            note.touch()
            fcntl.flock(lock, fcntl.LOCK_UN)
            wait_until(lambda: compiler_bytes(daemon.pid) > 0, "kernels are loaded")
            wait_until(lambda: not children(daemon.pid), "the compiler is reaped")
            writer.add_histogram("values", values, bins=1000, global_step=1)
            assert writer.flush(60)
    (histograms,), (scalars,) = (
        read(daemon.logdir).values() for read in (read_histograms, read_scalars)
    )
    assert [point.value for point in scalars["loss"]] == list(range(1000))
    first, second = histograms["values"]
    np.testing.assert_array_equal(first.buckets, second.buckets)


def sleeps_of_sender() -> int:
    """How often the client's thread has gone to sleep."""
    (sender,) = (thread for thread in threading.enumerate() if thread.name == "boardd-sender")
    return sleeps(Path(f"/proc/self/task/{sender.native_id}"))


def sleeps_of_process(pid: int) -> int:
    """How often the threads of a process have gone to sleep, those that have ended excepted."""
    return sum(map(sleeps, Path(f"/proc/{pid}/task").iterdir()))


def sleeps(thread: Path) -> int:
    """How often a thread has gone to sleep, see proc(5)."""
    status = (thread / "status").read_text()
    return int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])


@pytest.mark.slow
def test_a_client_and_a_daemon_with_nothing_to_do_hardly_wake_up(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(DaemonProcess(tmp_path))
        for number in range(50):
            writer = stack.enter_context(
                SummaryWriter(str(daemon.logdir / str(number)), address=daemon.address)
            )
            writer.add_scalar("loss", 1.0, 0)
        assert writer.flush(60)

        def is_quiet() -> bool:
            # A second has ten looks of a client that is busy, and one of one that is not.
            # The daemon has three clocks of its own, and gRPC has 10 to 20 short ones a second.
            before, of_daemon = sleeps_of_sender(), sleeps_of_process(daemon.pid)
            time.sleep(2.0)
            slept = sleeps_of_process(daemon.pid) - of_daemon
            return sleeps_of_sender() - before <= 8 and slept <= 100

        wait_until(is_quiet, "client and daemon are quiet")


@pytest.mark.slow
def test_a_daemon_gives_memory_back_while_a_session_is_open_and_quiet(tmp_path: Path):
    values = np.arange(100_000, dtype=np.float32)
    with (
        DaemonProcess(
            tmp_path, module="support.kernel_daemon", environ={"PYTHONPATH": str(TESTS)}
        ) as daemon,
        SummaryWriter(str(daemon.logdir), address=daemon.address) as writer,
    ):
        writer.add_histogram("values", values, bins=1000, global_step=0)
        assert writer.flush(60)
        at_work = compiler_bytes(daemon.pid)
        assert at_work > 0, "it has loaded kernels"
        wait_until(lambda: compiler_bytes(daemon.pid) < at_work / 2, "memory is given back")
        assert len(daemon.status().sessions) == 1
        writer.add_histogram("values", values, bins=1000, global_step=1)
        assert writer.flush(60)

"""An fsync that the kernel fails, under the real daemon."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from boardd_client import SummaryWriter
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import event_files, read_events
from support.tools import require_tracing
from support.waiting import wait_until

DEADLINE_SECS = 60.0


@contextlib.contextmanager
def failing_fsync(daemon: DaemonProcess, run: Path, trace: Path) -> Iterator[None]:
    """Lets every fsync of the run's one file fail; writes them down."""
    require_tracing()
    (file,) = event_files(run)
    inject = ["-e", "trace=fsync", "-e", "inject=fsync:error=EIO", "-P", str(file)]
    command = ["strace", "-f", *inject, "-o", str(trace), "-p", str(daemon.pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        assert "attached" in strace.stderr.readline()
        try:
            yield
        finally:
            strace.send_signal(signal.SIGINT)
            strace.communicate(timeout=DEADLINE_SECS)


def test_a_sync_by_time_that_failed_is_told_by_the_next_flush(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    run, trace = daemon.logdir / "run", tmp_path / "trace"
    with SummaryWriter(run, address=daemon.address, sync=0.3) as sw:
        sw.add_scalar("loss", 0.0, 0)
        assert sw.flush(timeout=60, level="synced")
        with failing_fsync(daemon, run, trace):
            sw.add_scalar("loss", 1.0, 1)
            wait_until(lambda: "INJECTED" in trace.read_text())
            first = event_files(run)[0]
            flushed = sw.flush(timeout=60, level="synced")
            assert not flushed
            assert first.name in flushed.reason
            sw.add_scalar("loss", 2.0, 2)
            assert sw.flush(timeout=60, level="synced")
    assert trace.read_text().count("fsync(") == 1
    assert len(event_files(run)) == 2
    steps = [read.step for read in read_events(run) if read.HasField("summary")]
    assert steps == [0, 1, 2]


SIBLING = """
import sys
from boardd_client import SummaryWriter

with SummaryWriter(sys.argv[1], address=sys.argv[2]) as sw:
    for step, level in enumerate(("synced", "written", "synced", "synced")):
        if step < 2:
            sw.add_scalar("of sibling", step, step)
        print(bool(sw.flush(timeout=60, level=level)), flush=True)
        sys.stdin.readline()
"""


def test_every_process_that_logs_to_the_run_is_told_of_a_failed_sync(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    run, trace = daemon.logdir / "run", tmp_path / "trace"
    command = [sys.executable, "-c", SIBLING, str(run), daemon.address]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        SummaryWriter(run, address=daemon.address, sync=0.3) as sw,
        subprocess.Popen(command, **pipes) as sibling,
    ):

        def next_flush() -> str:
            assert sibling.stdin is not None
            assert sibling.stdout is not None
            sibling.stdin.write("\n")
            sibling.stdin.flush()
            return sibling.stdout.readline()

        assert sibling.stdout is not None
        assert sibling.stdout.readline() == "True\n"
        sw.add_scalar("loss", 0.0, 0)
        assert sw.flush(timeout=60, level="synced")
        with failing_fsync(daemon, run, trace):
            assert next_flush() == "True\n"
            wait_until(lambda: "INJECTED" in trace.read_text())
            assert not sw.flush(timeout=60, level="synced")
            assert sw.flush(timeout=60, level="synced")
            assert next_flush() == "False\n"
            assert next_flush() == "True\n"
        sibling.communicate("\n", timeout=DEADLINE_SECS)


def test_close_says_if_the_disk_was_not_reached(daemon: DaemonProcess, tmp_path: Path) -> None:
    run, trace = daemon.logdir / "run", tmp_path / "trace"
    sw = SummaryWriter(run, address=daemon.address, sync="flush")
    sw.add_scalar("loss", 0.0, 0)
    assert sw.flush(timeout=60)
    sw.add_scalar("loss", 1.0, 1)
    with failing_fsync(daemon, run, trace):
        closed = sw.close()
        assert not closed
        assert "are in doubt" in closed.reason
        assert trace.read_text().count("INJECTED") == 1


def test_the_daemon_can_ask_for_every_flush_to_reach_the_disk(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, "--sync", "flush") as daemon:
        run = daemon.logdir / "run"
        sw = SummaryWriter(run, address=daemon.address)
        sw.add_scalar("loss", 0.0, 0)
        assert sw.flush(timeout=60)
        sw.add_scalar("loss", 1.0, 1)
        with failing_fsync(daemon, run, tmp_path / "trace"):
            assert not sw.flush(timeout=60)
            assert sw.flush(timeout=60)
        assert sw.close()

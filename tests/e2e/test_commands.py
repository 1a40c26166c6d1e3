"""``boardd status --watch``, ``top``, ``doctor`` and ``view`` against one real daemon."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from boardd.commands.flags import Access
from boardd.commands.watching import statuses
from boardd.errors import NoDaemonError
from boardd_protos import boardd_pb2 as pb
from boardd_protos.address import UnixAddress
from support.commands import assert_refused, boardd
from support.daemon_process import DaemonProcess
from support.plain_session import Session
from support.tensorboard_reader import read_run
from support.waiting import wait_until


@contextlib.contextmanager
def running(*arguments: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """A command that goes on until it is ended."""
    process = subprocess.Popen(
        [sys.executable, "-m", "boardd", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=60)


def next_line(process: subprocess.Popen[str]) -> str:
    """What a command prints next; the test's own time limit ends a wait in vain."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.stderr.read() if process.stderr else ""
    return line.strip()


@pytest.fixture
def logging_daemon(daemon: DaemonProcess) -> Iterator[DaemonProcess]:
    """A daemon with a run ``name`` that is logged to."""
    with daemon.channel() as channel:
        session = Session(channel)
        session.define(daemon.logdir / "name")
        session.scalars(10)
        wait_until(lambda: daemon.status().counters.written == 10, "the records are written")
        yield daemon
        session.hang_up()


def test_looking_at_a_daemon_that_logs(logging_daemon: DaemonProcess) -> None:
    daemon = logging_daemon
    where = ("--address", daemon.address)
    (run,) = daemon.status().runs
    assert run.written == 10
    assert run.synced_bytes == 0

    with running("status", "--watch", "0.1", "--json", *where) as watch:
        first, second = (json.loads(next_line(watch)) for _ in range(2))
        watch.send_signal(signal.SIGINT)
        assert watch.wait(60) == 130
    assert first["runs"] == second["runs"]
    assert first["answered_at"] < second["answered_at"]

    top = boardd("top", "--interval", "0.1", *where)
    assert (top.returncode, top.stderr) == (0, "")
    assert re.search(r"^ *name .* 0 B  +0  +0.0 s ", top.stdout, re.M), top.stdout
    assert "10 records in all" in top.stdout

    doctor = boardd("doctor", "--json", *where)
    told = json.loads(doctor.stdout)
    assert doctor.returncode == 0, doctor.stdout
    assert told["ok"]
    texts = {one["text"] for one in told["findings"]}
    assert f"held by pid {daemon.pid}: it was started by hand or service" in texts
    assert any(f"pid {daemon.pid}, answers" in text for text in texts)
    assert any(text.endswith(f"free at {daemon.logdir}") for text in texts)

    with daemon.stop_cont():
        doctor = boardd("doctor", "--timeout", "0.3", *where)
    assert doctor.returncode == 1
    assert f"-> it is stopped: kill -CONT {daemon.pid}" in doctor.stdout


def test_nothing_to_look_at(runtime_directory: Path, tmp_path: Path) -> None:
    assert_refused(boardd("top"), 3, "no daemon at")
    assert_refused(boardd("view"), 3, "no daemon at .* name a directory: boardd view LOGDIR")
    assert_refused(boardd("view", str(tmp_path / "none")), 2, "is not a directory")
    healthy = boardd("doctor")
    assert healthy.returncode == 0, healthy.stdout
    assert "none runs; the next client that logs starts one" in healthy.stdout
    ill = boardd("doctor", BOARDD_NICE="nicer", BOARDD_NISE="3")
    assert ill.returncode == 1
    assert "fail  settings" in ill.stdout
    assert "the next client that logs starts one" not in ill.stdout
    assert "did you mean BOARDD_NICE?" in ill.stdout


def answers(link: str) -> bool:
    try:
        with urllib.request.urlopen(link, timeout=30) as page:
            return bool(page.status == 200)
    except urllib.error.URLError:
        return False


def runs_shown(link: str) -> list[str]:
    with urllib.request.urlopen(f"{link}data/runs", timeout=30) as page:
        names: list[str] = json.load(page)
        return names


def test_view_opens_tensorboard_and_ends_it(logging_daemon: DaemonProcess) -> None:
    with running("view", "--port", "0", "--address", logging_daemon.address) as view:
        link = next_line(view)
        assert answers(link)
        wait_until(lambda: runs_shown(link) == ["name"], "the daemon's run is shown")
        taken = boardd("view", "--port", link.rstrip("/").rpartition(":")[2], str(Path.cwd()))
        assert_refused(taken, 4, "Address already in use; choose another --port")
        view.terminate()  # ends it as Ctrl-C does
        assert view.wait(60) == 130
    assert not answers(link)


def test_who_looks_at_the_end_of_a_daemon_sees_it(tmp_path: Path) -> None:
    """On its terminal what is still to be written, and by ``--watch`` that it is gone.

    The run is held up: another process has its directory's lock, here the test itself.
    """
    run = tmp_path / "logs" / "run"
    run.mkdir(parents=True)
    terminal, other_end = pty.openpty()
    lock = os.open(run, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)

    def on_terminal(arguments: list[str], **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(arguments, **{**options, "stderr": other_end})

    try:
        with DaemonProcess(tmp_path, popen=on_terminal, environ={"TERM": "xterm"}) as daemon:
            with daemon.channel() as channel:
                session = Session(channel)
                session.define(run)
                session.scalars(10)
                wait_until(lambda: daemon.status().counters.pending == 10, "records wait")
                watched = statuses(Access(UnixAddress(daemon.socket)), 0.01, 60.0)
                looked = next(watched)
                assert isinstance(looked, pb.StatusReply)
                assert looked.counters.pending == 10
                daemon.signal(signal.SIGTERM)
                shown = ""
                while "0% of 10 records" not in shown:
                    shown += os.read(terminal, 65536).decode()
                os.close(lock)
                assert daemon.wait() == 0
            while select.select([terminal], [], [], 0)[0]:
                shown += os.read(terminal, 65536).decode()
            assert "boardd writes what it holds" in shown
            assert isinstance(next(watched), NoDaemonError)
            assert isinstance(next(watched), NoDaemonError)
    finally:
        os.close(terminal)
        os.close(other_end)
    assert len(read_run(run).scalars["loss"]) == 10

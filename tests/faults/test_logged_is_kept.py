"""What a call has logged is written, whoever is killed and whenever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from boardd_client import SummaryWriter
from boardd_protos import boardd_pb2 as pb
from boardd_protos.log_directory import log_directories
from support.daemon_process import DaemonProcess
from support.service_reading import events_of
from support.tfrecords import TruncatedRecordError
from support.waiting import wait_until

RECORDS = 1_000

#: Logs right after its start, and kills itself.
TRAINER = """
import os, signal, sys
import numpy as np
from boardd_client import SummaryWriter

sw = SummaryWriter(sys.argv[1])
for step in range(int(sys.argv[2])):
    sw.add_scalar("loss", step / 2, step)
sw.add_text("note", "hello", 0)
sw.add_scalar("late", 1.0, 0)
if "tensor" in sys.argv:
    sw.add_histogram("weights", np.arange(1000.0), 0)
if "fork" in sys.argv:
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        signal.pause()
        os._exit(0)
if "more" in sys.argv:
    print("logged", flush=True)
    input()
    for step in range(int(sys.argv[2])):
        sw.add_scalar("more", step / 2, step)
if "wait" in sys.argv:
    print("logged", flush=True)
    signal.pause()
os.kill(os.getpid(), signal.SIGKILL)
"""
EXPECTED = {"loss": RECORDS, "note": 1, "late": 1}


def trainer(daemon: Path, logdir: Path, *what: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", TRAINER, str(logdir), str(RECORDS), *what],
        env={**os.environ, "BOARDD_ADDRESS": f"unix:{daemon}", "BOARDD_AUTOSTART": "0"},
        stdin=subprocess.PIPE if "more" in what else None,
        stdout=subprocess.PIPE,
        text=True,
    )


def kill_itself(daemon: Path, logdir: Path, *what: str) -> None:
    process = trainer(daemon, logdir, *what)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL


def tags_of(run: Path) -> Counter[str]:
    return Counter(
        value.tag
        for path in run.glob("*tfevents*")
        for event in events_of(path)
        for value in event.summary.value
    )


def logs_of(socket: Path) -> list[Path]:
    return [log for directory in log_directories(socket) for log in directory.glob("*")]


def wait_written(run: Path, expected: dict[str, int]) -> None:
    def is_written() -> bool:
        try:
            return run.exists() and tags_of(run) == expected
        except TruncatedRecordError:  # it is just being written
            return False

    wait_until(is_written)


def test_a_trainer_that_kills_itself_right_after_its_calls_loses_nothing(
    tmp_path: Path, runtime_directory: Path
) -> None:
    with DaemonProcess(tmp_path) as daemon:
        for number in range(3):
            run = daemon.logdir / f"run{number}"
            kill_itself(daemon.socket, run)
            wait_written(run, EXPECTED)
        wait_until(lambda: not daemon.status().sessions)
        assert not logs_of(daemon.socket)


def test_a_trainer_that_dies_during_a_daemons_outage_loses_nothing(
    tmp_path: Path, runtime_directory: Path
) -> None:
    socket = runtime_directory / "boardd" / "s"
    socket.parent.mkdir(0o700, exist_ok=True)
    run = tmp_path / "logs" / "run"
    kill_itself(socket, run)
    (log,) = logs_of(socket)
    assert log.stat().st_mode & 0o777 == 0o600
    with DaemonProcess(tmp_path, socket=socket) as daemon:
        wait_written(run, EXPECTED)
        wait_until(lambda: not daemon.status().sessions)
        assert not log.exists()


def test_what_is_logged_while_the_daemon_is_being_started_is_kept(
    tmp_path: Path, runtime_directory: Path
) -> None:
    socket = runtime_directory / "s"
    run = tmp_path / "logs" / "run"
    with DaemonProcess(tmp_path, socket=socket, wait=False) as daemon:
        kill_itself(socket, run)
        daemon.wait_ready()
        wait_written(run, EXPECTED)


def test_when_both_are_killed_only_tensors_are_lost_and_by_name(
    tmp_path: Path, runtime_directory: Path
) -> None:
    run = tmp_path / "logs" / "run"
    socket = runtime_directory / "s"
    with DaemonProcess(tmp_path, socket=socket) as daemon, daemon.stop_cont():
        process = trainer(socket, run, "tensor", "wait")
        assert process.stdout is not None
        assert process.stdout.readline() == "logged\n"
        daemon.kill()
        process.kill()
        process.communicate(timeout=120)
        with DaemonProcess(tmp_path, socket=socket) as second:
            wait_written(run, EXPECTED)
            wait_until(lambda: not second.status().sessions)
            (rejected,) = second.status().counters.rejected
            assert (rejected.reason, rejected.records) == (pb.TENSOR_LOST, 1)
            second.wait_log("lost 1 record: tag 'weights'")
        daemon.signal = lambda number: None  # type: ignore[method-assign]  # it is gone


def test_what_was_written_before_both_were_killed_is_not_written_again(
    tmp_path: Path, runtime_directory: Path
) -> None:
    run = tmp_path / "logs" / "run"
    socket = runtime_directory / "s"
    with DaemonProcess(tmp_path, socket=socket) as daemon:
        process = trainer(socket, run, "more", "wait")
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "logged\n"
        wait_written(run, EXPECTED)
        daemon.kill()
        daemon.signal = lambda number: None  # type: ignore[method-assign]  # it is gone
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "logged\n"
    process.kill()
    process.communicate(timeout=120)
    with DaemonProcess(tmp_path, socket=socket) as second:
        wait_until(lambda: not logs_of(socket) and not second.status().sessions)
        assert tags_of(run) == {**EXPECTED, "more": RECORDS}
        # Of those that were written, the client had not heard of some, perhaps.
        counters = second.status().counters
        assert counters.accepted - counters.duplicates == RECORDS


def test_a_living_trainers_log_is_its_own(tmp_path: Path, runtime_directory: Path) -> None:
    socket = runtime_directory / "s"
    run = tmp_path / "logs" / "run"
    process = trainer(socket, run, "wait")
    assert process.stdout is not None
    assert process.stdout.readline() == "logged\n"
    with DaemonProcess(tmp_path, socket=socket) as daemon:
        wait_written(run, EXPECTED)  # over its connection
        assert len(logs_of(socket)) == 1
        assert "ended without closing" not in daemon.log
        process.kill()
        process.communicate(timeout=120)
        daemon.wait_log("ended without closing its session: 0 records")
        wait_until(lambda: not logs_of(socket))
        assert tags_of(run) == EXPECTED


def test_a_child_does_not_keep_its_dead_parents_log(
    tmp_path: Path, runtime_directory: Path
) -> None:
    socket = runtime_directory / "s"
    run = tmp_path / "logs" / "run"
    process = trainer(socket, run, "fork")
    assert process.stdout is not None
    child = int(process.stdout.readline())
    try:
        process.wait(60)
        with DaemonProcess(tmp_path, socket=socket):
            wait_written(run, EXPECTED)
            os.kill(child, 0)
            wait_until(lambda: not logs_of(socket))
    finally:
        os.kill(child, signal.SIGKILL)
        process.stdout.close()


def test_what_is_no_log_is_set_aside_and_harms_nobody(
    tmp_path: Path, runtime_directory: Path
) -> None:
    socket = runtime_directory / "s"
    run = tmp_path / "logs" / "run"
    kill_itself(socket, run)
    (log,) = logs_of(socket)
    data = log.read_bytes()
    directory = log.parent
    made = {
        "0" * 32: data,  # another session's
        "1" * 32: b"",
        "2" * 32: os.urandom(5000),
        "3" * 32: data[:100_000],
        "noise": b"x",
    }
    for name, content in made.items():
        (directory / name).write_bytes(content)
    os.mkfifo(directory / ("4" * 32))
    (directory / ("5" * 32)).symlink_to(log)
    (directory / ("6" * 32)).mkdir()
    with DaemonProcess(tmp_path, socket=socket) as daemon:
        wait_written(run, EXPECTED)
        wait_until(lambda: not log.exists())
        wait_until(lambda: daemon.log.count("is set aside") == len(made) + 3)
        names = {path.name for path in directory.iterdir()}
        assert all(name.endswith(".set-aside") for name in names)
        time.sleep(1.5)  # what is tested is that it is not looked at again
        assert daemon.log.count("is set aside") == len(made) + 3
        assert daemon.status().counters.accepted == RECORDS + 2


def test_what_a_trainer_says_at_its_exit_without_a_daemon_is_true(
    tmp_path: Path, runtime_directory: Path
) -> None:
    socket = runtime_directory / "s"
    run = tmp_path / "logs" / "run"
    ending = TRAINER.replace("os.kill(os.getpid(), signal.SIGKILL)", "")
    done = subprocess.run(
        [sys.executable, "-c", ending, str(run), str(RECORDS)],
        env={
            **os.environ,
            "BOARDD_ADDRESS": f"unix:{socket}",
            "BOARDD_AUTOSTART": "0",
            "BOARDD_EXIT_TIMEOUT_SECS": "0.2",
        },
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=True,
    )
    assert f"the next daemon at unix:{socket} writes those without tensors" in done.stderr
    with DaemonProcess(tmp_path, socket=socket):
        wait_written(run, EXPECTED)


def test_a_daemon_with_another_environment_finds_the_logs(
    tmp_path: Path, runtime_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "logs" / "run"
    (tmp_path / "d").mkdir(0o700)
    socket = tmp_path / "d" / "s"
    kill_itself(socket, run)
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    with DaemonProcess(tmp_path, socket=socket):
        wait_written(run, EXPECTED)


def test_tensors_for_which_the_daemon_has_no_room_are_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("BOARDD_ARENA_BYTES", str(1 << 20))
    with DaemonProcess(tmp_path, "--max-map-bytes", "3MiB") as daemon:
        with SummaryWriter(daemon.logdir / "run", address=daemon.address) as sw:
            for step in range(5):
                sw.add_histogram("weights", np.arange(500_000.0), step)
            assert sw.flush(timeout=60)
            counts = sw.statistics()
            assert (counts.written, counts.transport) == (5, "by value")
        assert tags_of(daemon.logdir / "run") == {"weights": 5}
    assert "past the budget of 3145728" in caplog.text

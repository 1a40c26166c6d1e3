"""If no daemon can be had, the client says so once, keeps what it can and waits for nothing."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from boardd_client import SummaryWriter
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import read_run
from support.waiting import wait_until

#: Half of what is waited for a daemon that may come, in ``close()`` and at the end of a process.
IN_VAIN_SECS = 15.0

TRAINER = """
import sys, time
from boardd_client import SummaryWriter

closed, left = (SummaryWriter(f"{sys.argv[1]}/{name}") for name in ("closed", "left"))
for step in range(100):
    closed.add_scalar("loss", step, step)
    left.add_scalar("loss", step, step)
begin = time.monotonic()
result = closed.close()
print(result.ok, time.monotonic() - begin, flush=True)
print(result.reason, flush=True)
"""


def train(logdir: Path, socket: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", TRAINER, str(logdir)],
        env={
            **os.environ,
            "BOARDD_ADDRESS": f"unix:{socket}",
            "BOARDD_EXIT_TIMEOUT_SECS": "600",
            **environ,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


@contextlib.contextmanager
def daemon_by_hand(reason: str, tmp_path: Path, socket: Path) -> Iterator[None]:
    """A daemon as ``reason`` says it is to be run, in any directory; else as a service is."""
    told = re.search(r"; run: boardd (.*?)(; |$)", reason)
    if told is None:
        with DaemonProcess(tmp_path, socket=socket):
            yield
        return
    somewhere = tmp_path / "somewhere"
    somewhere.mkdir()
    command = [sys.executable, "-m", "boardd", *shlex.split(told[1])]
    with subprocess.Popen(command, cwd=somewhere) as daemon:
        try:
            yield
        finally:
            daemon.terminate()


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("BOARDD_AUTOSTART", "0", "BOARDD_AUTOSTART=0 forbids to start a daemon"),
        ("BOARDD_COMMAND", "no-such-program", "BOARDD_COMMAND='no-such-program'"),
        ("BOARDD_LOG_LEVEL", "deafening", "boardd: BOARDD_LOG_LEVEL: 'deafening'"),
    ],
    ids=["switched off", "not there", "fails"],
)
def test_it_is_told_once_and_a_daemon_that_comes_later_writes_what_was_kept(
    variable: str, value: str, why: str, runtime_directory: Path, tmp_path: Path
) -> None:
    socket = runtime_directory / "boardd" / "s"
    socket.parent.mkdir(0o700, exist_ok=True)
    logdir = tmp_path / "logs"
    done = train(logdir, socket, **{variable: value})
    ok, secs, reason = done.stdout.strip().split(maxsplit=2)
    assert ok == "False"
    assert float(secs) < IN_VAIN_SECS
    (told,) = re.findall(r"^.*none can be started.*$", done.stderr, re.MULTILINE)
    assert f"unix:{socket}" in told
    assert why in done.stderr
    (log,) = re.findall(r"they are kept in (\S+)$", reason)
    assert Path(log).is_file()
    assert why in reason
    assert told.endswith((f"what is logged is kept in {log}", "what is logged is kept in memory"))
    with daemon_by_hand(reason, tmp_path, socket):
        wait_until(lambda: not Path(log).exists(), "the log is adopted and written")
        for name in ("closed", "left"):
            assert len(read_run(logdir / name).scalars["loss"]) == 100


@pytest.mark.slow
def test_a_timeout_that_is_given_waits_for_a_daemon_that_comes_late(
    tmp_path: Path, runtime_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_AUTOSTART", "0")
    socket = runtime_directory / "s"
    with SummaryWriter(tmp_path / "logs" / "run", address=f"unix:{socket}") as sw:
        sw.add_scalar("loss", 0.5, 3)
        wait_until(lambda: "kept in" in sw.flush().reason, "it waits no more")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(sw.flush, 60)
            with DaemonProcess(tmp_path, socket=socket):
                assert waiting.result(120)
                assert sw.close()

"""The real daemon in a process of its own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
from boardd_protos import boardd_pb2 as pb
from boardd_protos.boardd_pb2_grpc import BoarddStub
from boardd_protos.log_directory import log_directories
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from support.nursery import SessionNursery
from support.waiting import wait_until

START_SECS = 120.0
END_SECS = 60.0

#: Sockets of this session's daemons. What clients have left for them goes with the session.
_sockets: set[Path] = set()


#: Of which this session's plain daemons are forked; imports are most of what a start takes.
_nursery = SessionNursery("support.loaded_daemon")


def forked_daemons() -> list[int]:
    """Of the daemons that were forked for this session, those that still run."""
    return _nursery.running()


def remove_logs() -> None:
    """Removes the logs that clients have left for any daemon of this session."""
    for socket in _sockets:
        for directory in log_directories(socket):
            shutil.rmtree(directory, ignore_errors=True)


class DaemonProcess:
    """``python -m boardd`` on a Unix socket in a directory with a short name.

    It writes below ``tmp_path / "logs"`` (``logdir``). Usable as a context
    manager; on leaving, whatever is left of the process is killed and reaped,
    and a lock, socket or process that a clean end left behind is an error.

    ``tmp_path`` may be shared by several daemons; ``socket`` makes one take
    the socket of another. ``environ`` adds to the environment; ``python`` is
    another environment's interpreter, ``module`` another program around the daemon, and
    ``popen`` starts it. With none of these four it is forked of a process that has imported
    the daemon, and inherits what ``support.nursery`` says: ``popen=subprocess.Popen`` is for tests
    of what a process inherits, shows or holds.
    """

    def __init__(
        self,
        tmp_path: Path,
        *flags: str,
        socket: Path | None = None,
        environ: Mapping[str, str] | None = None,
        python: Path | None = None,
        module: str = "boardd",
        popen: Callable[..., Any] | None = None,
        wait: bool = True,
    ) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="boardd-", dir="/tmp"))
        self.socket = socket or self._directory / "s"  #: its path
        _sockets.add(self.socket)
        self.logdir = tmp_path / "logs"  #: the root
        self.logdir.mkdir(exist_ok=True)
        self._log = open(self._directory / "log", "w+b")  # noqa: SIM115
        if popen is None:
            is_plain = python is None and module == "boardd" and environ is None
            popen = _nursery.popen if is_plain else subprocess.Popen
        try:
            self._process = popen(
                [
                    *(str(python or sys.executable), "-m", module),
                    *("--socket", str(self.socket), "--logdir-root", str(self.logdir)),
                    *flags,
                ],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env={**os.environ, **(environ or {})},
            )
        except BaseException:
            self._remove_directory()
            raise
        try:
            if wait:
                self.wait_ready()
        except BaseException:
            self.close()
            raise

    @property
    def address(self) -> str:
        """Its address, as ``SummaryWriter`` takes it."""
        return f"unix:{self.socket}"

    @property
    def tcp_address(self) -> str:
        """HOST:PORT, where ``--listen`` was given."""
        (found,) = (item for item in self.status().addresses if not item.startswith("unix:"))
        return found

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code; None while it runs, negative after a signal that it did not handle."""
        return self._process.poll()

    @property
    def log(self) -> str:
        """What it has printed until now."""
        return (self._directory / "log").read_text(errors="replace")

    def wait_ready(self) -> None:
        """Waits until it serves; fails with its log when it ends or takes too long."""
        deadline = time.monotonic() + START_SECS
        while time.monotonic() < deadline:
            if self.returncode is not None:
                raise AssertionError(f"boardd ended with {self.returncode}:\n{self.log}")
            # The socket is put in place only once it serves.
            if self.socket.exists():
                with contextlib.suppress(grpc.RpcError):
                    if self.health() == HealthCheckResponse.SERVING:
                        return
            time.sleep(0.01)
        raise AssertionError(f"boardd is not ready after {START_SECS:g} s:\n{self.log}")

    def wait_log(self, pattern: str, timeout_secs: float = END_SECS) -> re.Match[str]:
        """Waits until the log matches ``pattern``; returns the first match."""
        deadline = time.monotonic() + timeout_secs
        while (match := re.search(pattern, self.log)) is None:
            assert time.monotonic() < deadline, f"no {pattern!r} in:\n{self.log}"
            time.sleep(0.01)
        return match

    def wait_closed(self, timeout_secs: float = END_SECS) -> None:
        """Waits until it has closed all runs, those of groups too."""
        wait_until(lambda: not self.status().runs, "all runs are closed", timeout_secs)

    @contextlib.contextmanager
    def channel(self, *options: tuple[str, int]) -> Iterator[grpc.Channel]:
        """A channel over the Unix socket, closed at the end."""
        with grpc.insecure_channel(self.address, options) as channel:
            yield channel

    def status(self) -> pb.StatusReply:
        """Asks for its status."""
        with self.channel() as channel:
            reply: pb.StatusReply = BoarddStub(channel).Status(pb.StatusRequest(), timeout=60)
        return reply

    def health(self, service: str = "") -> int:
        """Asks for its health; a ``HealthCheckResponse.ServingStatus``."""
        with self.channel() as channel:
            reply = HealthStub(channel).Check(HealthCheckRequest(service=service), timeout=60)
        status: int = reply.status
        return status

    def signal(self, number: int) -> None:
        """Sends a signal."""
        self._process.send_signal(number)

    def wait(self, timeout_secs: float = END_SECS) -> int:
        """Waits for its end and returns the exit code."""
        try:
            return self._process.wait(timeout_secs)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"boardd still runs after {timeout_secs:g} s:\n{self.log}"
            ) from None

    def terminate(self, timeout_secs: float = END_SECS) -> int:
        """Sends SIGTERM, waits for the end and returns the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout_secs)

    def kill(self) -> None:
        """Sends SIGKILL and reaps it."""
        self.signal(signal.SIGKILL)
        self.wait()

    @contextlib.contextmanager
    def stop_cont(self) -> Iterator[None]:
        """Holds the process still (SIGSTOP) for the body, then lets it go on (SIGCONT)."""
        self.signal(signal.SIGSTOP)
        try:
            deadline = time.monotonic() + END_SECS
            while self._state() != "T":
                assert time.monotonic() < deadline, "SIGSTOP had no effect"
                time.sleep(0.001)
            yield
        finally:
            self.signal(signal.SIGCONT)

    def _state(self) -> str:
        text = Path(f"/proc/{self.pid}/stat").read_text()
        return text.rpartition(")")[2].split()[0]

    def close(self) -> None:
        """Ends it if it runs, and checks that a clean end leaves nothing. Idempotent."""
        if self._log.closed:
            return
        try:
            if self.returncode is None:
                self.signal(signal.SIGCONT)
                self.terminate()
            if self.returncode == 0:
                left = [path for path in self._socket_files() if path.exists()]
                assert not left, f"a clean end left {left}"
        finally:
            if self.returncode is None:
                self.kill()
            self._remove_directory()

    def _remove_directory(self) -> None:
        self._log.close()
        shutil.rmtree(self._directory)

    def _socket_files(self) -> list[Path]:
        if self.socket.parent != self._directory:  # another daemon's by now, perhaps
            return []
        return [path for path in self._directory.iterdir() if path.name != "log"]

    def __enter__(self) -> DaemonProcess:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

"""A daemon of the benchmark's own: started, placed on cores, stopped, killed, and measured."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType

import grpc
from boardd_protos import boardd_pb2 as pb
from boardd_protos.boardd_pb2_grpc import BoarddStub
from comparison.processes import wait_loaded

START_SECS = 60.0
END_SECS = 60.0

_TICKS_PER_SEC = os.sysconf("SC_CLK_TCK")


class Daemon:
    """``python -m boardd`` that has loaded all and writes beneath ``root``. A context manager.

    Args:
        root: the only directory beneath which it writes.
        cores: the cores it may use; None: all.
        flags: more flags of the command.
    """

    def __init__(self, root: Path, cores: Collection[int] | None = None, *flags: str) -> None:
        self._root = root
        self._cores = cores
        self._flags = flags
        # A socket's path has at most 107 bytes, which a temporary root may exceed.
        self._directory = Path(tempfile.mkdtemp(prefix="boardd-", dir="/tmp"))
        self._socket = self._directory / "boardd.sock"
        self._log = self._directory / "log"
        self.address = f"unix:{self._socket}"  #: as ``SummaryWriter`` takes it
        self.launch()
        self._wait()
        wait_loaded(self.pid)

    def launch(self) -> None:
        """Starts it, or after ``kill`` the next one at the same address, without waiting."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "boardd", "--socket", str(self._socket)),
                    *("--logdir-root", str(self._root), *self._flags),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        if self._cores is not None:
            os.sched_setaffinity(self._process.pid, self._cores)

    def _wait(self) -> None:
        """Waits until it serves; raises ``RuntimeError`` with the end of its log."""
        deadline = time.monotonic() + START_SECS
        while True:
            try:
                self.status()
                return
            except grpc.RpcError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = self._log.read_text(errors="replace")[-2000:]
                    self._process.kill()
                    self._process.wait()
                    raise RuntimeError(f"boardd does not serve:\n{log}") from None
            time.sleep(0.05)

    def address_of(self, client: int) -> str:
        """``address``, spelled in another way for each ``client`` of a process.

        The process has a session, a thread and a connection for each spelling.
        """
        way = self._directory / "ways" / str(client)
        if not way.is_symlink():
            way.parent.mkdir(exist_ok=True)
            way.symlink_to(self._directory.parent)
        return f"unix:{way / self._directory.name / self._socket.name}"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def status(self) -> pb.StatusReply:
        """What it holds and has done."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(self.address, options) as channel:
            reply: pb.StatusReply = BoarddStub(channel).Status(pb.StatusRequest(), timeout=10)
        return reply

    def cpu_secs(self) -> float:
        """CPU time, user and system, of all its threads so far: /proc/PID/stat, see proc(5)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SEC

    def peak_rss_bytes(self) -> int:
        """The most memory that it held so far."""
        return self._status_bytes("VmHWM")

    def memory_bytes(self) -> dict[str, int]:
        """The memory that it holds now: ``all``, and what of it is ``shared`` with clients."""
        return {"all": self._status_bytes("VmRSS"), "shared": self._status_bytes("RssShmem")}

    def written_bytes(self) -> int:
        """What it has written to files so far: wchar of /proc/PID/io, see proc(5)."""
        for line in Path(f"/proc/{self.pid}/io").read_text().splitlines():
            if line.startswith("wchar:"):
                return int(line.split()[1])
        raise RuntimeError(f"process {self.pid} has no wchar")

    def _status_bytes(self, name: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError(f"process {self.pid} has no {name}")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Holds it still by SIGSTOP for the body, then lets it go on."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Ends it by SIGKILL."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Ends it cleanly if it runs; by SIGKILL if that takes longer than ``END_SECS``."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(END_SECS)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Daemon:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

"""Processes that begin at once, since another has imported what they need and is forked.

Where hundreds of daemons and trainers begin and are killed, most of the time would go into
imports. ``Nursery.popen`` is used as ``subprocess.Popen`` is, for ``python -m MODULE``.
What is left of the processes dies with the nursery.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, NoReturn

TESTS = Path(__file__).parents[1]
_PR_SET_PDEATHSIG = 1
_DAEMON = ("boardd.host.daemon",)
_CLIENT = ("boardd_client", "boardd_client.transport.sender")


class Nursery:
    """A process that has imported ``modules``, and of which others are forked."""

    def __init__(self, *modules: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.nursery", *modules],
            cwd=TESTS,
            # BLAS reads it when it is imported, and the daemon would set it before.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lock = threading.Lock()

    def popen(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str],
        stdin: int = subprocess.DEVNULL,
        stdout: IO[bytes] | None = None,
        stderr: IO[bytes] | None = None,
    ) -> Forked:
        """Begins ``python -m MODULE ...``; output of both kinds is appended to ``stdout``."""
        _, flag, *argv = args
        assert flag == "-m"
        path = f"/proc/{os.getpid()}/fd/{stdout.fileno()}" if stdout else os.devnull
        return Forked(self, self.ask("begin", argv, dict(env), path))

    def ask(self, *request: Any) -> Any:
        """Lets the process do one of its tasks, and returns the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def running(self) -> list[int]:
        """The processes that it has begun and that have not ended."""
        found: list[int] = self.ask("running")
        return found

    def close(self) -> None:
        """Ends it, and with it whatever it has begun."""
        self._process.kill()
        self._process.communicate(timeout=120)

    def __enter__(self) -> Nursery:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Forked:
    """A process of a nursery's, with the part of ``subprocess.Popen`` that tests use."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative after a signal; None while it runs."""
        if self.returncode is None:
            self.returncode = self._nursery.ask("poll", self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end; raises ``subprocess.TimeoutExpired``."""
        timeout_secs = 60.0 if timeout is None else timeout
        if self.poll() is None:
            descriptor = os.pidfd_open(self.pid)
            try:
                poll = select.poll()
                poll.register(descriptor, select.POLLIN)
                poll.poll(timeout_secs * 1000)
            finally:
                os.close(descriptor)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout_secs)
        return code

    def send_signal(self, number: int) -> None:
        """Sends a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Nurseries(NamedTuple):
    """One for daemons, and one for whoever logs to them."""

    daemons: Nursery
    clients: Nursery


@contextmanager
def nurseries() -> Iterator[Nurseries]:
    """Both of them.

    The one for clients has not imported gRPC: after a fork with gRPC, a client starts a process
    of its own for it.
    """
    with Nursery(*_DAEMON) as daemons, Nursery(*_CLIENT) as clients:
        yield Nurseries(daemons, clients)


class _Parent:
    """What runs in the nursery's process."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._running: set[int] = set()

    def begin(self, argv: list[str], environ: dict[str, str], output: str) -> int:
        # Here, since whoever asked may close it as soon as there is an answer.
        fd = os.open(output, os.O_WRONLY | os.O_APPEND)
        child = os.fork()
        if not child:
            self._become(argv, environ, fd)
        os.close(fd)
        self._running.add(child)
        return child

    def poll(self, pid: int) -> int | None:
        found, status = os.waitpid(pid, os.WNOHANG)
        self._running.discard(found)
        return os.waitstatus_to_exitcode(status) if found else None

    def running(self) -> list[int]:
        return [pid for pid in sorted(self._running) if self.poll(pid) is None]

    def _become(self, argv: list[str], environ: dict[str, str], output: int) -> NoReturn:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self._pid:
            os.kill(os.getpid(), signal.SIGKILL)
        for standard in (1, 2):
            os.dup2(output, standard)
        os.close(output)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.clear()
        os.environ.update(environ)
        sys.argv = argv
        # It leaves by an exception, and never comes back into the loop of its parent.
        runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
        sys.exit(0)


def _serve() -> None:
    for module in sys.argv[1:]:
        importlib.import_module(module)
    parent = _Parent()
    for line in sys.stdin:
        task, *arguments = json.loads(line)
        answer = getattr(parent, task)(*arguments)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve()

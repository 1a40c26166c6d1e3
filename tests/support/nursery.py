"""Processes that begin at once, since another has imported what they need and is forked.

Where hundreds of daemons and trainers begin and are killed, most of the time would go into
imports. ``Nursery.popen`` is used as ``subprocess.Popen`` is, for ``python -m MODULE``.
What is left of the processes dies with the nursery.

A process has the environment that ``popen`` is given. All else that processes inherit is the
nursery's, which took it from the session at its own start: umask, limits, signals that are
ignored or blocked, priority and affinity. The working directory is that of the tests, and no
descriptor of the session's is open. What a test changes there reaches ``subprocess.Popen`` only.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib
import itertools
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, NoReturn

TESTS = Path(__file__).parents[1]
_PR_SET_PDEATHSIG = 1
_DAEMON = ("boardd.host.daemon",)
_CLIENT = ("boardd_client", "boardd_client.transport.sender")


#: Time for an answer; the first one waits for the imports.
ANSWER_SECS = 120.0


class NurseryError(Exception):
    """A nursery could not do what it was asked, and goes on."""


class NurseryEndedError(NurseryError):
    """A nursery has ended, and with it all that it had begun."""


class Nursery:
    """A process that has imported ``modules``, and of which others are forked."""

    def __init__(self, *modules: str) -> None:
        self.answer_secs = ANSWER_SECS  #: within which it answers, or else is ended
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "support.nursery", *modules],
                cwd=TESTS,
                # BLAS reads it when it is imported, and the daemon would set it before.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
                stdin=theirs,
                stdout=theirs,
            )
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._received = b""

    def popen(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str],
        stdin: int = subprocess.DEVNULL,
        stdout: IO[bytes] | None = None,
        stderr: IO[bytes] | None = None,
    ) -> Forked:
        """Begins ``python -m MODULE ...``; output of both kinds is appended to ``stdout``.

        Raises ``NurseryError``, as ``ask`` does.
        """
        _, flag, *argv = args
        assert flag == "-m"
        path = f"/proc/{os.getpid()}/fd/{stdout.fileno()}" if stdout else os.devnull
        return Forked(self, self.ask("begin", argv, dict(env), path))

    def ask(self, task: str, *arguments: Any) -> Any:
        """Lets the process do one of its tasks, and returns the answer.

        Raises ``NurseryError`` for a task that failed, and ``NurseryEndedError`` where the
        process has ended, or is ended now since it did not answer within ``answer_secs``.
        """
        with self._lock:
            # A test's timeout may have left the answer to an earlier request unread.
            number = next(self._numbers)
            try:
                self._socket.settimeout(self.answer_secs)
                self._socket.sendall(json.dumps([number, task, *arguments]).encode() + b"\n")
                answered = -1
                while answered != number:
                    answered, value, error = json.loads(self._line())
            except TimeoutError:
                self.close()
                raise NurseryEndedError(
                    f"no answer to {task!r} within {self.answer_secs:g} s"
                ) from None
            except OSError as broken:
                self.close()
                raise NurseryEndedError(f"it has ended: {broken}") from None
        if error is not None:
            raise NurseryError(f"{task!r}: {error}")
        return value

    @property
    def has_ended(self) -> bool:
        """Whether it has ended, for whatever reason."""
        return self._process.poll() is not None

    def running(self) -> list[int]:
        """The processes that it has begun and that have not ended."""
        try:
            found: list[int] = self.ask("running")
        except NurseryEndedError:
            return []
        return found

    def close(self) -> None:
        """Ends it, and with it whatever it has begun. Idempotent."""
        self._process.kill()
        self._process.wait(timeout=120)
        self._socket.close()

    def _line(self) -> bytes:
        while b"\n" not in self._received:
            found = self._socket.recv(1 << 16)
            if not found:
                raise ConnectionResetError("no more answers")
            self._received += found
        line, _, self._received = self._received.partition(b"\n")
        return line

    def __enter__(self) -> Nursery:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class SessionNursery:
    """A nursery from its first use to the end of the session; another one where it has ended."""

    def __init__(self, *modules: str) -> None:
        self._modules = modules
        self._nursery: Nursery | None = None

    def popen(self, args: Sequence[str], **settings: Any) -> Forked:
        """See ``Nursery.popen``."""
        if self._nursery is None or self._nursery.has_ended:
            self.close()
            self._nursery = Nursery(*self._modules)
            atexit.register(self._nursery.close)
        return self._nursery.popen(args, **settings)

    def running(self) -> list[int]:
        """See ``Nursery.running``."""
        return self._nursery.running() if self._nursery else []

    def close(self) -> None:
        """Ends the nursery, if there is one."""
        if self._nursery is not None:
            self._nursery.close()
            atexit.unregister(self._nursery.close)


class Forked:
    """A process of a nursery's, with the part of ``subprocess.Popen`` that tests use."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative after a signal; None while it runs."""
        if self.returncode is None:
            try:
                self.returncode = self._nursery.ask("poll", self.pid)
            except NurseryEndedError:
                self.returncode = -signal.SIGKILL  # the kernel's, at the nursery's end
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end; raises ``subprocess.TimeoutExpired``."""
        timeout_secs = 60.0 if timeout is None else timeout
        if self.poll() is None:
            # It may end with its nursery meanwhile, and is reaped elsewhere then.
            with contextlib.suppress(ProcessLookupError):
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
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Nurseries(NamedTuple):
    """One for daemons, and one for whoever logs to them."""

    daemons: Nursery
    clients: Nursery


@contextlib.contextmanager
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
        self.pid = os.getpid()
        self._codes: dict[int, int | None] = {}  # of all that were begun

    def begin(self, argv: list[str], environ: dict[str, str], output: str) -> int:
        # Here, since whoever asked may close it as soon as there is an answer.
        with open(output, "ab", buffering=0) as file:
            child = os.fork()
            if not child:
                self._become(argv, environ, file)
        self._codes[child] = None
        return child

    def poll(self, pid: int) -> int | None:
        if self._codes[pid] is None:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                self._codes[pid] = os.waitstatus_to_exitcode(status)
        return self._codes[pid]

    def running(self) -> list[int]:
        return [pid for pid in sorted(self._codes) if self.poll(pid) is None]

    def _become(self, argv: list[str], environ: dict[str, str], output: IO[bytes]) -> NoReturn:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self.pid:
            os.kill(os.getpid(), signal.SIGKILL)
        for standard in (1, 2):
            os.dup2(output.fileno(), standard)
        output.close()
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
        number, task, *arguments = json.loads(line)
        value = error = None
        try:
            value = getattr(parent, task)(*arguments)
        except Exception as raised:
            if os.getpid() != parent.pid:  # a child's end
                raise
            error = f"{type(raised).__name__}: {raised}"
        print(json.dumps([number, value, error]), flush=True)


if __name__ == "__main__":
    _serve()

"""A stock TensorBoard of this user's: found, started, waited for, and ended."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

import psutil

from boardd.errors import AddressTakenError, CommandError

#: Those that TensorBoard itself tries.
PORTS: Final = range(6006, 6016)

#: A process asks for a signal when the one that has started it ends (Linux's ``prctl``).
_PR_SET_PDEATHSIG: Final = 1
_POLL_SECS: Final = 0.1
#: How long it may take to answer once, and to leave after each signal.
_LEAVE_SECS: Final = 5.0
_LAST_WORDS_CHARACTERS: Final = 2000
#: Python puts the working directory first, which may hold a module of any name.
_START: Final = (
    "import sys; sys.path = [path for path in sys.path if path]; sys.argv[0] = 'tensorboard'; "
    "from tensorboard.main import run_main; run_main()"
)
#: Those that end this process and TensorBoard with it.
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Of an address that ``host`` has, and this machine does not.
_NOT_HERE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def tensorboard_command(environ: Mapping[str, str]) -> list[str]:
    """What starts TensorBoard: of this interpreter, else on the path. Raises ``CommandError``."""
    if importlib.util.find_spec("tensorboard") is not None:
        return [sys.executable, "-c", _START]
    program = shutil.which("tensorboard", path=environ.get("PATH"))
    if program is None:
        raise CommandError("TensorBoard is not installed; run: pip install tensorboard")
    return [program]


def free_port(host: str) -> int:
    """The first of ``PORTS`` that nobody has, else any. Raises ``CommandError`` for a host."""
    for port in (*PORTS, 0):
        with contextlib.suppress(AddressTakenError):
            return check_port(host, port)
    raise AddressTakenError(f"no port of {host} is free; name another --host")


def check_port(host: str, port: int) -> int:
    """Returns ``port``, 0: a free one. Raises ``CommandError`` if it cannot be had.

    It must be free at each of the host's addresses: a browser may try any of them first.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise CommandError(
            f"--host {host}: {error.strerror}; name an address of this machine"
        ) from None
    is_here = False
    for family, kind, *_, where in found:
        try:
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((where[0], port, *where[2:]))
                port = probe.getsockname()[1]
                is_here = True
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise AddressTakenError(
                    f"port {port} of {host}: {error.strerror}; choose another --port"
                ) from None
    if not is_here:
        raise CommandError(f"--host {host}: no address of this machine; name another")
    return port


@contextlib.contextmanager
def serving(
    command: Sequence[str], logs: Sequence[str], host: str, port: int, timeout_secs: float
) -> Iterator[Callable[[], int]]:
    """Runs TensorBoard until the body is left; yields once it answers, with what waits for its end.

    ``logs`` are flags that say what it shows. SIGTERM and SIGHUP end it as Ctrl-C does, unless
    this process ignores them. Raises ``CommandError`` with its last words if it ends, or does
    not answer in ``timeout_secs``. If this process is killed, TensorBoard gets SIGTERM.
    """
    with tempfile.TemporaryFile(mode="w+", errors="replace") as words, _Interrupts() as interrupts:
        process = subprocess.Popen(
            [*command, *logs, "--host", host, "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            # Ctrl-C reaches this process alone, which passes it on once.
            start_new_session=True,
            preexec_fn=_ends_with(os.getpid()),
        )
        try:
            interrupts.let_through()
            deadline = time.monotonic() + timeout_secs
            # What answers may be another server, so long as this one has not bound its port.
            while not (_answers(host, port) and _listens(process.pid, port)):
                if process.poll() is not None or time.monotonic() > deadline:
                    why = "has ended" if process.poll() is not None else "does not answer"
                    words.seek(0)
                    last = words.read()[-_LAST_WORDS_CHARACTERS:].strip()
                    raise CommandError(f"TensorBoard {why}; its last words:\n{last}")
                time.sleep(_POLL_SECS)
            yield process.wait
        finally:
            interrupts.hold()
            _end(process)


class _Interrupts:
    """Makes ``_SIGNALS`` raise ``KeyboardInterrupt`` once, while they are let through.

    At first and after that they are held: what must not be left half done goes on.
    """

    def __init__(self) -> None:
        self._is_held = True
        self._came = False
        self._before = {number: signal.getsignal(number) for number in _SIGNALS}

    def __enter__(self) -> _Interrupts:
        for number, before in self._before.items():
            if before is not signal.SIG_IGN:  # as nohup leaves it
                signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def let_through(self) -> None:
        """Raises ``KeyboardInterrupt`` for what came before, and for what comes next."""
        self._is_held = False
        if self._came:
            self._interrupt()

    def hold(self) -> None:
        """Raises nothing from here on."""
        self._is_held = True

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._came = True
        if not self._is_held:
            self._interrupt()

    def _interrupt(self) -> None:
        self._is_held = True
        raise KeyboardInterrupt


def link(host: str, port: int) -> str:
    """The page's address, for a browser."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def log_flags(directories: Sequence[str]) -> list[str]:
    """The flags that make TensorBoard show ``directories``: one as it is, several by name.

    Raises ``CommandError`` if it cannot.
    """
    if len(directories) == 1:
        return ["--logdir", directories[0]]
    names: dict[str, str] = {}
    for directory in directories:
        if "," in directory:
            raise CommandError(
                f"{directory}: TensorBoard cannot show it beside others, for its comma; name it "
                "alone: boardd view LOGDIR"
            )
        base = Path(directory).name.replace(":", "_") or "root"
        name = base
        number = 2
        while name in names:
            name, number = f"{base}_{number}", number + 1
        names[name] = directory
    return ["--logdir_spec", ",".join(f"{name}:{path}" for name, path in names.items())]


def _ends_with(parent: int) -> Callable[[], None]:
    """What a new process calls to be ended with ``parent``, however that one ends."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # before the fork

    def ask() -> None:
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
        if os.getppid() != parent:  # it was too late to ask
            os.kill(os.getpid(), signal.SIGTERM)

    return ask


def _answers(host: str, port: int) -> bool:
    # A proxy that is set for the web must not be asked.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(link(host, port), timeout=_LEAVE_SECS) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _listens(pid: int, port: int) -> bool:
    """Whether ``pid`` or a process that it has started listens on ``port``.

    True as well if that cannot be seen here.
    """
    try:
        process = psutil.Process(pid)
        connections = []
        for one in (process, *process.children(recursive=True)):
            # Earlier versions of psutil have the same under another name.
            is_new = hasattr(one, "net_connections")
            connections += (one.net_connections if is_new else one.connections)("tcp")
    except psutil.NoSuchProcess:
        return False
    except (psutil.Error, OSError):
        return True
    return any(
        connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
        for connection in connections
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends it and the data server that it has started, in ``3 * _LEAVE_SECS`` at most."""
    for number in (signal.SIGINT, signal.SIGTERM):
        _signal_group(process, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LEAVE_SECS)
            break
    _signal_group(process, signal.SIGKILL)  # who is left, or is stopped, has nothing to lose
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_LEAVE_SECS)


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)

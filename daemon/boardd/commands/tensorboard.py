"""A stock TensorBoard of this user's: found, started, waited for, and ended."""

from __future__ import annotations

import contextlib
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
from typing import Final

from boardd.errors import AddressTakenError, CommandError

#: Those that TensorBoard itself tries.
PORTS: Final = range(6006, 6016)

_POLL_SECS: Final = 0.1
#: How long it may take to leave before it is killed.
_LEAVE_SECS: Final = 5.0
_LAST_WORDS_CHARACTERS: Final = 2000


def tensorboard_command(environ: Mapping[str, str]) -> list[str]:
    """What starts TensorBoard: of this interpreter, else on the path. Raises ``CommandError``."""
    if importlib.util.find_spec("tensorboard") is not None:
        return [sys.executable, "-m", "tensorboard.main"]
    program = shutil.which("tensorboard", path=environ.get("PATH"))
    if program is None:
        raise CommandError("TensorBoard is not installed; run: pip install tensorboard")
    return [program]


def free_port(host: str) -> int:
    """The first of ``PORTS`` that nobody has, else any. Raises ``CommandError`` for a host."""
    for port in (*PORTS, 0):
        with contextlib.suppress(AddressTakenError):
            return check_port(host, port)
    raise AddressTakenError(f"no port of {host} is free")


def check_port(host: str, port: int) -> int:
    """Returns ``port``, 0: a free one. Raises ``CommandError`` if it cannot be had."""
    try:
        family, kind, *_, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
            number: int = probe.getsockname()[1]
            return number
    except socket.gaierror as error:
        raise CommandError(f"--host {host}: {error.strerror}") from None
    except OSError as error:
        raise AddressTakenError(
            f"port {port} of {host}: {error.strerror}; choose another --port"
        ) from None


@contextlib.contextmanager
def serving(
    command: Sequence[str], logs: Sequence[str], host: str, port: int, timeout_secs: float
) -> Iterator[Callable[[], int]]:
    """Runs TensorBoard until the body is left; yields once it answers, with what waits for its end.

    ``logs`` are flags that say what it shows. SIGTERM ends it as Ctrl-C does. Raises
    ``CommandError`` with its last words if it ends, or does not answer in ``timeout_secs``.
    """
    with tempfile.TemporaryFile(mode="w+", errors="replace") as words:
        process = subprocess.Popen(
            [*command, *logs, "--host", host, "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            # Ctrl-C reaches this process alone, which passes it on once.
            start_new_session=True,
        )
        before = signal.signal(signal.SIGTERM, _interrupt)
        try:
            deadline = time.monotonic() + timeout_secs
            while not _answers(host, port):
                if process.poll() is not None or time.monotonic() > deadline:
                    why = "has ended" if process.poll() is not None else "does not answer"
                    words.seek(0)
                    last = words.read()[-_LAST_WORDS_CHARACTERS:].strip()
                    raise CommandError(f"TensorBoard {why}; its last words:\n{last}")
                time.sleep(_POLL_SECS)
            yield process.wait
        finally:
            _end(process)
            signal.signal(signal.SIGTERM, before)


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


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _answers(host: str, port: int) -> bool:
    # A proxy that is set for the web must not be asked.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(link(host, port), timeout=_LEAVE_SECS) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends it and the data server that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(_LEAVE_SECS)
    except subprocess.TimeoutExpired:
        process.terminate()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    process.wait()

"""What systemd does for a service with sockets: it listens, and passes them on."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from boardd_protos.local_socket import HANDOVER_SUFFIX

#: Gives the descriptors that it was passed the numbers from 3 on, and becomes the command.
_EXEC = """
import os, sys
passed, command = sys.argv[1].split(","), sys.argv[2:]
copies = [os.dup2(int(number), 100 + at) for at, number in enumerate(passed)]
for at, number in enumerate(copies):
    os.dup2(number, 3 + at)
    os.close(number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(copies)))
os.execv(command[0], command)
"""


class ServiceManager:
    """Listens on the sockets of a daemon at ``path`` until the end, as ``boardd.socket`` says.

    As a context manager it closes and removes them.
    """

    def __init__(self, path: Path) -> None:
        maps = path.with_name(path.name + HANDOVER_SUFFIX)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        self._paths = (path, maps)
        self._listeners = [
            _listen(path, socket.SOCK_STREAM),
            _listen(maps, socket.SOCK_SEQPACKET),
        ]

    def wait_for_client(self, timeout_secs: float = 60.0) -> None:
        """Returns when somebody has connected and was not accepted yet."""
        poll = select.poll()
        for listener in self._listeners:
            poll.register(listener, select.POLLIN)
        assert poll.poll(timeout_secs * 1000), "nobody connects"

    def has_client(self) -> bool:
        """Whether somebody has connected and was not accepted yet."""
        return bool(select.select(self._listeners, [], [], 0)[0])

    def popen(self, command: Sequence[str], **arguments: Any) -> subprocess.Popen[bytes]:
        """Starts ``command`` with the sockets, as ``subprocess.Popen`` does."""
        numbers = [listener.fileno() for listener in self._listeners]
        start = [sys.executable, "-S", "-E", "-c", _EXEC, ",".join(map(str, numbers))]
        return subprocess.Popen([*start, *command], pass_fds=numbers, **arguments)

    def __enter__(self) -> ServiceManager:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for listener in self._listeners:
            listener.close()
        for path in self._paths:
            path.unlink(missing_ok=True)


def _listen(path: Path, kind: socket.SocketKind) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, kind)
    listener.bind(os.fspath(path))
    path.chmod(0o600)
    listener.listen()
    return listener

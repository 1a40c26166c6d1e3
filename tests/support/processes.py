"""Which boardd processes belong to this test session, however they came to be.

Every child inherits the environment of the tests, so the runtime directory in
it tells whose a process is, also after it was detached and adopted by init.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """A running process, as /proc shows it."""

    pid: int
    arguments: tuple[str, ...]
    environ: dict[str, str]

    @property
    def is_daemon(self) -> bool:
        """Whether it runs ``boardd`` or ``python -m boardd``."""
        return "boardd" in self.arguments or any(
            argument.endswith("/boardd") for argument in self.arguments[:2]
        )

    def __str__(self) -> str:
        return f"pid {self.pid}: {' '.join(self.arguments)}"


def processes(word: bytes = b"") -> Iterator[Process]:
    """Yields every process whose environment may be read; no zombies.

    ``word`` leaves those out whose command does not have it, which takes less time.
    """
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
                command = file.read()
            if command and word in command:
                arguments = command.decode(errors="replace").rstrip("\0").split("\0")
                environ = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
                pairs = (text.partition("=") for text in environ.split("\0") if text)
                yield Process(
                    int(pid),
                    tuple(arguments),
                    {name: value for name, _, value in pairs},
                )


def daemons(variable: str, values: set[str]) -> list[Process]:
    """The daemons that were started with ``variable`` set to one of ``values``."""
    return [
        process
        for process in processes(b"boardd")
        if process.is_daemon and process.environ.get(variable) in values
    ]


def end(process: Process, *, grace_secs: float) -> None:
    """Ends ``process`` by SIGTERM, after ``grace_secs`` by SIGKILL, and waits until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(process.pid)
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            for number, secs in ((signal.SIGTERM, grace_secs), (signal.SIGKILL, 10.0)):
                signal.pidfd_send_signal(descriptor, number)
                signal.pidfd_send_signal(descriptor, signal.SIGCONT)
                if poll.poll(secs * 1000):
                    return
        finally:
            os.close(descriptor)

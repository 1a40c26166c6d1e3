"""A daemon that kills itself at a write to an event file: ``python -m support.dying_daemon``.

``DIES_AT_WRITE`` says at which, from 1; ``DIES`` is ``before`` it, ``torn`` with a part of
its bytes in the file, or ``after`` it, before anybody can be told. If ``DIES_IN`` is set, only
writes in the run directory of that name count.
"""

from __future__ import annotations

import os
import signal
from typing import Final

HOWS: Final = ("before", "torn", "after")


class DyingWrite:
    """Takes the place of ``os.write``."""

    def __init__(self, number: int, how: str, run: str = "") -> None:
        self._left = number
        self._where = f"/{run}/events.out.tfevents" if run else "tfevents"
        self._how = how
        self._write = os.write

    def __call__(self, fd: int, data: bytes | memoryview) -> int:
        if self._where not in os.readlink(f"/proc/self/fd/{fd}"):
            return self._write(fd, data)
        self._left -= 1
        if self._left:
            return self._write(fd, data)
        if self._how != "before":
            # Another place in each: within the opening event, the mark, the events.
            torn = len(data) * (os.getpid() % 97) // 97
            self._write(fd, data if self._how == "after" else data[:torn])
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("SIGKILL was survived")


if __name__ == "__main__":
    os.write = DyingWrite(
        int(os.environ["DIES_AT_WRITE"]), os.environ["DIES"], os.environ.get("DIES_IN", "")
    )
    from boardd.cli import main

    raise SystemExit(main())

"""Whether a wait ends when it is to, on a machine that may be busy with other things.

What a sleep of the same length beside it is late, and what the threads of its process
wait for a processor meanwhile, is the machine's doing.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

#: By how much a wait may exceed its timeout on an idle machine.
LATE_SECS: Final = 0.2


class Control:
    """A sleep beside a wait of ``secs``; begins at once."""

    def __init__(self, secs: float) -> None:
        self._secs = secs
        self._late_secs = 0.0
        self._delayed_secs = delayed_secs()
        self._thread = threading.Thread(target=self._sleep, daemon=True)
        self._thread.start()

    def late_secs(self) -> float:
        """How much later than on an idle machine the wait may have ended."""
        delayed = max(0.0, delayed_secs() - self._delayed_secs)
        self._thread.join(60.0 + self._secs)
        return self._late_secs + delayed

    def _sleep(self) -> None:
        begin = time.monotonic()
        time.sleep(self._secs)
        self._late_secs = time.monotonic() - begin - self._secs


@contextmanager
def taking(secs: float) -> Iterator[None]:
    """Checks that its block takes ``secs``, and at most ``LATE_SECS`` and the control's more."""
    control = Control(secs)
    begin = time.monotonic()
    yield
    took = time.monotonic() - begin
    late_secs = control.late_secs()
    assert secs <= took < secs + LATE_SECS + late_secs, late_secs


def delayed_secs() -> float:
    """How long the threads that this process has were ready to run and did not.

    0 if the kernel does not tell.
    """
    nanoseconds = 0
    for path in Path("/proc/self/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):
            nanoseconds += int(path.read_text().split()[1])
    return nanoseconds / 1e9

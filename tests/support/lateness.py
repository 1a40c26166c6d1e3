"""Whether a wait ends when it is to, on a machine that may be busy with other things."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: By how much a wait may exceed its timeout.
LATE_SECS: Final = 0.2


@contextmanager
def taking(secs: float) -> Iterator[None]:
    """Checks that its block takes ``secs``, and at most ``LATE_SECS`` more.

    What a sleep of the same length beside it is late comes on top: that is the machine's doing.
    """
    late_secs: list[float] = []
    control = threading.Thread(target=lambda: late_secs.append(sleep_late_secs(secs)))
    control.start()
    begin = time.monotonic()
    yield
    took = time.monotonic() - begin
    control.join()
    assert secs <= took < secs + LATE_SECS + late_secs[0], late_secs


def sleep_late_secs(secs: float) -> float:
    """Sleeps, and returns how much longer than ``secs`` that took."""
    begin = time.monotonic()
    time.sleep(secs)
    return time.monotonic() - begin - secs

"""For how long callbacks hold the event loop, in CPU time of its thread.

CPU time, since a busy machine may put a thread aside at any moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import Iterator
from typing import Any

#: Shorter holds have no name.
_NAMED_SECS = 0.005


@contextlib.contextmanager
def measured_holds() -> Iterator[list[tuple[float, str]]]:
    """Collects the CPU time of each callback in seconds, and what it was.

    Works with asyncio's own loop, whose handles are Python objects. Python's search for
    garbage is left out: the daemon makes it seldom.
    """
    holds: list[tuple[float, str]] = []
    run = asyncio.Handle._run

    def timed(handle: Any) -> None:
        begun = time.thread_time()
        run(handle)
        secs = time.thread_time() - begun
        # What a future holds may be long, and so its text.
        holds.append((secs, repr(handle) if secs > _NAMED_SECS else ""))

    asyncio.Handle._run = timed  # type: ignore[method-assign]
    gc.disable()
    try:
        yield holds
    finally:
        gc.enable()
        asyncio.Handle._run = run  # type: ignore[method-assign]

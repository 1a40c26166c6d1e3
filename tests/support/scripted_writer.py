"""Writers of a scripted daemon, and values whose copies a test decides about."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from boardd_client import SummaryWriter

from support.scripted_daemon import ScriptedDaemon


def writer(daemon: ScriptedDaemon, **options: Any) -> SummaryWriter:
    """A writer of ``/logs`` at ``daemon``."""
    return SummaryWriter("/logs", address=daemon.address, **options)


class Lazy:
    """A device value: its copy takes until ``done`` is set, and may fail."""

    def __init__(self, value: float, error: Exception | None = None) -> None:
        self.array = np.array([value], np.float32)
        self.dtype, self.shape, self.size_bytes = "float32", (1,), 4
        self.done = threading.Event()
        self.error = error
        self.slot = memoryview(b"")

    def copy_into(self, slot: memoryview) -> Lazy:
        """Keeps the slot."""
        self.slot = slot
        return self

    def is_done(self) -> bool:
        """Whether ``done`` is set."""
        return self.done.is_set()

    def wait(self) -> None:
        """Copies once ``done`` is set, or raises."""
        assert self.done.wait(60)
        if self.error is not None:
            raise self.error
        self.slot[:] = self.array.tobytes()

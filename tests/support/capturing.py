"""Captures values as the writer does: into a slot, on this thread, awaited on another."""

from __future__ import annotations

import mmap
import threading
from typing import Any

import numpy as np
from boardd_client import capture

WAIT_SECS = 60.0


class Captured:
    """A capture that was begun; ``values`` ends it."""

    def __init__(self, value: object, what: str = "values") -> None:
        self.tensor = capture.tensor(value, what)
        # An anonymous map, as the arena is one; never empty, as maps cannot be.
        self.slot = memoryview(mmap.mmap(-1, self.tensor.size_bytes + 16))
        self._given = self.slot[: self.tensor.size_bytes]
        self.pending = self.tensor.copy_into(self._given)
        self._waited = False

    def wait(self) -> None:
        """Waits on another thread; raises what the wait raised, fails when it hangs."""
        pending = self.pending
        if pending is None or self._waited:
            return
        self._waited = True
        raised: list[BaseException] = []

        def wait() -> None:
            try:
                pending.wait()
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        thread.join(WAIT_SECS)
        assert not thread.is_alive(), f"not captured within {WAIT_SECS} s"
        if raised:
            raise raised[0]
        self._given.release()  # fails where the capture has kept hold of the slot

    def values(self) -> np.ndarray[Any, Any]:
        """The captured values; bfloat16 as float32."""
        self.wait()
        size_bytes = self.tensor.size_bytes
        assert bytes(self.slot[size_bytes:]) == bytes(16), "written past the slot"
        data = bytes(self.slot[:size_bytes])
        if self.tensor.dtype == "bfloat16":
            upper = np.frombuffer(data, "<u2").astype(np.uint32) << 16
            return upper.view(np.float32).reshape(self.tensor.shape)
        dtype = np.dtype(self.tensor.dtype).newbyteorder("<")
        return np.frombuffer(data, dtype).reshape(self.tensor.shape)


def captured(value: object) -> np.ndarray[Any, Any]:
    """The values of ``value`` after a capture."""
    return Captured(value).values()

"""What the least costs that a logger in the process could do. These log nothing."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from comparison.peers.peer import BasicPeer


class _Floor(BasicPeer):
    writes_events = False

    def open(self, logdir: Path) -> None:
        """Nothing is written."""

    def close(self) -> None:
        """Nothing is written."""

    def written(self, logdir: Path, tag: str, method: str) -> int | None:
        """Nothing is written."""
        return None


class Empty(_Floor):
    """A method that does nothing: the cost of measuring."""

    def scalar(self, tag: str, value: Any, step: int) -> None:
        """Does nothing."""

    scalars = scalar


class Append(_Floor):
    """A tuple appended to a deque: what any in-process queue pays, and a crash loses."""

    def __init__(self) -> None:
        self._records: deque[tuple[str, Any, int]] = deque()

    def scalar(self, tag: str, value: Any, step: int) -> None:
        """Appends the record."""
        self._records.append((tag, value, step))

    scalars = scalar


class Copy(_Floor):
    """One plain copy into memory that was touched before."""

    def __init__(self) -> None:
        self._memory: dict[tuple[int, ...], np.ndarray] = {}

    def histogram(self, tag: str, values: Any, step: int) -> None:
        """Copies the values."""
        memory = self._memory.get(values.shape)
        if memory is None:
            memory = self._memory[values.shape] = np.zeros_like(values)
        np.copyto(memory, values)

    image = histogram

    def embedding(self, tag: str, value: tuple[Any, Any], step: int) -> None:
        """Copies the matrix and the labels."""
        for values in value:
            self.histogram(tag, values, step)


class EngineCopy(_Floor):
    """One copy queued on MXNet's engine, into an array that was written before.

    Nothing that wants an NDArray's values without waiting for them can do with less.
    """

    def __init__(self) -> None:
        self._memory: dict[tuple[int, ...], Any] = {}

    def histogram(self, tag: str, values: Any, step: int) -> None:
        """Queues the copy of the values."""
        memory = self._memory.get(values.shape)
        if memory is None:
            memory = self._memory[values.shape] = values.copy()
        values.copyto(memory)

    scalar = image = histogram

    def embedding(self, tag: str, value: tuple[Any, Any], step: int) -> None:
        """Queues the copies of the matrix and the labels."""
        for values in value:
            self.histogram(tag, values, step)


class MinMax(_Floor):
    """One pass for the minimum and one for the maximum, the least a histogram needs."""

    def histogram(self, tag: str, values: Any, step: int) -> None:
        """Reduces the values."""
        values.min()
        values.max()

    image = histogram


class Wait(_Floor):
    """Waits until MXNet has computed the value, as any logger that reads it at the call must."""

    def histogram(self, tag: str, values: Any, step: int) -> None:
        """Waits for the values."""
        values.wait_to_read()

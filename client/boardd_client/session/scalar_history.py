"""The scalars of a process, kept in memory for ``SummaryWriter.export_scalars``.

Read from the ring's frames off the trainer's thread, 28 bytes each, under a byte
budget: beyond it the oldest are lost, and counted.

No I/O, no clock, no thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np
from boardd_protos.frame import FRAME_DTYPE, HEADER_BYTES, FrameKind
from numpy.typing import NDArray

from boardd_client.memory.ring import Ring

_ROW: Final = np.dtype([("wall_time", "<f8"), ("step", "<i8"), ("value", "<f8"), ("target", "<u4")])
#: Frames that are looked at under the ring's lock, at most: trainers wait for that.
_READ_BYTES: Final = 1 << 17
#: Rows of a block; small reads are gathered in one.
_BLOCK_ROWS: Final = 4096

#: ``{writer: [[timestamp, step, value], ...], ...}``, as MXBoard exports it.
Exported = dict[str, list[list[float | None]]]
#: From a point's series, wall time and step to what an export calls the step.
StepOf = Callable[[int, float, int], float | None]


class ScalarHistory:
    """Scalars in the order they were logged. Not thread-safe: its session locks."""

    def __init__(self, budget_bytes: int) -> None:
        self.lost = 0  #: scalars that the budget had no room for
        self.observed_sequence = 0  #: of the last frame that was looked at
        self._budget_rows = budget_bytes // _ROW.itemsize
        self._full: deque[NDArray[Any]] = deque()
        self._open = np.empty(0, _ROW)
        self._open_rows = 0
        self._rows = 0

    @property
    def is_enabled(self) -> bool:
        """Whether the budget holds anything."""
        return self._budget_rows > 0

    def follow(self, ring: Ring, max_bytes: int) -> bool:
        """Keeps the scalars of what ``ring`` has next; False if that is nothing."""
        before = self.observed_sequence
        if not self.is_enabled:
            self.observed_sequence = ring.last_sequence
            return False
        frames, last = ring.read(before, ring.last_sequence, min(max_bytes, _READ_BYTES))
        self.observe(frames, last - before)
        self.observed_sequence = last
        return last > before

    def follow_all(self, ring: Ring) -> None:
        """Keeps the scalars of all that ``ring`` has before the first claimed frame."""
        while self.follow(ring, _READ_BYTES):
            pass

    def observe(self, frames: memoryview, count: int) -> None:
        """Keeps the scalars among the ``count`` whole frames in ``frames``."""
        if len(frames) == count * HEADER_BYTES:
            self._append_scalars(np.frombuffer(frames, FRAME_DTYPE))
            return
        start = offset = 0
        while offset < len(frames):
            size_bytes = int.from_bytes(frames[offset : offset + 4], "little")
            if size_bytes != HEADER_BYTES:  # no scalar
                self._append_scalars(np.frombuffer(frames[start:offset], FRAME_DTYPE))
                start = offset + size_bytes
            offset += size_bytes
        self._append_scalars(np.frombuffer(frames[start:], FRAME_DTYPE))

    def _append_scalars(self, headers: NDArray[Any]) -> None:
        is_scalar = headers["kind"] == FrameKind.SCALAR
        self._append(headers if is_scalar.all() else headers[is_scalar])

    def _append(self, headers: NDArray[Any]) -> None:
        while len(headers):
            room = len(self._open) - self._open_rows
            if not room:
                if len(self._open):
                    self._full.append(self._open)
                self._open = np.empty(min(_BLOCK_ROWS, self._budget_rows), _ROW)
                self._open_rows = 0
                room = len(self._open)
            taken = headers[:room]
            block = self._open[self._open_rows : self._open_rows + len(taken)]
            for name in _ROW.names or ():
                block[name] = taken[name]
            self._open_rows += len(taken)
            self._rows += len(taken)
            headers = headers[room:]
            while self._rows > self._budget_rows and self._full:
                oldest = self._full.popleft()
                self._rows -= len(oldest)
                self.lost += len(oldest)

    def blocks(self) -> list[NDArray[Any]]:
        """All rows, oldest first. What is kept later does not change them."""
        return [*self._full, self._open[: self._open_rows]]

    def export(self, names: Mapping[int, str]) -> Exported:
        """See ``export``."""
        return export(self.blocks(), names)

    def clear(self, series: Iterable[int]) -> None:
        """Forgets the scalars of some series."""
        gone = np.fromiter(series, np.uint32)
        blocks = [block[~np.isin(block["target"], gone)] for block in self.blocks()]
        self._full = deque(block for block in blocks if len(block))
        self._open = np.empty(0, _ROW)
        self._open_rows = 0
        self._rows = sum(map(len, self._full))


def export(
    blocks: Iterable[NDArray[Any]], names: Mapping[int, str], step_of: StepOf | None = None
) -> Exported:
    """Returns the scalars of the series in ``names``, by name, oldest first.

    ``step_of`` says what to call a step; None: as it is.
    """
    exported: Exported = {}
    for block in blocks:
        for series, wall_time, step, value in zip(
            block["target"].tolist(),
            block["wall_time"].tolist(),
            block["step"].tolist(),
            block["value"].tolist(),
            strict=True,
        ):
            name = names.get(series)
            if name is not None:
                shown = step if step_of is None else step_of(series, wall_time, step)
                exported.setdefault(name, []).append([wall_time, shown, value])
    return exported

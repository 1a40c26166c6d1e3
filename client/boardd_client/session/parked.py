"""Frames of runs that are held up, taken out of the ring so that it goes on for others.

They are kept in memory of the process until they are done, and sent first to a next daemon.
The tensors of a record stay in their slots.

No I/O, no clock, no thread; its session locks.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from boardd_protos.frame import FRAME_DTYPE, HEADER_BYTES, FrameKind
from numpy.typing import NDArray

#: Kinds of frames whose target is a series.
_OF_SERIES: Final = (int(FrameKind.SCALAR), int(FrameKind.SUMMARY), int(FrameKind.ABORTED))
#: Kinds of frames that ``Parked.has`` finds.
_FOUND: Final = (int(FrameKind.END_RUN), int(FrameKind.ABORTED))

#: From series to the numbers of their runs, 0 for one that is not known; arrays of shape ``[n]``.
RunsOf = Callable[[NDArray[np.uint32]], NDArray[np.uint32]]


class Frames(NamedTuple):
    """Frames of ``n`` records of ascending sequence: headers alone, or one with its payload."""

    headers: NDArray[Any]  #: ``FRAME_DTYPE[n]``
    runs: NDArray[np.uint32]  #: ``[n]``, the client's numbers; 0 if not known
    payload: bytes = b""  #: of the one frame, what follows the header

    @property
    def size_bytes(self) -> int:
        """Of all frames."""
        return len(self.headers) * HEADER_BYTES + len(self.payload)

    @property
    def last_sequence(self) -> int:
        """That of the last one."""
        return int(self.headers["sequence"][-1])

    def chosen(self, mask: NDArray[np.bool_]) -> Frames:
        """Those of a mask, bool of shape ``[n]``."""
        return Frames(self.headers[mask], self.runs[mask], self.payload)

    def data(self) -> bytes:
        """The frames, back to back."""
        return self.headers.tobytes() + self.payload


class Parked:
    """See the module. ``held`` leads from each held-up run to its first record that is out."""

    def __init__(self) -> None:
        self.held: Mapping[int, int] = {}
        self.count = 0  #: of all frames
        self.size_bytes = 0
        self._frames: deque[Frames] = deque()
        self._bytes: Counter[int] = Counter()  # by run
        self._found: set[int] = set()  # sequence numbers of ends of runs and of lost records

    def has(self, sequence: int) -> bool:
        """Whether a frame is parked that is the end of a run, or a record that is lost."""
        return sequence in self._found

    def bytes_of(self, run: int) -> int:
        """Of the frames of a run."""
        return self._bytes[run]

    def has_any(self, run: int, sequence: int) -> bool:
        """Whether a frame of ``run`` is parked that has a number up to ``sequence``."""
        return any(
            bool(((frames.runs == run) & (frames.headers["sequence"] <= sequence)).any())
            for frames in self._frames
        )

    def after(self, sequence: int) -> list[Frames]:
        """All that is parked behind ``sequence``, in order."""
        found = []
        for frames in self._frames:
            mask = frames.headers["sequence"] > np.uint64(sequence)
            if mask.any():
                found.append(frames if mask.all() else frames.chosen(mask))
        return found

    def take(self, data: memoryview, runs_of: RunsOf) -> list[int]:
        """Parks what of the whole frames in ``data`` is out, which follows on what is parked.

        Returns the sequence numbers of the others that may have tensors.
        """
        done: list[int] = []
        for frames in _split(data, runs_of):
            mask = self._is_out(frames)
            if mask.any():
                self._add(frames if mask.all() else frames.chosen(mask))
            elif frames.payload:
                done.append(frames.last_sequence)
        return done

    def settle(
        self, acknowledged_sequence: int, settled_sequence: int, held: Mapping[int, int]
    ) -> list[int]:
        """Lets go of what is done: all up to the first, and up to the second all but ``held``.

        Returns the sequence numbers of what may have tensors.
        """
        self.held = held
        done: list[int] = []
        waiting, self._frames = self._frames, deque()
        self.count = self.size_bytes = 0
        self._bytes.clear()
        self._found.clear()
        for frames in waiting:
            sequence = frames.headers["sequence"]
            mask = self._is_out(frames) | (sequence > np.uint64(settled_sequence))
            mask &= sequence > np.uint64(acknowledged_sequence)
            if mask.any():
                self._add(frames if mask.all() else frames.chosen(mask))
            elif frames.payload:
                done.append(frames.last_sequence)
        return done

    def _is_out(self, frames: Frames) -> NDArray[np.bool_]:
        """Which frames are out, as far as ``held`` says; what is of no known run may be."""
        sequence, kind = frames.headers["sequence"], frames.headers["kind"]
        mask: NDArray[np.bool_] = (frames.runs == 0) & np.isin(kind, _OF_SERIES)
        for run, first in self.held.items():
            mask |= (frames.runs == run) & (sequence >= np.uint64(first))
        return mask

    def _add(self, frames: Frames) -> None:
        self._frames.append(frames)
        self.count += len(frames.headers)
        self.size_bytes += frames.size_bytes
        for run, count in zip(*np.unique(frames.runs, return_counts=True), strict=True):
            self._bytes[int(run)] += int(count) * HEADER_BYTES + len(frames.payload)
        found = np.isin(frames.headers["kind"], _FOUND)
        if found.any():
            self._found.update(frames.headers["sequence"][found].tolist())


def _split(data: memoryview, runs_of: RunsOf) -> Iterator[Frames]:
    """The frames in ``data``: those without a payload together as far as they follow each other."""
    start = offset = 0
    while offset < len(data):
        size_bytes = int.from_bytes(data[offset : offset + 4], "little")
        if size_bytes != HEADER_BYTES:
            if offset > start:
                yield _frames(data[start:offset], b"", runs_of)
            header, payload = offset + HEADER_BYTES, offset + size_bytes
            yield _frames(data[offset:header], bytes(data[header:payload]), runs_of)
            start = payload
        offset += size_bytes
    if offset > start:
        yield _frames(data[start:offset], b"", runs_of)


def _frames(data: memoryview, payload: bytes, runs_of: RunsOf) -> Frames:
    headers = np.frombuffer(bytes(data), FRAME_DTYPE)
    kind, target = headers["kind"], headers["target"]
    of_series = np.isin(kind, _OF_SERIES)
    runs = np.where(kind == FrameKind.END_RUN, target, np.uint32(0))
    if of_series.any():
        runs[of_series] = runs_of(target[of_series])
    return Frames(headers, runs, payload)

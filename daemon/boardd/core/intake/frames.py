"""Splits a message of frames so that scalars need no Python each.

Frames of scalars that follow each other are one ``ScalarFrames``, so that what
follows is done by the column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from boardd_protos.frame import (
    FRAME_DTYPE,
    HEADER_BYTES,
    Frame,
    FrameError,
    FrameKind,
    decode,
    frame_bytes,
)
from numpy.typing import NDArray

#: Headers of frames: an array of ``FRAME_DTYPE``.
Headers = NDArray[Any]


@dataclass(frozen=True)
class ScalarFrames:
    """Frames of scalars that follow each other; ``headers`` are all there is of them."""

    headers: Headers

    def __len__(self) -> int:
        return len(self.headers)

    def __getitem__(self, chosen: slice) -> ScalarFrames:
        """Some of the frames."""
        return ScalarFrames(self.headers[chosen])

    @property
    def first_sequence(self) -> int:
        """The sequence number of its first frame."""
        return int(self.headers["sequence"][0])

    @property
    def last_sequence(self) -> int:
        """The sequence number of its last frame."""
        return int(self.headers["sequence"][-1])


def split(frames: bytes) -> Iterator[ScalarFrames | Frame]:
    """Yields stretches of scalars and single other frames, in their order.

    Raises ``FrameError`` as ``decode`` does.
    """
    view = memoryview(frames)
    offset = 0
    while offset < len(frames):
        count = _scalars_at(frames, offset)
        if count:
            yield ScalarFrames(np.frombuffer(frames, FRAME_DTYPE, count, offset))
            offset += count * HEADER_BYTES
        else:
            frame = next(decode(view[offset:]))
            yield frame
            offset += frame_bytes(len(frame.payload))


def check_sequence(items: Sequence[ScalarFrames | Frame], received_sequence: int) -> None:
    """Raises ``FrameError`` unless the sequence numbers leave no gap.

    They must rise by one, from at most ``received_sequence + 1``.
    """
    expected = 0
    for item in items:
        first = item.sequence if isinstance(item, Frame) else item.first_sequence
        if expected == 0 and not 1 <= first <= received_sequence + 1:
            raise FrameError(
                f"sequence {first}: after {received_sequence}, the next record is "
                f"{received_sequence + 1}"
            )
        if expected and first != expected:
            raise FrameError(f"sequence {first} follows {expected - 1}")
        expected = first + 1
        if isinstance(item, ScalarFrames):
            expected = first + len(item)
            sequence = item.headers["sequence"]
            wrong = np.flatnonzero(sequence != np.arange(first, expected, dtype=np.uint64))
            if len(wrong):
                position = int(wrong[0])
                raise FrameError(
                    f"sequence {int(sequence[position])} follows {first + position - 1}"
                )


def _scalars_at(frames: bytes, start: int) -> int:
    """How many frames of scalars lie back to back at ``start``."""
    available = (len(frames) - start) // HEADER_BYTES
    count = 0
    # A growing window: many frames take few passes, and a few do not look at the whole message.
    window = 16
    while count < available:
        rows = min(window, available - count)
        found = np.frombuffer(frames, FRAME_DTYPE, rows, start + count * HEADER_BYTES)
        alike = (
            (found["size_bytes"] == HEADER_BYTES)
            & (found["kind"] == FrameKind.SCALAR)
            & (found["payload_bytes"] == 0)
        )
        if not alike.all():
            return count + int(alike.argmin())
        count += rows
        window *= 4
    return count

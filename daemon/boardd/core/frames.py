"""Splits a message of frames so that scalars need no Python each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from boardd_protos.record import (
    FRAME_DTYPE,
    HEADER_BYTES,
    Frame,
    FrameError,
    Kind,
    decode,
    frame_bytes,
)
from numpy.typing import NDArray

#: A stretch of scalar frames: an array of ``FRAME_DTYPE``.
Rows = NDArray[Any]


def split(frames: bytes) -> Iterator[Rows | Frame]:
    """Yields stretches of scalars and single other frames, in their order.

    A stretch is a view of ``frames``. Raises ``FrameError`` as ``decode`` does.
    """
    view = memoryview(frames)
    offset = 0
    while offset < len(frames):
        count = _scalars_at(frames, offset)
        if count:
            yield np.frombuffer(frames, FRAME_DTYPE, count, offset)
            offset += count * HEADER_BYTES
        else:
            frame = next(decode(view[offset:]))
            yield frame
            offset += frame_bytes(len(frame.payload))


def check_sequence(items: list[Rows | Frame], received_sequence: int) -> None:
    """Raises ``FrameError`` unless the sequence numbers leave no gap.

    They must rise by one, from at most ``received_sequence + 1``.
    """
    expected = 0
    for item in items:
        first = item.sequence if isinstance(item, Frame) else int(item["sequence"][0])
        if expected == 0 and not 1 <= first <= received_sequence + 1:
            raise FrameError(
                f"sequence {first}: after {received_sequence}, the next record is "
                f"{received_sequence + 1}"
            )
        if expected and first != expected:
            raise FrameError(f"sequence {first} follows {expected - 1}")
        expected = first + 1
        if not isinstance(item, Frame):
            expected = first + len(item)
            rising = np.arange(first, expected, dtype=np.uint64)
            wrong = np.flatnonzero(item["sequence"] != rising)
            if len(wrong):
                position = int(wrong[0])
                raise FrameError(
                    f"sequence {int(item['sequence'][position])} follows {first + position - 1}"
                )


def _scalars_at(frames: bytes, offset: int) -> int:
    """How many scalar frames lie back to back at ``offset``."""
    available = (len(frames) - offset) // HEADER_BYTES
    count = 0
    # A growing window: a long stretch takes few passes, a lone scalar among
    # other frames does not look at the whole message.
    window = 16
    while count < available:
        rows = np.frombuffer(
            frames, FRAME_DTYPE, min(window, available - count), offset + count * HEADER_BYTES
        )
        scalar = (
            (rows["size_bytes"] == HEADER_BYTES)
            & (rows["kind"] == Kind.SCALAR)
            & (rows["payload_bytes"] == 0)
        )
        if not scalar.all():
            return count + int(scalar.argmin())
        count += len(rows)
        window *= 4
    return count

"""Splits a message of frames so that scalars need no Python each.

Frames of scalars that follow each other are one ``ScalarFrames``, whether they hold
one scalar or many: what follows is then done once for a message, by the column.
Where frames of one size follow each other, even finding them takes no Python
each.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

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

_WORD_BYTES: Final = 8
_HEADER_WORDS: Final = HEADER_BYTES // _WORD_BYTES
_VALUE_WORD: Final = _HEADER_WORDS - 1
#: size_bytes, kind and payload_bytes of a header.
_SHAPE: Final = struct.Struct("<IB31xI")
#: Word 0 of a header without its flags and the reserved bytes: size_bytes and kind.
_SIZE_AND_KIND: Final = np.uint64(0xFF_FFFF_FFFF)
_PAYLOAD_SHIFT: Final = np.uint64(32)
#: After so many frames of one shape, it is worth while to look for many more.
_ALIKE: Final = 4


@dataclass(frozen=True)
class ScalarFrames:
    """Frames of scalars that follow each other, of kind SCALAR or SCALARS.

    ``first_word`` says where in ``frames`` each one's first value lies, in words of 8
    bytes, intp[n]; it is None where all are SCALAR, and ``headers`` a view of ``frames``.
    """

    frames: bytes
    headers: Headers
    first_word: NDArray[np.intp] | None = None

    def __len__(self) -> int:
        return len(self.headers)

    def __getitem__(self, chosen: slice | NDArray[Any]) -> ScalarFrames:
        """Some of the frames."""
        first_word = None if self.first_word is None else self.first_word[chosen]
        return ScalarFrames(self.frames, self.headers[chosen], first_word)

    @property
    def first_sequence(self) -> int:
        """The sequence number of its first frame."""
        return int(self.headers["sequence"][0])

    @property
    def last_sequence(self) -> int:
        """The sequence number of its last frame."""
        return int(self.headers["sequence"][-1])

    @property
    def holds_many(self) -> NDArray[np.bool_]:
        """Which frames are SCALARS, bool[n]."""
        many: NDArray[np.bool_] = self.headers["kind"] == FrameKind.SCALARS
        return many

    def records_each(self) -> NDArray[np.int64]:
        """How many records each frame counts for, int64[n]: at least one."""
        if self.first_word is None:
            return np.ones(len(self), np.int64)
        payload_bytes = self.headers["payload_bytes"].astype(np.int64)
        is_whole = payload_bytes % _WORD_BYTES == 0
        return np.maximum(np.where(is_whole, payload_bytes // _WORD_BYTES, 1), 1)

    def records(self) -> int:
        """How many records all frames count for."""
        return len(self) if self.first_word is None else int(self.records_each().sum())


def split(frames: bytes) -> Iterator[ScalarFrames | Frame]:
    """Yields stretches of scalars and single other frames, in their order.

    Raises ``FrameError`` as ``decode`` does.
    """
    view = memoryview(frames)
    offset = 0
    while offset < len(frames):
        stretch, end = _stretch_at(frames, offset)
        if stretch is not None:
            yield stretch
            offset = end
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


def _stretch_at(frames: bytes, start: int) -> tuple[ScalarFrames | None, int]:
    """The stretch that begins at ``start``, and where it ends; None where no scalar is there."""
    offset = start
    runs: list[NDArray[np.intp]] = []
    singles: list[int] = []
    only_single = True
    shape, alike = (0, 0, 0), 0
    while len(frames) - offset >= HEADER_BYTES:
        size_bytes, kind, payload_bytes = found = _SHAPE.unpack_from(frames, offset)
        if kind == FrameKind.SCALARS:
            only_single = False
        elif kind != FrameKind.SCALAR or payload_bytes:
            break
        if size_bytes != frame_bytes(payload_bytes) or size_bytes > len(frames) - offset:
            break
        shape, alike = found, alike + 1 if found == shape else 1
        if alike < _ALIKE:
            singles.append(offset)
            offset += size_bytes
        else:
            count = _alike_at(frames, offset, size_bytes, kind, payload_bytes)
            if singles:
                runs.append(np.array(singles, np.intp))
                singles = []
            end = offset + count * size_bytes
            runs.append(np.arange(offset, end, size_bytes, dtype=np.intp))
            offset, alike = end, 0
    if offset == start:
        return None, start
    if only_single:
        count = (offset - start) // HEADER_BYTES
        return ScalarFrames(frames, np.frombuffer(frames, FRAME_DTYPE, count, start)), offset
    if singles:
        runs.append(np.array(singles, np.intp))
    return _gathered(frames, np.concatenate(runs)), offset


def _alike_at(frames: bytes, offset: int, size_bytes: int, kind: int, payload_bytes: int) -> int:
    """How many frames of one kind and size lie back to back at ``offset``."""
    available = (len(frames) - offset) // size_bytes
    words = size_bytes // _WORD_BYTES
    size_and_kind = np.uint64(size_bytes | kind << 32)
    count = 0
    # A growing window: many frames take few passes, and a few do not look at the whole message.
    window = 16
    while count < available:
        rows = min(window, available - count)
        table = np.frombuffer(frames, "<u8", rows * words, offset + count * size_bytes)
        table = table.reshape(rows, words)
        same = (table[:, 0] & _SIZE_AND_KIND == size_and_kind) & (
            table[:, 4] >> _PAYLOAD_SHIFT == payload_bytes
        )
        if not same.all():
            return count + int(same.argmin())
        count += rows
        window *= 4
    return count


def _gathered(frames: bytes, offsets: NDArray[np.intp]) -> ScalarFrames:
    """The stretch of the frames at ``offsets``, all multiples of a word."""
    words = np.frombuffer(frames, "<u8", len(frames) // _WORD_BYTES)
    first_word = offsets // _WORD_BYTES
    headers = words[first_word[:, np.newaxis] + np.arange(_HEADER_WORDS)]
    headers = headers.view(FRAME_DTYPE).reshape(len(offsets))
    first_word += np.where(headers["kind"] == FrameKind.SCALARS, _HEADER_WORDS, _VALUE_WORD)
    return ScalarFrames(frames, headers, first_word)

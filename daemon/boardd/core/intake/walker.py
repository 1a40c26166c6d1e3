"""The one walk over frames, whether they came in a message or lie in a ring.

It reads bytes that nobody else writes to: a message, or a copy of a part of a ring.
Scalars in a row are found by NumPy and cost no Python each; every other frame is
decoded once, and what comes out is what a session takes.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from boardd_protos.frame import (
    ALIGNMENT,
    CLAIMED,
    FRAME_DTYPE,
    HEADER,
    HEADER_BYTES,
    PADDING,
    Frame,
    FrameError,
    FrameKind,
    frame_bytes,
)

from boardd.core.intake.frames import ScalarFrames, WalkedFrames

#: What becomes of a frame whose value was still being captured when its client died.
LOST: Final = "the process ended before the value was copied"

#: Frames that one walk finds at most, and scalars: what is made of them takes the event loop
#: some milliseconds.
MAX_FRAMES: Final = 128
MAX_SCALARS: Final = 8192

#: Sequence numbers are below this.
_MAX_SEQUENCE: Final = 1 << 63
_LOST_PAYLOAD: Final = LOST.encode()
_HEADER_WORDS: Final = HEADER_BYTES // 8
#: Bits of the first word of a header, for scalars that are alike: size and kind, or flags too.
_SIZE_AND_KIND: Final = 0xFF_FFFF_FFFF
_SIZE_KIND_AND_FLAGS: Final = 0xFFFF_FFFF_FFFF
_PAYLOAD_SHIFT: Final = np.uint64(32)
#: The kind and the flags of padding.
_PADDING: Final = bytes((0, PADDING))
#: Frames looked at in the first step of a search for scalars in a row, and how steps grow:
#: many frames take few steps, and a few do not look at the whole message.
_FIRST_STEP: Final = 256
_STEP_GROWTH: Final = 8


class Source(enum.Enum):
    """Where frames come from, which says what else may be among them."""

    MESSAGE = enum.auto()  #: Sent by value. Every frame must be whole.
    SPARSE = enum.auto()  #: As MESSAGE, and records between the frames are done.
    RING = enum.auto()  #: Committed in a ring. Padding and unfinished frames end the walk.
    REMAINS = enum.auto()  #: Left in the ring of a dead client. Claimed frames become ABORTED.


class Walk(NamedTuple):
    """What a walk found, and where and why it ended."""

    frames: list[WalkedFrames]  #: in their order
    sequence: int  #: of the last frame
    size_bytes: int  #: of all frames
    padding_bytes: int  #: what the padding behind them claims to have; 0 for none
    lost: int  #: frames that were claimed, and are ABORTED here
    why: str  #: what is wrong with the next frame; empty at the end


def walk(
    data: bytes,
    sequence: int,
    source: Source,
    *,
    available: int,
    max_frame_bytes: int,
    begin: int = 0,
) -> Walk:
    """Walks over the frames that lie back to back in ``data``, up to one that does not fit.

    It begins at offset ``begin`` and ends after ``MAX_FRAMES`` or ``MAX_SCALARS`` at the latest.
    The first frame must be that of ``sequence + 1``, or a later one if they are sparse.
    ``data`` is the beginning of ``available`` bytes: a frame that is whole there and not in
    ``data`` ends the walk.
    """
    frames: list[WalkedFrames] = []
    at, padding_bytes, lost, scalar_count = begin, 0, 0, 0
    why = ""
    is_ring = source in (Source.RING, Source.REMAINS)
    is_sparse = source is Source.SPARSE
    mask = _SIZE_KIND_AND_FLAGS if source is Source.REMAINS else _SIZE_AND_KIND
    while at < len(data) and len(frames) < MAX_FRAMES and scalar_count < MAX_SCALARS:
        if is_ring and data[at + 4 : at + 6] == _PADDING:
            padding_bytes = padding_at(data, at)
            if padding_bytes:
                break
        if len(data) - at < HEADER_BYTES:
            why = f"{len(data) - at} bytes left, no whole header"
            break
        size_bytes, kind, flags, _, found, step, wall_time, target, payload_bytes, value = (
            HEADER.unpack_from(data, at)
        )
        if is_ring and kind == FrameKind.UNFINISHED:
            why = "a frame that is not finished"
        elif found != sequence + 1 and not (is_sparse and sequence < found < _MAX_SEQUENCE):
            why = f"record {found}, expected {sequence + 1}"
        elif size_bytes != frame_bytes(payload_bytes) or size_bytes > available - at:
            why = (
                f"record {found} has {size_bytes} bytes, its payload {payload_bytes}, and "
                f"{available - at} are left"
            )
        elif size_bytes > max_frame_bytes:
            why = (
                f"record {found} has {size_bytes} bytes; at most {max_frame_bytes} are "
                "taken, see --max-message-bytes"
            )
        elif size_bytes > len(data) - at and at == begin:
            # It was to be whole in the copy: the client changed it in the meantime.
            why = f"a frame of {size_bytes} bytes that was smaller before"
        if why or size_bytes > len(data) - at:
            break
        count = 1
        is_lost = source is Source.REMAINS and flags == CLAIMED
        if kind == FrameKind.SCALAR and not payload_bytes and not is_lost:
            most = MAX_SCALARS - scalar_count
            count = _scalars_at(data, at, found, mask, most, is_sparse=is_sparse)
            scalar_count += count
            headers = np.frombuffer(data, FRAME_DTYPE, count, at)
            if 2 * headers.nbytes < len(data):
                headers = headers.copy()  # few may wait for long, and are not to keep all of it
            scalars = ScalarFrames(headers)
            frames.append(scalars)
            found = scalars.last_sequence if is_sparse else found + count - 1
        else:
            start = at + HEADER_BYTES
            payload = data[start : start + payload_bytes]
            if is_lost:
                kind, flags, value, payload = FrameKind.ABORTED, 0, 0.0, _LOST_PAYLOAD
                lost += 1
            frames.append(Frame(kind, flags, found, step, wall_time, target, value, payload))
        at += count * size_bytes
        sequence = found
    return Walk(frames, sequence, at - begin, padding_bytes, lost, why)


def walk_message(
    data: bytes, received_sequence: int, *, is_sparse: bool = False
) -> list[WalkedFrames]:
    """The frames of a message; arguments and errors as for ``walk_pieces``."""
    pieces = walk_pieces(data, received_sequence, is_sparse=is_sparse)
    return list(itertools.chain.from_iterable(pieces))


def walk_pieces(
    data: bytes, received_sequence: int, *, is_sparse: bool = False
) -> Iterator[list[WalkedFrames]]:
    """Yields the frames of a message, a walk's at a time.

    The first may be one that was received before. Raises ``FrameError`` unless all are whole
    and well-formed and their sequence numbers rise by one, from at most
    ``received_sequence + 1``; or just rise, if ``is_sparse``: then what is missing is done.
    """
    first = HEADER.unpack_from(data)[4] if len(data) >= HEADER_BYTES else 1
    if not 1 <= first <= (_MAX_SEQUENCE if is_sparse else received_sequence + 1):
        raise FrameError(f"record {first}, expected {received_sequence + 1}")
    source = Source.SPARSE if is_sparse else Source.MESSAGE
    size_bytes = len(data)
    at, sequence = 0, first - 1
    while at < size_bytes:
        found = walk(
            data, sequence, source, available=size_bytes, max_frame_bytes=size_bytes, begin=at
        )
        at, sequence = at + found.size_bytes, found.sequence
        if found.why:
            raise FrameError(f"frame at offset {at}: {found.why}")
        yield found.frames


def padding_at(data: bytes, at: int) -> int:
    """What the padding at ``at`` claims to have; 0 if something else is there."""
    word = int.from_bytes(data[at : at + ALIGNMENT], "little")
    return word & 0xFFFF_FFFF if word >> 32 & 0xFFFF == PADDING << 8 else 0


def _scalars_at(
    data: bytes, at: int, sequence: int, mask: int, most: int, *, is_sparse: bool
) -> int:
    """How many scalars follow each other at ``at``, ``most`` at most; the first has ``sequence``.

    They are alike in the bits of ``mask``, and their sequence numbers rise by one, or just
    rise if ``is_sparse``.
    """
    available = min((len(data) - at) // HEADER_BYTES, most)
    following = at + HEADER_BYTES
    if available < 2 or data[following : following + 5] != data[at : at + 5]:
        return 1  # the usual end, without NumPy
    first_word = np.uint64(int.from_bytes(data[at : at + 8], "little") & mask)
    bits = np.uint64(mask)
    count, step = 1, _FIRST_STEP
    while count < available:
        rows = min(step, available - count)
        words = np.frombuffer(data, "<u8", rows * _HEADER_WORDS, at + count * HEADER_BYTES)
        words = words.reshape(rows, _HEADER_WORDS)
        if is_sparse:
            before = np.frombuffer(
                data, "<u8", rows * _HEADER_WORDS, at + (count - 1) * HEADER_BYTES
            )
            follows = words[:, 1] > before.reshape(rows, _HEADER_WORDS)[:, 1]
            follows &= words[:, 1] < _MAX_SEQUENCE
        else:
            expected = np.arange(sequence + count, sequence + count + rows, dtype=np.uint64)
            follows = words[:, 1] == expected
        alike = (words[:, 0] & bits == first_word) & follows & (words[:, 4] >> _PAYLOAD_SHIFT == 0)
        if not alike.all():
            return count + int(alike.argmin())
        count += rows
        step *= _STEP_GROWTH
    return count

"""Frames of runs that are held up, taken out of the ring so that it goes on for others.

They are kept in another part of the log until they are done, and sent first to a next
daemon. The tensors of a record stay in their slots.

No I/O, no clock, no thread; its session locks.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from boardd_protos.frame import FRAME_DTYPE, HEADER, HEADER_BYTES, PADDING, FrameKind
from numpy.typing import NDArray

from boardd_client.memory.parked_frames import KeptFrames, ParkedFrames

#: Kinds of frames whose target is a series.
_OF_SERIES: Final = (
    int(FrameKind.SCALAR),
    int(FrameKind.SUMMARY),
    int(FrameKind.SERIES_SUMMARIES),
    int(FrameKind.ABORTED),
)
#: Kinds of frames that ``Parked.has`` finds.
_FOUND: Final = (int(FrameKind.END_RUN), int(FrameKind.ABORTED))
#: Looked at under the ring's lock, at most: calls wait for that.
TURN_BYTES: Final = 1 << 16
#: Frames with a payload of which as many are taken or let go of at a time.
_TURN_FRAMES: Final = 256

#: The bytes of a record's tensors.
TensorBytesOf = Callable[[int], int]
#: From series to the numbers of their runs, 0 for one that is not known; arrays of shape ``[n]``.
RunsOf = Callable[[NDArray[np.uint32]], NDArray[np.uint32]]


class Parked:
    """See the module. ``held`` leads from each held-up run to its first record that is out."""

    def __init__(self, memory: ParkedFrames) -> None:
        self.held: Mapping[int, int] = {}
        self.count = 0  #: of all frames
        self.size_bytes = 0
        self._memory = memory
        self._runs: dict[int, deque[_Piece]] = {}  # those with frames, each in order
        self._bytes: Counter[int] = Counter()  # by run
        self.tensor_bytes: Final[Counter[int]] = Counter()  #: by run
        self._found: set[int] = set()  # sequence numbers of ends of runs and of lost records
        self._done: Mapping[int, int] = {}  # by run, what is done and not let go of

    @property
    def turn_bytes(self) -> int:
        """To be taken at a time, about."""
        return min(TURN_BYTES, self._memory.capacity_bytes // 8)

    def has(self, sequence: int) -> bool:
        """Whether a frame is parked that is the end of a run, or a record that is lost."""
        return sequence in self._found

    def bytes_of(self, run: int) -> int:
        """Of the frames of a run."""
        return self._bytes[run]

    def has_any(self, run: int, sequence: int) -> bool:
        """Whether a frame of ``run`` is parked that has a number up to ``sequence``."""
        pieces = self._runs.get(run)
        return pieces is not None and pieces[0].first <= sequence

    def after(self, sequence: int) -> FramesInOrder:
        """All that is parked behind ``sequence``. Until all of it is read, nothing is taken."""
        return FramesInOrder(
            self._memory,
            [piece for pieces in self._runs.values() for piece in pieces],
            sequence,
        )

    def take(
        self, data: memoryview, runs_of: RunsOf, tensor_bytes_of: TensorBytesOf
    ) -> tuple[int, list[int]] | None:
        """Parks what of the whole frames in ``data`` is out, which follows on what is parked.

        Returns the last frame that was looked at, 0 for none, and the sequence numbers of those
        that are not parked and may have tensors; None if there is no room.
        """
        has_room = self._memory.make_room(len(data))
        if not has_room:
            return (0, []) if has_room is None else None
        done: list[int] = []
        last = payloads = 0
        for part in _split(data):
            if len(part) % HEADER_BYTES == 0 and _is_without_payload(part):
                last = self._take_headers(part, runs_of)
                continue
            _, kind, _, _, last, _, _, target, _, _ = HEADER.unpack_from(part)
            run = target
            if kind in _OF_SERIES:
                run = int(runs_of(np.array([target], np.uint32))[0])
            if self._is_out(run, last, kind):
                self._add(run, last, self._memory.append(part, 1), tensor_bytes_of(last))
                if kind in _FOUND:
                    self._found.add(last)
            else:
                done.append(last)
            payloads += 1
            if payloads == _TURN_FRAMES:
                break
        self._memory.publish()
        return last, done

    def settle(
        self, acknowledged_sequence: int, settled_sequence: int, held: Mapping[int, int]
    ) -> None:
        """What is done: all up to the first, and up to the second all but ``held``."""
        self.held = held
        done = {}
        for run in self._runs:
            through = min(settled_sequence, held.get(run, settled_sequence + 1) - 1)
            done[run] = max(acknowledged_sequence, through if run else 0)
        self._done = done

    def let_go(self) -> list[int] | None:
        """Lets go of some of what is done; None if nothing of it is left.

        Returns the sequence numbers of what may have tensors.
        """
        gone: list[int] = []
        for turn in range(_TURN_FRAMES):
            run = next(iter(self._done), None)
            if run is None:
                return gone if turn else None
            pieces, through = self._runs.get(run), self._done[run]
            if pieces is None or pieces[0].first > through:
                self._done = {other: end for other, end in self._done.items() if other != run}
                continue
            self._let_go_of(run, pieces, through, gone)
        return gone

    def _let_go_of(self, run: int, pieces: deque[_Piece], through: int, gone: list[int]) -> None:
        piece = pieces[0]
        kept = piece.kept
        count, size_bytes = kept.count, kept.size_bytes
        if count > 1 or size_bytes == HEADER_BYTES:
            headers = np.frombuffer(self._memory.read(kept.position, size_bytes), FRAME_DTYPE)
            sequence = headers["sequence"]
            count = int(np.searchsorted(sequence, np.uint64(through), side="right"))
            size_bytes = count * HEADER_BYTES
            found = np.isin(headers["kind"][:count], _FOUND)
            self._found.difference_update(sequence[:count][found].tolist())
            if count < kept.count:
                piece.first = int(sequence[count])
        else:
            gone.append(piece.first)
            self._found.discard(piece.first)
        self._memory.let_go(kept, count)
        self.count -= count
        self.size_bytes -= size_bytes
        self._bytes[run] -= size_bytes
        if not kept.count:
            pieces.popleft()
            self.tensor_bytes[run] -= piece.tensor_bytes
            if not pieces:
                del self._runs[run], self._bytes[run], self.tensor_bytes[run]

    def _take_headers(self, data: memoryview, runs_of: RunsOf) -> int:
        headers = np.frombuffer(data, FRAME_DTYPE)
        kind, target, sequence = headers["kind"], headers["target"], headers["sequence"]
        of_series = np.isin(kind, _OF_SERIES)
        runs = np.where(kind == FrameKind.END_RUN, target, np.uint32(0))
        if of_series.any():
            runs[of_series] = runs_of(target[of_series])
        for run in np.unique(runs).tolist():
            mask = runs == run
            if run:
                mask &= sequence >= np.uint64(self.held.get(run, 1 << 63))
            else:
                mask &= of_series
            chosen = headers if mask.all() else headers[mask]
            if len(chosen):
                kept = self._memory.append(chosen.tobytes(), len(chosen))
                numbers = chosen["sequence"]
                self._add(run, int(numbers[0]), kept)
                found = np.isin(chosen["kind"], _FOUND)
                if found.any():
                    self._found.update(numbers[found].tolist())
        return int(sequence[-1])

    def _is_out(self, run: int, sequence: int, kind: int) -> bool:
        """Whether a frame is out, as far as ``held`` says; what is of no known run may be."""
        if not run:
            return kind in _OF_SERIES
        return sequence >= self.held.get(run, 1 << 63)

    def _add(self, run: int, first: int, kept: KeptFrames, tensor_bytes: int = 0) -> None:
        self._runs.setdefault(run, deque()).append(_Piece(first, kept, tensor_bytes))
        self.tensor_bytes[run] += tensor_bytes
        self.count += kept.count
        self.size_bytes += kept.size_bytes
        self._bytes[run] += kept.size_bytes


class _Piece:
    """Frames that are kept together, of ascending sequence."""

    __slots__ = ("first", "kept", "tensor_bytes")

    def __init__(self, first: int, kept: KeptFrames, tensor_bytes: int) -> None:
        self.first = first
        self.kept = kept
        self.tensor_bytes = tensor_bytes


class _Place(NamedTuple):
    """Where a frame lies."""

    sequence: int
    position: int
    size_bytes: int


class FramesInOrder:
    """Frames of several runs in the order of their sequence numbers, behind ``sequence``."""

    def __init__(self, memory: ParkedFrames, pieces: list[_Piece], sequence: int) -> None:
        self._memory = memory
        self._sequence = sequence
        self._pieces = pieces
        self._places: NDArray[Any] | None = None

    def parts(self, max_bytes: int) -> Iterator[tuple[int, bytes]]:
        """Yields frames back to back, of about ``max_bytes``.

        With the sequence number of the one frame, if it has a payload, else 0. What is done by
        then is left out.
        """
        rows = max(1, max_bytes // HEADER_BYTES)
        frames: list[memoryview] = []
        for place in self._in_order():
            frame = self._memory.read(place.position, place.size_bytes)
            if len(frame) < HEADER_BYTES or HEADER.unpack_from(frame)[2] & PADDING:
                continue
            if frames and (place.size_bytes > HEADER_BYTES or len(frames) == rows):
                yield 0, b"".join(frames)
                frames = []
            if place.size_bytes > HEADER_BYTES:
                yield place.sequence, bytes(frame)
            else:
                frames.append(frame)
        if frames:
            yield 0, b"".join(frames)

    def _in_order(self) -> Iterator[_Place]:
        places = []
        for piece in self._pieces:
            kept = piece.kept
            if kept.count > 1:
                data = self._memory.read(kept.position, kept.size_bytes)
                numbers = np.frombuffer(data, FRAME_DTYPE)["sequence"].tolist()
                places += [
                    _Place(number, kept.position + at * HEADER_BYTES, HEADER_BYTES)
                    for at, number in enumerate(numbers)
                ]
            elif kept.count:
                places.append(_Place(piece.first, kept.position, kept.size_bytes))
        return iter(sorted(place for place in places if place.sequence > self._sequence))


def _is_without_payload(part: memoryview) -> bool:
    return int.from_bytes(part[:4], "little") == HEADER_BYTES


def _split(data: memoryview) -> Iterator[memoryview]:
    """The frames in ``data``: those without a payload together as far as they follow each other."""
    start = offset = 0
    while offset < len(data):
        size_bytes = int.from_bytes(data[offset : offset + 4], "little")
        if size_bytes != HEADER_BYTES:
            if offset > start:
                yield data[start:offset]
            yield data[offset : offset + size_bytes]
            start = offset + size_bytes
        offset += size_bytes
    if offset > start:
        yield data[start:offset]

"""Frames: in a message, in a ring that changes while it is read, and parked ones."""

from __future__ import annotations

from typing import Final

from boardd.core.errors import RequestError
from boardd.core.intake.frames import ScalarFrames, WalkedFrames
from boardd.core.intake.parked_frames import ParkedFrames
from boardd.core.intake.shared_ring import RingFrames, SharedRing
from boardd.core.intake.walker import LOST, walk_message
from boardd_protos.frame import HEADER_BYTES, Frame, FrameError, FrameKind, decode, frame_bytes
from boardd_protos.log_file import LogFileError, LogHeader, decode_words

from fuzz.script import Script

#: Of a frame; small, so that frames above it are met.
MAX_FRAME_BYTES: Final = 4096
#: The ring of these targets, in steps of eight bytes from the smallest.
_RING_STEPS: Final = 128
_SMALLEST_RING_BYTES: Final = 2 * HEADER_BYTES
_LOG_WORDS_BYTES: Final = 112


def message(data: bytes) -> None:
    """The frames of a message: as a plain loop over them finds them, or refused."""
    script = Script(data)
    is_sparse, received = bool(script.number() & 1), script.number()
    frames = script.rest()
    try:
        walked = walk_message(frames, received, is_sparse=is_sparse)
    except FrameError:
        return
    plain = list(decode(frames))
    found = [number for one in walked for number in _sequences(one)]
    assert found == [frame.sequence for frame in plain]
    assert found == sorted(set(found))
    assert is_sparse or found == list(range(found[0] if found else 1, 1 + (found or [0])[-1]))
    assert sum(map(_size_bytes, walked)) == len(frames)


def ring(data: bytes) -> None:
    """A ring whose client writes between any two reads, and commits what it likes."""
    script = Script(data)
    memory = _ChangingMemory(script, _SMALLEST_RING_BYTES + 8 * (script.number() % _RING_STEPS))
    try:
        reader = SharedRing(
            memory,
            script.number(),
            8 * script.number(),
            MAX_FRAME_BYTES,
            script.number(),
        )
        _follow(reader, script)
    except (FrameError, RequestError):
        return


def parked(data: bytes) -> None:
    """A dead client's log, whose words say where parked frames and the ring's tail are."""
    script = Script(data)
    ring_bytes = _SMALLEST_RING_BYTES + 8 * (script.number() % _RING_STEPS)
    header = LogHeader(bytes(16), 1, 4096, ring_bytes, 4096 + ring_bytes, 4096)
    words_bytes = script.bytes(_LOG_WORDS_BYTES - 64)
    memory = _ChangingMemory(script, ring_bytes)
    try:
        words = decode_words(bytes(64) + words_bytes.ljust(48, b"\0"), header)
    except LogFileError:
        return
    try:
        frames = ParkedFrames(
            memory.read, ring_bytes, words, words.acknowledged_sequence, MAX_FRAME_BYTES
        )
        looks = 0
        while frames.look(HEADER_BYTES + 8 * script.number()):
            looks += 1
            assert looks <= ring_bytes
        while taken := frames.take(MAX_FRAME_BYTES):
            walk_message(taken, 0, is_sparse=True)
    except (FrameError, RequestError):
        pass
    try:
        reader = SharedRing.at_tail(memory, words, words.acknowledged_sequence, MAX_FRAME_BYTES)
        _salvage(reader, ring_bytes)
    except (FrameError, RequestError):
        return


class _ChangingMemory:
    """A ring; before each read its client writes what the script says."""

    def __init__(self, script: Script, size_bytes: int) -> None:
        self._script = script
        self.size_bytes = size_bytes
        self._data = bytearray(script.part()[:size_bytes].ljust(size_bytes, b"\0"))

    def read(self, offset: int, size_bytes: int) -> bytes:
        """See ``RingBytes``."""
        assert min(offset, size_bytes) >= 0
        assert offset + size_bytes <= self.size_bytes, "read past the end"
        if self._script:
            at = self._script.number(2) % self.size_bytes
            written = self._script.bytes(self._script.number() % 16)[: self.size_bytes - at]
            self._data[at : at + len(written)] = written
        return bytes(self._data[offset : offset + size_bytes])


def _follow(reader: SharedRing, script: Script) -> None:
    while script:
        sequence = reader.sequence + script.number()
        position = reader.position + 8 * script.number()
        if script.number() & 1:
            sequence, position = script.number(8), script.number(8)
        reader.commit(sequence, position)
        while reader.has_more:
            found = reader.read(1 + 16 * script.number())
            _check(reader, found)
            if found.position == reader.position:
                break
            reader.advance(found)
    _salvage(reader, MAX_FRAME_BYTES)


def _salvage(reader: SharedRing, size_bytes: int) -> None:
    start = reader.position
    while (found := reader.salvage(256)).position != reader.position:
        _check(reader, found)
        reader.advance(found)
        assert reader.position - start <= size_bytes + MAX_FRAME_BYTES


def _check(reader: SharedRing, found: RingFrames) -> None:
    assert found.position >= reader.position
    sequences = [number for one in found.frames for number in _sequences(one)]
    assert sequences == sorted(set(sequences))
    assert not sequences or sequences[-1] <= found.sequence
    assert sum(map(_size_bytes, found.frames)) <= found.position - reader.position + HEADER_BYTES


def _sequences(walked: WalkedFrames) -> list[int]:
    if isinstance(walked, ScalarFrames):
        return [int(number) for number in walked.headers["sequence"]]
    return [walked.sequence]


def _size_bytes(walked: WalkedFrames) -> int:
    if isinstance(walked, Frame):
        # What was still being copied is told with a text that did not lie in the ring.
        is_lost = walked.kind == FrameKind.ABORTED and walked.payload == LOST.encode()
        return HEADER_BYTES if is_lost else frame_bytes(len(walked.payload))
    return len(walked) * HEADER_BYTES

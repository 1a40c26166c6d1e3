"""What is parked is found by whoever reads the log, however often room was made."""

from __future__ import annotations

import random
from collections import deque

from boardd.core.intake.parked_frames import ParkedFrames as Reader
from boardd_client.memory.parked_frames import KeptFrames, ParkedFrames
from boardd_protos.frame import Frame, FrameKind, decode, encode
from boardd_protos.log_file import LogWords

CAPACITY_BYTES = 4096


def frame(sequence: int, payload_bytes: int = 0) -> bytes:
    kind = FrameKind.SUMMARY if payload_bytes else FrameKind.SCALAR
    return encode(Frame(kind, 0, sequence, 0, 0.0, 1, 0.0, bytes(payload_bytes)))


def found(view: memoryview, words: memoryview) -> list[int]:
    """The numbers of the frames that a reader finds."""
    reader = Reader(
        lambda offset, size_bytes: bytes(view[offset : offset + size_bytes]),
        len(view),
        LogWords(1 << 40, 0, 0, *words),
        0,
        len(view),
    )
    while reader.look(200):
        pass
    frames = b""
    while taken := reader.take(200):
        frames += taken
    return [each.sequence for each in decode(frames)]


def test_frames_that_are_done_in_any_order_leave_room_for_others() -> None:
    view, words = memoryview(bytearray(CAPACITY_BYTES)), memoryview(bytearray(24)).cast("Q")
    parked = ParkedFrames(view, words, 0, lambda end: end)
    chance = random.Random(1)
    kept: deque[tuple[list[int], KeptFrames]] = deque()
    sequence = rooms = 0
    for _ in range(3000):
        if chance.random() < 0.6:
            numbers = list(range(sequence + 1, sequence + 1 + chance.choice([1, 1, 3])))
            payload_bytes = chance.randrange(100) if len(numbers) == 1 else 0
            frames = b"".join(frame(number, payload_bytes) for number in numbers)
            if parked.make_room(len(frames)):
                rooms += 1
                kept.append((numbers, parked.append(frames, len(numbers))))
                parked.publish()
                sequence = numbers[-1]
        if kept and chance.random() < 0.5:
            kept.rotate(chance.randrange(3))
            numbers, frames_kept = kept[0]
            count = chance.randint(1, len(numbers))
            parked.let_go(frames_kept, count)
            del numbers[:count]
            if not numbers:
                kept.popleft()
        assert found(view, words) == sorted(number for numbers, _ in kept for number in numbers)
    assert rooms > 500


def test_without_memory_there_is_no_room() -> None:
    words = memoryview(bytearray(24)).cast("Q")
    parked = ParkedFrames(memoryview(bytearray(CAPACITY_BYTES)), words, 0, lambda end: 0)
    assert parked.make_room(48) is False

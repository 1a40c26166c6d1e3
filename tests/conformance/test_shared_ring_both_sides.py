"""What the client writes into its ring is what the daemon reads out of it, at any pace."""

from __future__ import annotations

import random

import numpy as np
import pytest
from boardd.core.intake.shared_ring import SharedRing
from boardd_client.memory.ring import Ring
from boardd_protos.frame import Frame, FrameKind
from support.ring_memory import RingMemory
from support.walked import frames_of


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("ring_bytes", [1000, 4096])
def test_every_frame_is_read_once_and_in_order(seed: int, ring_bytes: int) -> None:
    choose = random.Random(seed)
    buffer = memoryview(bytearray(ring_bytes))
    ring = Ring(buffer)
    reader = SharedRing(RingMemory(buffer[: ring.size_bytes]), 0, 0, 1 << 20)
    written: list[Frame] = []
    read: list[Frame] = []
    pending: list[int] = []
    while len(read) < 400:
        for _ in range(choose.randrange(12)):
            step = len(written)
            kind = choose.choice([FrameKind.SCALAR, FrameKind.SCALAR, FrameKind.SUMMARY])
            count = (
                choose.choice([1, 1, choose.randrange(2, 10)]) if kind == FrameKind.SCALAR else 1
            )
            payload = choose.randbytes(choose.randrange(100)) if kind != FrameKind.SCALAR else b""
            is_claimed = kind == FrameKind.SUMMARY and choose.random() < 0.3
            value = step / 4 if kind == FrameKind.SCALAR else 0.0
            if kind == FrameKind.SUMMARY:
                sequence = ring.append(kind, 1, step, 2.0, payload, claimed=is_claimed)
            elif count == 1:
                sequence = ring.append_scalar(1, step, 2.0, value)
            else:
                targets = np.ones(count, np.uint64)
                sequence = ring.append_scalars(targets, step, 2.0, np.full(count, value))
            if not sequence:
                break
            if is_claimed:
                pending.append(sequence)
            for number in range(sequence - count + 1, sequence + 1):
                written.append(Frame(kind, 0, number, step, 2.0, 1, value, payload))
        if pending and choose.random() < 0.5:
            ring.commit(pending.pop(choose.randrange(len(pending))))
        last = ring.readable()
        reader.commit(last, ring.position_after(last))
        while reader.has_more and choose.random() < 0.8:
            found = reader.read(choose.choice([1, 48, 200, 1 << 20]))
            read += frames_of(found.frames)
            reader.advance(found)
        ring.free(reader.sequence)
    assert read == written[: len(read)]


@pytest.mark.parametrize("seed", range(10))
def test_all_that_was_written_is_found_behind_what_was_committed(seed: int) -> None:
    choose = random.Random(seed)
    buffer = memoryview(bytearray(4096))
    ring = Ring(buffer)
    reader = SharedRing(RingMemory(buffer), 0, 0, 1 << 20)
    for step in range(choose.randrange(500)):
        if choose.random() < 0.2:
            ring.append(FrameKind.SUMMARY, 1, step, 0.0, choose.randbytes(choose.randrange(60)))
        else:
            ring.append_scalar(1, step, 0.0, 0.5)
        if step % 20 == 0:
            last = ring.readable()
            reader.commit(last, ring.position_after(last))
            while reader.has_more:
                reader.advance(reader.read(300))
            ring.free(last)
    last = reader.sequence
    while (left := reader.salvage(choose.choice([48, 1000]))).sequence > last:
        reader.advance(left)
        last = left.sequence
    assert last == ring.last_sequence

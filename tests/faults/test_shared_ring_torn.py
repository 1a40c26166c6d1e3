"""The ring of a process that is killed while it writes: the daemon's reader finds whole frames."""

from __future__ import annotations

import mmap
import os
import random
import time
from pathlib import Path

import pytest
from boardd.core.intake.shared_ring import SharedRing
from boardd_protos.frame import FrameKind
from support.nursery import Nursery
from support.ring_memory import RingMemory
from support.waiting import wait_until
from support.walked import frames_of

RING_BYTES = 4096
KILLS = 60


@pytest.mark.slow
def test_what_a_killed_writer_left_is_whole_frames_with_their_own_content(
    tmp_path: Path,
) -> None:
    found_any = 0
    with Nursery("boardd_client.memory.ring") as writers:
        for number in range(KILLS):
            memory = ring_of_a_killed_writer(writers, tmp_path / str(number))
            found_any += len(sequences_found(memory)) > 20
    assert found_any > KILLS // 2


def ring_of_a_killed_writer(writers: Nursery, path: Path) -> memoryview:
    path.write_bytes(bytes(RING_BYTES))
    with path.open("r+b") as file:
        view = memoryview(mmap.mmap(file.fileno(), RING_BYTES))
    writer = writers.popen(["", "-m", "support.ring_writer", str(path)], env=os.environ)
    wait_until(lambda: any(view[RING_BYTES // 2 :]), "it has come half way")
    time.sleep(random.uniform(0.0, 0.003))  # what is tested is that any moment will do
    writer.kill()
    writer.wait()
    return view


def sequences_found(view: memoryview) -> list[int]:
    """Checks all that any reader finds; returns the numbers of the frames."""
    # A reader that stands at any frame of the last lap reads on to the end.
    sequences = []
    for position in range(0, RING_BYTES, 8):
        after = int.from_bytes(view[position + 8 : position + 16], "little") - 1
        reader = SharedRing(RingMemory(view), after, position, 1 << 20)
        found = reader.salvage(RING_BYTES)
        for frame in frames_of(found.frames):
            sequence = frame.sequence
            assert frame.target == sequence
            assert (frame.step, frame.wall_time) == (-sequence, float(sequence))
            if sequence % 7:
                assert (frame.kind, frame.value) == (FrameKind.SCALAR, sequence / 2)
            else:
                assert frame.kind == FrameKind.SUMMARY
                assert frame.payload == sequence.to_bytes(8, "little") * (sequence % 5)
            sequences.append(sequence)
    return sequences

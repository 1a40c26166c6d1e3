"""The ring of a process that is killed while it writes: the daemon's reader finds whole frames."""

from __future__ import annotations

import mmap
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from boardd.core.intake.shared_ring import SharedRing
from boardd_protos.frame import FrameKind
from support.ring_memory import RingMemory
from support.walked import frames_of

RING_BYTES = 4096
KILLS = 60

WRITE = """
import mmap, struct, sys
from boardd_client.memory.ring import Ring
from boardd_protos.frame import FrameKind

ring = Ring(memoryview(mmap.mmap(int(sys.argv[1]), int(sys.argv[2]))))
print("ready", flush=True)
sequence = 0
while True:
    sequence += 1
    if sequence % 7:
        assert ring.append_scalar(sequence, -sequence, float(sequence), sequence / 2) == sequence
    else:
        payload = struct.pack("<Q", sequence) * (sequence % 5)
        appended = ring.append(FrameKind.SUMMARY, sequence, -sequence, float(sequence), payload)
        assert appended == sequence
    ring.free(sequence - 10)
"""


@pytest.mark.slow
def test_what_a_killed_writer_left_is_whole_frames_with_their_own_content() -> None:
    found_any = 0
    for _ in range(KILLS):
        fd = os.memfd_create("ring")
        os.truncate(fd, RING_BYTES)
        view = memoryview(mmap.mmap(fd, RING_BYTES))
        command = [sys.executable, "-c", WRITE, str(fd), str(RING_BYTES)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=[fd]) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(random.uniform(0.0, 0.003))  # what is tested is that any moment will do
            writer.send_signal(signal.SIGKILL)
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
        found_any += len(sequences) > 20
        os.close(fd)
    assert found_any > KILLS // 2

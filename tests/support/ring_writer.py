"""A process that writes frames to a ring until it is killed: ``python -m support.ring_writer``.

Argument: a file, whose size is that of the ring's memory.
"""

from __future__ import annotations

import mmap
import struct
import sys

from boardd_client.memory.ring import Ring
from boardd_protos.frame import FrameKind


def _write(path: str) -> None:
    with open(path, "r+b") as file:
        ring = Ring(memoryview(mmap.mmap(file.fileno(), 0)))
    sequence = 0
    while True:
        sequence += 1
        if sequence % 7:
            assert (
                ring.append_scalar(sequence, -sequence, float(sequence), sequence / 2) == sequence
            )
        else:
            payload = struct.pack("<Q", sequence) * (sequence % 5)
            appended = ring.append(FrameKind.SUMMARY, sequence, -sequence, float(sequence), payload)
            assert appended == sequence
        ring.free(sequence - 10)


if __name__ == "__main__":
    _write(sys.argv[1])

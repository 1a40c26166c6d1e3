"""The event files of one rank's run, read in pieces that are never the whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from boardd.events.scan import Scan, ScanEnd, scan
from boardd.events.tfrecord import HEADER, HEADER_BYTES, OVERHEAD_BYTES
from boardd.merge.inputs import event_files

_READ: Final = os.O_RDONLY | os.O_CLOEXEC


class Piece(NamedTuple):
    """Some records of file number ``file``, which follow those of the piece before."""

    file: int
    scan: Scan


@dataclass
class RankFile:
    """One event file. What lies behind ``size_bytes`` is not read.

    ``left_bytes`` is what a torn tail or a damaged record leaves unread.
    """

    path: Path
    size_bytes: int
    left_bytes: int = 0


class RankFiles:
    """The event files in ``directory`` as they are at this moment, in TensorBoard's order.

    A file ends, as it does for TensorBoard, at the first record that is torn or damaged.
    Raises ``OSError``.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = [RankFile(path, path.stat().st_size) for path in event_files(directory)]

    def pieces(self, piece_bytes: int) -> Iterator[Piece]:
        """Yields all records, about ``piece_bytes`` at once. Raises ``OSError``.

        The second time, a file that has grown ends where it ended before.
        """
        for number, file in enumerate(self.files):
            for found in _scans(file, piece_bytes):
                yield Piece(number, found)


def _scans(file: RankFile, piece_bytes: int) -> Iterator[Scan]:
    end = file.size_bytes
    fd = os.open(file.path, _READ)
    try:
        at, wanted = 0, piece_bytes
        while at + OVERHEAD_BYTES <= end:
            size_bytes = min(wanted, end - at)
            data = os.pread(fd, size_bytes, at)
            if len(data) < size_bytes:  # somebody cut the file off
                break
            found = scan(data)
            if found.records:
                yield found
            at += found.size_bytes
            wanted = piece_bytes
            if found.end is ScanEnd.DAMAGED:
                break
            if found.end is ScanEnd.CUT and not found.records:
                needed = _record_bytes(data)
                if needed > end - at:
                    break
                wanted = needed
        file.left_bytes += end - at
        file.size_bytes = at
    finally:
        os.close(fd)


def _record_bytes(data: bytes) -> int:
    """The size of the record that begins ``data``."""
    if len(data) < HEADER_BYTES:
        return OVERHEAD_BYTES
    length, _ = HEADER.unpack_from(data)
    return OVERHEAD_BYTES + int(length)

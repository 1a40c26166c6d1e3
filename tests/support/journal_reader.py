"""A group's journal read by hand, so that it is judged by none of boardd's own code.

Of an entry: the number of its field, and of scalars the session and the steps, of a closed
point the emission.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

from support.independent_reader import fields, records

MARK = 20111
SCALARS, CLOSED = 5, 8


class ReadEntry(NamedTuple):
    field: int
    session: bytes
    steps: tuple[int, ...]
    sequence: int


class ReadSegment(NamedTuple):
    first: int
    has_state: bool
    entries: list[ReadEntry]


def read_segment(path: Path) -> ReadSegment | None:
    """Reads one segment; None if its first mark is not whole."""
    first, has_state, marks = 0, False, 0
    entries: list[ReadEntry] = []
    for number, data in enumerate(records(path.read_bytes())):
        found = list(fields(data))
        if number == 0:
            first = next((one for field, one in found if field == 2), 0)
            has_state = any(field == 3 for field, _ in found)
        elif any(field == MARK for field, _ in found):
            marks += 1
        else:
            ((field, content),) = found
            entries.append(_entry(field, content))
    return ReadSegment(first, has_state, entries) if marks else None


def read_journal(directory: Path) -> dict[int, ReadEntry]:
    """The entries of all segments by their numbers; later segments count."""
    found: dict[int, ReadEntry] = {}
    for path in sorted(directory.glob("journal.boardd.*")):
        segment = read_segment(path)
        if segment is not None:
            found = {number: one for number, one in found.items() if number < segment.first}
            found.update(enumerate(segment.entries, segment.first))
    return found


def _entry(field: int, content: bytes) -> ReadEntry:
    inner = dict(fields(content))
    if field == SCALARS:
        rows = len(inner[5]) // 8
        steps = struct.unpack(f"<{len(inner[3]) // 8}q", inner[3])
        if len(steps) != rows:
            steps *= rows
        return ReadEntry(field, inner[1], steps, 0)
    return ReadEntry(field, b"", (), inner.get(1, 0) if field == CLOSED else 0)

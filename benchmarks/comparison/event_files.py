"""Counts what arrived, so that no peer is fast by writing less."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

#: In a record of boardd's that shows nothing, behind its wall time: see marks.proto.
_MARK: Final = b"\xfa\xe8\x09"
_MARK_OFFSET: Final = 9


def records(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yields where each whole record of an event file ends, and what it holds."""
    data = path.read_bytes()
    offset = 0
    while len(data) - offset >= 16:
        (size_bytes,) = struct.unpack_from("<Q", data, offset)
        start = offset + 12
        offset = start + size_bytes + 4
        if offset > len(data):
            break
        yield offset, data[start : start + size_bytes]


def count_events(logdir: Path, tag: str) -> int:
    """Events beneath ``logdir`` that name ``tag``; a torn last record is not counted.

    Nor are boardd's marks, which name tags, too.
    """
    needle = tag.encode()
    return sum(
        needle in data and not data.startswith(_MARK, _MARK_OFFSET)
        for path in logdir.rglob("*tfevents*")
        for _, data in records(path)
    )


def count_names(logdir: Path, tag: str) -> int:
    """How often the events that ``count_events`` counts name ``tag``."""
    needle = tag.encode()
    return sum(
        data.count(needle)
        for path in logdir.rglob("*tfevents*")
        for _, data in records(path)
        if not data.startswith(_MARK, _MARK_OFFSET)
    )


def count_embeddings(logdir: Path) -> int:
    """The number of embeddings beneath ``logdir`` that the projector finds with their vectors."""
    count = 0
    for config in logdir.rglob("projector_config.pbtxt"):
        for line in config.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "tensor_path":
                path = config.parent / value.strip().strip('"')
                count += path.is_file() and path.stat().st_size > 0
    return count

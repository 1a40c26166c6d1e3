"""Counts what arrived, so that no peer is fast by writing less."""

from __future__ import annotations

import struct
from pathlib import Path


def count_events(logdir: Path, tag: str) -> int:
    """Events beneath ``logdir`` that name ``tag``; a torn last record is not counted."""
    needle = tag.encode()
    count = 0
    for path in logdir.rglob("*tfevents*"):
        data = path.read_bytes()
        offset = 0
        while len(data) - offset >= 16:
            (size_bytes,) = struct.unpack_from("<Q", data, offset)
            start = offset + 12
            if start + size_bytes + 4 > len(data):
                break
            count += needle in data[start : start + size_bytes]
            offset = start + size_bytes + 4
    return count


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

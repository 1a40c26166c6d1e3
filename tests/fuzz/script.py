"""Bytes of a fuzzer, taken as the steps that a target does."""

from __future__ import annotations

import struct
from typing import Final

_LENGTH: Final = struct.Struct("<H")


class Script:
    """Takes ``data`` from its beginning on; behind its end are zeros and empty parts."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def number(self, size_bytes: int = 1) -> int:
        """An unsigned integer of so many bytes, little-endian."""
        return int.from_bytes(self.bytes(size_bytes), "little")

    def bytes(self, size_bytes: int) -> bytes:
        """The next bytes, at most so many."""
        data = self._data[self._at : self._at + size_bytes]
        self._at += size_bytes
        return data

    def part(self) -> bytes:
        """A length of two bytes, and as many bytes."""
        return self.bytes(self.number(_LENGTH.size))

    def rest(self) -> bytes:
        """All that is left."""
        return self.bytes(len(self._data))


def part(data: bytes) -> bytes:
    """What ``Script.part`` returns ``data`` for. Raises ``struct.error`` past 64 KiB."""
    return _LENGTH.pack(len(data)) + data

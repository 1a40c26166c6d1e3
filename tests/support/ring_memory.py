"""Plain memory that the daemon's reader of a ring, or of a whole log, takes for a client's."""

from __future__ import annotations

from typing import Final

from boardd_client.memory.definitions import KeptDefinitions
from boardd_client.memory.parked_frames import ParkedFrames
from boardd_protos.log_file import LogWords, decode_entries


class RingMemory:
    """A ring; ``view`` is all of it."""

    def __init__(self, view: memoryview | bytes) -> None:
        self._view = memoryview(view)

    @property
    def size_bytes(self) -> int:
        return len(self._view)

    def read(self, offset: int, size_bytes: int) -> bytes:
        data = bytes(self._view[offset : offset + size_bytes])
        assert len(data) == size_bytes, "read past the ring's end"
        return data


class LogMemory(RingMemory):
    """A whole log. Its client writes to what is not private."""

    def __init__(self, log_bytes: int, definitions_bytes: int) -> None:
        self.ring: Final = memoryview(bytearray(log_bytes))
        super().__init__(self.ring)
        self._words = words = memoryview(bytearray(48)).cast("Q")
        self.tail_words: Final = words[:2]
        self._used = words[2:3]
        self._parked = memoryview(bytearray(log_bytes))
        self.parked: Final = ParkedFrames(self._parked, words[3:], log_bytes, lambda end: log_bytes)
        self._definitions = memoryview(bytearray(definitions_bytes))
        self.kept: Final = KeptDefinitions(
            self._definitions, self._used, definitions_bytes, lambda end: definitions_bytes
        )
        #: Whether its client lives.
        self.is_locked = True

    def words(self) -> LogWords:
        return LogWords(*self._words)

    def read_parked(self, offset: int, size_bytes: int) -> bytes:
        data = bytes(self._parked[offset : offset + size_bytes])
        assert len(data) == size_bytes, "read past what is parked"
        return data

    def definitions(self, at: int) -> tuple[list[bytes], int]:
        """The entries from an offset on, and the offset to go on at."""
        used = self._used[0]
        return list(decode_entries(bytes(self._definitions[at:used]))), used

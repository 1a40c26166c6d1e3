"""Reads the records of event files, as far as they are whole and undamaged."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from boardd.events.marks import BATCH_TAG, BATCH_TAG_OFFSET, batch_of, is_mark, told_offset
from boardd.events.tfrecord import (
    FOOTER,
    FOOTER_BYTES,
    HEADER,
    HEADER_BYTES,
    LENGTH,
    OVERHEAD_BYTES,
    masked_crc32c,
)

_CHUNK_BYTES: Final = 1 << 20
#: From the tag of a mark's batch back to where its record begins.
_BEFORE_TAG_BYTES: Final = HEADER_BYTES + BATCH_TAG_OFFSET


class EventRecords:
    """The records of the file ``fd``, whose size is that of this moment. Blocks on the disk.

    The file is read within ``reading()``.
    """

    def __init__(
        self, fd: int, reading: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        self._fd = fd
        self._reading = reading
        self.size_bytes = os.fstat(fd).st_size
        #: Lengths that were met, each with its checksum.
        self._checksums: dict[int, int] = {}

    def walk(self, offset: int = 0) -> Iterator[bytes]:
        """Yields what the records hold, from ``offset`` to the first that is torn or damaged.

        Raises ``OSError``.
        """
        chunk, at = b"", 0
        while True:
            if len(chunk) - at < OVERHEAD_BYTES:
                offset, chunk, at = offset + at, self._read(offset + at, _CHUNK_BYTES), 0
                if len(chunk) < OVERHEAD_BYTES:
                    return
            length, checksum = HEADER.unpack_from(chunk, at)
            if self._checksum(length) != checksum:
                return
            end = at + OVERHEAD_BYTES + length
            if end > len(chunk):
                if offset + end > self.size_bytes:
                    return
                size_bytes = max(_CHUNK_BYTES, OVERHEAD_BYTES + length)
                offset, chunk, at = offset + at, self._read(offset + at, size_bytes), 0
                end = OVERHEAD_BYTES + length
                if end > len(chunk):  # cut off since
                    return
            data = chunk[at + HEADER_BYTES : end - FOOTER_BYTES]
            if masked_crc32c(data) != FOOTER.unpack_from(chunk, end - FOOTER_BYTES)[0]:
                return
            yield data
            at = end

    def sync(self) -> None:
        """Makes what the file holds durable. Raises ``OSError``."""
        with self._reading():
            os.fdatasync(self._fd)

    def chunks(self, max_bytes: int) -> Iterator[bytes]:
        """Yields the bytes of the file, ``max_bytes`` of them at most. Raises ``OSError``."""
        at = 0
        while at < min(max_bytes, self.size_bytes):
            chunk = self._read(at, _CHUNK_BYTES)
            if not chunk:
                return
            yield chunk
            at += len(chunk)

    def last_table(self) -> int | None:
        """Returns where the last mark that tells all of the run begins; None if there is none.

        Raises ``OSError``.
        """
        end = self.size_bytes
        while end > 0:
            start = max(0, end - _CHUNK_BYTES)
            # A tag may lie across the edge.
            chunk = self._read(start, end - start + len(BATCH_TAG) - 1)
            at = chunk.rfind(BATCH_TAG)
            while at >= 0:
                offset = start + at - _BEFORE_TAG_BYTES
                if offset >= 0 and self._is_table(offset, chunk, at - _BEFORE_TAG_BYTES):
                    return offset
                at = chunk.rfind(BATCH_TAG, 0, at + len(BATCH_TAG) - 1)
            end = start
        return None

    def _is_table(self, offset: int, chunk: bytes, at: int) -> bool:
        """Whether a mark that begins at ``offset`` of the file, ``at`` of ``chunk``, tells all.

        Nearly all do not, and hardly more than their bytes is looked at.
        """
        if at < 0 or at + HEADER_BYTES > len(chunk):
            chunk, at = self._read(offset, HEADER_BYTES), 0
        if at + HEADER_BYTES > len(chunk):
            return False
        length, checksum = HEADER.unpack_from(chunk, at)
        size_bytes = OVERHEAD_BYTES + length
        if self._checksum(length) != checksum or offset + size_bytes > self.size_bytes:
            return False
        if at + size_bytes > len(chunk):
            chunk, at = self._read(offset, size_bytes), 0
        if chunk.find(told_offset(offset), at, at + size_bytes) < 0:
            return False
        data = next(self.walk(offset), b"")
        try:
            return is_mark(data) and batch_of(data).offset == offset
        except ValueError:
            return False

    def _read(self, offset: int, size_bytes: int) -> bytes:
        with self._reading():
            return os.pread(self._fd, size_bytes, offset)

    def _checksum(self, length: int) -> int:
        known = self._checksums.get(length)
        if known is None:
            if len(self._checksums) >= _CHUNK_BYTES:
                self._checksums.clear()
            known = self._checksums[length] = masked_crc32c(LENGTH.pack(length))
        return known

"""Reads the records of an event file strictly: every checksum, and where it ends.

TensorBoard's own readers pass over what they cannot read.
"""

from __future__ import annotations

from collections.abc import Iterator

from boardd.events.tfrecord import FOOTER, FOOTER_BYTES, HEADER, HEADER_BYTES, LENGTH, masked_crc32c


class TruncatedRecordError(ValueError):
    """The data ends inside a record; more of it may still come."""


class CorruptRecordError(ValueError):
    """A checksum does not match; nothing after it can be trusted."""


def read_records(data: bytes) -> Iterator[bytes]:
    """Yields what the records in ``data`` hold.

    Raises ``TruncatedRecordError`` where the data ends inside a record and
    ``CorruptRecordError`` where a checksum is wrong; the records before have
    been yielded.
    """
    offset = 0
    while offset < len(data):
        if len(data) - offset < HEADER_BYTES:
            raise TruncatedRecordError(f"record at offset {offset}: header cut off")
        length, length_crc = HEADER.unpack_from(data, offset)
        if masked_crc32c(data[offset : offset + LENGTH.size]) != length_crc:
            raise CorruptRecordError(f"record at offset {offset}: bad checksum of its length")
        start = offset + HEADER_BYTES
        end = start + length
        if len(data) < end + FOOTER_BYTES:
            raise TruncatedRecordError(f"record at offset {offset}: {length} bytes, cut off")
        record = data[start:end]
        if masked_crc32c(record) != FOOTER.unpack_from(data, end)[0]:
            raise CorruptRecordError(f"record at offset {offset}: bad checksum of its data")
        yield record
        offset = end + FOOTER_BYTES

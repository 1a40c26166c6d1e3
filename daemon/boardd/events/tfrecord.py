"""TFRecord, the format of an event file.

A file is records back to back and nothing else, all integers little-endian::

    offset  type  field
         0  u64   length
         8  u32   masked CRC-32C of the 8 bytes of length
        12  ...   data, length bytes
        12+length u32   masked CRC-32C of data

Source: tensorflow/core/lib/io/record_writer.h. The mask is of
tensorflow/core/lib/hash/crc32c.h: rotate right by 15 bits, add a constant, so
that the checksum of data that itself holds checksums stays a good one.
CRC-32C is Castagnoli's polynomial as in RFC 3720, appendix B.4.
"""

from __future__ import annotations

import functools
import struct
from typing import Final

import google_crc32c

HEADER: Final = struct.Struct("<QI")
HEADER_BYTES: Final = HEADER.size
LENGTH: Final = struct.Struct("<Q")
FOOTER: Final = struct.Struct("<I")
FOOTER_BYTES: Final = FOOTER.size
#: What a record takes beside its data.
OVERHEAD_BYTES: Final = HEADER_BYTES + FOOTER_BYTES

MASK_DELTA: Final = 0xA282EAD8

#: So many bytes are copied faster than the checksums of several fields are begun.
_COPIED_BYTES: Final = 4 << 10


def masked_crc32c(*fields: bytes) -> int:
    """The masked CRC-32C of ``fields`` back to back, an unsigned 32-bit integer."""
    crc: int = google_crc32c.value(fields[0])
    for field in fields[1:]:
        crc = google_crc32c.extend(crc, field)
    return ((crc >> 15 | crc << 17) + MASK_DELTA) & 0xFFFFFFFF


def record(*fields: bytes) -> bytes:
    """One record that holds ``fields`` back to back; 16 bytes longer than they are."""
    data_bytes = sum(map(len, fields))
    if len(fields) > 1 and data_bytes <= _COPIED_BYTES:
        fields = (b"".join(fields),)
    return b"".join((_header(data_bytes), *fields, FOOTER.pack(masked_crc32c(*fields))))


@functools.lru_cache(maxsize=1024)
def _header(size_bytes: int) -> bytes:
    length = LENGTH.pack(size_bytes)
    return length + FOOTER.pack(masked_crc32c(length))


def whole_records(records: bytes | memoryview, size_bytes: int) -> tuple[int, int]:
    """Length and number of the leading records that lie wholly in the first ``size_bytes`` bytes.

    ``records`` are intact records; their checksums are not looked at.
    """
    offset = count = 0
    while offset + OVERHEAD_BYTES <= size_bytes:
        (length,) = LENGTH.unpack_from(records, offset)
        end = offset + OVERHEAD_BYTES + length
        if end > size_bytes:
            break
        offset = end
        count += 1
    return offset, count

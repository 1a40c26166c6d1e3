"""The compiled loop of ``scan``. Importing this loads numba and compiles it.

Reads the layout that ``scalars`` describes. Whatever the bytes are, it stays within them.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import types

from boardd.events.exact import SCALAR_TAG
from boardd.events.kinds_kernel import _after_varint
from boardd.events.scalars_kernel import _BYTES, _column, _compiled, masked_crc32c
from boardd.events.tfrecord import FOOTER_BYTES, HEADER_BYTES, LENGTH, OVERHEAD_BYTES

#: See ``scalars_kernel``.
_Unsigned: TypeAlias = Any

#: Columns of what is found, one row for each record: where its data begins and ends, and
#: if it is a scalar, the bits of its wall time, step and value, and its tag. The value is
#: a float64 if it is exact, else a float32.
START, END, WALL_TIME, STEP, VALUE, IS_EXACT, TAG_START, TAG_END, TAG_HASH = range(9)
COLUMNS: Final = 9
#: Of ``TAG_HASH`` if the record is not a scalar.
NOT_SCALAR: Final = 0

#: Where the scan ended: at a record that is not whole, is damaged, or found no room.
CUT, DAMAGED, FULL = range(3)

_OVERHEAD_BYTES: Final = np.uint64(OVERHEAD_BYTES)
_HEADER_BYTES: Final = np.uint64(HEADER_BYTES)
_FOOTER_BYTES: Final = np.uint64(FOOTER_BYTES)
_LENGTH_BYTES: Final = np.uint64(LENGTH.size)
_EXACT_TAG: Final = np.uint64(int.from_bytes(SCALAR_TAG, "little"))
_EXACT_TAG_BYTES: Final = np.uint64(len(SCALAR_TAG))
_0, _1, _4, _5, _7, _8 = np.array([0, 1, 4, 5, 7, 8], np.uint64)
_VARINT_BITS: Final = np.uint64(63)
#: FNV-1a, 64 bits.
_HASH_BASIS: Final = np.uint64(0xCBF29CE484222325)
_HASH_PRIME: Final = np.uint64(0x100000001B3)

_ROWS: Final = types.Array(types.uint64, 2, "C")
_NUMBERS: Final = _column(types.uint64, readonly=False)


@_compiled(types.uint64(_BYTES, types.uint64, types.uint64))
def _fixed(data: npt.NDArray[np.uint8], at: _Unsigned, size_bytes: _Unsigned) -> _Unsigned:
    number = _0
    for byte in range(size_bytes):
        number |= np.uint64(data[at + byte]) << (_8 * byte)
    return number


@_compiled(types.uint64(_BYTES, types.uint64, types.uint64))
def _long_varint(data: npt.NDArray[np.uint8], at: _Unsigned, end: _Unsigned) -> _Unsigned:
    """A varint of up to 64 bits."""
    number = shift = _0
    while at < end and shift <= _VARINT_BITS:
        number |= np.uint64(data[at] & 0x7F) << shift
        if data[at] < 0x80:
            break
        shift += _7
        at += _1
    return number


@_compiled(types.void(_BYTES, types.uint64, types.uint64, _NUMBERS))
def _scalar(
    data: npt.NDArray[np.uint8], at: _Unsigned, end: _Unsigned, row: npt.NDArray[np.uint64]
) -> None:
    """Fills ``row`` if the event is one scalar with a tag, in the order that all writers have."""
    row[TAG_HASH] = _0
    row[WALL_TIME] = row[STEP] = _0
    if at + _8 < end and data[at] == 0x09:
        row[WALL_TIME] = _fixed(data, at + _1, _8)
        at += _1 + _8
    if at < end and data[at] == 0x10:
        row[STEP] = _long_varint(data, at + _1, end)
        at = _after_varint(data, at + _1, end)
    if at >= end or data[at] != 0x2A:
        return
    length = _long_varint(data, at + _1, end)
    at = _after_varint(data, at + _1, end)
    if at >= end or length > end - at or data[at] != 0x0A:
        return
    summary_end = at + length
    length = _long_varint(data, at + _1, summary_end)
    at = _after_varint(data, at + _1, summary_end)
    if at >= summary_end or length != summary_end - at or data[at] != 0x0A:
        return
    length = _long_varint(data, at + _1, summary_end)
    at = _after_varint(data, at + _1, summary_end)
    if at >= summary_end or length == _0 or summary_end - at != length + _5:
        return
    tag_end = at + length
    if data[tag_end] != 0x15:
        return
    row[VALUE], row[IS_EXACT] = _fixed(data, tag_end + _1, _4), _0
    left = end - summary_end
    if left:
        if left != _EXACT_TAG_BYTES + _8 or _fixed(data, summary_end, _EXACT_TAG_BYTES) != (
            _EXACT_TAG
        ):
            return
        row[VALUE], row[IS_EXACT] = _fixed(data, summary_end + _EXACT_TAG_BYTES, _8), _1
    row[TAG_START], row[TAG_END] = at, tag_end
    value = _HASH_BASIS
    for byte in range(at, tag_end):
        value = (value ^ np.uint64(data[byte])) * _HASH_PRIME
    row[TAG_HASH] = value | _1


@_compiled(types.void(_BYTES, _ROWS, _NUMBERS))
def scan(
    data: npt.NDArray[np.uint8], rows: npt.NDArray[np.uint64], end: npt.NDArray[np.uint64]
) -> None:
    """Fills ``rows`` with the records at the beginning of ``data``.

    ``end`` gets their number, where they end, and why there.
    """
    count = at = known_length = known_checksum = _0
    size = np.uint64(len(data))
    reason = np.uint64(FULL)
    while count < np.uint64(len(rows)):
        if size - at < _OVERHEAD_BYTES:
            reason = np.uint64(CUT)
            break
        length = _fixed(data, at, _LENGTH_BYTES)
        checksum = _fixed(data, at + _LENGTH_BYTES, _FOOTER_BYTES)
        if length != known_length or checksum != known_checksum:
            if np.uint64(masked_crc32c(data, at, at + _LENGTH_BYTES)) != checksum:
                reason = np.uint64(DAMAGED)
                break
            known_length, known_checksum = length, checksum
        if length > size - at - _OVERHEAD_BYTES:
            reason = np.uint64(CUT)
            break
        start = at + _HEADER_BYTES
        stop = start + length
        if np.uint64(masked_crc32c(data, start, stop)) != _fixed(data, stop, _FOOTER_BYTES):
            reason = np.uint64(DAMAGED)
            break
        row = rows[count]
        row[START], row[END] = start, stop
        _scalar(data, start, stop, row)
        count += _1
        at = stop + _FOOTER_BYTES
    end[0], end[1], end[2] = count, at, reason

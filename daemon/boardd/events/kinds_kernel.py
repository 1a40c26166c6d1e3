"""The compiled loop of ``kinds``. Importing this loads numba and compiles it.

Reads the same layout as ``scalars`` describes, of any kind of value.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import types

from boardd.events.scalars_kernel import _BYTES, _column, _compiled
from boardd.events.tfrecord import HEADER_BYTES, OVERHEAD_BYTES

#: See ``scalars_kernel``.
_Unsigned: TypeAlias = Any

_HEADER_BYTES: Final = np.uint64(HEADER_BYTES)
_OVERHEAD_BYTES: Final = np.uint64(OVERHEAD_BYTES)
_WALL_TIME_BYTES: Final = np.uint64(9)
_0, _1, _7, _8 = np.array([0, 1, 7, 8], np.uint64)
#: FNV-1a, 64 bits.
_HASH_BASIS: Final = np.uint64(0xCBF29CE484222325)
_HASH_PRIME: Final = np.uint64(0x100000001B3)

_NUMBERS: Final = _column(types.uint64, readonly=False)


@_compiled(types.uint64(_BYTES, types.uint64, types.uint64))
def _after_varint(data: npt.NDArray[np.uint8], at: _Unsigned, end: _Unsigned) -> _Unsigned:
    while at < end and data[at] >= 0x80:
        at += _1
    return at + _1


@_compiled(types.uint64(_BYTES, types.uint64, types.uint64))
def _varint(data: npt.NDArray[np.uint8], at: _Unsigned, end: _Unsigned) -> _Unsigned:
    number = shift = _0
    while at < end:
        number |= np.uint64(data[at] & 0x7F) << shift
        if data[at] < 0x80 or shift >= np.uint64(35):
            break
        shift += _7
        at += _1
    return number


@_compiled(types.uint64(_BYTES, types.uint64, types.uint64))
def _shown(data: npt.NDArray[np.uint8], at: _Unsigned, end: _Unsigned) -> _Unsigned:
    """A hash of an event's one tag and of the field behind it; 0 if it has another form."""
    at += _WALL_TIME_BYTES
    if at < end and data[at] == 0x10:
        at = _after_varint(data, at + _1, end)
    if at >= end or data[at] != 0x2A:
        return _0
    at = _after_varint(data, at + _1, end)
    if at >= end or data[at] != 0x0A:
        return _0
    length = _varint(data, at + _1, end)
    at = _after_varint(data, at + _1, end)
    if at + length != end or at >= end or data[at] != 0x0A:
        return _0
    length = _varint(data, at + _1, end)
    at = _after_varint(data, at + _1, end)
    if at + length >= end:
        return _0
    value = _HASH_BASIS
    for byte in range(at, at + length + _1):
        value = (value ^ np.uint64(data[byte])) * _HASH_PRIME
    return value | _1


@_compiled(types.void(_BYTES, _NUMBERS, _NUMBERS, _NUMBERS))
def notable(
    data: npt.NDArray[np.uint8],
    seen: npt.NDArray[np.uint64],
    found: npt.NDArray[np.uint64],
    end: npt.NDArray[np.uint64],
) -> None:
    """Finds the events of the records in ``data`` that show something not met before.

    ``seen`` is a table of hashes, 0 where it is free; its length is a power of two, its
    last entry counts the others. The place of an event and its end go into ``found``,
    two numbers for each. ``end`` gets how many numbers that are, and where the first
    record begins that is not whole or found no room.
    """
    mask = np.uint64(len(seen) // 2 - 1)
    count = at = _0
    size = np.uint64(len(data))
    while at + _OVERHEAD_BYTES <= size and count + _1 < np.uint64(len(found)):
        length = _0
        for byte in range(_8):
            length |= np.uint64(data[at + byte]) << (_8 * byte)
        if length > size or at + _OVERHEAD_BYTES + length > size:
            break
        start = at + _HEADER_BYTES
        shown = _shown(data, start, start + length)
        is_known = False
        if shown != _0:
            place = shown >> _1 & mask
            while seen[place] != _0 and seen[place] != shown:
                place = (place + _1) & mask
            is_known = seen[place] == shown
            if not is_known and seen[-1] < mask >> _1:
                seen[place] = shown
                seen[-1] += _1
        if not is_known:
            found[count] = start
            found[count + _1] = start + length
            count += _1 + _1
        at += _OVERHEAD_BYTES + length
    end[_0] = count
    end[_1] = at

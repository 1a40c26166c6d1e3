"""The compiled loop of ``scalars``. Importing this loads numba and compiles it.

Wall times come as the bits of their IEEE form, so that nothing here can alter them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar

import numba
import numpy as np
import numpy.typing as npt
from numba import types

from boardd.events.exact import SCALAR_TAG
from boardd.events.tfrecord import FOOTER_BYTES, HEADER_BYTES, LENGTH, MASK_DELTA

_F = TypeVar("_F", bound=Callable[..., Any])
#: A uint64 or uint32 with numba's arithmetic, which NumPy's stubs do not describe.
_Unsigned: TypeAlias = Any

_CASTAGNOLI: Final = 0x82F63B78  # CRC-32C's polynomial, bits reversed
_LENGTH_BYTES: Final = np.uint64(LENGTH.size)
_HEADER_BYTES: Final = np.uint64(HEADER_BYTES)
_FOOTER_BYTES: Final = np.uint64(FOOTER_BYTES)
_EXACT_TAG: Final = np.uint64(int.from_bytes(SCALAR_TAG, "little"))
_EXACT_TAG_BYTES: Final = np.uint64(len(SCALAR_TAG))
# Positions are unsigned throughout: a signed one costs a test for a negative
# index at every byte, and mixing the two makes a float of their sum.
_0, _1, _2, _3, _4, _5, _6, _7, _8 = np.arange(9, dtype=np.uint64)


def _crc_tables() -> npt.NDArray[np.uint32]:
    """Tables of shape [8, 256] for CRC-32C by eight bytes at once.

    ``tables[k][b]`` is the state that byte ``b`` leaves after ``k`` zero bytes.
    Source: Kounavis and Berry, "A Systematic Approach to Building High
    Performance Software-Based CRC Generators", 2005.
    """
    state = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        state = np.where(state & 1, (state >> 1) ^ np.uint32(_CASTAGNOLI), state >> 1)
    tables = np.empty((8, 256), np.uint32)
    tables[0] = state
    for row in range(1, 8):
        previous = tables[row - 1]
        tables[row] = (previous >> 8) ^ state[previous & 0xFF]
    return tables


_TABLES: Final = _crc_tables()


def _column(dtype: Any, *, readonly: bool = True) -> Any:
    return types.Array(dtype, 1, "C", readonly=readonly)


_BYTES: Final = _column(types.uint8, readonly=False)


def _compiled(signature: Any) -> Callable[[_F], _F]:
    """Compiles for ``signature``, through numba's cache if that can be used."""

    def compile_function(function: _F) -> _F:
        compiled: _F
        try:
            compiled = numba.njit(signature, nogil=True, cache=True)(function)
        except Exception:  # no writable directory, a full disk, a broken cache file
            compiled = numba.njit(signature, nogil=True)(function)
        return compiled

    return compile_function


@_compiled(types.uint32(_BYTES, types.uint64, types.uint64))
def masked_crc32c(data: npt.NDArray[np.uint8], start: _Unsigned, end: _Unsigned) -> _Unsigned:
    """Masked CRC-32C of ``data[start:end]``."""
    crc = np.uint32(0xFFFFFFFF)
    at = start
    while at + _8 <= end:
        low = crc ^ (
            np.uint32(data[at])
            | np.uint32(data[at + _1]) << np.uint32(8)
            | np.uint32(data[at + _2]) << np.uint32(16)
            | np.uint32(data[at + _3]) << np.uint32(24)
        )
        crc = (
            _TABLES[_7, np.uint8(low)]
            ^ _TABLES[_6, np.uint8(low >> np.uint32(8))]
            ^ _TABLES[_5, np.uint8(low >> np.uint32(16))]
            ^ _TABLES[_4, np.uint8(low >> np.uint32(24))]
            ^ _TABLES[_3, data[at + _4]]
            ^ _TABLES[_2, data[at + _5]]
            ^ _TABLES[_1, data[at + _6]]
            ^ _TABLES[_0, data[at + _7]]
        )
        at += _8
    while at < end:
        crc = _TABLES[_0, np.uint8(crc) ^ data[at]] ^ crc >> np.uint32(8)
        at += _1
    crc ^= np.uint32(0xFFFFFFFF)
    return np.uint32((crc >> np.uint32(15) | crc << np.uint32(17)) + np.uint32(MASK_DELTA))


@_compiled(types.uint64(_BYTES, types.uint64, types.uint64, types.uint64))
def _put_fixed(
    out: npt.NDArray[np.uint8], at: _Unsigned, bits: _Unsigned, size_bytes: _Unsigned
) -> _Unsigned:
    for byte in range(size_bytes):
        out[at + byte] = np.uint8(bits >> (_8 * byte))
    return at + size_bytes


@_compiled(types.uint64(_BYTES, types.uint64, types.uint64))
def _put_varint(out: npt.NDArray[np.uint8], at: _Unsigned, number: _Unsigned) -> _Unsigned:
    while number >= np.uint64(0x80):
        out[at] = np.uint8(number | np.uint64(0x80))
        number >>= _7
        at += _1
    out[at] = np.uint8(number)
    return at + _1


@_compiled(types.uint64(types.uint64))
def _varint_bytes(number: _Unsigned) -> _Unsigned:
    size_bytes = _1
    while number >= np.uint64(0x80):
        number >>= _7
        size_bytes += _1
    return size_bytes


@_compiled(
    types.uint64(
        _column(types.uint64),
        _column(types.uint64),
        _column(types.float64),
        _column(types.uint64),
        _column(types.uint8),
        _column(types.uint64),
        _column(types.uint64),
        types.boolean,
        _BYTES,
    )
)
def encode(
    wall_time: npt.NDArray[np.uint64],
    step: npt.NDArray[np.uint64],
    value: npt.NDArray[np.float64],
    tag_index: npt.NDArray[np.uint64],
    tag_bytes: npt.NDArray[np.uint8],
    tag_start: npt.NDArray[np.uint64],
    tag_length: npt.NDArray[np.uint64],
    is_exact: bool,
    out: npt.NDArray[np.uint8],
) -> _Unsigned:
    """Writes the encoded records into ``out`` and returns their length in bytes.

    ``is_exact``: values that float32 rounds are kept as they are, too. Checks no bounds:
    ``out`` must be long enough and every index in range.
    """
    at = _0
    single = np.empty(1, np.float32)
    single_bits, value_bits = single.view(np.uint32), value.view(np.uint64)
    known_length = _0
    known_length_crc = np.uint64(masked_crc32c(np.zeros(8, np.uint8), _0, _8))
    for row in range(np.uint64(wall_time.shape[0])):
        start = tag_start[tag_index[row]]
        tag_bytes_count = tag_length[tag_index[row]]
        value_length = _5
        if tag_bytes_count > _0:
            value_length += _1 + _varint_bytes(tag_bytes_count) + tag_bytes_count
        summary_length = _1 + _varint_bytes(value_length) + value_length

        record = at
        data = at + _HEADER_BYTES
        at = data
        if wall_time[row] != _0:
            out[at] = 0x09
            at = _put_fixed(out, at + _1, wall_time[row], _8)
        if step[row] != _0:
            out[at] = 0x10
            at = _put_varint(out, at + _1, step[row])
        out[at] = 0x2A
        at = _put_varint(out, at + _1, summary_length)
        out[at] = 0x0A
        at = _put_varint(out, at + _1, value_length)
        if tag_bytes_count > _0:
            out[at] = 0x0A
            at = _put_varint(out, at + _1, tag_bytes_count)
            for byte in range(tag_bytes_count):
                out[at + byte] = tag_bytes[start + byte]
            at += tag_bytes_count
        out[at] = 0x15
        single[0] = value[row]
        at = _put_fixed(out, at + _1, np.uint64(single_bits[0]), _4)
        if is_exact and value[row] == value[row] and np.float64(single[0]) != value[row]:
            at = _put_fixed(out, at, _EXACT_TAG, _EXACT_TAG_BYTES)
            at = _put_fixed(out, at, value_bits[row], _8)

        _put_fixed(out, record, at - data, _LENGTH_BYTES)
        if at - data != known_length:  # the events of a run differ little in length
            known_length = at - data
            known_length_crc = np.uint64(masked_crc32c(out, record, record + _LENGTH_BYTES))
        _put_fixed(out, record + _LENGTH_BYTES, known_length_crc, _FOOTER_BYTES)
        at = _put_fixed(out, at, np.uint64(masked_crc32c(out, data, at)), _FOOTER_BYTES)
    return at

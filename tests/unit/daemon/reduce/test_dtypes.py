"""Tensor bytes become the arrays that dtype and shape say."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from boardd.reduce.dtypes import as_array
from boardd_protos.dtypes import NUMPY_DTYPES
from boardd_protos.invalid import InvalidTensorError


@pytest.mark.parametrize("dtype", NUMPY_DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 4), (1, 2, 3, 4)])
def test_bytes_become_the_array_they_came_from(dtype, shape):
    expected = (np.arange(np.prod(shape, dtype=int)) % 2).astype(dtype).reshape(shape)
    stored = expected.astype(expected.dtype.newbyteorder("<")).tobytes()
    array = as_array(stored, dtype, shape)
    assert array.dtype == np.dtype(dtype)
    assert array.shape == shape
    assert not array.flags.writeable
    np.testing.assert_array_equal(array, expected)


def test_no_copy_is_made_where_numpy_has_the_dtype():
    data = np.arange(12, dtype="<f4").tobytes()
    array = as_array(memoryview(data), "float32", (3, 4))
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))


def test_unaligned_memory_is_read():
    data = b"x" + np.arange(5, dtype="<f8").tobytes()
    np.testing.assert_array_equal(as_array(memoryview(data)[1:], "float64", (5,)), np.arange(5.0))


def test_any_byte_but_zero_is_true():
    array = as_array(bytes([0, 1, 2, 255]), "bool", (4,))
    assert array.tolist() == [False, True, True, True]
    assert array.view(np.uint8).tolist() == [0, 1, 1, 1]


def test_bfloat16_is_the_upper_half_of_a_float32():
    patterns = range(1 << 16)
    data = struct.pack(f"<{len(patterns)}H", *patterns)
    array = as_array(data, "bfloat16", (256, 256)).reshape(-1)
    expected = struct.pack(f"<{len(patterns)}I", *(pattern << 16 for pattern in patterns))
    assert array.dtype == np.float32
    assert array.astype("<f4").tobytes() == expected
    assert as_array(struct.pack("<H", 0x3FC0), "bfloat16", (1,))[0] == 1.5


@pytest.mark.parametrize(
    ("data", "dtype", "shape", "message"),
    [
        (b"", "complex64", (0,), "'complex64' is not supported"),
        (b"", "", (0,), "'' is not supported"),
        (b"", ">f4", (0,), "'>f4' is not supported"),
        (b"1234567", "float32", (2,), r"7 bytes .* which has 8 bytes"),
        (b"123456789", "float32", (2,), r"9 bytes .* which has 8 bytes"),
        (b"", "int8", (), r"0 bytes .* which has 1 bytes"),
        (b"", "int8", (-1,), r"\(-1,\) has a negative dimension"),
        (b"", "int8", (0, -1), "negative dimension"),
        (b"", "float64", (2**32, 2**32), "overflows"),
        (b"", "float64", (2**63,), "overflows"),
        (b"", "int8", (0, 2**62, 2**62), "overflows"),
        (b"1", "int8", (1,) * 33, "33 dimensions"),
    ],
)
def test_contradictions_are_refused(data, dtype, shape, message):
    with pytest.raises(InvalidTensorError, match=message):
        as_array(data, dtype, shape)


def test_a_huge_dimension_of_an_empty_tensor_is_allowed():
    assert as_array(b"", "int8", (2**40, 0)).shape == (2**40, 0)

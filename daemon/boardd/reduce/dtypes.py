"""Tensor bytes to NumPy arrays.

Tensors arrive C-contiguous and little-endian, with a name of ``ITEM_BYTES``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from boardd_protos.dtypes import ITEM_BYTES
from boardd_protos.invalid import InvalidTensorError
from boardd_protos.limits import MAX_DIMENSIONS

#: As what its bytes are taken at first.
_STORED: Final = {
    name: np.dtype({"bool": "uint8", "bfloat16": "uint16"}.get(name, name)).newbyteorder("<")
    for name in ITEM_BYTES
}

_MAX_BYTES: Final = int(np.iinfo(np.intp).max)


def size_bytes(dtype: str, shape: Sequence[int]) -> int:
    """Returns the size in bytes of a tensor of ``dtype`` and ``shape``.

    Raises ``InvalidTensorError`` on a dtype not in ``ITEM_BYTES``, more than
    ``MAX_DIMENSIONS`` dimensions, a negative one, or a size that no address
    space holds.
    """
    try:
        item_bytes = ITEM_BYTES[dtype]
    except KeyError:
        raise InvalidTensorError(
            f"dtype {dtype!r} is not supported; use one of {', '.join(ITEM_BYTES)}"
        ) from None
    if len(shape) > MAX_DIMENSIONS:
        raise InvalidTensorError(f"a tensor of {len(shape)} dimensions; at most {MAX_DIMENSIONS}")
    # Zeros are left out: NumPy refuses (2**62, 0), whose other strides overflow.
    extent, is_empty = item_bytes, False
    for dimension in shape:
        if dimension < 0:
            raise InvalidTensorError(f"shape {tuple(shape)} has a negative dimension")
        extent *= dimension or 1
        is_empty |= not dimension
    if extent > _MAX_BYTES:
        raise InvalidTensorError(f"shape {tuple(shape)} of {dtype} overflows the address space")
    return 0 if is_empty else extent


def as_array(data: bytes | memoryview, dtype: str, shape: Sequence[int]) -> npt.NDArray[Any]:
    """Returns the array of ``shape`` that ``data`` holds.

    Args:
        data: the elements, C-contiguous and little-endian, without padding.
        dtype: a name in ``ITEM_BYTES``.
        shape: the dimensions; ``()`` for one element.

    Returns:
        A read-only view of ``data``, unaligned if ``data`` is. Two dtypes
        are copied: bool, in which any byte but zero is true, and bfloat16, whose
        values become the same values in float32.

    Raises ``InvalidTensorError`` when ``size_bytes`` does, and when ``data`` is not
    as long as dtype and shape say.
    """
    expected = size_bytes(dtype, shape)
    actual = data.nbytes if isinstance(data, memoryview) else len(data)
    if actual != expected:
        raise InvalidTensorError(
            f"{actual} bytes for a tensor of {dtype} and shape {tuple(shape)}, "
            f"which has {expected} bytes"
        )
    elements: npt.NDArray[Any] = np.frombuffer(
        data if actual else bytearray(),
        dtype=_STORED[dtype],
    )
    if dtype == "bool":
        elements = elements != 0
    elif dtype == "bfloat16":
        # A bfloat16 is the upper half of the float32 of the same value.
        widened = elements.astype(np.uint32)
        widened <<= 16
        elements = widened.view(np.float32)
    elements = elements.reshape(shape)
    elements.flags.writeable = False
    return elements

"""Element types of tensors: NumPy's names, and ``bfloat16``, which NumPy does not have."""

from __future__ import annotations

from typing import Final

import numpy as np

#: The size of one element in bytes, by the name of its type.
ITEM_BYTES: Final[dict[str, int]] = {
    "bool": 1,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "uint8": 1,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
    "float16": 2,
    "bfloat16": 2,
    "float32": 4,
    "float64": 8,
}
#: Those that NumPy has.
NUMPY_DTYPES: Final = tuple(name for name in ITEM_BYTES if name != "bfloat16")
FLOATS: Final = ("float16", "bfloat16", "float32", "float64")


def element(data: bytes | memoryview, dtype: str) -> float:
    """Returns the first element of ``data``, little-endian and of ``dtype``, as a float."""
    if dtype == "bfloat16":  # the upper half of the float32 of the same value
        upper = int(np.frombuffer(data, "<u2", 1)[0])
        return float(np.array(upper << 16, np.uint32).view(np.float32))
    return float(np.frombuffer(data, np.dtype(dtype).newbyteorder("<"), 1)[0])

"""Values of any dtype as the contiguous arrays of two dtypes that the kernels take."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from boardd_protos.invalid import InvalidTensorError

#: Values converted at a time: the copy stays in the second level of cache.
CHUNK: Final = 1 << 16

#: Kernels keep the GIL for up to this many values: to get it back would take longer.
FEW_VALUES: Final = 16_384

#: Values that one call of a kernel may see before the 32-bit tables are emptied.
MAX_KERNEL_VALUES: Final = 1 << 30

FLOAT32: Final = np.dtype(np.float32)
FLOAT64: Final = np.dtype(np.float64)

Chunks = Callable[[], Iterator[npt.NDArray[Any]]]


def chunked(values: npt.NDArray[Any]) -> tuple[Chunks, np.dtype[Any]]:
    """Returns ``values`` as contiguous 1-D arrays, anew at each call, and their dtype.

    They are float32 if that holds every value of the dtype, else float64.
    """
    dtype = compared_dtype(values.dtype)
    flat = values.reshape(-1)
    direct = flat.dtype == dtype and flat.flags.c_contiguous and flat.flags.aligned
    length = MAX_KERNEL_VALUES if direct else CHUNK

    if direct and flat.size <= length:
        whole = (flat,) if flat.size else ()
        return lambda: iter(whole), dtype

    def chunks() -> Iterator[npt.NDArray[Any]]:
        for start in range(0, flat.size, length):
            yield np.ascontiguousarray(converted(flat[start : start + length], dtype))

    return chunks, dtype


@functools.cache
def compared_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Returns float32 if that holds every value of ``dtype``, else float64."""
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise InvalidTensorError(
            f"a histogram of {dtype}; use bool, an integer or a float up to 64 bits"
        )
    return FLOAT32 if np.result_type(dtype, np.float16).itemsize <= 4 else FLOAT64


def converted(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Returns ``values`` as ``dtype``, themselves if that is theirs."""
    if values.dtype == dtype:
        return values
    # Newer NumPy warns of signalling NaNs.
    with np.errstate(invalid="ignore"):
        return values.astype(dtype)


def read_only(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns a view of ``values`` that may not be written to.

    Numba compiles anew for arrays that may be: kernels are shown read-only ones alone.
    """
    if not values.flags.writeable:
        return values
    view = values.view()
    view.flags.writeable = False
    return view

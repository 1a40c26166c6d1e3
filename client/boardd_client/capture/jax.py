"""Capture of JAX arrays.

They are immutable, so a reference is a snapshot. The transfer to the host starts
at once, and ``wait`` reads its result. The values are lost only if the array is
donated to a later call before it was read; that is reported.
"""

from __future__ import annotations

import math
from typing import Any, Final

import jax
import numpy as np
from boardd_protos.dtypes import ITEM_BYTES

from boardd_client.capture.host import not_one_element, unsupported_dtype, write
from boardd_client.errors import CaptureError
from boardd_client.memory.pending import Pending

#: By JAX's dtype. Naming one is slow, so each is named once.
_names: Final[dict[Any, str]] = {}


class JaxTensor:
    """A JAX array; ``copy_into`` starts the transfer to the host and returns."""

    __slots__ = ("_array", "dtype", "shape", "size_bytes")

    def __init__(self, array: Any, dtype: str) -> None:
        self._array = array
        self.dtype = dtype
        self.shape: tuple[int, ...] = array.shape
        self.size_bytes: int = array.size * array.dtype.itemsize

    def copy_into(self, slot: memoryview) -> Pending | None:
        """Starts the transfer."""
        if self.size_bytes == 0:
            return None
        self._array.copy_to_host_async()
        return _Copy(self._array, slot)


class _Copy:
    """A transfer under way."""

    def __init__(self, array: Any, slot: memoryview) -> None:
        self._array = array
        self._slot = slot

    def is_done(self) -> bool:
        """Whether the array is computed or deleted; its transfer may still be under way."""
        array = self._array
        return bool(array.is_deleted() or array.is_ready())

    def wait(self) -> None:
        """Waits for the computation and the transfer, then fills the slot."""
        try:
            values = np.asarray(self._array)
        except Exception as error:  # XLA's errors have no common type below this
            raise CaptureError(f"JAX did not yield the values of an array: {error}") from None
        finally:
            del self._array
        # NumPy cannot cast to an ml_dtypes type in another byte order, nor need it.
        write(values.view(np.uint16) if values.dtype.name == "bfloat16" else values, self._slot)


def tensor(value: object, what: str) -> JaxTensor:
    """Returns ``value`` as a tensor; see ``boardd_client.capture.tensor``."""
    if isinstance(value, jax.core.Tracer):
        raise TypeError(
            f"{what} is traced by a JAX transformation and has no values: log the function's "
            "result, or log through jax.debug.callback"
        )
    if not isinstance(value, jax.Array):
        raise TypeError(f"{what} is a JAX {type(value).__name__}, expected an Array")
    if not value.is_fully_addressable:
        raise TypeError(
            f"{what} is a JAX array spread over processes: pass a part that this process holds, "
            f"such as {what}.addressable_data(0)"
        )
    if value.is_deleted():
        raise ValueError(f"{what} is a JAX array that was deleted or donated")
    dtype = _names.get(value.dtype)
    if dtype is None:
        dtype = str(value.dtype)
        if dtype not in ITEM_BYTES:
            raise unsupported_dtype(value, what, dtype)
        _names[value.dtype] = dtype
    return JaxTensor(value, dtype)


def scalar(value: object, what: str) -> float | JaxTensor:
    """Returns ``value``, of one element, as a float if the host has it, else as a tensor."""
    result = tensor(value, what)
    if math.prod(result.shape) != 1:
        raise not_one_element(what, type(value), result.shape)
    array: Any = value
    if array.is_ready() and all(device.platform == "cpu" for device in array.devices()):
        try:
            return float(np.asarray(array).reshape(-1)[0])
        except Exception:
            return result  # the computation failed; reading the result later says so
    return result

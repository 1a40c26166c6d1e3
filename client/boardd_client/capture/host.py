"""Capture of host memory: NumPy, the buffer protocol, ``__array__``, DLPack, nested sequences."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any, Final, cast

import numpy as np
from boardd_protos.dtypes import NUMPY_DTYPES

_NAMES: Final[dict[np.dtype[Any], str]] = {
    np.dtype(name).newbyteorder(order): name for name in NUMPY_DTYPES for order in ("<", ">")
}

# What is written to a slot, by what is read.
_LITTLE_ENDIAN: Final = {dtype: dtype.newbyteorder("<") for dtype in _NAMES}

# NumPy 1.22 has it under this name only.
_from_dlpack: Final[Any] = getattr(np, "from_dlpack", None) or getattr(np, "_from_dlpack", None)

# DLPack's device types that are host memory: kDLCPU and kDLCUDAHost.
_HOST_DEVICES: Final = (1, 3)

_REAL_KINDS: Final = "biuf"


class HostTensor:
    """An array in host memory; ``copy_into`` is one copy, made at once."""

    __slots__ = ("_array", "dtype", "shape", "size_bytes")

    def __init__(self, array: np.ndarray[Any, Any], dtype: str) -> None:
        self._array = array
        self.dtype = dtype
        self.shape: tuple[int, ...] = array.shape
        self.size_bytes: int = array.nbytes

    def copy_into(self, slot: memoryview) -> None:
        """Copies the elements to ``slot``; NumPy releases the GIL for all but small arrays."""
        if self.size_bytes:
            array = self._array
            np.ndarray(self.shape, _LITTLE_ENDIAN[array.dtype], slot)[...] = array

    @staticmethod
    def joined(tensors: Sequence[HostTensor]) -> HostTensors:
        """See ``boardd_client.capture.joined``."""
        return HostTensors(tensors)


class HostTensors:
    """Arrays of one dtype in host memory; ``copy_into`` is one copy of all, made at once."""

    __slots__ = ("_arrays", "dtype", "shape", "size_bytes")

    def __init__(self, tensors: Sequence[HostTensor]) -> None:
        self._arrays = [tensor._array.reshape(-1) for tensor in tensors]
        self.dtype = tensors[0].dtype
        self.shape = (sum(array.size for array in self._arrays),)
        self.size_bytes = sum(tensor.size_bytes for tensor in tensors)

    def copy_into(self, slot: memoryview) -> None:
        """Copies the elements to ``slot``, one array after the other."""
        if self.size_bytes:
            target: np.ndarray[Any, Any] = np.ndarray(
                self.shape, _LITTLE_ENDIAN[self._arrays[0].dtype], slot
            )
            np.concatenate(self._arrays, out=target)


def tensor(value: object, what: str) -> HostTensor:
    """Returns ``value`` as a tensor; see ``boardd_client.capture.tensor``."""
    array = value if type(value) is np.ndarray else as_array(value, what)
    name = _NAMES.get(array.dtype)
    if name is None:
        # The dtype's name is enough to know ml_dtypes, which need not be installed.
        if array.dtype.name != "bfloat16":
            raise unsupported_dtype(value, what, array.dtype.name)
        return HostTensor(array.view(np.uint16), "bfloat16")
    return HostTensor(array, name)


def scalar(value: object, what: str) -> float:
    """Returns ``value`` as a float; see ``boardd_client.capture.scalar``."""
    if isinstance(value, np.generic):
        if value.dtype.kind in _REAL_KINDS:
            return float(cast(float, value))
    elif isinstance(value, (int, float, numbers.Number)):
        try:
            return float(cast(float, value))
        except OverflowError:
            raise ValueError(f"{what} is an integer beyond the range of float64") from None
        except TypeError:
            raise TypeError(f"{what} is {value!r}, expected a real number") from None
    if isinstance(value, (bytes, bytearray)):
        raise TypeError(f"{what} is {value!r}, expected a real number")
    array = as_array(value, what)
    if array.dtype.kind not in _REAL_KINDS and array.dtype.name != "bfloat16":
        raise TypeError(
            f"{what} is a {_name(type(value))} of dtype {array.dtype.name}, expected a real number"
        )
    if array.size != 1:
        raise not_one_element(what, type(value), array.shape)
    return float(array.reshape(-1)[0])


def write(array: np.ndarray[Any, Any], slot: memoryview) -> None:
    """Copies ``array``, of one of ``NUMPY_DTYPES``, to ``slot``, C-contiguous and little-endian."""
    if array.size:
        np.ndarray(array.shape, _LITTLE_ENDIAN[array.dtype], slot)[...] = array


def as_array(value: object, what: str) -> np.ndarray[Any, Any]:
    """Returns ``value`` as an array of any dtype, sharing its memory where possible.

    Raises ``TypeError`` for a value that is not host memory or holds no elements,
    ``ValueError`` for nested sequences of unequal lengths.
    """
    if isinstance(value, np.ndarray):
        if isinstance(value, np.ma.MaskedArray):
            raise TypeError(
                f"{what} is a masked array: pass {what}.compressed() to leave the masked "
                f"elements out, or {what}.filled(...)"
            )
        return np.asarray(value)
    if isinstance(value, (list, tuple)):
        _check_sequence(value, what)
        return np.asarray(value)
    if isinstance(value, (bytes, bytearray)):
        return np.frombuffer(value, np.uint8)
    if isinstance(value, (numbers.Number, np.generic)):
        return np.asarray(value)
    device = getattr(value, "__dlpack_device__", None)
    if device is not None and not isinstance(value, type):
        device_type = int(device()[0])
        if device_type not in _HOST_DEVICES:
            raise TypeError(
                f"{what} is a {_name(type(value))} on a device (DLPack type {device_type}) that "
                f"boardd cannot copy from without waiting; pass torch.from_dlpack({what}), or a "
                "NumPy array"
            )
    if isinstance(value, (str, type)):
        raise TypeError(f"{what} is a {_name(type(value))}, expected an array or numbers")
    if hasattr(value, "__array__") or hasattr(value, "__array_interface__"):
        return np.asarray(value)
    if device is not None:
        return _of_dlpack(value, what)
    if _has_buffer(value):
        return _of_buffer(value, what)
    raise TypeError(f"{what} is a {_name(type(value))}, expected an array or numbers")


def not_one_element(what: str, kind: type, shape: tuple[int, ...]) -> ValueError:
    """The error for an array that does not have one element."""
    return ValueError(
        f"{what} is a {_name(kind)} of shape {shape}, expected a number or an array of one "
        f"element, not of {math.prod(shape)}"
    )


def unsupported_dtype(value: object, what: str, dtype: str) -> TypeError:
    """The error for an array whose elements cannot be logged."""
    return TypeError(
        f"{what} is a {_name(type(value))} of dtype {dtype}, expected bool, an integer of 8 to "
        "64 bits, float16, bfloat16, float32 or float64"
    )


def _name(kind: type) -> str:
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _of_dlpack(value: object, what: str) -> np.ndarray[Any, Any]:
    try:
        return cast("np.ndarray[Any, Any]", _from_dlpack(value))
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise TypeError(
            f"{what} is a {_name(type(value))} that NumPy cannot read through DLPack: {error}"
        ) from None


def _of_buffer(value: object, what: str) -> np.ndarray[Any, Any]:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise TypeError(
            f"{what} is a {_name(type(value))} of elements that are not numbers: {error}"
        ) from None


def _has_buffer(value: object) -> bool:
    try:
        memoryview(cast(bytes, value)).release()
    except TypeError:
        return False
    return True


def _check_sequence(value: list[Any] | tuple[Any, ...], what: str) -> tuple[int, ...]:
    """Returns the shape of nested sequences of numbers and NumPy values.

    NumPy alone would also take a list of device arrays, and wait for each of them,
    and would turn rows of unequal lengths into objects.
    """
    kinds = set(map(type, value))
    if all(issubclass(kind, (numbers.Number, np.generic)) for kind in kinds):
        return (len(value),)
    inner: set[tuple[int, ...]] = set()
    for item in value:
        if isinstance(item, (list, tuple)):
            inner.add(_check_sequence(item, what))
        elif isinstance(item, np.ndarray):
            inner.add(item.shape)
        elif isinstance(item, (numbers.Number, np.generic)):
            inner.add(())
        else:
            raise TypeError(
                f"{what} is a {_name(type(value))} of {_name(type(item))}, expected numbers; "
                "stack arrays into one before they are logged"
            )
    if len(inner) != 1:
        raise ValueError(f"{what} has rows of unequal shapes: {sorted(inner)}")
    return (len(value), *inner.pop())

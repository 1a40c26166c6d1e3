"""Capture of MXNet arrays by a copy that MXNet's engine makes.

``copyto`` only enqueues, and the engine orders the copy against every earlier
and later write to the source, so it is a snapshot in program order. The target
is the slot itself, wrapped as an array through DLPack.

The end of the copy is not awaited with ``wait_to_read``. An operation that
failed on the engine leaves its error with every array that depends on it, and
the first wait takes that error away from all of them: a wait for the slot
would hide the error from the training script, which would then read garbage
without a word; and where the script waited first, a wait for the slot would
report success. Instead:

- The wrapper's DLPack deleter, which the engine calls once the last operation
  that holds the wrapper has been destroyed (run, or skipped because its input
  failed), is libc's ``sem_post``: a signal that takes nothing from anyone, and
  for which an engine thread need not have the GIL.
- The slot's last bytes are set to a pattern beforehand, and a copy that was
  skipped leaves it there. For float types it is a signalling NaN, which no
  arithmetic yields; for integers it is eight bytes, and the few integers that
  have not as many are copied as float64 by way of a buffer.
"""

from __future__ import annotations

import ctypes
import math
from typing import Any, Final

import mxnet as mx
import numpy as np
from mxnet.base import _LIB, MXNetError, NDArrayHandle, check_call

from boardd_client.capture import Pending
from boardd_client.capture.host import not_one_element, unsupported_dtype, write
from boardd_client.capture.pending import Failed
from boardd_client.errors import CaptureError

_TYPES: Final = ("bool", "uint8", "int8", "int32", "int64", "float16", "float32", "float64")
# mx.nd gives NumPy's scalar types as dtypes, mx.np gives NumPy's dtypes.
_NAMES: Final[dict[Any, str]] = {
    **{np.dtype(name).type: name for name in _TYPES},
    **{np.dtype(name): name for name in _TYPES},
    np.dtype([("bfloat16", np.uint16)]): "bfloat16",  # MXNet's spelling of it
}

# DLPack's type code (0 signed, 1 unsigned or bool, 2 float) and bits, and the
# pattern that marks a slot as not yet written.
_INTEGER_PATTERN: Final = bytes.fromhex("b1e4a35c967d2ff8")
_LAYOUTS: Final[dict[str, tuple[int, int, bytes]]] = {
    "bool": (1, 1, _INTEGER_PATTERN),
    "uint8": (1, 8, _INTEGER_PATTERN),
    "int8": (0, 8, _INTEGER_PATTERN),
    "int32": (0, 32, _INTEGER_PATTERN),
    "int64": (0, 64, _INTEGER_PATTERN),
    "float16": (2, 16, (0x7D5A).to_bytes(2, "little")),
    "float32": (2, 32, (0x7F95A3C7).to_bytes(4, "little")),
    "float64": (2, 64, (0x7FF5A3C71E2D4B69).to_bytes(8, "little")),
}


class _DLTensor(ctypes.Structure):
    """``DLTensor`` of dlpack.h."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
    ]


class _DLManagedTensor(ctypes.Structure):
    """``DLManagedTensor`` of dlpack.h; MXNet calls ``deleter`` with its address."""

    _fields_ = [
        ("tensor", _DLTensor),
        ("manager_ctx", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    ]


_CPU: Final = 1

_libc: Final = ctypes.CDLL(None)
_libc.sem_init.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_uint)
_libc.sem_wait.argtypes = (ctypes.c_void_p,)
_sem_post: Final = ctypes.cast(_libc.sem_post, ctypes.c_void_p)


class MXNetTensor:
    """An MXNet array; ``copy_into`` enqueues a copy on the engine and returns.

    bfloat16 is widened to float32, exactly, by the engine.
    """

    __slots__ = ("_array", "_array_dtype", "dtype", "shape", "size_bytes")

    def __init__(self, array: Any, array_dtype: str, shape: tuple[int, ...]) -> None:
        self._array = array
        self._array_dtype = array_dtype
        self.dtype = "float32" if array_dtype == "bfloat16" else array_dtype
        self.shape = shape
        self.size_bytes = math.prod(shape) * np.dtype(self.dtype).itemsize

    def copy_into(self, slot: memoryview) -> Pending | None:
        """Enqueues the copy to ``slot``."""
        if self.size_bytes == 0:
            return None
        too_small = self.size_bytes < len(_LAYOUTS[self.dtype][2])
        # What happens here is no part of the script's computation.
        recording = mx.autograd.set_recording(False)
        try:
            array = self._array
            if isinstance(array, mx.np.ndarray):
                array = array.as_nd_ndarray()
            if not self.shape:
                array = array.reshape((1,))
            if too_small:
                return _CopyByWayOfFloat64(array.astype(np.float64), self.dtype, slot)
            if self._array_dtype != self.dtype:
                array = array.astype(self.dtype)
            return _Copy(array, self.dtype, slot)
        except MXNetError as error:
            return Failed(f"MXNet could not enqueue the copy of an array: {error}")
        finally:
            if recording:
                mx.autograd.set_recording(True)


class _Copy:
    """A copy that the engine makes."""

    def __init__(self, array: Any, dtype: str, slot: memoryview) -> None:
        code, bits, pattern = _LAYOUTS[dtype]
        self._pattern = pattern
        self._tail = slot[len(slot) - len(pattern) :]
        self._tail[:] = pattern
        self._memory = ctypes.c_char.from_buffer(slot)
        shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        self._managed = _DLManagedTensor(
            _DLTensor(
                data=ctypes.addressof(self._memory),
                device_type=_CPU,
                ndim=len(shape),
                code=code,
                bits=bits,
                lanes=1,
                shape=ctypes.addressof(shape),
            ),
            deleter=_sem_post,
        )
        self._semaphore = ctypes.addressof(self._managed)
        handle = NDArrayHandle()
        check_call(
            _LIB.MXNDArrayFromDLPackEx(
                ctypes.byref(self._managed), ctypes.c_bool(False), ctypes.byref(handle)
            )
        )
        # MXNet has taken the fields over and reads only the deleter from now on,
        # 56 bytes in. sem_post is given the struct's address, so the semaphore
        # (32 bytes) lies there. Nobody can post it before the wrapper is dropped.
        _libc.sem_init(self._semaphore, 0, 0)
        wrapper = mx.nd.NDArray(handle=handle)
        # The engine writes to the slot and posts the semaphore whatever becomes
        # of this object, also when the interpreter is torn down.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))
        mx.nd._internal._copyto(array, out=wrapper)

    def wait(self) -> None:
        """Waits for the engine; raises ``CaptureError`` when it skipped the copy."""
        while _libc.sem_wait(self._semaphore):
            pass  # interrupted by a signal
        ctypes.pythonapi.Py_DecRef(ctypes.py_object(self))
        skipped = self._tail == self._pattern
        del self._tail, self._memory  # the slot's owner may release it now
        if skipped:
            raise CaptureError(
                "an MXNet operation that the value depends on failed; MXNet raises its error "
                "where the training script waits for the value"
            )


class _CopyByWayOfFloat64:
    """A copy of integers that are too few to hold the pattern. float64 holds them exactly."""

    def __init__(self, array: Any, dtype: str, slot: memoryview) -> None:
        self._dtype = dtype
        self._slot = slot
        self._values = np.empty(array.shape, np.float64)
        self._copy = _Copy(array, "float64", self._values.data.cast("B"))

    def wait(self) -> None:
        """Waits for the engine, then fills the slot."""
        self._copy.wait()
        write(self._values.astype(self._dtype), self._slot)


def tensor(value: object, what: str) -> MXNetTensor:
    """Returns ``value`` as a tensor; see ``boardd_client.capture.tensor``.

    The shape of the result of an operation whose output shape depends on the
    data (``boolean_mask``) is known to MXNet only once it has run; asking for
    it waits, here as everywhere.
    """
    if not isinstance(value, mx.nd.NDArray):
        name = type(value).__name__
        hint = ""
        if isinstance(value, mx.gluon.Parameter):
            hint = f"; pass {what}.data() or {what}.grad()"
        elif isinstance(value, mx.sym.Symbol):
            hint = "; a symbol has no values until it is executed"
        raise TypeError(f"{what} is an mxnet {name}, expected an NDArray{hint}")
    if isinstance(value, mx.nd.sparse.BaseSparseNDArray):
        raise TypeError(
            f"{what} is an mxnet {type(value).__name__} of storage type {value.stype!r}: "
            f"pass {what}.tostype('default')"
        )
    dtype = _NAMES.get(value.dtype)
    if dtype is None:
        raise unsupported_dtype(value, what, str(value.dtype))
    return MXNetTensor(value, dtype, value.shape)


def scalar(value: object, what: str) -> MXNetTensor:
    """Returns ``value``, of one element, as a tensor."""
    result = tensor(value, what)
    if math.prod(result.shape) != 1:
        raise not_one_element(what, type(value), result.shape)
    return result

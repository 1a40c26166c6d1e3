"""Copies that MXNet's engine makes: wrapped memory, the call, and the signal of its end.

``boardd_client.capture.mxnet`` says why they are made this way, by these operations:

- ``Cast`` copies from the CPU, also where it converts nothing. oneDNN leaves the output of a
  convolution in blocks, and of MXNet's operations only the plain ones, ``Cast`` among them,
  put the elements of every view of it in order. ``_copyto`` fails, which the script's next
  ``waitall`` raises. Those with an implementation of oneDNN's may copy the blocks as they
  are (``amp_multicast``), or refuse dtypes or more than six dimensions.
- ``_copyto`` copies from a GPU, which ``Cast`` cannot.
"""

from __future__ import annotations

import ctypes
import math
import os
import struct
from typing import Any, Final, cast

import mxnet as mx
import numpy as np
from mxnet.base import _LIB, MXNetError, NDArrayHandle, OpHandle, check_call, py_str

from boardd_client.capture.host import write
from boardd_client.errors import CaptureError

# DLPack's type code (0 signed, 1 unsigned or bool, 2 float) and bits, and the
# pattern that marks a slot as not yet written.
_INTEGER_PATTERN: Final = bytes.fromhex("b1e4a35c967d2ff8")
_CELL_PATTERN: Final = 0x7FF5A3C71E2D4B69
_LAYOUTS: Final[dict[str, tuple[int, int, bytes]]] = {
    "bool": (1, 1, _INTEGER_PATTERN),
    "uint8": (1, 8, _INTEGER_PATTERN),
    "int8": (0, 8, _INTEGER_PATTERN),
    "int32": (0, 32, _INTEGER_PATTERN),
    "int64": (0, 64, _INTEGER_PATTERN),
    "float16": (2, 16, (0x7D5A).to_bytes(2, "little")),
    "float32": (2, 32, (0x7F95A3C7).to_bytes(4, "little")),
    "float64": (2, 64, _CELL_PATTERN.to_bytes(8, "little")),
}

# ``DLManagedTensor`` of dlpack.h, which begins with its ``DLTensor``: data, device
# type and id, ndim, type code, bits, lanes, shape, and then strides, byte_offset,
# manager_ctx and the deleter, which is called with the struct's address.
_HEAD: Final = struct.Struct("=Q24s")  # data, and the form's part
_FORM: Final = struct.Struct("=iiiBBHQ")
_REST: Final = struct.Struct("=QQQQ")
_CPU: Final = 1

_FLOAT64: Final = struct.Struct("<d")

_libc: Final = ctypes.CDLL(None)
_libc.sem_init.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_uint)
_sem_post: Final = cast(int, ctypes.cast(_libc.sem_post, ctypes.c_void_p).value)
_sem_wait: Final = _libc.sem_wait
_sem_trywait: Final = ctypes.PyDLL(None).sem_trywait

# When the wrapper is made, MXNet has taken over the struct's fields. From then on it
# reads only the deleter, 56 bytes in. So the semaphore lies at the struct's start.
_SEMAPHORE_BYTES: Final = 32
_new_semaphore: Final = (ctypes.c_char * _SEMAPHORE_BYTES)()
_libc.sem_init(ctypes.addressof(_new_semaphore), 0, 0)
_SEMAPHORE: Final = _new_semaphore.raw

# The synchronous engine copies in the call, and a large copy must not hold the GIL.
_is_synchronous: Final = os.environ.get("MXNET_ENGINE_TYPE") == "NaiveEngine"
library: Final = (ctypes.CDLL if _is_synchronous else ctypes.PyDLL)(_LIB._name)
_from_dlpack: Final = library.MXNDArrayFromDLPackEx
_free: Final = library.MXNDArrayFree
_invoke: Final = library.MXImperativeInvokeEx
_reshape: Final = library.MXNDArrayReshape64
_is_recording: Final = library.MXAutogradIsRecording
_set_bulk_size: Final = library.MXEngineSetBulkSize

#: Whether this build of MXNet knows GPUs.
HAS_GPUS: Final = bool(mx.runtime.Features().is_enabled("CUDA"))


def _operation(name: bytes) -> OpHandle:
    found = OpHandle()
    check_call(_LIB.NNGetOpHandle(name, ctypes.byref(found)))
    return found


# An operation, and the number, names and values of its parameters.
_Call = tuple[OpHandle, int, Any, Any]
_PARAMETER_NAMES: Final = (ctypes.c_char_p * 1)(b"dtype")
_CASTS: Final[dict[str, _Call]] = {
    dtype: (_operation(b"Cast"), 1, _PARAMETER_NAMES, (ctypes.c_char_p * 1)(dtype.encode()))
    for dtype in _LAYOUTS
}
_COPYTO: Final[_Call] = (_operation(b"_copyto"), 0, None, None)

_ONE: Final = ctypes.c_int(1)
_NO_STORAGE_TYPES: Final = ctypes.byref(ctypes.POINTER(ctypes.c_int)())
_FALSE: Final = ctypes.c_bool(False)

#: Of arrays whose blocks oneDNN puts in order.
_MAX_DIMENSIONS: Final = 6

_addressof: Final = ctypes.addressof
_byref: Final = ctypes.byref
_address_of_buffer: Final = ctypes.c_char.from_buffer


class Form:
    """What all arrays of one dtype and shape have in common."""

    __slots__ = (
        "array_shape",
        "call",
        "copied_as",
        "dtype",
        "head",
        "is_flattened",
        "pattern",
        "shape",
        "size_bytes",
    )

    def __init__(self, array_dtype: str, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.dtype = "float32" if array_dtype == "bfloat16" else array_dtype
        size = math.prod(shape)
        self.size_bytes = size * np.dtype(self.dtype).itemsize
        self.call = _CASTS[self.dtype]
        code, bits, self.pattern = _LAYOUTS[self.dtype]
        #: Whether the copy is of a flat view. Without NumPy's semantics, an array without
        #: dimensions is one of unknown shape.
        self.is_flattened = not 0 < len(shape) <= _MAX_DIMENSIONS
        wrapped = (size,) if self.is_flattened else shape
        self.array_shape = (ctypes.c_int64 * len(wrapped))(*wrapped)
        self.head = _FORM.pack(_CPU, 0, len(wrapped), code, bits, 1, _addressof(self.array_shape))
        #: float64, if the elements are too few to hold the pattern.
        self.copied_as: Form | None = None
        if 0 < self.size_bytes < len(self.pattern):
            self.copied_as = Form("float64", shape)


class _Target:
    """Memory wrapped as an MXNet array, and the call that makes the engine copy to it.

    The engine writes to the memory and posts the semaphore whatever becomes of this
    object, even while the interpreter is torn down. So an object is never destroyed,
    but used again.
    """

    __slots__ = (
        "_bulk_size",
        "_bulk_size_pointer",
        "_count_pointer",
        "_handle",
        "_handle_pointer",
        "_outputs_pointer",
        "_recording",
        "_recording_pointer",
        "_struct",
        "_struct_pointer",
        "_view",
    )

    def __init__(self) -> None:
        self._struct = (ctypes.c_uint64 * 8)()
        self._struct_pointer = _byref(self._struct)
        self._view = memoryview(self._struct).cast("B")
        self._view[_SEMAPHORE_BYTES:] = _REST.pack(0, 0, 0, _sem_post)
        self._handle = NDArrayHandle()
        self._handle_pointer = _byref(self._handle)
        self._recording = ctypes.c_bool()
        self._recording_pointer = _byref(self._recording)
        self._bulk_size = ctypes.c_int()
        self._bulk_size_pointer = _byref(self._bulk_size)
        self._count_pointer = _byref(ctypes.c_int(1))
        self._outputs_pointer = _byref(ctypes.pointer(self._handle))
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))

    def _wrap(self, address: int, head: bytes) -> None:
        """Makes the wrapper of ``address``."""
        _HEAD.pack_into(self._view, 0, address, head)
        if _from_dlpack(self._struct_pointer, _FALSE, self._handle_pointer):
            raise error_of_mxnet()
        # Nothing can post it before the wrapper is dropped.
        self._view[:_SEMAPHORE_BYTES] = _SEMAPHORE

    def _enqueue(self, array: Any, form: Form, is_flattened: bool) -> None:
        """Enqueues the copy of ``array``, or of a flat view of it."""
        call = form.call
        if HAS_GPUS and array.context.device_type == "gpu":
            call = _COPYTO
        _is_recording(self._recording_pointer)
        is_recorded = self._recording.value
        if is_recorded:
            # The copy is not part of the script's computation.
            mx.autograd.set_recording(False)
        # Hands what ``mx.engine.bulk`` holds back to the engine, and then the copy at once.
        _set_bulk_size(0, self._bulk_size_pointer)
        try:
            self._push(array, call, form.array_shape if is_flattened else None)
        finally:
            if self._bulk_size.value:
                _set_bulk_size(self._bulk_size, self._bulk_size_pointer)
            if is_recorded:
                mx.autograd.set_recording(True)

    def _push(self, array: Any, call: _Call, flat_shape: Any) -> None:
        if flat_shape is None:
            self._invoke(array.handle, call)
            return
        view = NDArrayHandle()
        if _reshape(array.handle, _ONE, flat_shape, _FALSE, _byref(view)):
            raise error_of_mxnet()
        try:
            self._invoke(view, call)
        finally:
            _free(view)

    def _invoke(self, source: NDArrayHandle, call: _Call) -> None:
        operation, count, names, values = call
        if _invoke(
            operation,
            _ONE,
            _byref(source),
            self._count_pointer,
            self._outputs_pointer,
            count,
            names,
            values,
            _NO_STORAGE_TYPES,
        ):
            raise error_of_mxnet()

    def _drop_wrapper(self) -> None:
        _free(self._handle)

    def _has_post(self) -> bool:
        """Whether the dropped wrapper is gone. Ask until it is, and not again."""
        return bool(_sem_trywait(self._struct_pointer) == 0)

    def _wait_post(self) -> None:
        while _sem_wait(self._struct_pointer):
            pass  # interrupted by a signal


class Copy(_Target):
    """A copy to a slot."""

    __slots__ = ("_is_complete", "_memory", "_pattern", "_tail")

    def start(self, array: Any, form: Form, slot: memoryview) -> None:
        """Enqueues the copy."""
        pattern = form.pattern
        self._is_complete = False
        self._pattern = pattern
        self._tail = tail = slot[-len(pattern) :]
        tail[:] = pattern
        self._memory = memory = _address_of_buffer(slot)
        self._wrap(_addressof(memory), form.head)
        try:
            self._enqueue(array, form, form.is_flattened)
        finally:
            self._drop_wrapper()

    def is_done(self) -> bool:
        """Whether ``wait`` would return at once."""
        if not self._is_complete:
            self._is_complete = self._has_post()
        return self._is_complete

    def wait(self) -> None:
        """Waits for the engine; raises ``CaptureError`` if it skipped the copy."""
        if not self.is_done():
            self._wait_post()
        skipped = self._tail == self._pattern
        del self._tail, self._memory  # the slot's owner may release it now
        _copies.append(self)
        if skipped:
            raise _skipped()


class CopyByWayOfFloat64:
    """A copy of too few elements to hold the pattern, as float64, which holds them exactly."""

    __slots__ = ("_copy", "_dtype", "_slot", "_values")

    def __init__(self, array: Any, form: Form, copied_as: Form, slot: memoryview) -> None:
        self._dtype = form.dtype
        self._slot = slot
        self._values = np.empty(form.shape, np.float64)
        self._copy = take_copy()
        memory = self._values.reshape(-1).data.cast("B")
        self._copy.start(array, copied_as, memory)

    def is_done(self) -> bool:
        """Whether ``wait`` would return at once."""
        return self._copy.is_done()

    def wait(self) -> None:
        """Waits for the engine, then fills the slot."""
        self._copy.wait()
        write(self._values.astype(self._dtype), self._slot)


class Cell(_Target):
    """A copy of one element, of any dtype, to a float64 of its own."""

    __slots__ = ("_address", "_bits", "_is_posted", "_is_wrapped", "_value")

    def __init__(self) -> None:
        super().__init__()
        self._bits = ctypes.c_uint64()
        self._value = ctypes.c_double.from_buffer(self._bits)
        self._address = _addressof(self._bits)
        self._is_wrapped = False
        self._is_posted = False

    def start(self, array: Any, is_flattened: bool) -> None:
        """Enqueues the copy of ``array``, or of a flat view of it."""
        self._bits.value = _CELL_PATTERN
        if not self._is_wrapped:
            self._wrap(self._address, _CELL_FORM.head)
            self._is_wrapped = True
        self._enqueue(array, _CELL_FORM, is_flattened)

    def is_done(self) -> bool:
        """Whether ``result`` would return at once."""
        if self._bits.value != _CELL_PATTERN:
            return True
        # Not complete yet, or skipped. Only a dropped wrapper lets the engine say which.
        if self._is_wrapped:
            self._drop_wrapper()
            self._is_wrapped = self._is_posted = False
        if not self._is_posted:
            self._is_posted = self._has_post()
        return self._is_posted

    def result(self) -> float:
        """Waits for the engine; raises ``CaptureError`` if it skipped the copy.

        Call it once: it frees the cell for the next capture.
        """
        self.is_done()
        if not self._is_wrapped and not self._is_posted:
            self._wait_post()
        is_skipped = self._bits.value == _CELL_PATTERN
        value = self._value.value
        _cells.append(self)
        if is_skipped:
            raise _skipped()
        return value


class CellCopy:
    """A cell whose value ``wait`` writes to a slot."""

    __slots__ = ("_cell", "_slot")

    def __init__(self, cell: Cell, slot: memoryview) -> None:
        self._cell = cell
        self._slot = slot

    def is_done(self) -> bool:
        """Whether ``wait`` would return at once."""
        return self._cell.is_done()

    def wait(self) -> None:
        """Waits for the engine, then fills the slot."""
        _FLOAT64.pack_into(self._slot, 0, self._cell.result())
        del self._slot


_CELL_FORM: Final = Form("float64", (1,))

#: Kept for the next captures; never more than were under way at one time.
_copies: list[Copy] = []
_cells: list[Cell] = []


def take_copy() -> Copy:
    """An idle copy, or a new one."""
    try:
        return _copies.pop()
    except IndexError:
        return Copy()


def take_cell() -> Cell:
    """An idle cell, or a new one."""
    try:
        return _cells.pop()
    except IndexError:
        return Cell()


def _forget() -> None:
    # They belong to the parent's engine, which this process does not have.
    _copies.clear()
    _cells.clear()


os.register_at_fork(after_in_child=_forget)


def error_of_mxnet() -> MXNetError:
    """The error of this thread's last call."""
    return MXNetError(py_str(_LIB.MXGetLastError()))


def _skipped() -> CaptureError:
    return CaptureError(
        "an MXNet operation that the value depends on failed; MXNet raises its error when the "
        "training script waits for the value"
    )

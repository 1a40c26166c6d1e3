"""Capture of MXNet arrays by a copy that MXNet's engine makes.

The operation is only enqueued. The engine orders the copy against every earlier and
later write to the source, so the copy is a snapshot in program order. Its target
is the slot itself, wrapped as an array through DLPack.

``wait_to_read`` must not be used to wait for the end of the copy. An operation that
failed on the engine leaves its error with every array that depends on it, and the
first wait takes that error away from all of them. A wait for the slot would hide
the error from the training script, which would then read garbage without a word.
If the script waited first, a wait for the slot would report success. Instead:

- The engine calls the wrapper's DLPack deleter when the last operation that holds
  the wrapper has been destroyed (run, or skipped because its input failed). That
  deleter is libc's ``sem_post``: it takes nothing from anyone, and an engine
  thread can call it without the GIL.
- The slot's last bytes are set to a pattern beforehand, and a copy that was
  skipped leaves it there. For float types it is a signalling NaN, which no
  arithmetic yields. For integers it is eight bytes; a tensor with fewer bytes is
  copied as float64, by way of a buffer.

A lazy scalar, logged at every step, must cost less. It is copied to a *cell*, a
float64 of this module whose wrapper is used again and again. One element is
written in one store, so the copy is complete when the pattern is gone. Only a cell
that is waited for gives up its wrapper.

A log call costs microseconds, and MXNet's Python functions would take most of
them. So this module calls the C functions, with arguments that are made once and
kept (in pools, because threads and signal handlers log at the same time). It does
not release the GIL for them: another thread would take it and keep it for
milliseconds. They only enqueue; none of them waits for the engine.
"""

from __future__ import annotations

import ctypes
import math
from typing import Any, Final

import mxnet as mx
import numpy as np
from mxnet.base import MXNetError
from mxnet.ndarray.ndarray import _DTYPE_MX_TO_NP

from boardd_client.capture.host import not_one_element, unsupported_dtype
from boardd_client.capture.mxnet_copies import (
    HAS_GPUS,
    Cell,
    CellCopy,
    CopyByWayOfFloat64,
    Form,
    error_of_mxnet,
    library,
    take_cell,
    take_copy,
)
from boardd_client.memory.pending import Failed, Pending

_TYPES: Final = ("bool", "uint8", "int8", "int32", "int64", "float16", "float32", "float64")
_NAMES: Final[dict[Any, str]] = {
    **{np.dtype(name).type: name for name in _TYPES},
    np.dtype([("bfloat16", np.uint16)]): "bfloat16",  # MXNet's spelling of it
}
_NAMES_BY_CODE: Final = {
    code: _NAMES[kind] for code, kind in _DTYPE_MX_TO_NP.items() if kind in _NAMES
}

_get_dtype: Final = library.MXNDArrayGetDType
_get_shape: Final = library.MXNDArrayGetShapeEx64
_byref: Final = ctypes.byref
_Shape: Final = ctypes.POINTER(ctypes.c_int64)

_DENSE: Final = frozenset({mx.nd.NDArray, mx.np.ndarray})

#: By MXNet's number of the dtype and the shape. Bounded: it is cleared when it grows too large.
_forms: dict[tuple[int, tuple[int, ...]], Form] = {}
_MAX_FORMS: Final = 4096


class MXNetTensor:
    """An MXNet array; ``copy_into`` enqueues a copy on the engine and returns.

    The engine widens bfloat16 to float32, exactly.
    """

    __slots__ = ("_array", "_form", "dtype", "shape", "size_bytes")

    def __init__(self, array: Any, form: Form) -> None:
        self._array = array
        self._form = form
        self.dtype = form.dtype
        self.shape = form.shape
        self.size_bytes = form.size_bytes

    def copy_into(self, slot: memoryview) -> Pending | None:
        """Enqueues the copy to ``slot``."""
        form = self._form
        if self.size_bytes == 0:
            return None
        try:
            if form.copied_as is not None:
                return CopyByWayOfFloat64(self._array, form, form.copied_as, slot)
            copy = take_copy()
            copy.start(self._array, form, slot)
            return copy
        except MXNetError as error:
            return _not_enqueued(error)


class MXNetScalar:
    """An MXNet array of one element, whose copy the engine converts to float64."""

    __slots__ = ("_array", "shape")

    dtype: Final = "float64"
    size_bytes: Final = 8

    def __init__(self, array: Any, shape: tuple[int, ...]) -> None:
        self._array = array
        self.shape = shape

    def start(self) -> Cell:
        """Enqueues the copy on the engine, to memory that needs no slot.

        Raises ``MXNetError`` when MXNet refuses.
        """
        cell = take_cell()
        cell.start(self._array, len(self.shape) != 1)
        return cell

    def copy_into(self, slot: memoryview) -> Pending:
        """Enqueues the copy on the engine; ``wait`` of the result fills ``slot``."""
        try:
            return CellCopy(self.start(), slot)
        except MXNetError as error:
            return _not_enqueued(error)


def tensor(value: object, what: str) -> MXNetTensor:
    """Returns ``value`` as a tensor; see ``boardd_client.capture.tensor``.

    If an operation's output shape depends on the data (``boolean_mask``), MXNet knows
    it only when the operation has run, and waits for that at the call of the operation.
    """
    if type(value) not in _DENSE:
        _check(value, what)
    array: Any = value
    code = ctypes.c_int()
    if _get_dtype(array.handle, _byref(code)):
        raise error_of_mxnet()
    shape = _shape(array)
    form = _forms.get((code.value, shape))
    if form is None:
        form = _new_form(array, what, code.value, shape)
    if HAS_GPUS:
        copied_as = form.dtype if form.copied_as is None else form.copied_as.dtype
        if copied_as != _NAMES_BY_CODE[code.value]:
            array = _converted_on_gpu(array, copied_as)
    return MXNetTensor(array, form)


def scalar(value: object, what: str) -> MXNetScalar:
    """Returns ``value``, of one element, as a tensor of float64, whatever its dtype."""
    if type(value) not in _DENSE:
        _check(value, what)
    shape = _shape(value)
    if shape != (1,) and math.prod(shape) != 1:
        raise not_one_element(what, type(value), shape)
    return MXNetScalar(_converted_on_gpu(value, "float64") if HAS_GPUS else value, shape)


def _converted_on_gpu(array: Any, dtype: str) -> Any:
    """``array`` as ``dtype`` if it lies on a GPU: MXNet's copy from there converts nothing."""
    if array.context.device_type == "cpu":
        return array
    recording = mx.autograd.set_recording(False)
    try:
        return array.astype(dtype)
    except MXNetError:
        return array  # its copy fails, which is counted
    finally:
        mx.autograd.set_recording(recording)


def _shape(array: Any) -> tuple[int, ...]:
    """As ``array.shape``, which takes twice as long."""
    dimensions = ctypes.c_int()
    sizes = _Shape()
    if _get_shape(array.handle, _byref(dimensions), _byref(sizes)):
        raise error_of_mxnet()
    return tuple(sizes[: dimensions.value])


def _new_form(array: Any, what: str, code: int, shape: tuple[int, ...]) -> Form:
    name = _NAMES_BY_CODE.get(code)
    if name is None:
        raise unsupported_dtype(array, what, str(array.dtype))
    if len(_forms) >= _MAX_FORMS:
        _forms.clear()
    form = _forms[code, shape] = Form(name, shape)
    return form


def _check(value: object, what: str) -> None:
    """Raises ``TypeError`` for anything but a dense array."""
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


def _not_enqueued(error: MXNetError) -> Failed:
    return Failed(f"MXNet could not enqueue the copy of an array: {error}")

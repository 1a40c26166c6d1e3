"""Copies of many MXNet arrays to one slot, by one operation of MXNet's engine.

The engine then has one operation to run and one wrapper to drop, where copies of their own
would be two operations for each array.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from typing import Any, Final

import mxnet as mx
from mxnet.base import _LIB, NDArrayHandle, OpHandle, check_call

from boardd_client.capture.mxnet_copies import Copy, Form, error_of_mxnet, library

#: Made to convert arrays to the widest of their float types; float32 is copied. Builds with
#: oneDNN, as MXNet's own, fail on float16.
_copy_many: Final = OpHandle()
check_call(_LIB.NNGetOpHandle(b"amp_multicast", ctypes.byref(_copy_many)))
_PARAMETERS: Final = (ctypes.c_char_p * 1)(b"num_outputs")
_ONE: Final = ctypes.c_int(1)
_FALSE: Final = ctypes.c_bool(False)

_slice: Final = library.MXNDArraySlice
_reshape: Final = library.MXNDArrayReshape64
_invoke: Final = library.MXImperativeInvokeEx
_free: Final = library.MXNDArrayFree
_byref: Final = ctypes.byref
_Handles: Final = ctypes.POINTER(NDArrayHandle)


class JoinedCopy(Copy):
    """A copy of several float32 arrays to a slot, one after the other.

    The engine skips all if it must skip one.
    """

    __slots__ = ()

    def start_all(self, arrays: Sequence[Any], forms: Sequence[Form], slot: memoryview) -> None:
        """Enqueues the copy of ``arrays``, whose ``forms`` are joinable."""
        flat = _flat_form(forms)
        self._begin(flat.pattern, slot, flat.head)
        views: list[NDArrayHandle] = []
        is_recorded = self._is_recorded()
        if is_recorded:
            mx.autograd.set_recording(False)
        try:
            self._push_all(arrays, forms, views)
        finally:
            for view in views:
                _free(view)
            self._drop_wrapper()
            if is_recorded:
                mx.autograd.set_recording(True)

    def _push_all(
        self, arrays: Sequence[Any], forms: Sequence[Form], views: list[NDArrayHandle]
    ) -> None:
        """Calls the operation. Its outputs are added to ``views``, and are to be freed."""
        count = len(arrays)
        targets = (NDArrayHandle * count)()
        at = 0
        for index, form in enumerate(forms):
            view = NDArrayHandle()
            if _slice(self._handle, at, at + form.size, _byref(view)):
                raise error_of_mxnet()
            views.append(view)
            at += form.size
            dimensions = len(form.shape)
            if dimensions > 1:
                flat, view = view, NDArrayHandle()
                if _reshape(flat, dimensions, form.array_shape, _FALSE, _byref(view)):
                    raise error_of_mxnet()
                views.append(view)
            targets[index] = view.value
        sources = (NDArrayHandle * count)(*[array.handle.value for array in arrays])
        if _invoke(
            _copy_many,
            count,
            sources,
            _byref(ctypes.c_int(count)),
            _byref(ctypes.cast(targets, _Handles)),
            _ONE,
            _PARAMETERS,
            (ctypes.c_char_p * 1)(str(count).encode()),
            _byref(ctypes.POINTER(ctypes.c_int)()),
        ):
            raise error_of_mxnet()

    def _keep(self) -> None:
        _copies.append(self)


#: Kept for the next captures; never more than were under way at one time.
_copies: list[JoinedCopy] = []

#: Of all elements, by their number. Bounded: it is cleared when it grows too large.
_flat_forms: dict[int, Form] = {}
_MAX_FORMS: Final = 4096


def take_joined_copy() -> JoinedCopy:
    """An idle copy, or a new one."""
    try:
        return _copies.pop()
    except IndexError:
        return JoinedCopy()


# They belong to the parent's engine, which a child does not have.
os.register_at_fork(after_in_child=_copies.clear)


def _flat_form(forms: Sequence[Form]) -> Form:
    """The form of one array with the elements of all."""
    size = sum(form.size for form in forms)
    form = _flat_forms.get(size)
    if form is None:
        if len(_flat_forms) >= _MAX_FORMS:
            _flat_forms.clear()
        form = _flat_forms[size] = Form("float32", (size,))
    return form

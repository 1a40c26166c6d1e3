"""Capture of TensorFlow tensors and variables.

Eager tensors are immutable, so a reference is a snapshot, which ``wait`` reads. A
variable is mutable, so its value is taken at the call: a tensor that shares the
variable's memory until the next write to the variable, for which TensorFlow then
takes new memory. So the caller's thread copies nothing.

With ``tf.config.experimental.set_synchronous_execution(False)`` TensorFlow itself
waits for an operation when it is asked for the shape of the result.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import tensorflow as tf
from boardd_protos.dtypes import ITEM_BYTES

from boardd_client.capture import host
from boardd_client.capture.host import not_one_element, unsupported_dtype, write
from boardd_client.errors import CaptureError
from boardd_client.memory.pending import Pending

# By TensorFlow's dtype: NumPy's name, and the size of an element in bytes.
_LAYOUTS: Final[dict[Any, tuple[str, int]]] = {
    tf.as_dtype(name): (name, item_bytes) for name, item_bytes in ITEM_BYTES.items()
}

_EagerTensor: Final[Any] = tf.__internal__.EagerTensor

# Types that hold tensors without being one, and how to make a tensor of each.
_INSTEAD: Final[tuple[tuple[Any, str], ...]] = (
    (tf.RaggedTensor, "{}.to_tensor(), or {}.flat_values"),
    (tf.SparseTensor, "tf.sparse.to_dense({}), or {}.values"),
    (tf.IndexedSlices, "tf.convert_to_tensor({}), or {}.values"),
    (tf.TensorArray, "{}.stack()"),
)


class TensorFlowTensor:
    """An eager tensor; ``copy_into`` keeps a reference to it and returns."""

    __slots__ = ("dtype", "eager", "shape", "size_bytes")

    def __init__(self, value: Any, dtype: str, item_bytes: int) -> None:
        self.eager = value
        self.dtype = dtype
        self.shape: tuple[int, ...] = tuple(value.shape.as_list())
        self.size_bytes: int = math.prod(self.shape) * item_bytes

    def copy_into(self, slot: memoryview) -> Pending | None:
        """Keeps a reference to the tensor, to read it later."""
        return _Copy(self.eager, slot) if self.size_bytes else None


class _Copy:
    """A tensor that ``wait`` reads."""

    __slots__ = ("_slot", "_tensor")

    def __init__(self, value: Any, slot: memoryview) -> None:
        self._tensor = value
        self._slot = slot

    def is_done(self) -> bool:
        """True: TensorFlow does not say when a device has the values, so ``wait`` finds out."""
        return True

    def wait(self) -> None:
        """Waits for the computation and the transfer, then fills the slot."""
        try:
            values = _array(self._tensor)
        except Exception as error:  # TensorFlow's errors have no common type below this
            raise CaptureError(
                f"TensorFlow did not yield the values of a tensor: {error}"
            ) from None
        finally:
            del self._tensor
        write(values.view(np.uint16) if values.dtype.name == "bfloat16" else values, self._slot)


def _is_there(value: Any) -> bool:
    """Whether an eager tensor can be read without waiting."""
    is_of_host = "CPU" in value.backing_device
    return is_of_host and bool(tf.config.experimental.get_synchronous_execution())


def _array(value: Any) -> np.ndarray[Any, Any]:
    """Waits for an eager tensor; returns a view if its memory is the host's."""
    # TensorFlow's 0-d bfloat16 does not become an array by itself.
    return np.asarray(value if value.shape.rank else value.numpy())


def tensor(value: object, what: str) -> TensorFlowTensor | host.HostTensor:
    """Returns ``value`` as a tensor; see ``boardd_client.capture.tensor``."""
    if isinstance(value, (list, tuple)):  # a list that TensorFlow tracks
        return host.tensor(value, what)
    eager = _eager(value, what)
    layout = _LAYOUTS.get(eager.dtype)
    if layout is None:
        raise unsupported_dtype(value, what, eager.dtype.name)
    try:
        return TensorFlowTensor(eager, *layout)
    except tf.errors.OpError as error:
        raise ValueError(f"{what} is a TensorFlow tensor without values: {error.message}") from None


def scalar(value: object, what: str) -> float | TensorFlowTensor:
    """Returns ``value``, of one element, as a float if the host has it, else as a tensor."""
    result = tensor(value, what)
    if math.prod(result.shape) != 1:
        raise not_one_element(what, type(value), result.shape)
    if isinstance(result, host.HostTensor):
        return host.scalar(value, what)
    eager = result.eager
    if _is_there(eager):
        return float(_array(eager).reshape(-1)[0])
    return result


def _eager(value: Any, what: str) -> Any:
    """Returns ``value`` as an eager tensor; for a variable, its value now."""
    if isinstance(value, _EagerTensor):
        return value
    if isinstance(value, tf.Variable):
        if not tf.executing_eagerly():
            raise _symbolic(f"{what} is a TensorFlow variable inside tf.function, and")
        try:
            return value.value()
        except tf.errors.OpError as error:
            raise ValueError(
                f"{what} is a TensorFlow variable without a value: {error.message}"
            ) from None
    if isinstance(value, tf.Tensor):
        raise _symbolic(f"{what} is a symbolic TensorFlow tensor, inside tf.function, and")
    for kind, instead in _INSTEAD:
        if isinstance(value, kind):
            raise TypeError(f"{what} is a {kind.__name__}: pass {instead.replace('{}', what)}")
    raise TypeError(f"{what} is a TensorFlow {type(value).__name__}, expected a Tensor")


def _symbolic(subject: str) -> TypeError:
    return TypeError(
        f"{subject} has no values: log what the function returns, or log through tf.py_function"
    )

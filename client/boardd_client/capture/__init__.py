"""Capture: from a value of any framework to bytes in a slot, without waiting for it.

One module per framework. Each offers ``tensor`` and ``scalar``, which look at
type, dtype and shape only and never wait for the data:

- ``mxnet`` and ``torch`` (CUDA): the framework's own asynchronous copy, ordered
  by the framework against later writes to the value;
- ``jax`` and ``tensorflow``: the array is immutable, so the reference is held and
  read later;
- ``keras``: its variables hold what their back end does, one of these;
- ``host``: NumPy and everything that gives host memory: one plain copy at once,
  because the caller may write to that memory next.

A framework's module is imported when the first of its values is seen. So the process
has always imported the framework itself before.

Rule: nothing here waits for a device or knows of records, sessions and daemons.

May import: errors, memory.
"""

from __future__ import annotations

import importlib
from typing import Final, NamedTuple, Protocol

from boardd_client.memory.pending import Pending, PendingScalar


class Tensor(Protocol):
    """A value that is ready to be copied."""

    @property
    def dtype(self) -> str:
        """NumPy's name of the element type, or ``bfloat16``."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape; () for a 0-d value."""

    @property
    def size_bytes(self) -> int:
        """The bytes that ``copy_into`` writes."""

    def copy_into(self, slot: memoryview) -> Pending | None:
        """Copies the values to ``slot``, or starts to; returns None if it is done.

        ``slot`` has ``size_bytes`` writable bytes. It receives the elements C-contiguous
        and little-endian, as they are at this call in the caller's program order,
        whatever is written to the value afterwards.
        """


class LazyScalar(Protocol):
    """A scalar that is copied without a slot; ``scalar`` may return it instead of a ``Tensor``."""

    @property
    def dtype(self) -> str:
        """As of a ``Tensor``."""

    def start(self) -> PendingScalar:
        """Starts to copy the value as it is at this call in the caller's program order."""


class _TensorOf(Protocol):
    def __call__(self, value: object, what: str, /) -> Tensor: ...


class _ScalarOf(Protocol):
    def __call__(self, value: object, what: str, /) -> float | Tensor: ...


class _Framework(NamedTuple):
    tensor: _TensorOf
    scalar: _ScalarOf


_MODULES: Final = {
    "mxnet": "mxnet",
    "torch": "torch",
    "jax": "jax",
    "jaxlib": "jax",
    "tensorflow": "tensorflow",
    "keras": "keras",
}

#: By type of value. Bounded: it is cleared when a program makes types without end.
_frameworks: dict[type, _Framework] = {}
_MAX_TYPES: Final = 1024


def tensor(value: object, what: str) -> Tensor:
    """Returns ``value`` as a ``Tensor``, without waiting for its data.

    Args:
        value: an array of NumPy, MXNet, PyTorch, JAX or TensorFlow; nested lists or
            tuples of numbers; a number; or an object with the buffer protocol,
            ``__array__``, ``__array_interface__`` or ``__dlpack__`` over host memory.
        what: names the value in error messages, such as ``"values"``.

    Raises:
        TypeError: ``value`` is not an array, or its dtype, layout or device is not
            supported. Supported are bool, signed and unsigned integers of 8 to 64 bits,
            float16, float32, float64 and bfloat16.
        ValueError: nested sequences of unequal lengths, or an array whose memory is
            gone.
    """
    framework = _frameworks.get(type(value))
    if framework is None:
        framework = _framework(type(value))
    return framework.tensor(value, what)


def scalar(value: object, what: str) -> float | Tensor:
    """Returns ``value`` as a float, or as a one-element ``Tensor`` if reading it would wait.

    Args:
        value: a real number of Python or NumPy, or an array of one element.
        what: names the value in error messages.

    Raises:
        TypeError: ``value`` is not a real number: complex, text, or an array that
            ``tensor`` refuses.
        ValueError: an array that has not exactly one element, or an integer beyond
            float64.
    """
    if type(value) is float:
        return value
    framework = _frameworks.get(type(value))
    if framework is None:
        framework = _framework(type(value))
    return framework.scalar(value, what)


def is_of_framework(kind: type) -> bool:
    """Whether values of ``kind`` are MXNet's, PyTorch's, JAX's, TensorFlow's or Keras's."""
    return _module_of(kind) != "host"


def _module_of(kind: type) -> str:
    """The module of this package for ``kind``, or the nearest of its bases."""
    for base in kind.__mro__:
        root = base.__module__.partition(".")[0]
        if root in _MODULES:
            return _MODULES[root]
    return "host"


def _framework(kind: type) -> _Framework:
    module = importlib.import_module(f"{__name__}.{_module_of(kind)}")
    framework = _Framework(module.tensor, module.scalar)
    if len(_frameworks) >= _MAX_TYPES:
        _frameworks.clear()
    _frameworks[kind] = framework
    return framework

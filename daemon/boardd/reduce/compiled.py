"""Functions compiled by numba, with a cache on disk if there can be one.

Importing this module imports numba, which costs a tenth of a second and tens
of megabytes. Compiled code is kept on disk beside the module or in the user's
cache directory; if neither can be written it is compiled anew in each
process.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any, Final, TypeVar

import numba
import numpy as np
from numba.extending import overload

from boardd.reduce import processor

processor.fit_kernels()

_Function = TypeVar("_Function", bound=Callable[..., Any])

_KERNELS: Final[dict[Callable[..., Any], Callable[..., Any]]] = {}

#: Functions with a cache that are compiled for one call, at most.
_MAX_CACHED: Final = 8


def inner(**flags: Any) -> Callable[[_Function], _Function]:
    """Compiles a function that only compiled functions call."""

    def compiled(function: _Function) -> _Function:
        kernel: _Function = numba.njit(nogil=True, **flags)(function)
        return kernel

    return compiled


def entry(function: _Function) -> Callable[..., Any]:
    """Compiles a function that Python calls, with a cache on disk if there can be one."""
    return _entry(function, releases_gil=True)


def brief_entry(function: _Function) -> Callable[..., Any]:
    """As ``entry``, of a function that keeps the GIL.

    For what takes microseconds: to get the GIL back takes longer if other
    threads want it too.
    """
    return _entry(_named_brief(function), releases_gil=False)


def _named_brief(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` by another name.

    Numba finds what it has compiled by name and line, and would take one that releases the GIL
    for one that does not.
    """
    assert isinstance(function, types.FunctionType)
    brief = types.FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    brief.__module__ = function.__module__
    brief.__qualname__ = f"brief_{function.__qualname__}"
    return brief


def _entry(function: Callable[..., Any], *, releases_gil: bool) -> Callable[..., Any]:
    try:
        kernel = numba.njit(nogil=releases_gil, cache=True)(function)
    except RuntimeError:  # numba: no directory for the cache
        kernel = numba.njit(nogil=releases_gil)(function)

    def call(*arguments: Any) -> Any:
        for _ in range(_MAX_CACHED):
            try:
                return kernel(*arguments)
            except OSError:
                # The cache could not be written, on a full disk for one. Numba has
                # kept the compiled code by then, of one function at a time.
                continue
        return kernel(*arguments)

    _KERNELS[call] = kernel
    return call


def callee(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns what compiled functions call where Python calls ``function``, an ``entry``."""
    return _KERNELS[function]


def bits_of(value: Any) -> Any:
    """Returns the bits of a NumPy float of 32 or 64 bits as the signed integer of its size."""
    return value.view(np.int32 if isinstance(value, np.float32) else np.int64)


@overload(bits_of, inline="always")
def _compiled_bits_of(value):  # type: ignore[no-untyped-def]  # numba wants equal signatures
    if value == numba.types.float32:
        return lambda value: np.float32(value).view(np.int32)
    return lambda value: np.float64(value).view(np.int64)

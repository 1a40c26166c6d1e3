"""The compiled kernels of all rooms together: who does their work for now, and all at once."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from boardd_protos.limits import MAX_BINS

from boardd.events import readiness as of_events
from boardd.reduce import readiness as of_arrays
from boardd.reduce.histogram.bins import Bins, Edges, EqualWidth, Rule, default_edges
from boardd.reduce.histogram.exact_moments import exact_moments
from boardd.reduce.histogram.grid import count_grid
from boardd.reduce.histogram.grid_many import grids
from boardd.reduce.histogram.histogram import histogram
from boardd.reduce.histogram.many import histograms

#: Of which types their kernels are, these say themselves.
_OF_EVENTS: Final = tuple(
    f"boardd.events.{name}" for name in ("scalars_kernel", "kinds_kernel", "scan_kernel")
)
_OF_HISTOGRAMS: Final = tuple(
    f"boardd.reduce.histogram.{name}"
    for name in (
        *("counting", "equal_width", "exact_kernels", "grid_kernels", "grid_many_kernels"),
        *("kernels", "many_kernels", "order_kernels"),
    )
)
#: All modules that import numba.
MODULES: Final = (
    *("boardd.reduce.processor", "boardd.reduce.compiled"),
    *(*_OF_HISTOGRAMS, *_OF_EVENTS),
)

#: Sizes of arrays, and bins, that are counted each in its own way; the most usual first.
_SIZES: Final = (100, 10_000, 100_000)
_BINS: Final[tuple[Bins, ...]] = (
    *(EqualWidth(30), EqualWidth(1000), default_edges()),
    *(Edges(np.array([0.0, 1.0, 50.0, 99.0])), Edges(np.linspace(0.0, 100.0, 11))),
    *(Rule("auto"), EqualWidth(MAX_BINS)),
)
_DTYPES: Final = (np.float32, np.float64)


def await_kernels() -> None:
    """Lets NumPy and protobuf do the work of kernels from now on, so that none is compiled."""
    of_arrays.await_kernels()
    of_events.await_kernels()


def kernels_are_there() -> None:
    """Lets kernels do their work from now on; they are loaded, or compiled, as they are called."""
    of_events.kernels_are_there()
    of_arrays.kernels_are_there()


def are_kept() -> bool:
    """Whether there is a place on disk for what is compiled. Loads numba."""
    from boardd.reduce.compiled import callee
    from boardd.reduce.histogram.kernels import moments

    kernel: Any = callee(moments)
    return kernel.stats.cache_path is not None


def places() -> set[str]:
    """The directories in which the compiled code of all kernels that are loaded is kept."""
    from numba.core.dispatcher import Dispatcher

    found: set[str | None] = {
        kernel.stats.cache_path
        for kernel in gc.get_objects()
        if isinstance(kernel, Dispatcher) and kernel.__module__ in MODULES
    }
    return {place for place in found if place is not None}


def compile_all() -> None:
    """Compiles each kernel for what records bring, or loads it; what is kept is kept on disk."""
    for values in _arrays():
        for bins in _BINS:
            histogram(values, bins)
    for name in _OF_EVENTS:
        importlib.import_module(name)
    _compile_many()
    for values in _arrays():
        exact_moments(values)
        # Buckets of short numbers, and of long ones far from zero.
        for offset, buckets in ((0.0, 64), (0.0, MAX_BINS), (1e9, 64)):
            shifted = values + values.dtype.type(offset)
            count_grid(shifted, float(shifted.min()), float(shifted.max()), buckets)


def _arrays() -> Iterator[npt.NDArray[Any]]:
    random = np.random.default_rng(0)
    for size in _SIZES:
        for dtype in _DTYPES:
            yield (100 * random.random(size)).astype(dtype)


def _compile_many() -> None:
    for arrays in (2, 200):  # few keep the GIL, and many release it
        for dtype in _DTYPES:
            values, sizes = (np.arange(50 * arrays) % 100).astype(dtype), [50] * arrays
            for bins in (EqualWidth(30), Edges(np.arange(5.0))):
                list(histograms(values, sizes, bins))
    for dtype in _DTYPES:
        grids([np.arange(100).astype(dtype)] * 2, 64)

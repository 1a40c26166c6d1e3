"""Exact histograms with range, moments and counts of what is not finite.

Counts equal ``numpy.histogram(finite_values, bins=edges)`` integer for
integer, for every dtype, with values compared as float64. One pass over the
values finds range and sums, a second one the counts; both release the GIL.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from boardd_protos.invalid import InvalidTensorError

from boardd.reduce import readiness
from boardd.reduce.histogram import plain
from boardd.reduce.histogram.bins import (
    Bins,
    Edges,
    EqualWidth,
    Rule,
    default_edges,
    equal_width_edges,
)
from boardd.reduce.histogram.chunks import (
    CHUNK,
    FLOAT32,
    FLOAT64,
    MAX_KERNEL_VALUES,
    Chunks,
    chunked,
    converted,
    read_only,
)
from boardd.reduce.histogram.rules import rule_count
from boardd.reduce.histogram.thresholds import BITS, DIRECT_SIZE, Keyed, Uniform, keyed, uniform

if TYPE_CHECKING:
    from types import ModuleType

#: Up to this many values are compared with edges that are not known to be at equal distances.
DIRECT_SEARCH_SIZE: Final = 8192

#: Up to this many values and buckets, other threads wait while a histogram is made.
FEW: Final = 1024
FEW_BINS: Final = 4096

#: Edges closer together than this have a scale that overflows.
_SMALLEST_WIDTH: Final = 1e-290

#: Powers of two that a sum is scaled by when it overflows: no 2**63 doubles overflow then.
_SUM_EXPONENT: Final = 64


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """Statistics of some values.

    NaN and infinities are counted in their own fields and nowhere else.
    ``num`` counts the finite values; ``min``, ``max``, ``sum`` and
    ``sum_squares`` are theirs as float64, all zero if there are none. With
    explicit edges, finite values outside them are in all these and in no
    bucket, so the counts then add up to less than ``num``.

    ``edges`` is float64[n + 1] and ``counts`` int64[n], both read-only; of one of many that are
    made together, float64[n].
    """

    min: float
    max: float
    num: int
    sum: float
    sum_squares: float
    edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64] | npt.NDArray[np.float64]
    nan_count: int
    positive_infinity_count: int
    negative_infinity_count: int


def histogram(values: npt.NDArray[Any], bins: Bins) -> Histogram:
    """Returns the histogram of ``values``.

    Args:
        values: any shape, of bool, an integer type, or float16, float32,
            float64 (bfloat16 comes as float32, see ``dtypes.as_array``).
        bins: ``EqualWidth`` and ``Rule`` put edges over the range of the
            finite values, 0 to 1 if there are none. ``Rule`` also copies
            the values as float64, and some rules sort them.

    Raises ``InvalidTensorError`` for another dtype. The first call in a process
    compiles or loads the kernels, if they are not awaited (``readiness``).
    """
    chunks, dtype = chunked(values)
    if isinstance(bins, Rule):
        bins = EqualWidth(rule_count(bins.name, values))
    if isinstance(bins, EqualWidth) and not readiness.are_awaited():
        found = _equal_width_histogram(values, dtype, bins.count)
        if found is not None:
            return found
    num, lowest, highest, total, squares, not_finite = _moments(chunks, dtype)
    if not math.isfinite(total):
        total = _scaled_sum(chunks)
    if not -math.inf < lowest <= highest < math.inf:
        raise InvalidTensorError(
            f"values that change while they are read: from {lowest} to {highest}"
        )
    edges = _edges(bins, num, lowest, highest)
    is_uniform = not isinstance(bins, Edges)
    counts = _counts(values.size, chunks, dtype, edges, is_uniform, lowest, highest, num)
    return Histogram(lowest, highest, num, total, squares, edges, counts, *not_finite)


def count_edges(
    values: npt.NDArray[Any], edges: Edges, lowest: float, highest: float, num: int
) -> npt.NDArray[np.int64]:
    """Returns the counts, int64[n], of ``values`` between n + 1 ``edges``.

    ``num`` of the values are finite, and they reach from ``lowest`` to ``highest``. Raises
    ``InvalidTensorError`` for a dtype that ``histogram`` does not take.
    """
    chunks, dtype = chunked(values)
    return _counts(values.size, chunks, dtype, edges.edges, False, lowest, highest, num)


def _counts(
    size: int,
    chunks: Chunks,
    dtype: np.dtype[Any],
    edges: npt.NDArray[np.float64],
    is_uniform: bool,
    lowest: float,
    highest: float,
    num: int,
) -> npt.NDArray[np.int64]:
    """Returns the counts of ``size`` values between ``edges``, as ``count_edges``."""
    counts: npt.NDArray[np.int64] = np.zeros(edges.size - 1, np.int64)
    if num and lowest == highest:
        bucket = _bucket(edges, lowest)
        if bucket is not None:
            counts[bucket] = num
    elif readiness.are_awaited():
        counts = plain.count(chunks, edges)
    elif size <= (DIRECT_SIZE if is_uniform else DIRECT_SEARCH_SIZE):
        _count_directly(chunks, edges, is_uniform, counts)
    elif num:
        is_covered = num == size and edges[0] <= lowest and highest <= edges[-1]
        _count(chunks, dtype, size, edges, bool(is_covered), counts)
    counts.flags.writeable = False
    return counts


def _equal_width_histogram(
    values: npt.NDArray[Any], dtype: np.dtype[Any], count: int
) -> Histogram | None:
    """Returns the histogram in ``count`` buckets, or None if it needs more than one call.

    The values are compared as ``dtype``.
    """
    values = values.reshape(-1)
    if values.size > (MAX_KERNEL_VALUES if values.dtype == dtype else CHUNK):
        return None
    # Numba would compile anew for what is not aligned.
    flat = np.require(converted(values, dtype), requirements=("C", "A"))
    bits = BITS[dtype]
    edges = np.empty(count + 1)
    counts: npt.NDArray[np.int64] = np.zeros(count, np.int64)
    flat = read_only(flat)
    kernels = _equal_width()
    is_few = flat.size <= FEW and count <= FEW_BINS
    kernel = kernels.equal_width_of_few if is_few else kernels.equal_width
    is_made, lowest, highest, num, total, squares, *not_finite = kernel(
        flat, flat.view(bits.integer), bits.mask, bits.shift, bits.infinity, edges, counts
    )
    if not is_made:
        return None
    edges.flags.writeable = False
    counts.flags.writeable = False
    return Histogram(lowest, highest, num, total, squares, edges, counts, *not_finite)


@functools.cache
def _kernels() -> ModuleType:
    from boardd.reduce.histogram import kernels

    return kernels


@functools.cache
def _equal_width() -> ModuleType:
    from boardd.reduce.histogram import equal_width

    return equal_width


@functools.cache
def _counting() -> ModuleType:
    from boardd.reduce.histogram import counting

    return counting


def _moments(
    chunks: Chunks, dtype: np.dtype[Any]
) -> tuple[int, float, float, float, float, tuple[int, int, int]]:
    """Returns num, min, max, sum, sum of squares, and counts of NaN, inf and -inf."""
    if readiness.are_awaited():
        return plain.moments(chunks)
    bits = BITS[dtype]
    keys = np.empty(2, bits.integer)
    lowest, highest = math.inf, -math.inf
    totals: list[float] = []
    squares = 0.0
    num = 0
    nan_count = positive = negative = 0
    for chunk in chunks():
        values = read_only(chunk)
        total, compensation, chunk_squares, finite, *others = _kernels().moments(
            values, values.view(bits.integer), bits.mask, bits.shift, bits.infinity, keys
        )
        totals += (total, compensation)
        squares += chunk_squares
        nan_count += others[0]
        positive += others[1]
        negative += others[2]
        if finite:
            num += finite
            lowest = min(lowest, bits.value(keys[0]))
            highest = max(highest, bits.value(keys[1]))
    if not num:
        lowest = highest = 0.0
    # A total that is not finite is found anew by the caller.
    return num, lowest, highest, plain.added(totals), squares, (nan_count, positive, negative)


def _scaled_sum(chunks: Chunks) -> float:
    """Returns the sum of the finite values when partial sums overflow."""
    total = 0.0
    for chunk in chunks():
        finite = chunk[np.isfinite(chunk)].astype(np.float64, copy=False)
        with np.errstate(invalid="ignore"):  # infinities, if the memory has changed by now
            total += float(np.add.reduce(np.ldexp(finite, -_SUM_EXPONENT)))
    try:
        return math.ldexp(total, _SUM_EXPONENT)
    except OverflowError:
        return math.copysign(math.inf, total)


def _edges(
    bins: Edges | EqualWidth, num: int, lowest: float, highest: float
) -> npt.NDArray[np.float64]:
    if isinstance(bins, Edges):
        return bins.edges
    if not num:
        highest = 1.0
    return equal_width_edges(lowest, highest, bins.count)


def _bucket(edges: npt.NDArray[np.float64], value: float) -> int | None:
    """Returns the bucket that holds ``value``, or None."""
    if not edges[0] <= value <= edges[-1]:
        return None
    if value == edges[-1]:
        return int(edges.size - 2)
    return int(np.searchsorted(edges, value, side="right")) - 1


def _count_directly(
    chunks: Chunks,
    edges: npt.NDArray[np.float64],
    is_uniform: bool,
    counts: npt.NDArray[np.int64],
) -> None:
    """Adds the number of values in each bucket to ``counts``; for a few values."""
    width = float(edges[-1]) - float(edges[0]) if is_uniform else 0.0
    scale = counts.size / width if width > _SMALLEST_WIDTH else 0.0
    for chunk in chunks():
        _counting().count_direct(read_only(chunk), edges, scale, counts)


def _count(
    chunks: Chunks,
    dtype: np.dtype[Any],
    size: int,
    edges: npt.NDArray[np.float64],
    is_covered: bool,
    counts: npt.NDArray[np.int64],
) -> None:
    """Adds the number of values in each bucket to ``counts``.

    ``is_covered`` says that all values are finite and in a bucket.
    """
    plan, compare = _plan(edges, dtype, size)
    kernels = _counting()
    slots = counts.size + 2
    scratch = np.empty(
        kernels.COUNT_BLOCK, np.uint16 if slots <= kernels.MAX_SHORT_SLOT else np.uint32
    )
    # Rows that lie 4 KiB apart would wait for each other's stores.
    tables = np.zeros((kernels.TABLES, slots + 16), np.uint32)
    seen = 0

    def empty_tables() -> None:
        np.add(counts, tables[:, 1 : slots - 1].sum(axis=0, dtype=np.int64), out=counts)
        tables.fill(0)

    for chunk in chunks():
        if seen + chunk.size > MAX_KERNEL_VALUES:
            empty_tables()
            seen = 0
        seen += chunk.size
        step = chunk.size if compare == dtype else CHUNK
        for start in range(0, chunk.size, step):
            values = converted(chunk[start : start + step], compare)
            _count_values(kernels, read_only(values), plan, is_covered, scratch, tables)
    empty_tables()


def _plan(
    edges: npt.NDArray[np.float64], dtype: np.dtype[Any], size: int
) -> tuple[Uniform | Keyed, np.dtype[Any]]:
    """Returns how ``size`` values of ``dtype`` are counted, and the dtype they are compared in."""
    if edges is default_edges().edges:
        return _default_plan(dtype), dtype
    plan = uniform(edges, dtype)
    if plan is None and dtype == FLOAT32:
        # Many or narrow buckets: float32 positions say too little.
        plan = uniform(edges, FLOAT64)
        if plan is not None:
            return plan, FLOAT64
    return plan or keyed(edges, dtype, size), dtype


@functools.cache
def _default_plan(dtype: np.dtype[Any]) -> Keyed:
    # Only counts of more than DIRECT_SEARCH_SIZE values need one.
    return keyed(default_edges().edges, dtype, DIRECT_SEARCH_SIZE)


def _count_values(
    kernels: ModuleType,
    values: npt.NDArray[Any],
    plan: Uniform | Keyed,
    is_covered: bool,
    scratch: npt.NDArray[Any],
    tables: npt.NDArray[np.uint32],
) -> None:
    if isinstance(plan, Uniform):
        kernels.count_uniform(
            values,
            plan.thresholds,
            plan.first,
            plan.last,
            plan.scale,
            plan.count,
            plan.half,
            plan.tolerance,
            is_covered,
            scratch,
            tables,
        )
        return
    bits = BITS[values.dtype]
    kernels.count_keyed(
        values,
        values.view(bits.integer),
        plan.thresholds,
        plan.starts,
        plan.steps,
        bits.mask,
        bits.shift,
        plan.key_shift,
        plan.lowest_key,
        tables,
    )

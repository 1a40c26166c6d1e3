"""What the buckets of a histogram are: a count, edges, or a rule that finds a count."""

from __future__ import annotations

import dataclasses
import functools
from typing import Final, Union

import numpy as np
import numpy.typing as npt
from boardd_protos.invalid import InvalidRecordError
from boardd_protos.limits import MAX_BINS, NUMPY_BIN_RULES

#: Distances from here on are close to overflow.
LARGE_DISTANCE: Final = 1e300
#: A millionth of distances up to here may be subnormal.
SMALL_DISTANCE: Final = 1e-290


@dataclasses.dataclass(frozen=True)
class EqualWidth:
    """``count`` buckets of equal width over the range of the finite values.

    Raises ``InvalidRecordError`` unless 1 <= ``count`` <= ``MAX_BINS``.
    """

    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MAX_BINS:
            raise InvalidRecordError(f"{self.count} bins; ask for 1 to {MAX_BINS}")


@dataclasses.dataclass(frozen=True, eq=False)
class Edges:
    """Buckets between explicit edges, float64[n + 1] for n buckets.

    As in NumPy a bucket holds ``edges[i] <= value < edges[i + 1]``, the last
    one its upper edge too, and values outside all buckets are in no bucket.
    Equal edges enclose an empty bucket. The edges are copied, read-only.

    Raises ``InvalidRecordError`` for fewer than two edges, more than ``MAX_BINS`` + 1,
    an edge that is not finite, or one below the edge before it.
    """

    edges: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        try:
            edges = np.array(self.edges, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            raise InvalidRecordError(f"bin edges {self.edges!r:.200} are no numbers") from None
        if edges.ndim != 1:
            raise InvalidRecordError(f"bin edges of shape {edges.shape}; give one dimension")
        if not 2 <= edges.size <= MAX_BINS + 1:
            raise InvalidRecordError(f"{edges.size} bin edges; give 2 to {MAX_BINS + 1}")
        finite = np.isfinite(edges)
        if not finite.all():
            at = int(np.argmin(finite))
            raise InvalidRecordError(f"bin edge {at} is {edges[at]}; edges must be finite")
        falling = edges[1:] < edges[:-1]
        if falling.any():
            at = int(np.argmax(falling))
            raise InvalidRecordError(
                f"bin edge {at + 1} is {edges[at + 1]}, below edge {at}, which is {edges[at]}; "
                "edges must not decrease"
            )
        edges.flags.writeable = False
        object.__setattr__(self, "edges", edges)


@dataclasses.dataclass(frozen=True)
class Rule:
    """As many buckets of equal width as one of NumPy's rules finds fit.

    Raises ``InvalidRecordError`` for a name that is not in ``NUMPY_BIN_RULES``.
    """

    name: str

    def __post_init__(self) -> None:
        if self.name not in NUMPY_BIN_RULES:
            raise InvalidRecordError(
                f"rule of bins {self.name!r}; use one of {', '.join(NUMPY_BIN_RULES)}"
            )


Bins = Union[EqualWidth, Edges, Rule]  # noqa: UP007 - evaluated where Bins is imported


@functools.cache
def default_edges() -> Edges:
    """Returns TensorFlow's exponential edges, which MXBoard calls ``'default'``.

    They run from about -1e20 over 0 to about 1e20, growing by a tenth from
    1e-12 in each direction, and resolve any scale alike. Values beyond the
    last edge are in no bucket (TensorFlow itself adds one up to the largest
    double). Source: ``_get_default_bins`` in mxboard/writer.py, after
    InitDefaultBucketsInner in tensorflow/core/lib/histogram/histogram.cc.
    """
    positive = []
    edge = 1e-12
    # Multiplied one by one, as there: a power would round differently.
    while edge < 1e20:
        positive.append(edge)
        edge *= 1.1
    negative = [-edge for edge in reversed(positive)]
    return Edges(np.array([*negative, 0.0, *positive]))


def equal_width_edges(minimum: float, maximum: float, count: int) -> npt.NDArray[np.float64]:
    """Returns the ``count`` + 1 edges of equal buckets from ``minimum`` to ``maximum``.

    They are those of ``numpy.histogram_bin_edges`` in float64; if both are
    equal, half a unit to each side is added. If float64 has too few
    numbers between the two, some buckets have no width (newer NumPy raises);
    if their distance overflows (NumPy raises) the edges are still finite.
    """
    if minimum == maximum:
        minimum, maximum = minimum - 0.5, maximum + 0.5
    distance = maximum - minimum
    if SMALL_DISTANCE < distance < LARGE_DISTANCE:
        # What numpy.linspace does, at a third of its time.
        edges = np.arange(count + 1, dtype=np.float64)
        edges *= distance / count
        edges += minimum
        edges[-1] = maximum
    else:
        # A quarter of each side keeps the distance of any two doubles finite, and
        # loses no digit.
        scale = 1.0 if distance < LARGE_DISTANCE else 4.0
        with np.errstate(over="ignore", under="ignore"):
            edges = np.linspace(minimum / scale, maximum / scale, count + 1) * scale
        # Subnormal steps round to whole units of the smallest number.
        np.maximum(edges, minimum, out=edges)
    # The last step can overshoot.
    np.minimum(edges, maximum, out=edges)
    edges.flags.writeable = False
    return edges

"""Whether a partial is one that a daemon makes: it can then be merged, kept and shown.

Partials come from other daemons, and from files that others can write to. One that
contradicts itself would fail whenever it is merged, long after it was taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from boardd_protos.dtypes import ITEM_BYTES, NUMPY_DTYPES
from boardd_protos.invalid import InvalidRecordError
from boardd_protos.limits import (
    IMAGE_CHANNELS,
    MAX_BINS,
    MAX_PIXELS,
    MAX_THRESHOLDS,
    NUMPY_BIN_RULES,
)

from boardd.partials.curves import Curve
from boardd.partials.embeddings import Embedding, EmbeddingForm, Rows
from boardd.partials.exact_array import MAX_WHOLE, ExactArray
from boardd.partials.histograms import (
    EdgesHistogram,
    GridHistogram,
    Moments,
    RawHistogram,
    max_buckets,
)
from boardd.partials.images import Images
from boardd.partials.partial import Partial
from boardd.partials.rank_sample import RankSample, place_of
from boardd.partials.scalars import Scalars
from boardd.reduce.histogram.grid import grid_range

#: Counts of values are below this. Sums of as many as there can be ranks fit in int64.
_MAX_COUNT: Final = 1 << 42
_RANKS: Final = 1 << 32
#: Channels, height and width.
_IMAGE_DIMENSIONS: Final = 3


def check(partial: Partial) -> None:
    """Raises ``InvalidRecordError`` if it contradicts itself."""
    keys = [share.key for share in partial.shares]
    ranks = [share.rank for share in partial.shares]
    _require(bool(keys), "no contribution")
    _require(len(set(keys)) == len(keys), "two shares of one form")
    _require(ranks == sorted(ranks), "shares that are not in the order of ranks")
    for share in partial.shares:
        _require(share.rank < _RANKS and 0 < share.count < _MAX_COUNT, "a rank or a count")
        special = _CHECKS.get(type(share.value))
        if special is not None:
            special(share.value)


def _require(is_met: bool, what: str) -> None:
    if not is_met:
        raise InvalidRecordError(f"a partial with {what} that cannot be")


def _check_counts(counts: npt.NDArray[np.int64], what: str) -> None:
    _require(not counts.size or (counts.min() >= 0 and counts.max() < _MAX_COUNT), what)


def _check_array(array: ExactArray, size: int, what: str) -> None:
    _require(array.size == size and not (array.units and array.counts.size), what)
    _require(bool(((array.counts >= 0) & (array.counts <= MAX_WHOLE)).all()), what)


def _check_range(low: float, high: float, what: str) -> None:
    _require(math.isfinite(low) and math.isfinite(high) and low <= high, what)


def _scalars(scalars: Scalars) -> None:
    _require(0 < scalars.count < _MAX_COUNT, "a count of scalars")
    _require(math.isfinite(scalars.last.wall_time), "a wall time")


def _moments(moments: Moments) -> None:
    counts = (moments.num, moments.square_overflow_count, moments.nan_count)
    infinities = (moments.positive_infinity_count, moments.negative_infinity_count)
    _require(min(*counts, *infinities) >= 0, "counts of values")
    _require(max(*counts, *infinities) < _MAX_COUNT, "counts of values")
    _check_range(moments.min, moments.max, "extremes")


def _edges_histogram(histogram: EdgesHistogram) -> None:
    _check_counts(histogram.counts, "counts of buckets")
    _moments(histogram.moments)
    _require(int(histogram.counts.sum()) <= histogram.moments.num, "more in buckets than values")


def _grid_histogram(histogram: GridHistogram) -> None:
    grid, moments = histogram.grid, histogram.moments
    _moments(moments)
    _require(0 <= histogram.bins <= MAX_BINS, "a number of bins")
    _require(bool(histogram.bins) or histogram.rule in NUMPY_BIN_RULES, "a rule of bins")
    _check_counts(grid.counts, "counts of buckets")
    _require(int(grid.counts.sum()) == moments.num, "another number of values in its buckets")
    if not moments.num:
        _require(not grid.counts.size, "buckets of no values")
        return
    buckets = grid_range(moments.min, moments.max, max(2, max_buckets(histogram.bins)))
    is_same = (grid.exponent, grid.first, grid.counts.size) == buckets
    _require(is_same, "buckets of other values")


def _raw_histogram(histogram: RawHistogram) -> None:
    limits = histogram.limits
    # Clients count into as many buckets as they like, which may be empty or of no width.
    _require(not np.isnan(limits).any(), "limits of buckets")
    _require(bool((limits[1:] >= limits[:-1]).all()), "limits of buckets")
    _check_array(histogram.counts, limits.size, "counts of buckets")
    _require(min(histogram.counts.units, default=0) >= 0, "counts of buckets")
    _require(not math.isnan(histogram.min) and not math.isnan(histogram.max), "extremes")


def _curve(curve: Curve) -> None:
    # Clients count over as many thresholds as they like.
    is_allowed = curve.is_raw or 1 < curve.thresholds <= MAX_THRESHOLDS
    _require(curve.thresholds > 0 and is_allowed, "a number of thresholds")
    _check_array(curve.counts, curve.thresholds * (4 if curve.is_raw else 2), "counts of a curve")


def _sample(sample: RankSample[Any]) -> None:
    items, limit = sample.items, sample.limit
    _require(bool(items), "no rank")
    _require(all(item.rank < _RANKS for item in items), "a rank")
    if len(items) > 1:
        places = [(place_of(item.rank), item.order) for item in items]
        _require(places == sorted(places), "ranks in another order")
    last = place_of(items[-1].rank)
    _require(limit is None or last < limit <= _RANKS, "a limit of ranks")


def _images(images: Images) -> None:
    height, width, channels = images.shape
    _require(0 < height * width <= MAX_PIXELS and channels in IMAGE_CHANNELS, "a shape of images")
    _require(all(tile.pad_value < 256 for tile in images.sample.items), "a pad value")
    _sample(images.sample)


def _embedding(embedding: Embedding) -> None:
    form = embedding.form_of_rows
    _require(form.columns > 0 and form.dtype in NUMPY_DTYPES, "columns of a matrix")
    _require(
        (form.image_dtype in NUMPY_DTYPES and len(form.image_shape) == _IMAGE_DIMENSIONS)
        if form.image_dtype
        else not form.image_shape,
        "a shape of images",
    )
    _sample(embedding.sample)
    for rows in embedding.sample.items:
        _rows(rows, form)


def _rows(rows: Rows, form: EmbeddingForm) -> None:
    _require(0 < rows.kept <= rows.logged < _MAX_COUNT, "a number of rows")
    row_bytes = form.columns * ITEM_BYTES[form.dtype]
    _require(len(rows.matrix) == rows.kept * row_bytes, "rows of another length")
    image_bytes = math.prod(form.image_shape) * ITEM_BYTES.get(form.image_dtype, 0)
    _require(len(rows.images) == rows.kept * image_bytes, "images of another size")
    lines = rows.labels.split(b"\n")[:-1]
    columns = {line.count(b"\t") + 1 for line in lines}
    wanted = (rows.kept, {form.label_columns}) if form.label_columns else (0, set())
    _require((len(lines), columns) == wanted and _is_text(rows.labels), "labels of rows")


def _is_text(data: bytes) -> bool:
    try:
        return not data or data.decode().endswith("\n")
    except UnicodeDecodeError:
        return False


_CHECKS: Final[dict[type, Callable[[Any], None]]] = {
    Scalars: _scalars,
    EdgesHistogram: _edges_histogram,
    GridHistogram: _grid_histogram,
    RawHistogram: _raw_histogram,
    Curve: _curve,
    Images: _images,
    Embedding: _embedding,
}

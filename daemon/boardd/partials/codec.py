"""Partials to bytes and back; equal partials have equal bytes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from boardd_protos.invalid import InvalidRecordError
from google.protobuf.message import DecodeError

from boardd.partials import partials_pb2 as pb
from boardd.partials.curves import Curve
from boardd.partials.embeddings import Embedding, EmbeddingForm, Rows
from boardd.partials.exact_array import ExactArray
from boardd.partials.exact_sum import ExactSum, FloatSum
from boardd.partials.first import First
from boardd.partials.histograms import EdgesHistogram, GridHistogram, Moments, RawHistogram
from boardd.partials.images import Images, Tile
from boardd.partials.partial import Mergeable, Partial, Share
from boardd.partials.rank_sample import RankSample
from boardd.partials.scalars import Last, Owned, Scalars
from boardd.partials.wholeness import check
from boardd.reduce.histogram.bins import Edges, default_edges
from boardd.reduce.histogram.grid import Grid

#: Of exact sums: float64 has 2,098 bits from its lowest to its highest, squares twice as many
#: above one, and counts add fewer than these.
_MAX_SUM_BITS: Final = 8192


def encode(partial: Partial) -> bytes:
    """Returns ``partial`` as bytes."""
    message = pb.Partial()
    for share in partial.shares:
        name, write, _ = _VALUES[type(share.value)]
        part = message.shares.add(rank=share.rank, count=share.count)
        write(share.value, getattr(part, name))
        getattr(part, name).SetInParent()
    data: bytes = message.SerializeToString(deterministic=True)
    return data


def decode(data: bytes) -> Partial:
    """Returns the partial that ``encode`` made ``data`` of.

    Raises ``InvalidRecordError`` for bytes that are none, or are of none that a daemon makes.
    """
    try:
        message = pb.Partial.FromString(data)
    except DecodeError as error:
        raise InvalidRecordError(f"a partial that cannot be read: {error}") from error
    shares = []
    for share in message.shares:
        name = share.WhichOneof("value")
        if name is None:
            raise InvalidRecordError("a partial of a kind that this daemon does not know")
        shares.append(Share(share.rank, share.count, _READERS[name](getattr(share, name))))
    partial = Partial(tuple(shares))
    check(partial)
    return partial


# Sums --------------------------------------------------------------------------------


def _write_sum(exact: ExactSum | int, message: Any) -> None:
    units = exact if isinstance(exact, int) else exact.units
    if not units:
        return
    message.exponent = (units & -units).bit_length() - 1
    digits = units >> message.exponent
    message.digits = digits.to_bytes(digits.bit_length() // 8 + 1, "little", signed=True)


def _units(message: Any) -> int:
    exponent: int = message.exponent
    if exponent + 8 * len(message.digits) > _MAX_SUM_BITS:
        raise InvalidRecordError(f"a sum of more than {_MAX_SUM_BITS} bits")
    return int.from_bytes(message.digits, "little", signed=True) << exponent


def _write_float_sum(total: FloatSum, message: Any) -> None:
    _write_sum(total.finite, message.finite)
    message.nan_count = total.nan_count
    message.positive_infinity_count = total.positive_infinity_count
    message.negative_infinity_count = total.negative_infinity_count


def _float_sum(message: Any) -> FloatSum:
    return FloatSum(
        ExactSum(_units(message.finite)),
        message.nan_count,
        message.positive_infinity_count,
        message.negative_infinity_count,
    )


def _write_array(array: ExactArray, message: Any) -> None:
    message.counts.extend(array.counts.tolist())
    for units in array.units:
        _write_sum(units, message.sums.add())


def _array(message: Any) -> ExactArray:
    return ExactArray(_counts(message.counts), tuple(map(_units, message.sums)))


def _counts(field: Any) -> npt.NDArray[np.int64]:
    try:
        counts = np.array(field, np.int64)
    except OverflowError as error:
        raise InvalidRecordError(f"a count that cannot be: {error}") from error
    counts.flags.writeable = False
    return counts


# Values ------------------------------------------------------------------------------


def _write_scalars(scalars: Scalars, message: Any) -> None:
    message.count = scalars.count
    _write_float_sum(scalars.sum, message.sum)
    message.min, message.min_rank = scalars.min.value, scalars.min.rank
    message.max, message.max_rank = scalars.max.value, scalars.max.rank
    message.last_wall_time = scalars.last.wall_time
    message.last_rank, message.last = scalars.last.rank, scalars.last.value


def _scalars(message: Any) -> Scalars:
    return Scalars(
        message.count,
        _float_sum(message.sum),
        Owned(message.min, message.min_rank),
        Owned(message.max, message.max_rank),
        Last(message.last_wall_time, message.last_rank, message.last),
    )


def _write_moments(moments: Moments, message: Any) -> None:
    message.num, message.min, message.max = moments.num, moments.min, moments.max
    _write_sum(moments.sum, message.sum)
    _write_sum(moments.squares, message.squares)
    message.square_overflow_count = moments.square_overflow_count
    message.nan_count = moments.nan_count
    message.positive_infinity_count = moments.positive_infinity_count
    message.negative_infinity_count = moments.negative_infinity_count


def _moments(message: Any) -> Moments:
    return Moments(
        message.num,
        message.min,
        message.max,
        ExactSum(_units(message.sum)),
        ExactSum(_units(message.squares)),
        message.square_overflow_count,
        message.nan_count,
        message.positive_infinity_count,
        message.negative_infinity_count,
    )


def _write_edges_histogram(histogram: EdgesHistogram, message: Any) -> None:
    message.is_default = np.array_equal(histogram.edges, default_edges().edges)
    if not message.is_default:
        message.edges.extend(histogram.edges.tolist())
    message.counts.extend(histogram.counts.tolist())
    _write_moments(histogram.moments, message.moments)


def _edges_histogram(message: Any) -> EdgesHistogram:
    edges = default_edges() if message.is_default else Edges(np.array(message.edges, np.float64))
    if len(message.counts) != edges.edges.size - 1:
        raise InvalidRecordError(f"{len(message.counts)} counts for {edges.edges.size} edges")
    return EdgesHistogram(edges.edges, _counts(message.counts), _moments(message.moments))


def _write_grid_histogram(histogram: GridHistogram, message: Any) -> None:
    message.bins, message.rule = histogram.bins, histogram.rule
    message.exponent, message.first = histogram.grid.exponent, histogram.grid.first
    message.counts.extend(histogram.grid.counts.tolist())
    _write_moments(histogram.moments, message.moments)


def _grid_histogram(message: Any) -> GridHistogram:
    grid = Grid(message.exponent, message.first, _counts(message.counts))
    return GridHistogram(message.bins, message.rule, grid, _moments(message.moments))


def _write_raw_histogram(histogram: RawHistogram, message: Any) -> None:
    message.limits.extend(histogram.limits.tolist())
    _write_array(histogram.counts, message.counts)
    message.min, message.max = histogram.min, histogram.max
    _write_float_sum(histogram.num, message.num)
    _write_float_sum(histogram.sum, message.sum)
    _write_float_sum(histogram.squares, message.squares)


def _raw_histogram(message: Any) -> RawHistogram:
    return RawHistogram(
        np.array(message.limits, np.float64),
        _array(message.counts),
        message.min,
        message.max,
        _float_sum(message.num),
        _float_sum(message.sum),
        _float_sum(message.squares),
    )


def _write_curve(curve: Curve, message: Any) -> None:
    message.is_raw = curve.is_raw
    _write_array(curve.counts, message.counts)


def _curve(message: Any) -> Curve:
    counts = _array(message.counts)
    return Curve(counts.size // (4 if message.is_raw else 2), message.is_raw, counts)


def _write_images(images: Images, message: Any) -> None:
    message.height, message.width, message.channels = images.shape
    for tile in images.sample.items:
        message.tiles.add(rank=tile.rank, pixels=tile.pixels.tobytes(), pad_value=tile.pad_value)
    _write_limit(images.sample, message)


def _images(message: Any) -> Images:
    shape = (message.height, message.width, message.channels)
    tiles = []
    for tile in message.tiles:
        if len(tile.pixels) != math.prod(shape):
            raise InvalidRecordError(f"a tile of {len(tile.pixels)} bytes; its shape is {shape}")
        pixels = np.frombuffer(tile.pixels, np.uint8).reshape(shape)
        tiles.append(Tile(tile.rank, pixels, tile.pad_value))
    return Images(shape, RankSample(tuple(tiles), _limit(message)))


def _write_embedding(embedding: Embedding, message: Any) -> None:
    form = embedding.form_of_rows
    message.columns, message.dtype = form.columns, form.dtype
    message.header.extend(form.header)
    message.label_columns, message.image_dtype = form.label_columns, form.image_dtype
    message.image_shape.extend(form.image_shape)
    message.project_to, message.has_step = form.project_to, form.has_step
    for rows in embedding.sample.items:
        message.rows.add(
            rank=rows.rank,
            logged=rows.logged,
            kept=rows.kept,
            matrix=rows.matrix,
            labels=rows.labels,
            images=rows.images,
            notes=rows.notes,
        )
    _write_limit(embedding.sample, message)


def _embedding(message: Any) -> Embedding:
    rows = tuple(
        Rows(
            part.rank,
            part.logged,
            part.kept,
            part.matrix,
            part.labels,
            part.images,
            tuple(part.notes),
        )
        for part in message.rows
    )
    form = EmbeddingForm(
        columns=message.columns,
        dtype=message.dtype,
        header=tuple(message.header),
        label_columns=message.label_columns,
        image_dtype=message.image_dtype,
        image_shape=tuple(message.image_shape),
        project_to=message.project_to,
        has_step=message.has_step,
    )
    return Embedding(form, RankSample(rows, _limit(message)))


def _write_limit(sample: RankSample[Any], message: Any) -> None:
    if sample.limit is not None:
        message.limit = sample.limit


def _limit(message: Any) -> int | None:
    return message.limit if message.HasField("limit") else None


def _write_first(first: First, message: Any) -> None:
    message.rank, message.content = first.rank, first.content


def _first(message: Any) -> First:
    return First(message.rank, message.content)


#: From a type of value to its field of ``Share``, and what writes and reads it.
_VALUES: Final[dict[type, tuple[str, Callable[[Any, Any], None], Callable[[Any], Mergeable]]]] = {
    Scalars: ("scalars", _write_scalars, _scalars),
    EdgesHistogram: ("edges_histogram", _write_edges_histogram, _edges_histogram),
    GridHistogram: ("grid_histogram", _write_grid_histogram, _grid_histogram),
    RawHistogram: ("raw_histogram", _write_raw_histogram, _raw_histogram),
    Curve: ("curve", _write_curve, _curve),
    Images: ("images", _write_images, _images),
    Embedding: ("embedding", _write_embedding, _embedding),
    First: ("first", _write_first, _first),
}
_READERS: Final = {name: read for name, _, read in _VALUES.values()}

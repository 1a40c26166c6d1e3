"""What contradicts itself is refused where it comes in, and not when it is merged."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from boardd.partials.codec import decode, encode
from boardd.partials.curves import curve_of
from boardd.partials.embeddings import Embedding, EmbeddingForm, Rows
from boardd.partials.exact_array import ExactArray
from boardd.partials.exact_sum import FloatSum
from boardd.partials.histograms import RawHistogram, histogram_of
from boardd.partials.images import Images
from boardd.partials.partial import Partial, Share
from boardd.partials.rank_sample import RankSample
from boardd.partials.scalars import Scalars
from boardd.partials.wholeness import check
from boardd.reduce.histogram.bins import Edges, EqualWidth, Rule
from boardd_protos.invalid import InvalidRecordError

VALUES = np.array([-1.0, 0.5, 2.0])
EDGES = histogram_of(VALUES, Edges(np.array([-2.0, 0.0, 3.0])))
GRID = histogram_of(VALUES, EqualWidth(5))
RAW = RawHistogram(
    np.array([1.0, 2.0]),
    ExactArray.of_counts(np.array([3, 4])),
    0.0,
    2.0,
    FloatSum.of(7.0),
    FloatSum.of(1.0),
    FloatSum.of(1.0),
)
CURVE = curve_of(np.array([True, False]), np.array([0.5, 0.25]), 7)
IMAGES = Images.of(3, np.zeros((2, 3, 1), np.uint8), 0)
FORM = EmbeddingForm(2, "float32", ("name",), 1, "uint8", (1, 1, 1), 0, False)
ROWS = Rows(3, 5, 2, bytes(16), b"a\nb\n", bytes(2), ())
EMBEDDING = Embedding(FORM, RankSample((ROWS,)))
SCALARS = Scalars.of(3, 1e9, 0.5)
WHOLE = (EDGES, GRID, histogram_of(VALUES, Rule("fd")), RAW, CURVE, IMAGES, EMBEDDING, SCALARS)


@pytest.mark.parametrize("value", WHOLE, ids=lambda value: type(value).__name__)
def test_what_a_rank_makes_is_whole(value: Any) -> None:
    partial = Partial.of(3, value)
    check(partial)
    assert encode(decode(encode(partial))) == encode(partial)
    check(partial.merge(Partial.of(5, value)))


def changed(value: Any, **changes: Any) -> Callable[[], Any]:
    return lambda: dataclasses.replace(value, **changes)


def sample(*ranks: int, limit: int | None = None, **changes: Any) -> RankSample[Any]:
    rows = (dataclasses.replace(ROWS, rank=rank, **changes) for rank in ranks)
    return RankSample(tuple(rows), limit)


@pytest.mark.parametrize(
    "make",
    [
        changed(EDGES, counts=np.array([1, -1])),
        changed(EDGES, counts=np.array([1, 9])),
        changed(EDGES, moments=dataclasses.replace(EDGES.moments, min=math.nan)),
        changed(EDGES, moments=dataclasses.replace(EDGES.moments, num=-1)),
        changed(GRID, moments=dataclasses.replace(GRID.moments, max=1e300)),
        changed(GRID, moments=dataclasses.replace(GRID.moments, num=2)),
        changed(GRID, grid=dataclasses.replace(GRID.grid, first=0)),
        changed(GRID, grid=dataclasses.replace(GRID.grid, exponent=4000)),
        changed(GRID, bins=0, rule="none"),
        changed(RAW, limits=np.array([2.0, 1.0])),
        changed(RAW, limits=np.array([1.0, 2.0, 3.0])),
        changed(RAW, counts=ExactArray(np.array([1, 1 << 60]))),
        changed(CURVE, thresholds=6),
        changed(CURVE, counts=ExactArray(CURVE.counts.counts - 1)),
        changed(IMAGES, sample=RankSample(())),
        changed(IMAGES, shape=(2, 3, 7)),
        changed(EMBEDDING, sample=sample(1, 2)),
        changed(EMBEDDING, sample=sample(1 << 40)),
        changed(EMBEDDING, sample=sample(3, limit=1)),
        changed(EMBEDDING, sample=sample(3, kept=3)),
        changed(EMBEDDING, sample=sample(3, labels=b"a\nb\tc\n")),
        changed(EMBEDDING, sample=sample(3, labels=b"a\n\xff\n")),
        changed(EMBEDDING, sample=sample(3, images=b"")),
        changed(EMBEDDING, form_of_rows=dataclasses.replace(FORM, dtype="object")),
        changed(SCALARS, count=0),
    ],
)
def test_what_contradicts_itself_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(InvalidRecordError, match=r"a partial with .* that cannot be"):
        check(Partial.of(3, make()))


@pytest.mark.parametrize(
    "shares",
    [
        (),
        (Share(1, 1, EDGES), Share(2, 1, EDGES)),
        (Share(2, 1, EDGES), Share(1, 1, GRID)),
        (Share(1, 0, EDGES),),
        (Share(1 << 32, 1, EDGES),),
    ],
    ids=["none", "one form twice", "not in order", "of nobody", "no rank"],
)
def test_shares_that_contradict_each_other_are_refused(shares: tuple[Share, ...]) -> None:
    with pytest.raises(InvalidRecordError):
        check(Partial(shares))

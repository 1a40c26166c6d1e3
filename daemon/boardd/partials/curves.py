"""Precision-recall curves that merge: exact counts, from which the ratios are made anew."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from boardd.partials.exact_array import ExactArray, bucket_sums
from boardd.reduce.pr_curve import PrCurve, bucketed


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Counts of a curve over ``thresholds`` thresholds.

    ``counts`` has, of each bucket between thresholds, what is positive, then of each what is
    negative; if ``is_raw``, of each threshold tp, then fp, tn and fn of each, as the client
    counted them.
    """

    thresholds: int
    is_raw: bool
    counts: ExactArray

    @property
    def form(self) -> tuple[Any, ...]:
        """The number of thresholds, and who counted."""
        return self.thresholds, self.is_raw

    def merge(self, *others: Curve) -> Curve:
        """Returns the curve of all."""
        counts = self.counts
        for other in others:
            counts = counts.merge(other.counts)
        return Curve(self.thresholds, self.is_raw, counts)

    @property
    def curve(self) -> PrCurve:
        """The curve; each count is rounded once, and precision and recall are made of those."""
        if self.is_raw:
            return PrCurve(*self.counts.values.reshape(4, self.thresholds))
        units = self.counts.all_units()
        tp = _reverse_sums(units[: self.thresholds])
        fp = _reverse_sums(units[self.thresholds :])
        tn = [fp[0] - number for number in fp]
        fn = [tp[0] - number for number in tp]
        return PrCurve(*(ExactArray.of_units(row).values for row in (tp, fp, tn, fn)))

    @property
    def size_bytes(self) -> int:
        """The memory that it holds, about."""
        return self.counts.size_bytes


def curve_of(
    labels: npt.NDArray[Any],
    predictions: npt.NDArray[Any],
    num_thresholds: int,
    weights: npt.NDArray[Any] | None = None,
) -> Curve:
    """Returns one rank's curve; arguments and errors are those of ``reduce.pr_curve``."""
    counts = ExactArray.of_counts(np.zeros(2 * num_thresholds, np.int64))
    for buckets, positive, negative in bucketed(labels, predictions, num_thresholds, weights):
        both = np.concatenate((buckets, buckets + num_thresholds))
        values = np.concatenate((positive, negative))
        counts = counts.merge(bucket_sums(both, values, 2 * num_thresholds))
    return Curve(num_thresholds, False, counts)


def _reverse_sums(units: list[int]) -> list[int]:
    return list(itertools.accumulate(reversed(units)))[::-1]

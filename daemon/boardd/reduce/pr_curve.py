"""Precision-recall curves of binary classifiers, from mergeable counts.

A prediction p falls in bucket floor(p * (num_thresholds - 1)), and is taken as
positive at the thresholds of that bucket and below: the counts at a threshold
are sums over the buckets from there on. As TensorBoard's reference does it
(tensorboard/plugins/pr_curve/summary.py), sums included, bit for bit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from boardd_protos.invalid import InvalidTensorError
from boardd_protos.limits import MAX_THRESHOLDS

#: What divides instead of 0 if nothing was counted; TensorBoard's value.
_MINIMUM_COUNT: Final = 1e-7

#: Values taken at a time: numpy.histogram's block, so that weighted sums round alike.
_BLOCK: Final = 65_536


@dataclasses.dataclass(frozen=True, eq=False)
class PrCurve:
    """Counts at each threshold i / (num_thresholds - 1), each float64[num_thresholds].

    ``tp``, ``fp``, ``tn`` and ``fn`` are true and false positives and negatives.
    """

    tp: npt.NDArray[np.float64]
    fp: npt.NDArray[np.float64]
    tn: npt.NDArray[np.float64]
    fn: npt.NDArray[np.float64]

    @property
    def precision(self) -> npt.NDArray[np.float64]:
        """Which share of the positive predictions is right, 0 if there are none."""
        return _share(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> npt.NDArray[np.float64]:
        """Which share of the positive labels is found, 0 if there are none."""
        return _share(self.tp, self.tp + self.fn)

    def rows(self) -> npt.NDArray[np.float64]:
        """Returns float64[6, num_thresholds] in the order of TensorBoard's plugin.

        tp, fp, tn, fn, precision, recall; the plugin stores them as float32.
        """
        return np.stack((self.tp, self.fp, self.tn, self.fn, self.precision, self.recall))


def pr_curve(
    labels: npt.NDArray[Any],
    predictions: npt.NDArray[Any],
    num_thresholds: int,
    weights: npt.NDArray[Any] | None = None,
) -> PrCurve:
    """Returns the curve of ``predictions`` against ``labels``.

    Args:
        labels: the truth, any shape: bool or numbers, 0 is negative and 1 or
            more is positive. A fraction counts as that much of a positive, as
            in the reference.
        predictions: as many, in the same shape, in [0, 1]. float32 and float64
            are multiplied in their own type, float16 in float32 (bfloat16
            comes as that).
        num_thresholds: 2 to ``MAX_THRESHOLDS``, evenly from 0 to 1.
        weights: what each label counts, at least 0, 1 if there are none; any
            shape that broadcasts to that of ``labels``.

    Raises ``InvalidTensorError`` for values outside of these, NaN among them.
    """
    true_counts = np.zeros(num_thresholds, np.float64)
    false_counts = np.zeros(num_thresholds, np.float64)
    for buckets, positive, negative in bucketed(labels, predictions, num_thresholds, weights):
        true_counts += np.bincount(buckets, positive, num_thresholds)
        false_counts += np.bincount(buckets, negative, num_thresholds)
    tp = np.cumsum(true_counts[::-1])[::-1]
    fp = np.cumsum(false_counts[::-1])[::-1]
    return PrCurve(tp, fp, fp[0] - fp, tp[0] - tp)


def bucketed(
    labels: npt.NDArray[Any],
    predictions: npt.NDArray[Any],
    num_thresholds: int,
    weights: npt.NDArray[Any] | None = None,
) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Yields a block of predictions at a time: their buckets, and what counts as either.

    Arguments and errors are those of ``pr_curve``. Each array has the shape [predictions];
    the last two are how much of each is positive and how much negative.
    """
    if not 2 <= num_thresholds <= MAX_THRESHOLDS:
        raise InvalidTensorError(f"{num_thresholds} thresholds; give 2 to {MAX_THRESHOLDS}")
    for name, array in (("labels", labels), ("predictions", predictions), ("weights", weights)):
        if array is not None and (array.dtype.kind not in "biuf" or array.dtype.itemsize > 8):
            raise InvalidTensorError(
                f"{name} of {array.dtype}; give bool, integers or floats to 64 bits"
            )
    if labels.shape != predictions.shape:
        raise InvalidTensorError(
            f"labels of shape {labels.shape} and predictions of shape {predictions.shape}; "
            "give them the same shape"
        )
    if weights is not None:
        _check(weights, "weights", np.inf)
        try:
            weights = np.broadcast_to(weights, labels.shape).reshape(-1)
        except ValueError:
            raise InvalidTensorError(
                f"weights of shape {weights.shape} do not broadcast to labels of {labels.shape}"
            ) from None
    dtype = np.result_type(predictions.dtype, np.float32)
    labels = labels.reshape(-1)
    predictions = predictions.reshape(-1)

    for start in range(0, labels.size, _BLOCK):
        part = slice(start, start + _BLOCK)
        _check(labels[part], "labels", np.inf)
        _check(predictions[part], "predictions", 1.0)
        scaled = predictions[part].astype(dtype)
        scaled *= num_thresholds - 1
        # No value is negative: to truncate is to round down. The bounds hold unless
        # another process has changed the predictions since they were checked.
        buckets = np.clip(scaled.astype(np.intp), 0, num_thresholds - 1)
        positive = np.minimum(labels[part].astype(np.float64), 1.0)
        negative = 1.0 - positive
        if weights is not None:
            positive *= weights[part]
            negative *= weights[part]
        yield buckets, positive, negative


def merge(a: PrCurve, b: PrCurve) -> PrCurve:
    """Returns the curve of the labels and predictions of ``a`` and ``b`` together.

    Associative and commutative, exactly if there are no weights. Raises
    ``InvalidTensorError`` if the thresholds differ.
    """
    if a.tp.size != b.tp.size:
        raise InvalidTensorError(
            f"curves of {a.tp.size} and {b.tp.size} thresholds do not merge; use the same number"
        )
    return PrCurve(a.tp + b.tp, a.fp + b.fp, a.tn + b.tn, a.fn + b.fn)


def _share(
    part: npt.NDArray[np.float64], whole: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    share: npt.NDArray[np.float64] = part / np.maximum(_MINIMUM_COUNT, whole)
    return share


def _check(values: npt.NDArray[Any], name: str, largest: float) -> None:
    """Raises if a value is NaN, infinite, below 0 or above ``largest``."""
    if not values.size:
        return
    lowest, highest = values.min(), values.max()
    # NaN, which either one would be, fails both.
    if not (lowest >= 0 and highest <= largest and np.isfinite(highest)):
        what = "finite and at least 0" if np.isinf(largest) else f"in [0, {largest:g}]"
        raise InvalidTensorError(f"{name} from {lowest} to {highest}; each is to be {what}")

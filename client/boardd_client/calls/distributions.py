"""Distributions of values: histograms, precision-recall curves, plain tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from boardd_protos.limits import MAX_THRESHOLDS
from boardd_protos.summary_kind import SummaryKind

from boardd_client import capture
from boardd_client.calls import arguments, payloads, shapes
from boardd_client.calls.base import Calls
from boardd_client.calls.batches import Watched


class DistributionCalls(Calls):
    """See the module."""

    def add_histogram(
        self,
        tag: str,
        values: Any,
        global_step: Any = None,
        bins: Any = "default",
        *,
        walltime: float | None = None,
    ) -> None:
        """Logs the distribution of an array's values; the daemon counts them.

        Args:
            tag: name of the plot.
            values: an array of any shape, also an empty one.
            global_step: the step; None is 0.
            bins: the number of equal bins between the least and the greatest
                value, 1 to 65,536; 2 to 65,537 ascending edges; ``"default"`` or
                ``"tensorflow"`` for TensorFlow's exponential edges; or a rule of
                ``numpy.histogram``: auto, fd, doane, scott, stone, rice, sturges, sqrt.
            walltime: seconds since the epoch; None is now.

        Raises:
            TypeError, ValueError: not as described.
        """
        tag = arguments.tag(tag)
        step = arguments.step(global_step)
        checked = arguments.bins(bins)
        tensor = capture.tensor(values, "values")
        payload = payloads.histogram(tensor.dtype, tensor.shape, checked)
        self._log_summary(
            tag, step, payload, [tensor], kind=SummaryKind.HISTOGRAM, walltime=walltime
        )

    def add_histograms(
        self,
        values: Mapping[str, Any],
        global_step: Any = None,
        bins: Any = "default",
        *,
        walltime: float | None = None,
    ) -> None:
        """Logs the distributions of many arrays at one step, as ``add_histogram`` does of each.

        Those of up to 1 MiB share a record: they are copied, counted and written together,
        which costs a fraction. So they are also dropped together if there is no room, and
        lost together if a framework fails to yield one of them. In a run that several workers
        log to, each has a record of its own.

        Args:
            values: the arrays, each of any shape, by the names of their plots.
            global_step: the step; None is 0.
            bins: as of ``add_histogram``, for all.
            walltime: seconds since the epoch; None is now.

        Raises:
            TypeError, ValueError: not as described. Nothing was logged then.
        """
        if not isinstance(values, Mapping):
            raise TypeError(f"values is a {arguments.kind(values)}, expected a dict of arrays")
        step = arguments.step(global_step)
        self._log_arrays(values, step, arguments.bins(bins), walltime)

    def _log_arrays(
        self,
        values: Mapping[str, Any],
        step: int,
        bins: arguments.Bins,
        walltime: object = None,
        watched: Watched | None = None,
    ) -> None:
        """As ``add_histograms``. With ``watched``, what cannot be logged is refused there."""
        histograms = []
        for name, array in values.items():
            try:
                tag = arguments.tag(name)
                what = f"values[{tag!r}]" if watched is None else "values"
                tensor = capture.tensor(array, what)
                payloads.check_shape(tensor.shape)
            except (TypeError, ValueError) as error:
                if watched is None:
                    raise
                watched.refused[name] = error
            else:
                histograms.append((tag, tensor))
        self._log_histograms(histograms, step, bins, walltime, watched)

    def add_histogram_raw(
        self,
        tag: str,
        min: float,
        max: float,
        num: float,
        sum: float,
        sum_squares: float,
        bucket_limits: Any,
        bucket_counts: Any,
        global_step: Any = None,
        *,
        walltime: float | None = None,
    ) -> None:
        """Logs a histogram that was counted elsewhere.

        Args:
            tag: name of the plot.
            min: the least value.
            max: the greatest value.
            num: the number of values.
            sum: the sum of the values.
            sum_squares: the sum of their squares.
            bucket_limits: [n], n at least 1: the right edge of each bucket, ascending.
            bucket_counts: [n], the number of values in each bucket.
            global_step: the step; None is 0.
            walltime: seconds since the epoch; None is now.

        Raises:
            TypeError, ValueError: not as described.
        """
        tag = arguments.tag(tag)
        step = arguments.step(global_step)
        moments = {
            "min": arguments.number(min, "min"),
            "max": arguments.number(max, "max"),
            "num": arguments.number(num, "num"),
            "sum": arguments.number(sum, "sum"),
            "sum_squares": arguments.number(sum_squares, "sum_squares"),
        }
        vectors = {
            "bucket_limits": capture.tensor(bucket_limits, "bucket_limits"),
            "bucket_counts": capture.tensor(bucket_counts, "bucket_counts"),
        }
        shapes.vectors(vectors)
        tensors = list(vectors.values())
        payload = payloads.histogram_raw(tensors, moments)
        self._log_summary(
            tag, step, payload, tensors, kind=SummaryKind.HISTOGRAM, walltime=walltime
        )

    def add_pr_curve(
        self,
        tag: str,
        labels: Any,
        predictions: Any,
        num_thresholds: int = 127,
        global_step: Any = None,
        weights: Any = None,
        *,
        walltime: float | None = None,
    ) -> None:
        """Logs the precision-recall curve of a binary classifier; the daemon counts.

        Args:
            tag: name of the curve.
            labels: the truth, 0 or 1, an array of any shape.
            predictions: in [0, 1], of the shape of ``labels``.
            num_thresholds: 2 to 65536, evenly spread from 0 to 1.
            global_step: the step; None is 0.
            weights: the weight of each label, at least 0, of a shape that broadcasts to
                that of ``labels``. None: 1.
            walltime: seconds since the epoch; None is now.

        Raises:
            TypeError, ValueError: not as described.
        """
        tag = arguments.tag(tag)
        step = arguments.step(global_step)
        thresholds = arguments.integer(num_thresholds, "num_thresholds", 2, MAX_THRESHOLDS)
        tensors = [capture.tensor(labels, "labels"), capture.tensor(predictions, "predictions")]
        if weights is not None:
            tensors.append(capture.tensor(weights, "weights"))
        shapes.pr_curve(*tensors)
        payload = payloads.pr_curve(tensors, thresholds)
        self._log_summary(tag, step, payload, tensors, kind=SummaryKind.PR_CURVE, walltime=walltime)

    def add_pr_curve_raw(
        self,
        tag: str,
        true_positive_counts: Any,
        false_positive_counts: Any,
        true_negative_counts: Any,
        false_negative_counts: Any,
        precision: Any,
        recall: Any,
        global_step: Any = None,
        num_thresholds: int | None = None,
        weights: None = None,
        *,
        walltime: float | None = None,
    ) -> None:
        """Logs a precision-recall curve that was computed elsewhere.

        Args:
            tag: name of the curve.
            true_positive_counts: [n], one for each of n thresholds, which TensorBoard
                takes to be spread evenly from 0 to 1.
            false_positive_counts: [n], likewise.
            true_negative_counts: [n], likewise.
            false_negative_counts: [n], likewise.
            precision: [n], likewise.
            recall: [n], likewise.
            global_step: the step; None is 0.
            num_thresholds: None, or n.
            weights: None, because the counts must be weighted already.
            walltime: seconds since the epoch; None is now.

        Raises:
            TypeError, ValueError: not as described.
        """
        tag = arguments.tag(tag)
        step = arguments.step(global_step)
        if weights is not None:
            raise ValueError("weights cannot be applied to counts; weight the counts themselves")
        vectors = {
            name: capture.tensor(value, name)
            for name, value in (
                ("true_positive_counts", true_positive_counts),
                ("false_positive_counts", false_positive_counts),
                ("true_negative_counts", true_negative_counts),
                ("false_negative_counts", false_negative_counts),
                ("precision", precision),
                ("recall", recall),
            )
        }
        count = shapes.vectors(vectors)
        if num_thresholds is not None:
            thresholds = arguments.integer(num_thresholds, "num_thresholds", 1, None)
            if thresholds != count:
                raise ValueError(
                    f"num_thresholds is {thresholds}, but true_positive_counts has {count} elements"
                )
        tensors = list(vectors.values())
        payload = payloads.pr_curve_raw(tensors, count)
        self._log_summary(tag, step, payload, tensors, kind=SummaryKind.PR_CURVE, walltime=walltime)

    def add_tensor(
        self,
        tag: str,
        tensor: Any,
        global_step: Any = None,
        *,
        walltime: float | None = None,
    ) -> None:
        """Logs an array as it is, for programs that read event files; no page shows it.

        Args:
            tag: name of the tensor.
            tensor: an array of any shape.
            global_step: the step; None is 0.
            walltime: seconds since the epoch; None is now.

        Raises:
            TypeError, ValueError: not as described.
        """
        tag = arguments.tag(tag)
        step = arguments.step(global_step)
        captured = capture.tensor(tensor, "tensor")
        payload = payloads.tensor(captured)
        self._log_summary(
            tag, step, payload, [captured], kind=SummaryKind.TENSOR, walltime=walltime
        )

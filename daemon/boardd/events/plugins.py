"""Values of TensorBoard's smaller plugins: text, audio, precision-recall curves.

The forms are those that TensorBoard's own summaries have (text, pr_curves), or
that its loaders convert (audio, as MXBoard and tensorboardX write it).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from boardd.events.event_pb2 import Summary
from boardd.events.plugins_pb2 import PrCurvePluginData, TextPluginData
from boardd.events.tensors import bytes_proto, plugin_value, tensor_proto
from boardd.reduce.dtypes import TensorError

#: Names of the plugins, as tensorboard/plugins/*/metadata.py has them.
TEXT_PLUGIN: Final = "text"
PR_CURVES_PLUGIN: Final = "pr_curves"

#: Every integer up to here is a float32.
_EXACT_FLOAT32: Final = 2**24


def text_value(tag: str, markdown: str) -> Summary.Value:
    """A text, which TensorBoard renders as Markdown.

    Under the tag that it is given, as TensorBoard's own text summaries are:
    tensorboardX appends ``/text_summary``, and MXBoard leaves the tag empty,
    which shows nothing. A scalar string: TensorBoard makes tables of vectors.

    Raises ``ValueError`` on a lone surrogate, which UTF-8 cannot hold.
    """
    return plugin_value(
        tag,
        bytes_proto(markdown.encode()),
        TEXT_PLUGIN,
        TextPluginData(version=0).SerializeToString(),
    )


def audio_value(
    tag: str, wav: bytes, sample_rate: float, channels: int, length_frames: int
) -> Summary.Value:
    """A clip: the bytes of a WAV file of ``sample_rate`` Hz and ``length_frames`` samples.

    Of each channel there are so many.
    """
    return Summary.Value(
        tag=tag,
        audio=Summary.Audio(
            sample_rate=sample_rate,
            num_channels=channels,
            length_frames=length_frames,
            encoded_audio_string=wav,
            content_type="audio/wav",
        ),
    )


def pr_curve_value(
    tag: str,
    tp: npt.ArrayLike,
    fp: npt.ArrayLike,
    tn: npt.ArrayLike,
    fn: npt.ArrayLike,
    precision: npt.ArrayLike,
    recall: npt.ArrayLike,
) -> Summary.Value:
    """A precision-recall curve over thresholds that TensorBoard spreads evenly on [0, 1].

    Each argument has one element for each threshold, ascending: counts of true
    and false positives and negatives, then the two ratios. Stored as
    float32[6, n], as other writers do, unless there are counts that only
    float64 holds.

    Raises ``TensorError`` where they are not vectors of one length of at least
    1, and on a value that is not finite, at which the plugin would fail.
    """
    rows: dict[str, npt.NDArray[Any]] = {
        name: np.asarray(row)
        for name, row in (
            ("tp", tp),
            ("fp", fp),
            ("tn", tn),
            ("fn", fn),
            ("precision", precision),
            ("recall", recall),
        )
    }
    count = rows["tp"].size
    for name, row in rows.items():
        if row.shape != (count,) or not count:
            raise TensorError(
                f"a PR curve whose {name} has shape {row.shape}; "
                "give six vectors of one length, an element for each threshold"
            )
        if row.dtype.kind not in "biuf" or not np.isfinite(row).all():
            raise TensorError(f"a PR curve whose {name} has values that are not finite numbers")
    data = np.stack(list(rows.values())).astype(np.float64)
    exact = np.abs(data).max() <= _EXACT_FLOAT32
    return plugin_value(
        tag,
        tensor_proto(data.astype(np.float32) if exact else data),
        PR_CURVES_PLUGIN,
        PrCurvePluginData(version=0, num_thresholds=count).SerializeToString(),
    )

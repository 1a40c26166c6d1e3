"""Values of TensorBoard's smaller plugins: text, audio, precision-recall curves.

The forms are those that TensorBoard's loaders keep in memory, so that nothing
is left to their conversion of older ones.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from boardd_protos.invalid import InvalidTensorError

from boardd.events.event_pb2 import (
    DATA_CLASS_BLOB_SEQUENCE,
    DT_STRING,
    Summary,
    SummaryMetadata,
    TensorProto,
    TensorShapeProto,
)
from boardd.events.plugins_pb2 import AudioPluginData, PrCurvePluginData, TextPluginData
from boardd.events.tensors import bytes_proto, plugin_value, tensor_proto

#: Names of the plugins, as tensorboard/plugins/*/metadata.py has them.
TEXT_PLUGIN: Final = "text"
AUDIO_PLUGIN: Final = "audio"
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


def audio_value(tag: str, wav: bytes) -> Summary.Value:
    """A clip: the bytes of a WAV file, which also say its sample rate and channels.

    Not TensorFlow's older message for audio, which MXBoard and tensorboardX
    write: TensorBoard's data server forgets that such clips are WAV, and serves
    them to the browser as bytes of no known type.
    """
    content = AudioPluginData(version=0, encoding=AudioPluginData.WAV).SerializeToString()
    return Summary.Value(
        tag=tag,
        tensor=TensorProto(
            dtype=DT_STRING,
            tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]),
            string_val=[wav],
        ),
        metadata=SummaryMetadata(
            plugin_data=SummaryMetadata.PluginData(plugin_name=AUDIO_PLUGIN, content=content),
            data_class=DATA_CLASS_BLOB_SEQUENCE,
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

    Raises ``InvalidTensorError`` if they are not vectors of one length of at least
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
            raise InvalidTensorError(
                f"a PR curve whose {name} has shape {row.shape}; "
                "give six vectors of one length, an element for each threshold"
            )
        if row.dtype.kind not in "biuf" or not np.isfinite(row).all():
            raise InvalidTensorError(
                f"a PR curve whose {name} has values that are not finite numbers"
            )
    data = np.stack(list(rows.values())).astype(np.float64)
    exact = np.abs(data).max() <= _EXACT_FLOAT32
    return plugin_value(
        tag,
        tensor_proto(data.astype(np.float32) if exact else data),
        PR_CURVES_PLUGIN,
        PrCurvePluginData(version=0, num_thresholds=count).SerializeToString(),
    )

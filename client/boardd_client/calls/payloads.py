"""The payloads of records: what they are, their options, their tensors' dtype and shape.

Users log the same few shapes over and over, so the serialized bytes of the most
frequent kinds are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos.limits import MAX_DIMENSIONS, MAX_PAYLOAD_BYTES

from boardd_client.calls.arguments import Bins

if TYPE_CHECKING:
    from boardd_client.calls.labels import Columns
    from boardd_client.capture import Tensor

#: Distinct payloads that are kept; one with edges may have half a megabyte.
_KEPT: Final = 64


@lru_cache(maxsize=_KEPT)
def histogram(dtype: str, shape: tuple[int, ...], bins: Bins) -> bytes:
    """The payload of a histogram of one tensor."""
    return _serialized(pb.Payload(tensors=[_described(dtype, shape)], histogram=_bins(bins)))


@lru_cache(maxsize=_KEPT)
def histograms(
    tensors: tuple[tuple[str, tuple[int, ...]], ...],
    series: tuple[int, ...],
    sizes: tuple[int, ...],
    bins: Bins,
) -> bytes:
    """The payload of histograms of several series.

    ``tensors`` are the dtypes and shapes of what holds their values, ``sizes`` of each.
    """
    message = pb.Histograms(bins=_bins(bins), series=series, sizes=sizes)
    described = [_described(dtype, shape) for dtype, shape in tensors]
    return _serialized(pb.Payload(tensors=described, histograms=message))


def _bins(bins: Bins) -> pb.Histogram:
    message = pb.Histogram()
    if bins.rule:
        message.rule = bins.rule
    elif bins.edges:
        message.edges.edges.extend(bins.edges)
    else:
        message.count = bins.count
    return message


@lru_cache(maxsize=_KEPT)
def health(
    tag: str, names: tuple[str, ...], sizes: tuple[int, ...], part: int, parts: int
) -> bytes:
    """Goes behind a payload of arrays called ``names``: their health is shown as well.

    ``sizes`` are those of the arrays in the payload's tensors; none: each tensor is an array.
    """
    message = pb.Health(tag=tag, names=names, sizes=sizes, part=part, parts=parts)
    return _serialized(pb.Payload(health=message))


@lru_cache(maxsize=_KEPT)
def image(
    dtype: str,
    shape: tuple[int, ...],
    dataformats: str,
    *,
    nrow: int,
    padding: int,
    normalize: str,
    value_range: tuple[float, ...],
    pad_value: int,
) -> bytes:
    """The payload of an image, or of a batch that becomes a grid."""
    message = pb.Image(
        dataformats=dataformats,
        nrow=nrow,
        padding=padding,
        normalize=normalize,
        value_range=value_range,
        pad_value=pad_value,
    )
    return _serialized(pb.Payload(tensors=[_described(dtype, shape)], image=message))


def image_with_boxes(
    tensors: Sequence[Tensor], dataformats: str, labels: Iterable[str], rescale: float
) -> bytes:
    """The payload of an image, ``tensors[0]``, with boxes, ``tensors[1]``."""
    message = pb.Image(dataformats=dataformats, nrow=1, has_boxes=True, box_labels=labels)
    if rescale != 1:
        message.rescale = rescale
    return _serialized(pb.Payload(tensors=_all(tensors), image=message))


def histogram_raw(tensors: Sequence[Tensor], moments: Mapping[str, float]) -> bytes:
    """The payload of a counted histogram: limits and counts, and its ``min``, ``max`` ..."""
    message = pb.HistogramRaw(**moments)
    return _serialized(pb.Payload(tensors=_all(tensors), histogram_raw=message))


def pr_curve(tensors: Sequence[Tensor], num_thresholds: int) -> bytes:
    """The payload of a curve of labels, predictions and, if given, weights."""
    message = pb.PrCurve(num_thresholds=num_thresholds)
    return _serialized(pb.Payload(tensors=_all(tensors), pr_curve=message))


def pr_curve_raw(tensors: Sequence[Tensor], num_thresholds: int) -> bytes:
    """The payload of a curve of tp, fp, tn, fn, precision and recall."""
    message = pb.PrCurveRaw(num_thresholds=num_thresholds)
    return _serialized(pb.Payload(tensors=_all(tensors), pr_curve_raw=message))


def ready(captured: Tensor, *, is_graph: bool) -> bytes:
    """The payload of a message that the user has made, whose bytes are in ``captured``."""
    return _serialized(pb.Payload(tensors=_all([captured]), ready=pb.Ready(is_graph=is_graph)))


@lru_cache(maxsize=_KEPT)
def scalar_tensor(
    dtype: str,
    shape: tuple[int, ...],
    *,
    display_name: str,
    description: str,
    double_precision: bool,
) -> bytes:
    """The payload of a scalar that is stored as a tensor."""
    message = pb.TensorSummary(
        is_scalar=True,
        display_name=display_name,
        description=description,
        double_precision=double_precision,
    )
    return _serialized(pb.Payload(tensors=[_described(dtype, shape)], tensor=message))


def tensor(captured: Tensor) -> bytes:
    """The payload of a tensor that is shown as it is."""
    return _serialized(pb.Payload(tensors=_all([captured]), tensor=pb.TensorSummary()))


def video(captured: Tensor, dataformats: str, frames_per_second: float) -> bytes:
    """The payload of a batch of clips."""
    message = pb.Video(dataformats=dataformats, frames_per_second=frames_per_second)
    return _serialized(pb.Payload(tensors=_all([captured]), video=message))


def audio(captured: Tensor, sample_rate: int) -> bytes:
    """The payload of a clip of sound."""
    message = pb.Audio(sample_rate=sample_rate)
    return _serialized(pb.Payload(tensors=_all([captured]), audio=message))


def text(markdown: str) -> bytes:
    """The payload of a text."""
    return _serialized(pb.Payload(text=pb.Text(markdown=markdown)))


def embedding(
    tensors: Sequence[Tensor],
    *,
    columns: Columns | None,
    has_images: bool,
    project_to: int,
    has_step: bool,
) -> bytes:
    """The payload of a matrix, its labels if it has ``columns``, and its images if it has such."""
    message = pb.Embedding(project_to=project_to, has_step=has_step)
    if columns is not None:
        message.metadata_header.extend(columns.header)
        if columns.is_text:
            message.metadata_tensor = 1
        else:
            message.labels_tensor = 1
    if has_images:
        message.images_tensor = len(tensors) - 1
    return _serialized(pb.Payload(tensors=_all(tensors), embedding=message))


def mesh(tensors: Mapping[str, Tensor], config_json: str) -> bytes:
    """The payload of ``vertices``, and of ``colors`` and ``faces`` if they are in ``tensors``."""
    names = list(tensors)
    message = pb.Mesh(config_json=config_json)
    if "colors" in names:
        message.colors_tensor = names.index("colors")
    if "faces" in names:
        message.faces_tensor = names.index("faces")
    return _serialized(pb.Payload(tensors=_all(tensors.values()), mesh=message))


def graph(message: pb.Graph) -> bytes:
    """The payload of a network's graph."""
    return _serialized(pb.Payload(graph=message))


def hparams(
    values: Mapping[str, pb.HParamValue],
    metrics: Iterable[str],
    domains: Iterable[pb.HParamDomain],
) -> bytes:
    """The payload of a run's hyperparameters."""
    message = pb.HParams(hparams=values, names=values, metrics=metrics, domains=domains)
    return _serialized(pb.Payload(hparams=message))


def custom_scalars(categories: Iterable[pb.ChartCategory]) -> bytes:
    """The payload of a layout of charts."""
    return _serialized(pb.Payload(custom_scalars=pb.CustomScalars(categories=categories)))


def _all(tensors: Iterable[Tensor]) -> list[pb.Tensor]:
    return [_described(tensor.dtype, tensor.shape) for tensor in tensors]


def _described(dtype: str, shape: tuple[int, ...]) -> pb.Tensor:
    check_shape(shape)
    return pb.Tensor(dtype=dtype, shape=shape)


def check_shape(shape: tuple[int, ...]) -> None:
    """Raises ``ValueError`` for more dimensions than a tensor has."""
    if len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"an array of {len(shape)} dimensions, expected {MAX_DIMENSIONS} at most")


def _serialized(payload: pb.Payload) -> bytes:
    """Raises ``ValueError`` for more than ``MAX_PAYLOAD_BYTES``."""
    data: bytes = payload.SerializeToString()
    if len(data) > MAX_PAYLOAD_BYTES:
        kind = payload.WhichOneof("summary")
        raise ValueError(
            f"this {kind} takes {len(data)} bytes without its arrays, more than "
            f"{MAX_PAYLOAD_BYTES}; log it in parts"
        )
    return data

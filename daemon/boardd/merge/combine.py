"""One point that is not a scalar: what the ranks' contents make together."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np
from boardd_protos.invalid import InvalidRecordError
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from boardd.events import event, plugins, values
from boardd.events.embedding import EmbeddingFiles
from boardd.events.event_pb2 import Summary
from boardd.merge.histograms import merge_buckets
from boardd.merge.values import (
    HISTOGRAMS,
    IMAGES,
    PR_CURVES,
    Content,
    array_of,
    buckets_of,
)
from boardd.partials.codec import decode
from boardd.partials.curves import Curve
from boardd.partials.exact_array import ExactArray
from boardd.partials.images import Images
from boardd.partials.partial import Partial
from boardd.summaries.summarize import present

#: Of tp, fp, tn, fn, precision and recall, those that add up.
_CURVE_ROWS: Final = 6
_COUNT_ROWS: Final = 4
_PNG: Final = b"\x89PNG\r\n\x1a\n"


class Combined(NamedTuple):
    """An encoded event, and the side files that it needs.

    ``is_exact`` is False if ranks had to be fitted to each other, ``left_out`` the number of
    ranks whose content could not be read.
    """

    encoded: bytes
    embedding: EmbeddingFiles | None = None
    is_exact: bool = True
    left_out: int = 0


def combine(
    tag: str, kind: str, step: int, wall_time: float, contents: Mapping[int, Content]
) -> Combined | None:
    """Returns what the ``contents`` of some ranks, one at least, show under ``tag``.

    What was logged by boardd with its exact content is merged as the daemon does. Else
    counts of histograms and of precision-recall curves add up, images become the tiles of
    one grid, and of what cannot be merged the lowest rank's is shown. None if nothing of it
    can be read.
    """
    if all(content.partial for content in contents.values()):
        try:
            partials = [decode(contents[rank].partial) for rank in sorted(contents)]
        except InvalidRecordError:
            pass  # of a newer version
        else:
            return _presented(tag, step, wall_time, partials)
    merge = _MERGES.get(kind)
    if merge is not None:
        return merge(tag, step, wall_time, contents)
    return _first(step, wall_time, contents)


def approximate_note(tag: str, step: int, wall_time: float) -> bytes:
    """An event with a text beside ``tag`` that says that its counts are approximate."""
    text = (
        "Counts are approximate from here on: the ranks' histograms have different bucket edges, "
        "so each bucket's values are taken to be spread evenly over it."
    )
    return event.summary(wall_time, step, plugins.text_value(f"{tag}/ranks", text))


def _presented(tag: str, step: int, wall_time: float, partials: list[Partial]) -> Combined:
    merged = partials[0]
    for partial in partials[1:]:
        merged = merged.merge(partial)
    shown = present(tag, step, wall_time, merged)
    return Combined(shown.event, shown.embedding)


def _first(step: int, wall_time: float, contents: Mapping[int, Content]) -> Combined:
    content = contents[min(contents)]
    if content.value is None:
        return Combined(event.graph(wall_time, step, content.graph_def))
    return Combined(event.summary(wall_time, step, content.value))


def _histogram(
    tag: str, step: int, wall_time: float, contents: Mapping[int, Content]
) -> Combined | None:
    found = [_value(contents[rank]) for rank in sorted(contents)]
    parts = [part for part in map(buckets_of, found) if part is not None]
    if not parts:
        return None
    merged = merge_buckets(parts)
    value = values.histogram_raw_value(
        tag,
        min=merged.min,
        max=merged.max,
        num=merged.num,
        sum=merged.sum,
        sum_squares=merged.sum_squares,
        limits=merged.limits,
        counts=merged.counts,
    )
    return Combined(
        event.summary(wall_time, step, value),
        is_exact=merged.is_exact,
        left_out=len(found) - len(parts),
    )


def _curve(
    tag: str, step: int, wall_time: float, contents: Mapping[int, Content]
) -> Combined | None:
    partials = []
    for rank in sorted(contents):
        rows = array_of(_value(contents[rank]).tensor)
        if rows is None or rows.ndim != 2 or rows.shape[0] != _CURVE_ROWS or not rows.size:
            continue
        counts = rows[:_COUNT_ROWS].astype(np.float64).reshape(-1)
        if np.isfinite(counts).all():
            curve = Curve(rows.shape[1], True, ExactArray.of_counts(counts))
            partials.append(Partial.of(rank, curve))
    if not partials:
        return None
    left_out = len(contents) - len(partials)
    return _presented(tag, step, wall_time, partials)._replace(left_out=left_out)


def _image(
    tag: str, step: int, wall_time: float, contents: Mapping[int, Content]
) -> Combined | None:
    partials = []
    for rank in sorted(contents):
        pixels = _pixels(_encoded_image(_value(contents[rank])))
        if pixels is not None:
            partials.append(Partial.of(rank, Images.of(rank, pixels, 0)))
    if len(partials) < len(contents) or len(partials) == 1:
        # A video, or several images: nothing that a grid could be made of.
        return _first(step, wall_time, contents)
    return _presented(tag, step, wall_time, partials)


def _value(content: Content) -> Summary.Value:
    return content.value if content.value is not None else Summary.Value()


def _encoded_image(value: Summary.Value) -> bytes:
    """The one PNG of a value of either form; empty if there are none or several."""
    if value.WhichOneof("value") == "image":
        return value.image.encoded_image_string
    # TensorFlow 2: width, height, and the images.
    strings = value.tensor.string_val
    return strings[2] if len(strings) == 3 else b""


def _pixels(encoded: bytes) -> NDArray[np.uint8] | None:
    """uint8[height, width, channels] of a PNG with 1 to 4 channels of 8 bits."""
    if not encoded.startswith(_PNG):
        return None
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            if getattr(image, "is_animated", False) or image.mode not in ("L", "LA", "RGB", "RGBA"):
                return None
            pixels = np.asarray(image)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return pixels.reshape(*pixels.shape[:2], -1)


_Merge = Callable[[str, int, float, Mapping[int, Content]], Combined | None]
_MERGES: Final[dict[str, _Merge]] = {
    HISTOGRAMS: _histogram,
    IMAGES: _image,
    PR_CURVES: _curve,
}

"""The kinds of summaries: the one table of what is done with each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from boardd.partials.curves import Curve
from boardd.partials.embeddings import Embedding
from boardd.partials.first import First
from boardd.partials.histograms import EdgesHistogram, GridHistogram, RawHistogram
from boardd.partials.images import Images
from boardd.partials.partial import Mergeable
from boardd.summaries.distributions import (
    present_curve,
    present_edges_histogram,
    present_grid_histogram,
    present_raw_histogram,
    share_histogram,
    share_histogram_raw,
    share_pr_curve,
    share_pr_curve_raw,
    summarize_histogram,
    summarize_histogram_raw,
    summarize_pr_curve,
    summarize_pr_curve_raw,
)
from boardd.summaries.embedding import summarize_embedding
from boardd.summaries.first import of_first, present_first
from boardd.summaries.images import present_images, share_image, summarize_image, summarize_video
from boardd.summaries.merged_embedding import present_embedding, share_embedding
from boardd.summaries.plugins import (
    summarize_audio,
    summarize_custom_scalars,
    summarize_graph,
    summarize_hparams,
    summarize_mesh,
    summarize_ready,
    summarize_tensor,
    summarize_text,
)
from boardd.summaries.reduction import ReductionInput, ReductionOutput

#: What shows a merged value of a tag at a step.
Presenter = Callable[[str, int, Any], ReductionOutput]


@dataclass(frozen=True)
class Kind:
    """A kind of payload.

    It has ``fewest`` to ``most`` tensors. ``summarize`` makes of a record what it shows by
    itself; ``share`` makes of it what a rank contributes, and ``present`` shows a value of
    each of the types that the merged contributions can have.
    """

    fewest: int
    most: int
    summarize: Callable[[ReductionInput], ReductionOutput]
    share: Callable[[ReductionInput, int], Mergeable]
    present: Mapping[type, Presenter]


def _first(fewest: int, most: int, summarize: Callable[[ReductionInput], ReductionOutput]) -> Kind:
    """A kind of which one rank's is shown."""
    return Kind(fewest, most, summarize, of_first(summarize), {First: present_first})


KINDS: Final = {
    "audio": _first(1, 1, summarize_audio),
    "custom_scalars": _first(0, 0, summarize_custom_scalars),
    "embedding": Kind(1, 3, summarize_embedding, share_embedding, {Embedding: present_embedding}),
    "graph": _first(0, 0, summarize_graph),
    "histogram": Kind(
        1,
        1,
        summarize_histogram,
        share_histogram,
        {EdgesHistogram: present_edges_histogram, GridHistogram: present_grid_histogram},
    ),
    "histogram_raw": Kind(
        2, 2, summarize_histogram_raw, share_histogram_raw, {RawHistogram: present_raw_histogram}
    ),
    "hparams": _first(0, 0, summarize_hparams),
    "image": Kind(1, 2, summarize_image, share_image, {Images: present_images}),
    "mesh": _first(1, 3, summarize_mesh),
    "pr_curve": Kind(2, 3, summarize_pr_curve, share_pr_curve, {Curve: present_curve}),
    "pr_curve_raw": Kind(6, 6, summarize_pr_curve_raw, share_pr_curve_raw, {Curve: present_curve}),
    "ready": _first(1, 1, summarize_ready),
    "tensor": _first(1, 1, summarize_tensor),
    "text": _first(0, 0, summarize_text),
    "video": _first(1, 1, summarize_video),
}

#: From a type of merged value to what shows it.
PRESENTERS: Final[dict[type, Presenter]] = {
    value: presenter for kind in KINDS.values() for value, presenter in kind.present.items()
}

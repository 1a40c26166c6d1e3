"""What is written for each part of a run, in call order.

Called on a thread, for one run at a time and in its order: what a tag is, and
whether its steps go backwards, depends on what was written before.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from boardd_protos import boardd_pb2 as pb
from numpy.typing import NDArray

from boardd.core.batch import Scalars, SummaryRecord
from boardd.core.kinds import SCALAR
from boardd.core.names import NameRefusedError
from boardd.core.runs import Run
from boardd.events.embedding import EmbeddingFiles
from boardd.events.scalars import encode_scalars
from boardd.summaries.record import Reduction, SummaryError

_logger = logging.getLogger(__name__)


class RefusedRecords(NamedTuple):
    """Some records of a part that are rejected: so many, the first being ``sequence``."""

    sequence: int
    records: int
    reason: int
    message: str


@dataclass(eq=False)
class Encoded:
    """What is to be written for one part, or why nothing is."""

    events: bytes = b""
    embedding: EmbeddingFiles | None = None
    error: SummaryError | None = None
    #: Records that are left out of it.
    refused: list[RefusedRecords] = field(default_factory=list)


def encode_scalar_part(part: Scalars) -> Encoded:
    """Returns the framed events of scalars; those whose tag is another kind are left out."""
    run, rows, tag_index = part.run, part.rows, part.tag_index
    try:
        refused: list[RefusedRecords] = []
        is_refused = run.kinds.claim_scalars(tag_index, run.tags)
        if is_refused is not None:
            refused = _refused(part, is_refused)
            rows, tag_index = rows[~is_refused], tag_index[~is_refused]
        # Only the tags that occur: a run may have very many.
        used, index = np.unique(tag_index, return_inverse=True)
        events = encode_scalars(
            rows["wall_time"], rows["step"], rows["value"], index, [run.tags[tag] for tag in used]
        )
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        return Encoded(error=SummaryError(pb.REDUCTION_FAILED, text))
    _watch_steps(run, tag_index, rows["step"])
    return Encoded(events, refused=refused)


def encode_summary(part: SummaryRecord, result: Reduction | SummaryError) -> Encoded:
    """Returns what a record was reduced to, unless one of its tags is another kind."""
    if isinstance(result, SummaryError):
        return Encoded(error=result)
    run = part.run
    try:
        run.kinds.claim(run.tags[part.tag], result.kinds)
    except NameRefusedError as error:
        return Encoded(error=SummaryError(error.reason, str(error)))
    _watch_steps(run, np.array([part.tag], np.intp), np.array([part.step], np.int64))
    return Encoded(result.event, result.embedding)


def _refused(part: Scalars, is_refused: NDArray[np.bool_]) -> list[RefusedRecords]:
    """Returns the refused scalars, those of a tag together."""
    tags, first, counts = np.unique(
        part.tag_index[is_refused], return_index=True, return_counts=True
    )
    sequences = part.rows["sequence"][is_refused][first]
    return [
        RefusedRecords(
            sequence, records, pb.INVALID_NAME, part.run.kinds.conflict(part.run.tags[tag], SCALAR)
        )
        for tag, sequence, records in zip(
            tags.tolist(), sequences.tolist(), counts.tolist(), strict=True
        )
    ]


def _watch_steps(run: Run, tag_index: NDArray[np.intp], step: NDArray[np.int64]) -> None:
    for tag in run.steps.observe(tag_index, step):
        _logger.warning(
            "run %s: steps of tag %r go backwards; TensorBoard hides the points they overtake",
            run.path,
            run.tags[tag].decode(),
        )

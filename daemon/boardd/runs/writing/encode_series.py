"""What is written of one record with summaries of several series: one event.

Called as ``encode``, in the order of the run.
"""

from __future__ import annotations

import numpy as np

from boardd.core.refusals import Refusal, RefusedError
from boardd.core.runs.marks import session_key
from boardd.core.session.batch import SeriesPart
from boardd.core.session.targets import left_out_of
from boardd.events import event
from boardd.events.event_pb2 import Summary
from boardd.events.marks import Part
from boardd.events.wire import EncodedValue
from boardd.runs.writing.encode import Encoded, RefusedRecords, health_values, warn_of_steps
from boardd.runs.writing.health_steps import HealthSteps
from boardd.summaries.reduction import SummaryError
from boardd.summaries.series import SeriesSummaries


def encode_series(
    part: SeriesPart, result: SeriesSummaries, health: HealthSteps | None = None
) -> Encoded:
    """Returns the event of a record, unless it is written already.

    Without the series whose tag is another kind, which is told as a refusal of part of the
    record; an error if that is all of them. ``health``: what is known of the run's.
    """
    run, contents = part.run, part.run.contents
    shown: list[Summary.Value | EncodedValue] = []
    tags: list[int] = []
    refusals: list[Refusal] = []
    for tag, values in zip(part.tags, result.values, strict=True):
        if tag is None:
            continue
        try:
            contents.kinds.take(run.tags[tag], {value.tag: value.kind for value in values})
        except RefusedError as error:
            refusals.append(error.refusal)
            continue
        tags.append(tag)
        shown += values
    left_out = part.left_out
    if refusals:
        left_out = left_out_of(len(part.tags) - len(tags), len(part.tags), refusals[0])
    if not tags and left_out is not None:
        return Encoded(error=SummaryError(left_out.reason, left_out.message))
    refused = []
    if left_out is not None:
        refused.append(
            RefusedRecords(part.sequence, 0, left_out.reason, left_out.message, part.sequence)
        )
    steps = np.full(len(tags), part.step, np.int64)
    for tag in contents.steps.observe(np.array(tags, np.intp), steps):
        warn_of_steps(run, tag)
    key = session_key(part.session_id)
    if part.sequence <= contents.marks.sequence(key):
        return Encoded(duplicates=1, refused=refused)
    sequences = np.array([part.sequence], np.uint64)
    warning = ""
    if result.health is not None and health is not None:
        shown += health_values(part, result.health, health)
        warning = health.take_warning()
    written = event.summary(part.wall_time, part.step, shown)
    return Encoded(written, Part(key, sequences), refused=refused, warning=warning)

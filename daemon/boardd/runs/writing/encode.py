"""What is written for each part of a run, in call order.

Called on a thread, one call at a time for a run and in its order: what a tag is, and
whether its steps go backwards, depends on what was written before. A summary comes
from its reduction as an encoded record; here its tags and step are only checked.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from boardd_protos import boardd_pb2 as pb
from boardd_protos.summary_kind import SummaryKind
from numpy.typing import NDArray

from boardd.core.refusals import RefusedError
from boardd.core.runs.marks import NO_SESSION, drops_key, session_key
from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import DropPart, EndPart, MeasuredPart, ScalarPart, SummaryPart
from boardd.core.session.drops import DROPPED, drop_tags
from boardd.events import event
from boardd.events.embedding import EmbeddingFiles
from boardd.events.event_pb2 import Summary
from boardd.events.exact import with_partial, with_scalar
from boardd.events.marks import Part
from boardd.events.scalars import encode_scalars
from boardd.events.tag_names import TagNames
from boardd.events.values import scalar_value
from boardd.runs.writing.health_steps import HealthSteps
from boardd.summaries.environment_faults import is_environment_fault
from boardd.summaries.health import HealthPart
from boardd.summaries.reduction import EncodedSummary, SummaryError

_logger = logging.getLogger(__name__)


class RefusedRecords(NamedTuple):
    """``records`` of a part are rejected, from ``sequence`` to ``last_sequence``."""

    sequence: int
    records: int
    reason: int
    message: str
    last_sequence: int


@dataclass(eq=False)
class Encoded:
    """What is to be written for one part, or why nothing is."""

    events: bytes = b""
    #: Whose records the events are; None if there are no events.
    part: Part | None = None
    embedding: EmbeddingFiles | None = None
    error: SummaryError | None = None
    #: Records that are left out because an earlier daemon wrote them.
    duplicates: int = 0
    #: Records that are left out of it.
    refused: list[RefusedRecords] = field(default_factory=list)
    #: What whoever logged it is to be warned of; empty: nothing.
    warning: str = ""


def encode_scalar_part(part: ScalarPart, names: TagNames | None = None) -> Encoded:
    """Returns the encoded records of scalars.

    Without those whose tag is another kind, and without those that are written already. A
    rank's own copies keep what the ranks are merged from, see ``boardd.events.exact``.
    ``names``: those of the run's tags, at first none.
    """
    run, columns, tag_index = part.run, part.columns, part.tag_index
    if part.is_copy:
        run.contents.take_reductions(run.tags, run.reductions)
    try:
        if len(columns) == 1 and (encoded := _encode_scalar(part)) is not None:
            return encoded
        refused: list[RefusedRecords] = []
        is_refused = run.contents.kinds.take_scalars(tag_index, run.tags)
        if is_refused is not None:
            refused = _refused(part, is_refused)
            columns, tag_index = columns[~is_refused], tag_index[~is_refused]
        _watch_steps(run, tag_index, columns.step)
        key = session_key(part.session_id)
        duplicates = _written(columns.sequence, run.contents.marks.sequence(key))
        if duplicates:
            columns, tag_index = columns[duplicates:], tag_index[duplicates:]
        events = encode_scalars(
            columns.wall_time,
            columns.step,
            columns.value,
            tag_index,
            run.tags,
            names=names,
            is_exact=part.is_copy,
        )
    except Exception as error:
        if is_environment_fault(error):
            raise
        text = f"{type(error).__name__}: {error}"
        return Encoded(error=SummaryError(pb.REDUCTION_FAILED, text))
    encoded = Encoded(events, duplicates=duplicates, refused=refused)
    if events:
        encoded.part = Part(key, columns.sequence)
    return encoded


def _encode_scalar(part: ScalarPart) -> Encoded | None:
    """As ``encode_scalar_part``, of one scalar: workers' in turns come one by one.

    None if its tag is another kind.
    """
    run, columns, tag = part.run, part.columns, int(part.tag_index[0])
    name, step = run.tags[tag], int(columns.step[0])
    try:
        run.contents.kinds.take(name, {name: SummaryKind.SCALAR})
    except RefusedError:
        return None
    if run.contents.steps.observe_one(tag, step):
        warn_of_steps(run, tag)
    key = session_key(part.session_id)
    if _written(columns.sequence, run.contents.marks.sequence(key)):
        return Encoded(duplicates=1)
    number = float(columns.value[0])
    value = scalar_value(name.decode(), number)
    events = event.summary(float(columns.wall_time[0]), step, value)
    if part.is_copy and number == number and value.simple_value != number:
        events = with_scalar(events, number)
    return Encoded(events, Part(key, columns.sequence))


def encode_drops(part: DropPart) -> Encoded:
    """Returns an event of what clients dropped, without tags of another kind.

    It tells the sum over all clients, those of earlier daemons too, at the highest step
    that they reported. There is none if this client's drops were told before.
    """
    try:
        return _encoded_drops(part)
    except Exception as error:
        if is_environment_fault(error):
            raise
        return Encoded(error=SummaryError(pb.REDUCTION_FAILED, f"{type(error).__name__}: {error}"))


def _encoded_drops(part: DropPart) -> Encoded:
    run, contents = part.run, part.run.contents
    key, dropped = drops_key(part.session_id), sum(part.dropped.values())
    if dropped <= contents.marks.sequence(key):
        return Encoded()
    values: list[Summary.Value] = []
    for tag, value in drop_tags(contents.marks.total_dropped(key, part.dropped)).items():
        name = tag.encode()
        try:
            contents.kinds.take(DROPPED.encode(), {name: SummaryKind.SCALAR})
        except RefusedError as error:
            _logger.debug("run %s: %s", run.path, error)
            continue
        values.append(scalar_value(tag, value))
    contents.dropped_step = max(contents.dropped_step, part.step)
    if not values:
        return Encoded()
    # One event, so that it is written as a whole or not at all.
    told = event.summary(part.wall_time, contents.dropped_step, values)
    return Encoded(told, Part(key, np.array([dropped], np.uint64), part.dropped))


def encode_measured(part: MeasuredPart) -> Encoded:
    """Returns an event of what was measured, without tags of another kind.

    It is at the highest step of the run so far. There is none before the first record.
    """
    contents = part.run.contents
    step = contents.steps.highest
    if step is None:
        return Encoded()
    values: list[Summary.Value] = []
    for tag, value in part.values.items():
        name = tag.encode()
        try:
            contents.kinds.take(name, {name: SummaryKind.SCALAR})
        except RefusedError as error:
            _logger.debug("run %s: %s", part.run.path, error)
            continue
        values.append(scalar_value(tag, value))
    if not values:
        return Encoded()
    # A client never sends it again, so no session has a mark of it.
    return Encoded(
        event.summary(part.wall_time, step, values), Part(NO_SESSION, np.zeros(1, np.uint64))
    )


def encode_summary(
    part: SummaryPart, result: EncodedSummary | SummaryError, health: HealthSteps | None = None
) -> Encoded:
    """Returns what a record was reduced to, unless it is written already.

    An error if one of its tags is another kind. ``health``: what is known of the run's.
    """
    if isinstance(result, SummaryError):
        return Encoded(error=result)
    run = part.run
    try:
        run.contents.kinds.take(run.tags[part.tag], result.kinds)
    except RefusedError as error:
        return Encoded(error=SummaryError(error.reason, str(error)))
    if run.contents.steps.observe_one(part.tag, part.step):
        warn_of_steps(run, part.tag)
    key = session_key(part.session_id)
    if part.sequence <= run.contents.marks.sequence(key):
        return Encoded(duplicates=1)
    sequences = np.array([part.sequence], np.uint64)
    if result.health is not None and health is not None:
        shown = [*result.values, *health_values(part, result.health, health)]
        written = event.summary(part.wall_time, part.step, shown)
        if result.exact is not None:
            written = with_partial(written, result.exact)
        return Encoded(written, Part(key, sequences), warning=health.take_warning())
    return Encoded(result.event, Part(key, sequences), result.embedding)


def health_values(part: SummaryPart, told: HealthPart, health: HealthSteps) -> list[Summary.Value]:
    """Returns what is to be shown, in the event of a record, of the health of its arrays."""
    values = health.take(told, part.session_id, part.step)
    return _shown_health(part.run, part.run.tags[part.tag], values)


def encode_end(part: EndPart, health: HealthSteps) -> Encoded:
    """Returns events of what is still to be told of a session's health; mostly there is none."""
    events = []
    for step, values in health.end(part.session_id).items():
        if shown := _shown_health(part.run, values[0].tag.encode(), values):
            events.append(event.summary(time.time(), step, shown))
    if not events:
        return Encoded()
    return Encoded(b"".join(events), Part(NO_SESSION, np.zeros(len(events), np.uint64)))


def _shown_health(
    run: RunState, tag: bytes, values: Iterable[Summary.Value]
) -> list[Summary.Value]:
    """Returns those of ``values``, of a record of ``tag``, whose tags are no other kind."""
    shown = []
    for value in values:
        name = value.tag.encode()
        kind = SummaryKind.TEXT if value.HasField("tensor") else SummaryKind.SCALAR
        try:
            run.contents.kinds.take(tag, {name: kind})
        except RefusedError as error:
            _logger.debug("run %s: %s", run.path, error)
            continue
        shown.append(value)
    return shown


def join(encoded: Iterable[Encoded]) -> tuple[list[bytes], list[Part]]:
    """Returns all events, and whose records they are: those of one session in a row together."""
    events: list[bytes] = []
    parts: list[Part] = []
    joined: list[NDArray[np.uint64]] = []
    for one in encoded:
        if one.part is None:
            continue
        events.append(one.events)
        if parts and parts[-1].session == one.part.session:
            joined.append(one.part.sequences)
            continue
        if len(joined) > 1:
            parts[-1] = parts[-1]._replace(sequences=np.concatenate(joined))
        parts.append(one.part)
        joined = [one.part.sequences]
    if len(joined) > 1:
        parts[-1] = parts[-1]._replace(sequences=np.concatenate(joined))
    return events, parts


def _written(sequences: NDArray[np.uint64], mark: int) -> int:
    """How many of ascending ``sequences`` are not above ``mark``."""
    if not len(sequences) or sequences.item(0) > mark:
        return 0
    return int(np.searchsorted(sequences, np.uint64(mark), side="right"))


def _refused(part: ScalarPart, is_refused: NDArray[np.bool_]) -> list[RefusedRecords]:
    """Returns the refused scalars, one entry for each tag."""
    index = part.tag_index[is_refused]
    sequences = part.columns.sequence[is_refused]
    tags, first, counts = np.unique(index, return_index=True, return_counts=True)
    last = len(index) - 1 - np.unique(index[::-1], return_index=True)[1]
    return [
        RefusedRecords(
            sequence,
            records,
            pb.INVALID_NAME,
            part.run.contents.kinds.conflict(part.run.tags[tag], SummaryKind.SCALAR),
            last_sequence,
        )
        for tag, sequence, records, last_sequence in zip(
            tags.tolist(),
            sequences[first].tolist(),
            counts.tolist(),
            sequences[last].tolist(),
            strict=True,
        )
    ]


def _watch_steps(run: RunState, tag_index: NDArray[np.intp], step: NDArray[np.int64]) -> None:
    for tag in run.contents.steps.observe(tag_index, step):
        warn_of_steps(run, tag)


def warn_of_steps(run: RunState, tag: int) -> None:
    """Says that the steps of a tag of ``run`` go backwards."""
    _logger.warning(
        "run %s: steps of tag %r go backwards; TensorBoard hides the points they overtake",
        run.path,
        run.tags[tag].decode(),
    )

"""A run that is taken over by a newer writer: what it holds is purged, older writers are fenced.

The epoch of a run is that of the last writer which purged it. The mark before the events
of a purge tells it, and it counts once these are whole in the file. So if the daemon is
killed in between, the next one does the purge again, before any record of the new writer.
"""

from __future__ import annotations

import time
from typing import Final

import numpy as np
from boardd_protos import boardd_pb2 as pb

from boardd.core.runs.marks import NO_SESSION, session_key
from boardd.core.session.batch import PurgePart, RunPart, ScalarPart
from boardd.events.marks import Part
from boardd.events.purge import purge
from boardd.runs.encode import Encoded, RefusedRecords
from boardd.summaries.reduction import SummaryError

_WHY: Final = (
    "a writer that was made later took this run over with purge_step; what this older writer "
    "logs to it is not written. End this process, or give writers that are to share the run one "
    "BOARDD_EPOCH"
)


def encode_purge(part: PurgePart) -> Encoded:
    """Returns the events of a purge; none if the run's epoch says that it was done."""
    contents = part.run.contents
    if part.epoch <= contents.epoch:
        return Encoded()
    events = purge(time.time(), part.step, [tag for tag, _ in contents.kinds])
    contents.epoch = part.epoch
    contents.steps.rewind(part.step)
    return Encoded(b"".join(events), Part(NO_SESSION, np.zeros(len(events), np.uint64)))


def superseded(part: RunPart) -> Encoded | None:
    """What becomes of ``part`` if a newer writer took its run over; None if it is not so.

    Records that an earlier daemon wrote, before that, are duplicates and no more.
    """
    contents = part.run.contents
    epoch = part.run.members.epoch_of(part.session_id)
    if not 0 < epoch < contents.epoch:
        return None
    written = contents.marks.sequence(session_key(part.session_id))
    message = f"run {part.run.path}: {_WHY}"
    if not part.records or part.sequence > written:
        return Encoded(error=SummaryError(pb.SUPERSEDED, message))
    if part.last_sequence <= written or not isinstance(part, ScalarPart):
        return None
    sequences = part.columns.sequence
    duplicates = int(np.searchsorted(sequences, np.uint64(written), side="right"))
    left = sequences[duplicates:]
    refused = RefusedRecords(int(left[0]), len(left), pb.SUPERSEDED, message, int(left[-1]))
    return Encoded(duplicates=duplicates, refused=[refused])

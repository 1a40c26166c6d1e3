"""A run that is taken over by a newer writer: what it holds is purged, older writers are fenced.

The epoch of a run is that of the last writer which purged it. It rises only when the
events of the purge are written, before any record of the new writer. So if the daemon is
killed in between, the next one does the purge again, which changes nothing.
"""

from __future__ import annotations

import time

from boardd_protos import boardd_pb2 as pb

from boardd.core.session.batch import PurgePart, RunPart
from boardd.events.purge import purge
from boardd.runs.encode import Encoded
from boardd.summaries.reduction import SummaryError


def encode_purge(part: PurgePart) -> Encoded:
    """Returns the events of a purge; none if the run's epoch says that it was done."""
    contents = part.run.contents
    if part.epoch <= contents.epoch:
        return Encoded()
    return Encoded(purge(time.time(), part.step, contents.kinds.names()))


def purged(part: PurgePart) -> None:
    """Notes that the events of a purge are written."""
    contents = part.run.contents
    if part.epoch > contents.epoch:
        contents.epoch = part.epoch
        contents.steps.rewind(part.step)
        contents.dropped_step = min(contents.dropped_step, part.step)


def superseded(part: RunPart) -> SummaryError | None:
    """Why ``part`` must not be written beside its successor's records, if so."""
    run = part.run
    epoch = run.members.epoch_of(part.session_id)
    if not 0 < epoch < run.contents.epoch:
        return None
    return SummaryError(
        pb.SUPERSEDED,
        f"run {run.path}: a writer that was made later took this run over with purge_step; "
        "what this older writer logs to it is not written. End this process, or give writers "
        "that are to share the run one BOARDD_EPOCH",
    )

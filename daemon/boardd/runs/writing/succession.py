"""A run that is taken over by a newer writer: what it holds is purged, older writers are fenced.

The epoch of a run is that of the last writer which purged it. The mark before the events
of a purge tells it, and it counts once these are whole in the file. So if the daemon is
killed in between, the next one does the purge again, before any record of the new writer.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Final

import numpy as np
from boardd_protos import boardd_pb2 as pb

from boardd.core.runs.marks import NO_SESSION, session_key
from boardd.core.session.batch import PurgePart, RewindPart, RunPart, ScalarPart
from boardd.events.marks import Part
from boardd.events.purge import purge
from boardd.runs.writing.encode import Encoded, RefusedRecords
from boardd.summaries.reduction import SummaryError

#: Epochs from here on are times in nanoseconds, of the year 2001 and later.
_FIRST_TIME: Final = 10**18


def encode_purge(part: PurgePart) -> Encoded:
    """Returns the events of a purge; none if the run's epoch says that it was done."""
    contents = part.run.contents
    if part.epoch <= contents.epoch:
        return Encoded()
    events = purge(time.time(), part.step, [tag for tag, _ in contents.kinds])
    contents.epoch = part.epoch
    contents.rewind(part.step)
    return Encoded(b"".join(events), Part(NO_SESSION, np.zeros(len(events), np.uint64)))


def encode_rewind(part: RewindPart) -> Encoded:
    """Returns the events of a group's rewind; none if what came behind it is written.

    If nothing is, they may be there already, and do no harm twice.
    """
    contents = part.run.contents
    if contents.marks.sequence(session_key(part.session_id)) >= part.sequence:
        return Encoded()
    events = purge(time.time(), part.step, [tag for tag, _ in contents.kinds])
    contents.rewind(part.step)
    return Encoded(b"".join(events), Part(NO_SESSION, np.zeros(len(events), np.uint64)))


def superseded(part: RunPart) -> Encoded | None:
    """What becomes of ``part`` if a newer writer took its run over; None if it is not so.

    Records that an earlier daemon wrote, before that, are duplicates and no more.
    """
    if not part.run.is_superseded(part.session_id):
        return None
    contents = part.run.contents
    epoch = part.run.members.epoch_of(part.session_id)
    written = contents.marks.sequence(session_key(part.session_id))
    message = f"run {part.run.path}: {_why(epoch, contents.epoch)}"
    if not part.records or part.sequence > written:
        return Encoded(error=SummaryError(pb.SUPERSEDED, message))
    if part.last_sequence <= written or not isinstance(part, ScalarPart):
        return None
    sequences = part.columns.sequence
    duplicates = int(np.searchsorted(sequences, np.uint64(written), side="right"))
    left = sequences[duplicates:]
    refused = RefusedRecords(int(left[0]), len(left), pb.SUPERSEDED, message, int(left[-1]))
    return Encoded(duplicates=duplicates, refused=[refused])


def _why(epoch: int, taken: int) -> str:
    return (
        "a writer with purge_step took this run over, whose epoch is higher: "
        f"{_shown(taken)}; that of this writer is {_shown(epoch)}, and what it logs to the run is "
        "not written. If it is the older one, end this process. If it is not, the clocks of their "
        "hosts differ: set BOARDD_EPOCH to a number that rises with each start, or to the same "
        "for writers that are to share the run"
    )


def _shown(epoch: int) -> str:
    """An epoch, and when it was, if it is a time."""
    if not _FIRST_TIME <= epoch < 10 * _FIRST_TIME:
        return str(epoch)
    when = datetime.fromtimestamp(epoch // 10**9, timezone.utc)
    return f"{epoch} ({when:%Y-%m-%d %H:%M:%S} UTC)"

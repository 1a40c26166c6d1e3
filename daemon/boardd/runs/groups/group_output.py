"""The event files of a group's points: of the run itself, of its minima and its maxima.

Those of single ranks join them, if the group keeps their series.

They are runs as clients have, and the group logs to them as a session does. Its sequence
numbers are those of its emissions, so that marks tell what an earlier daemon wrote.
"""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
from boardd_protos import boardd_pb2 as pb
from numpy.typing import NDArray

from boardd.core.groups.entries import Dropped
from boardd.core.intake.columns import SCALAR_BYTES
from boardd.core.refusals import RefusedError
from boardd.core.runs.own_run import TagMap
from boardd.core.runs.run_state import Member, Runs, RunState
from boardd.core.session.batch import (
    DropPart,
    EndPart,
    MergedPart,
    RejectedPart,
    RewindPart,
    RunPart,
    ScalarPart,
    ScalarPiece,
    SequenceRange,
    SummaryPart,
)
from boardd.core.session.watermark import Watermark
from boardd.runs.groups.group_points import (
    DropRow,
    Emission,
    Output,
    Place,
    RewindRow,
    Row,
    ScalarRows,
    SummaryRow,
    directory_of,
)
from boardd.runs.groups.relayed_drops import RelayedDrops
from boardd.runs.writing.turn import Turn

_logger = logging.getLogger(__name__)

#: Bytes of points that may be on their way to the files; more are left in the journal.
MAX_OUT_BYTES: Final = 32 << 20
#: The number by which a group knows each of its runs.
_RUN: Final = 1
#: Rows that are handed on in one go, which takes less than a turn.
_ROWS_AT_A_TIME: Final = 64


class GroupOutput:
    """What the group of ``journal`` writes. For the event loop's thread only.

    ``admit`` takes parts to their runs; each comes back through ``returned`` or
    ``recharged``, and then ``on_change`` is called. ``check_own`` is that of its runs.
    """

    def __init__(
        self,
        journal: RunState,
        runs: Runs,
        admit: Callable[[Iterable[RunPart]], None],
        on_change: Callable[[], None],
        check_own: Callable[[], None] = lambda: None,
    ) -> None:
        self._journal = journal
        self._runs = runs
        self._admit = admit
        self._on_change = on_change
        self._check_own = check_own
        self._group_id = b""
        self._files: dict[Place, _File] = {}
        self._watermark = Watermark()
        self._open_parts = 0
        self.out_bytes = 0
        self._told: set[str] = set()
        self._relayed_drops = RelayedDrops()

    @property
    def written(self) -> int:
        """All emissions up to this one are written, or can never be."""
        return self._watermark.written_sequence

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way to the files."""
        return self._open_parts == 0

    @property
    def runs(self) -> list[RunState]:
        """The runs that were written so far, and can be."""
        return [file.run for file in self._files.values() if file.run.refusal is None]

    def begin(self, group_id: bytes, first: int) -> None:
        """The group is known, and its emissions come from ``first`` on, maybe anew."""
        self._group_id = group_id
        self._watermark = Watermark(first - 1)

    async def emit(self, emission: Emission, names: list[bytes]) -> None:
        """Writes ``emission``, the next one; ``names`` has its tags."""
        turn, sequences = Turn(), None
        if emission.last >= emission.first:
            sequences = SequenceRange(emission.first, emission.last)
            sequences.parts = 1  # until all are on their way
        for begin in range(0, len(emission.rows), _ROWS_AT_A_TIME):
            rows = emission.rows[begin : begin + _ROWS_AT_A_TIME]
            parts = [part for row in rows for part in self._parts_of(row, names)]
            if sequences is not None:
                for part in parts:
                    part.sequences = sequences
                sequences.parts += len(parts)
            self._hand_on(parts)
            await turn.pause()
        if sequences is not None:
            self._came_back(sequences)

    def tell_drops(self, part: DropPart) -> None:
        """Tells in the group's run what a client dropped that has no run of its own."""
        dropped = Dropped(part.session_id, part.dropped, part.step, part.wall_time)
        self._hand_on([self._drops(dropped, part.size_bytes)])

    def end(self) -> None:
        """Closes the files, once all that is on its way is written."""
        parts: list[RunPart] = []
        for file in self._files.values():
            file.run.holders.discard((self._group_id, _RUN))
            parts.append(EndPart(self._group_id, file.run, None, 0, 0, 0, group=self._group_id))
        self._hand_on(parts)

    def leave(self) -> None:
        """Forgets the runs, which were ended."""
        for file in self._files.values():
            file.run.contents.check_own = lambda: None
            self._runs.leave_run(file.run, (self._group_id, _RUN))
        self._files.clear()

    # Parts that come back

    def returned(self, part: RunPart, reason: int = 0, message: str = "") -> None:
        """A part is written, or is not for a ``reason``, a ``Reason``."""
        part.run.pending -= part.records
        self.out_bytes -= part.size_bytes
        if reason:
            rejected = self._journal.progress.group.rejected
            rejected[reason] = rejected.get(reason, 0) + part.records
            self._tell(part, message)
        if not isinstance(part, (RejectedPart, ScalarPiece)):
            self._open_parts -= 1
            # What a file does not take is given up: the journal must not grow for its sake.
            if part.sequences is not None:
                self._came_back(part.sequences)
        self._on_change()

    def _came_back(self, sequences: SequenceRange) -> None:
        sequences.parts -= 1
        if not sequences.parts and sequences.first > self._watermark.written_sequence:
            self._watermark.finish(sequences.first, sequences.last)

    def recharged(self, part: RunPart, size_bytes: int) -> None:
        """A part now holds ``size_bytes``."""
        self.out_bytes += size_bytes - part.size_bytes
        part.size_bytes = size_bytes

    def _tell(self, part: RunPart, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            _logger.warning("run %s: merged points are not written: %s", part.run.path, message)

    # Parts that go out

    def _hand_on(self, parts: list[RunPart]) -> None:
        for part in parts:
            part.run.pending += part.records
            self.out_bytes += part.size_bytes
        self._open_parts += len(parts)
        self._admit(parts)

    def _parts_of(self, row: Row, names: list[bytes]) -> Iterable[RunPart]:
        if isinstance(row, RewindRow):
            return self._rewinds(row)
        if isinstance(row, DropRow):
            dropped = self._relayed_drops.count(row.dropped, self._journal.dropped)
            return [self._drops(dropped, row.size_bytes)]
        if isinstance(row, ScalarRows):
            part = self._scalars(row, names)
        else:
            part = self._summary(row, names)
        return [] if part is None else [part]

    def _scalars(self, row: ScalarRows, names: list[bytes]) -> RunPart | None:
        file = self._file(row.output)
        tag = file.tags_of(row.tag, names)
        columns = row.columns
        if (tag < 0).any():
            columns, tag = columns[tag >= 0], tag[tag >= 0]
            self._tell_of_tags(file.run)
        if not len(tag):
            return None
        return ScalarPart(
            self._group_id,
            file.run,
            None,
            int(columns.sequence[0]),
            len(columns),
            len(columns) * SCALAR_BYTES,
            columns,
            tag,
            group=self._group_id,
        )

    def _summary(self, row: SummaryRow, names: list[bytes]) -> RunPart | None:
        file = self._file(row.output)
        tag = int(file.tags_of(np.array([row.tag], np.intp), names)[0])
        if tag < 0:
            self._tell_of_tags(file.run)
            return None
        common = (self._group_id, file.run, None, row.sequence, 1, row.size_bytes)
        content = (tag, row.step, row.wall_time)
        if row.partial is None:
            payload = pb.Payload(text=pb.Text(markdown=row.text)).SerializeToString()
            return SummaryPart(*common, *content, payload, {}, group=self._group_id)
        return MergedPart(*common, *content, b"", {}, None, row.partial, group=self._group_id)

    def _drops(self, dropped: Dropped, size_bytes: int) -> DropPart:
        return DropPart(
            dropped.source,
            self._file(Output.MERGED).run,
            None,
            0,
            0,
            size_bytes,
            dict(dropped.records),
            dropped.step,
            dropped.wall_time,
            group=self._group_id,
        )

    def _rewinds(self, row: RewindRow) -> Iterable[RunPart]:
        outputs: list[Place] = list(Output) if row.is_merged else []
        if row.series is not None:
            outputs.append(row.series)
        for output in outputs:
            run = self._file(output).run
            yield RewindPart(
                self._group_id, run, None, row.sequence, 0, 0, row.step, group=self._group_id
            )

    def _tell_of_tags(self, run: RunState) -> None:
        text = f"run {run.path}: it has its budget of tags; raise --max-series-per-run"
        if text not in self._told:
            self._told.add(text)
            _logger.warning("%s", text)

    def _file(self, output: Place) -> _File:
        file = self._files.get(output)
        if file is None:
            path = posixpath.normpath(posixpath.join(self._journal.group, directory_of(output)))
            # Where points belong, whoever else logs there: no budget keeps them out.
            run = self._runs.join(
                path,
                self._journal.group,
                self._journal.filename_suffix,
                (self._group_id, _RUN),
                Member(-1, 0, "", self._journal.sync, self._journal.umask),
                is_needed=True,
            )
            run.contents.check_own = self._check_own
            file = self._files[output] = _File(run)
        file.run.holders.add((self._group_id, _RUN))
        return file


class _File:
    """One of the group's runs, and what its tags are called there."""

    def __init__(self, run: RunState) -> None:
        self.run = run
        self._tags = TagMap()
        self._known = 0

    def tags_of(self, tag: NDArray[np.intp], names: list[bytes]) -> NDArray[np.intp]:
        """The run's index of each of ``tag``, intp[n]; -1 if it has its budget of tags."""
        highest = int(tag.max())
        while self._known <= highest:
            try:
                index = self.run.tag_index(names[self._known].decode())
            except RefusedError:
                index = -1
            self._tags.add(self._known, index)
            self._known += 1
        return self._tags.of(tag)

"""Says in an event file which records its events are; see ``boardd.events.marks``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from boardd_protos.summary_kind import SummaryKind

from boardd.core.runs.contents import NO_STEP, RunContents
from boardd.core.runs.marks import NO_SESSION, Mark
from boardd.events import marks, marks_pb2
from boardd.events.marks import Part

#: All that is known is told again after so many bytes, for whoever reads the file from its
#: end. If it is long that is later, so that the file does not consist of it: after
#: ``TABLE_SHARE`` times its own size but no more than ``MAX_TABLE_BYTES``, or twice its size.
TABLE_BYTES: Final = 256 << 10
TABLE_SHARE: Final = 16
MAX_TABLE_BYTES: Final = 4 << 20


class MarkWriter:
    """Makes the marks of one run's files, and keeps those of ``contents`` in step with them.

    For one thread at a time. ``clock`` gives seconds since the epoch.
    """

    def __init__(self, contents: RunContents, clock: Callable[[], float]) -> None:
        self._contents = contents
        self._clock = clock
        #: The numbers of sessions in the live file.
        self._numbers: dict[bytes, int] = {}
        #: Where the next whole table is due.
        self._table_offset = 0
        self._told_dropped_step = contents.dropped_step

    def begin_file(self) -> None:
        """What follows is for a new file."""
        self._table_offset = 0

    def mark(self, parts: Sequence[Part], offset: int) -> bytes:
        """Returns the record that goes before the events of ``parts``, at ``offset`` of the file.

        Empty if there are no parts, and no session has ended since the last.
        """
        contents = self._contents
        untold = contents.marks.take_untold()
        if not parts and not untold:
            return b""
        new_tags = contents.kinds.take_new()
        is_whole = offset >= self._table_offset
        has_dropped = contents.dropped_step != self._told_dropped_step
        has_epoch = contents.epoch != contents.written_epoch
        if not (is_whole or untold or new_tags or has_dropped or has_epoch) and all(
            part.session in self._numbers and not part.dropped for part in parts
        ):
            told = [(self._numbers[part.session], marks.runs_of(part.sequences)) for part in parts]
            return marks.mark_of_runs(self._clock(), told)
        batch = marks_pb2.Batch()
        if is_whole:
            self._numbers = {}
            batch.offset = offset
            batch.epoch = contents.written_epoch
            batch.curve_levels = contents.curve_levels
            for key, mark in contents.marks:
                self._number(key)
                _add_mark(batch, key, mark)
            _add_tags(batch, contents.kinds, contents.reductions)
        else:
            for key, mark in untold:
                _add_mark(batch, key, mark)
            _add_tags(batch, new_tags.items(), contents.reductions)
        if has_dropped or (is_whole and contents.dropped_step != NO_STEP):
            batch.dropped_step = self._told_dropped_step = contents.dropped_step
        if has_epoch:
            batch.next_epoch = contents.epoch
        for part in parts:
            self._add_part(batch, part)
        record = marks.mark(self._clock(), batch)
        if is_whole:
            self._table_offset = offset + _table_distance(len(record))
        return record

    def written(self, parts: Iterable[Part], events: int | None = None) -> list[Part]:
        """Notes that the first ``events`` events of ``parts`` are written, all by default.

        Returns the parts that are left.
        """
        left: list[Part] = []
        for part in parts:
            count = len(part.sequences)
            done = count if events is None else min(events, count)
            if done and part.session != NO_SESSION:
                self._contents.marks.advance(part.session, int(part.sequences[done - 1]))
                if part.dropped:
                    self._contents.marks.drop(part.session, part.dropped)
            if done < count:
                left.append(part._replace(sequences=part.sequences[done:]))
            if events is not None:
                events -= done
        if not left:
            self._contents.written_epoch = self._contents.epoch
        return left

    def _number(self, key: bytes) -> int:
        """The number of a session, from 1; 0 if it has none in this file yet."""
        number = self._numbers.get(key, 0)
        if not number and key != NO_SESSION:
            self._numbers[key] = len(self._numbers) + 1
        return number

    def _add_part(self, batch: marks_pb2.Batch, part: Part) -> None:
        count = len(part.sequences)
        if part.session == NO_SESSION:
            batch.parts.add(runs=[0, count])
            return
        runs = marks.runs_of(part.sequences)
        number = self._number(part.session)
        if number:
            entry = batch.parts.add(known=number, runs=runs)
        else:
            entry = batch.parts.add(session=part.session, runs=runs)
        _add_dropped(entry, part.dropped)


def _table_distance(size_bytes: int) -> int:
    """How far behind a table of ``size_bytes`` the next one is due."""
    share = max(min(TABLE_SHARE * size_bytes, MAX_TABLE_BYTES), 2 * size_bytes)
    return max(TABLE_BYTES, share)


def _add_mark(batch: marks_pb2.Batch, key: bytes, mark: Mark) -> None:
    entry = batch.table.add(session=key, sequence=mark.sequence, has_ended=mark.has_ended)
    _add_dropped(entry, mark.dropped)


def _add_dropped(entry: marks_pb2.Mark | marks_pb2.Part, dropped: Mapping[str, int]) -> None:
    for reason, records in dropped.items():
        entry.dropped.add(reason=reason, records=records)


def _add_tags(
    batch: marks_pb2.Batch,
    kinds: Iterable[tuple[bytes, SummaryKind]],
    reductions: Mapping[bytes, str],
) -> None:
    names: dict[tuple[SummaryKind, str], list[bytes]] = {}
    for name, kind in kinds:
        names.setdefault((kind, reductions.get(name, "")), []).append(name)
    for (kind, reduce), tags in names.items():
        batch.tags.add(kind=kind.value, names=tags, reduce=reduce)

"""What ranks log becomes entries of their group's journal, and these become points.

Everything is in the journal before it counts: entries are appended, and only then applied
to the group. What is decided is appended in the same way, before any of its points is
handed out. So a daemon that opens the journal later hands out the same points again.

Points that nobody has room for are left out, and read from the journal later.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Final

from boardd_protos import boardd_pb2 as pb

from boardd.core.groups.entries import Began, Entry
from boardd.core.groups.group import Group
from boardd.core.refusals import RefusedError
from boardd.core.runs.contents import RunContents
from boardd.core.runs.run_state import RunState
from boardd.events.marks import Part
from boardd.runs.directories.logdir import RunDirectory
from boardd.runs.event_files.live_file import LiveFile
from boardd.runs.groups.any_contributions import AnyContributions
from boardd.runs.groups.group_points import DropRow, Emission, RewindRow, Row
from boardd.runs.groups.group_replica import GroupReplica
from boardd.runs.journal.journal import SEGMENT_BYTES, Journal, JournalRecord
from boardd.runs.journal.journal_ages import JournalAges
from boardd.runs.journal.journal_claim import ClaimGoneError, JournalClaim
from boardd.runs.journal.journal_entries import JournalError
from boardd.runs.journal.journal_segments import segment_names
from boardd.runs.writing.group_work import AnyWork, Outcome, WorkQueue
from boardd.summaries.environment_faults import is_environment_fault

_GROUP_ID_BYTES: Final = 16
#: Entries of one append.
_MAX_ENTRIES: Final = 4096

Append = Callable[[bytes, Sequence[Part]], None]
Reading = Callable[[], AbstractContextManager[None]]


class GroupRecorder:
    """The group of ``run``, a journal's; for one thread at a time.

    ``make_group`` returns a new group, which the journal then fills.
    ``clock`` gives seconds that never go back. At most about ``room_bytes`` of points are
    held for ``take_emission``; set it before each call.
    """

    def __init__(
        self,
        run: RunState,
        make_group: Callable[[], Group],
        clock: Callable[[], float],
        room_bytes: int,
    ) -> None:
        self.run = run
        self._make_group = make_group
        self._clock = clock
        self.room_bytes = room_bytes
        self._journal: Journal | None = None
        #: The last one; None before the first opening.
        self.claim: JournalClaim | None = None
        self.replica = GroupReplica(make_group())
        self._contributions = AnyContributions(run, self.replica.group)
        self._emission = _Collected()
        self._queue = WorkQueue()
        self._unapplied = _Unapplied()
        self._ages = JournalAges()

    @property
    def entries(self) -> int:
        """How many entries the journal has that are applied; 0 if it is not open."""
        return 0 if self._journal is None else self._journal.entries

    @property
    def is_behind(self) -> bool:
        """Whether points are left out, for ``catch_up``."""
        return self._emission.left_out_from is not None

    # Opening

    def open(self, directory: RunDirectory, reading: Reading = nullcontext) -> LiveFile:
        """Opens the journal in ``directory``, and restores the group from it.

        Raises ``OSError``, and ``RefusedError`` if the journal cannot be read here, or another
        daemon has taken it over.
        """
        self.claim = JournalClaim(directory, self.claim)
        self._unapplied.is_appended = False
        try:
            journal = self._read(directory, self.run.contents, reading)
            is_new = not self.replica.group_id or self.replica.group.is_forwarded
            if journal.entries or is_new:
                self._restore(journal)
            else:  # somebody removed the journal of a group that goes on
                self._unapplied.records.insert(0, JournalRecord(self.replica.group.state()))
        except JournalError as error:
            raise RefusedError(pb.UNSUPPORTED, f"{directory.path}: {error}") from error
        self._journal = journal
        return journal.file

    def _read(self, directory: RunDirectory, contents: RunContents, reading: Reading) -> Journal:
        return Journal(
            directory,
            contents,
            lambda: self.replica.group.state(),
            segment_bytes=SEGMENT_BYTES,
            reading=reading,
            check_claim=self.check_claim,
        )

    def _restore(self, journal: Journal) -> None:
        self.replica = GroupReplica(self._make_group())
        self._contributions = AnyContributions(self.run, self.replica.group)
        self._emission = _Collected()
        self._queue = WorkQueue()
        self._unapplied = _Unapplied()
        self._ages = JournalAges()
        self._replay(journal, self.replica, self._emission)

    def _replay(self, journal: Journal, replica: GroupReplica, emission: _Collected) -> None:
        for position, entry in enumerate(journal.replay()):
            rows = _replayed(replica, entry, self._clock())
            if position == 0:
                emission.begin(replica.last_sequence)
            emission.add(rows, replica.last_sequence, self.room_bytes)

    def catch_up(self) -> None:
        """Reads points from the journal that were left out, as many as there is room for.

        Raises ``OSError``, and ``RefusedError`` if another daemon has taken the journal over.
        """
        if self.claim is None:
            raise RuntimeError(f"{self.run.path} is not open")
        self.check_claim()
        self._emission.go_on()
        try:
            journal = self._read(self.claim.directory, RunContents(), nullcontext)
            self._replay(journal, GroupReplica(self._make_group()), self._emission)
        except BaseException:
            self._emission.break_off()
            raise

    # Recording

    def begin(self, works: Iterable[AnyWork]) -> None:
        """Takes what comes next; nothing of an earlier call may be left."""
        self._queue.works.extend(works)

    def go_on(self, append: Append) -> list[Outcome]:
        """Records all that was taken, and what is decided now. Returns what became of each.

        ``append`` writes to the journal's file, or goes on with what it could not write.
        Raises ``OSError`` if it does; then call this again. Raises ``RefusedError`` if another
        daemon has taken the journal over; then nothing of it is recorded.
        """
        journal = self._journal
        if journal is None:
            raise RuntimeError(f"{self.run.path} is not open")
        self._flush(journal, append)
        while self._queue.works:
            self._take(self._queue.works[0], journal, append)
        self._flush(journal, append)
        if self.replica.group_id:
            self._decide(self.replica.group.due(self._clock()))
            self._flush(journal, append)
        return self._queue.take_outcomes()

    def _take(self, work: AnyWork, journal: Journal, append: Append) -> None:
        """Records one work, or what must be recorded before it."""
        taken = self._contributions.take_plain(work)
        if taken is None:
            needed = self._needed(work)
            if needed or self._contributions.is_barrier(work):
                self._flush(journal, append)
                needed = self._needed(work)
            if needed:
                self._queue.count_round()
                self._decide(needed)
                self._flush(journal, append)
                return
            taken = self._contributions.take(work)
        records, outcome = taken
        self._unapplied.records += records
        self._queue.done(outcome)
        if len(self._unapplied.records) >= _MAX_ENTRIES:
            self._flush(journal, append)

    def _needed(self, work: AnyWork) -> Sequence[Entry]:
        if not self.replica.group_id:
            world_size = 0 if work.asked is None else work.asked.world_size
            return [Began(os.urandom(_GROUP_ID_BYTES), world_size)]
        return self._contributions.needed(work)

    def _decide(self, entries: Iterable[Entry]) -> None:
        self._unapplied.records += [JournalRecord(entry) for entry in entries]

    def _flush(self, journal: Journal, append: Append) -> None:
        """Writes and applies entries. Raises ``OSError``; then nothing of them is applied."""
        if not self._unapplied.records:
            return
        if not self._unapplied.is_appended:
            self.check_claim()
            if not journal.file.pending_bytes:
                journal.rotate()
                self._ages.note(self._clock(), journal.entries)
            append(*journal.encode(self._unapplied.records))
            self._unapplied.is_appended = True
        self.check_claim()
        unapplied, self._unapplied = self._unapplied.records, _Unapplied()
        now = self._clock()
        if self.replica.apply_together([record.entry for record in unapplied], now):
            return
        for record in unapplied:
            rows = self.replica.apply(record.entry, now)
            self._emission.add(rows, self.replica.last_sequence, self.room_bytes)

    def check_claim(self) -> None:
        """See ``JournalClaim.check``. Any thread may ask."""
        if (claim := self.claim) is not None:
            claim.check()

    def check_taken_over(self) -> None:
        """As ``check_claim``; a claim that is gone, with the run perhaps, is nobody's."""
        with suppress(ClaimGoneError):
            self.check_claim()

    def forget(self) -> None:
        """Forgets the group, which the journal restores when it is opened again."""
        self._queue = WorkQueue()
        self._journal, self.replica = None, GroupReplica(self._make_group())

    def take_emission(self) -> Emission | None:
        """Returns what is to be shown next, None if there is nothing."""
        return self._emission.take()

    # The journal's age

    def released(self, written: int) -> list[str]:
        """Returns the segments that nothing needs any more; see ``Journal.released``.

        Raises ``OSError``.
        """
        journal, group = self._journal, self.replica.group
        if journal is None:
            return []
        oldest = self._ages.oldest_open(group.oldest_open_at, journal.entries)
        return journal.released(oldest, self.replica.last_sequence, written)

    def passed(self, entry: int) -> list[str]:
        """Returns the segments that hold nothing from the number ``entry`` on.

        Raises ``OSError``.
        """
        return [] if self._journal is None else self._journal.released(entry, 0, 0)

    def size_bytes(self) -> int:
        """Returns how long the journal's files are, 0 if it is not open. Raises ``OSError``."""
        fd = -1 if self.claim is None else self.claim.directory.fd
        if fd < 0:
            return 0
        return sum(os.stat(name, dir_fd=fd).st_size for name in segment_names(fd))

    def remove(self, names: Sequence[str]) -> None:
        """Removes segments that were released. Raises ``OSError``."""
        if self._journal is not None:
            self._journal.remove(names)


def _replayed(replica: GroupReplica, entry: Entry, now: float) -> list[Row]:
    """Applies an entry of a file that others can write to.

    Raises ``JournalError`` if it does not follow from those before it.
    """
    try:
        replica.group.check(entry)
        return replica.apply(entry, now)
    except Exception as error:
        if is_environment_fault(error):
            raise
        # Whatever it is, only this group may suffer.
        name = type(entry).__name__
        raise JournalError(f"an entry {name} that cannot be: {error!r}") from error


class _Unapplied:
    """Entries that are decided, and not applied before the journal has them."""

    def __init__(self) -> None:
        self.records: list[JournalRecord] = []
        #: Whether these are in the file, and only the claim is still to be looked at.
        self.is_appended = False


class _Collected:
    """Points to be shown, and from which emission on they are left out."""

    def __init__(self) -> None:
        self.left_out_from: int | None = None
        self._emission = Emission.after(0)

    def begin(self, last: int) -> None:
        """The journal has nothing of the emissions up to ``last``: they are written."""
        if last >= self._emission.first:
            self._emission = Emission.after(last)

    def go_on(self) -> None:
        """Points are added anew from the journal's beginning; those that were taken are not."""
        self.left_out_from = None

    def break_off(self) -> None:
        """Not all could be added: what is behind the last that was is left out again."""
        self.left_out_from = self._emission.last + 1

    def add(self, rows: Sequence[Row], last: int, room_bytes: int) -> None:
        """Adds the rows of the emissions up to ``last``, unless there is no room for them."""
        emission = self._emission
        if self.left_out_from is not None:
            return
        if last < emission.last or (last == emission.last and not _are_beside(rows)):
            return
        size_bytes = emission.size_bytes + sum(row.size_bytes for row in rows)
        if rows and (room_bytes <= 0 or (emission.rows and size_bytes > room_bytes)):
            self.left_out_from = emission.last + 1
            return
        emission.add(rows, last)

    def take(self) -> Emission | None:
        """See ``GroupRecorder.take_emission``."""
        emission = self._emission
        if not emission.rows and emission.last < emission.first:
            return None
        self._emission = Emission.after(emission.last)
        return emission


def _are_beside(rows: Sequence[Row]) -> bool:
    """Whether ``rows`` belong to no emission. What was written of them is not written again."""
    return bool(rows) and isinstance(rows[0], (RewindRow, DropRow))

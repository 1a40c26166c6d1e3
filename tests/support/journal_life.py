"""A group's journal in one daemon's life, with the group that it restores."""

from __future__ import annotations

from pathlib import Path

from boardd.core.groups.entries import Began
from boardd.core.runs.contents import RunContents
from boardd.runs.directories.logdir import Roots
from boardd.runs.journal.journal import Journal, JournalRecord

from support.group_ledger import GroupLedger, closed, scalars


def key(session: int) -> bytes:
    return bytes([session]) * 16


class JournalLife:
    """Opens the journal in ``root``/journal and replays it; ``sessions`` of a group log."""

    def __init__(self, root: Path, sessions: int, *, segment_bytes: int = 1 << 20) -> None:
        self.directory = Roots([root]).open_run("journal")
        try:
            self.contents = RunContents()
            self.ledger = GroupLedger(sessions)
            self.journal = Journal(
                self.directory,
                self.contents,
                lambda: self.ledger.state(),
                segment_bytes=segment_bytes,
                state_share=0,
                clock=lambda: 1_700_000_000.0,
            )
            for entry in self.journal.replay():
                self.ledger.apply(entry)
        except BaseException:
            self.directory.close()
            raise

    @property
    def path(self) -> Path:
        return self.directory.path

    def names(self) -> list[str]:
        return sorted(path.name for path in self.path.iterdir())

    def check(self) -> None:
        """What was replayed is whole, and the marks tell the same."""
        self.ledger.check_open()
        assert self.journal.entries == self.ledger.entries
        for session, last in enumerate(self.ledger.last):
            assert self.contents.marks.sequence(key(session)) == last

    def log(self, session: int, count: int, *, after: int | None = None) -> JournalRecord:
        """The next ``count`` steps of a session, those behind ``after``."""
        first = (self.ledger.last[session] if after is None else after) + 1
        entry = scalars(session, first, first + count - 1)
        return JournalRecord(entry, key(session), first + count - 1)

    def begin(self) -> JournalRecord:
        return JournalRecord(Began(bytes(16), len(self.ledger.last)))

    def decide(self, session: int, step: int, *, number: int = 1) -> JournalRecord:
        """Decision ``number`` from here: the steps of a session are closed up to ``step``."""
        return JournalRecord(closed(self.ledger.emitted + number, session, step))

    def append(self, *records: JournalRecord) -> None:
        """Appends, and goes on until it is done, whatever errors there are."""
        call = self.journal.append
        try:
            call(records)
        except OSError:
            self.resume()
        self.apply(*records)

    def resume(self) -> None:
        for _ in range(1000):
            try:
                self.journal.resume()
                return
            except OSError:
                continue
        raise AssertionError("no progress")

    def apply(self, *records: JournalRecord) -> None:
        for record in records:
            self.ledger.apply(record.entry)

    def release(self, written: int) -> list[str]:
        """Removes what is not needed if all emissions up to ``written`` are written."""
        names = self.journal.released(self.ledger.oldest_open, self.ledger.emitted, written)
        self.journal.remove(names)
        return names

    def close(self) -> None:
        self.journal.close()
        self.directory.close()

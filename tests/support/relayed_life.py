"""The two ends of a forwarded group, each in one daemon's life, without daemons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from boardd.core.groups.entries import Attempt, Dropped, Joined
from boardd.core.groups.forwarded import ForwardedGroup
from boardd.core.groups.group import Group
from boardd.core.groups.limits import GroupLimits
from boardd.core.intake.columns import Columns
from boardd.core.runs.marks import member_key
from boardd.core.runs.names import JOURNAL_DIRECTORY
from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import ScalarPart
from boardd.events.marks import Part
from boardd.relay.relay import Batch, position_after
from boardd.runs.directories.logdir import Roots
from boardd.runs.groups.group_points import Row
from boardd.runs.groups.group_recorder import GroupRecorder
from boardd.runs.journal.journal_reader import JournalReader
from boardd.runs.journal.relayed_entries import Relayed, decode_relayed, encode_relayed
from boardd.runs.writing.group_work import AnyWork, RelayedWork, Work

#: No point is closed before every rank is done with it.
PATIENT = GroupLimits(join_secs=1e9, lag_points=1 << 40, lag_secs=1e9, max_open_bytes=1 << 40)
TAGS = ("loss", "accuracy", "norm")


class Life:
    """A group's journal beneath ``root``, opened; ``make_group`` says which end it is.

    The run knows its tags in the order of ``tags``.
    """

    def __init__(
        self, root: Path, make_group: Callable[[], Group], tags: Sequence[str] = ()
    ) -> None:
        root.mkdir(exist_ok=True)
        group = str(root / "run")
        self.run = RunState(f"{group}/{JOURNAL_DIRECTORY}", group, "", 1000)
        for tag in tags:
            self.run.tag_index(tag)
        self.directory = Roots([root]).open_run(self.run.path)
        self.recorder = GroupRecorder(self.run, make_group, lambda: 0.0, 1 << 40)
        self.file = self.recorder.open(self.directory)

    def record(self, works: Sequence[AnyWork]) -> None:
        """Records ``works``, however often that has to be tried."""
        self.recorder.begin(works)
        self.recorder.go_on(self._append)

    def _append(self, data: bytes, parts: Sequence[Part]) -> None:
        self.file.append(data, parts)

    def rows(self) -> list[Row]:
        """What is shown since the last call, in this life."""
        emission = self.recorder.take_emission()
        return [] if emission is None else emission.rows

    def die(self) -> None:
        """The end of this life; the files stay as they are."""
        self.file.close()
        self.directory.close()


class HostLife(Life):
    """A host: its ranks log here, and ``reader`` follows its journal."""

    def __init__(self, root: Path, tags: Sequence[str] = TAGS) -> None:
        super().__init__(root, lambda: ForwardedGroup(PATIENT), tags)
        self.reader: JournalReader | None = None

    def log(self, asked: Joined, session: bytes, sequence: int, step: np.ndarray) -> None:
        """A session logs all tags at each of ``step``; the first record has ``sequence``."""
        count = len(step) * len(TAGS)
        steps, tags = np.repeat(step, len(TAGS)), np.tile(np.arange(len(TAGS)), len(step))
        values = [
            value(asked.rank, self.run.tags[tag].decode(), one)
            for tag, one in zip(tags.tolist(), steps.tolist(), strict=True)
        ]
        columns = Columns(
            np.arange(sequence, sequence + count, dtype=np.uint64),
            steps,
            steps.astype(np.float64),
            np.array(values),
        )
        part = ScalarPart(session, self.run, None, sequence, count, 0, columns, tags)
        self.record([Work(asked, part)])

    def leave(self, asked: Joined) -> None:
        """A session logs no more."""
        self.record([Work(asked, has_left=True)])

    def next_batch(self, position: int, max_bytes: int) -> Batch | None:
        """The next one to be sent."""
        if self.reader is None:
            self.reader = JournalReader(self.directory.path)
        entries = [
            one
            for one in self.reader.read(self.recorder.entries, max_bytes)
            if one.number >= position and isinstance(one.entry, Relayed)
        ]
        if not entries:
            return None
        data = encode_relayed(entries, self.reader.tags, self.reader.members)
        first = max(position, self.reader.oldest)
        producer = self.recorder.replica.group_id
        end = entries[-1].number + 1
        return Batch(producer, "run", first, end, self.reader.oldest, data)

    def read_anew(self) -> None:
        """Forgets what was read."""
        if self.reader is not None:
            self.reader.close()
            self.reader = None

    def die(self) -> None:
        """See ``Life``."""
        self.read_anew()
        super().die()


class AggregatorLife(Life):
    """The daemon that makes the points."""

    def __init__(self, root: Path, limits: GroupLimits = PATIENT) -> None:
        super().__init__(root, lambda: Group(limits))

    def take(self, batch: Batch) -> int:
        """Records a batch; returns the position."""
        told = decode_relayed(batch.data)
        members = {
            session: replace(joined, relayed_by=batch.producer)
            for session, joined in told.members.items()
        }
        marks = self.run.contents.marks
        if position_after(batch, marks.sequence(batch.producer)) is not None:
            self.record(
                [
                    RelayedWork(
                        batch.producer,
                        number,
                        entry,
                        None if isinstance(entry, Dropped) else members.get(entry.session),
                        told.tags,
                    )
                    for number, entry in told.entries
                ]
            )
        return marks.sequence(batch.producer)


def member(session: bytes, rank: int, world_size: int, **changes: object) -> Joined:
    """How a session of a launch logs."""
    joined = Joined(
        member_key(session, rank), rank, Attempt(1, "launch", 0), world_size, "host", 7, False
    )
    return replace(joined, per_rank="scalars", series=f"rank_{rank}", **changes)


def value(rank: int, tag: str, step: int) -> float:
    """What a rank logs; sums of it round."""
    return float(np.sin(step + len(tag)) * 10.0**rank + 0.1)

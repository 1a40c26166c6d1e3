"""What a session hands on: a batch of parts, each for one run, and the session's counts.

A part is finished or rejected once; some of its records may be rejected before, as a
``RejectedPart``. The records of a message may belong to several runs, so a
``SequenceRange`` is finished with the last of its parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from boardd_protos import boardd_pb2 as pb
from numpy.typing import NDArray

from boardd.core.intake.columns import Columns
from boardd.core.refusals import Refusal
from boardd.core.runs.drop_reasons import counted_as
from boardd.core.runs.run_state import RunState

#: What a part costs beside the bytes that it holds: its objects, and its places in queues.
PART_BYTES: Final = 1024
#: The same of a part of scalars, which holds arrays.
SCALAR_PART_BYTES: Final = 1536

#: The most that a count on the wire can say.
_MAX_COUNT = (1 << 64) - 1


@dataclass(eq=False)
class SequenceRange:
    """Consecutive records, and how many of their parts are still out."""

    first: int
    last: int
    parts: int = 0


@dataclass(eq=False)
class RunPart:
    """Work for one run.

    ``sequence`` is that of its first record, 0 if it has none; several records may share
    one. The intake is charged ``size_bytes`` for it. ``numbers`` are the client's of the runs
    that its records were logged to; none: any of those in this directory. ``is_copy``: its
    records are in another part as well, and counted there. ``group`` is the id of the group of
    ranks that made it; empty: a client's session did.
    """

    session_id: bytes
    run: RunState
    sequences: SequenceRange | None
    sequence: int
    records: int
    size_bytes: int
    numbers: tuple[int, ...] = field(default=(), kw_only=True)
    is_copy: bool = field(default=False, kw_only=True)
    group: bytes = field(default=b"", kw_only=True)

    @property
    def counted_records(self) -> int:
        """Its records, but for those that are counted elsewhere."""
        return 0 if self.is_copy else self.records

    @property
    def last_sequence(self) -> int:
        """That of its last record."""
        return self.sequence

    def split_off(self, sequence: int, records: int, last_sequence: int) -> RejectedPart:
        """Returns some of its records, to be rejected by themselves.

        0 ``records``: something of one of them, which stays.
        """
        size_bytes = self.size_bytes * records // self.records
        self.records -= records
        self.size_bytes -= size_bytes
        return RejectedPart(
            self.session_id,
            self.run,
            None,
            sequence,
            records,
            size_bytes,
            last_sequence,
            numbers=self.numbers,
            is_copy=self.is_copy,
            group=self.group,
        )


@dataclass(eq=False)
class ScalarPart(RunPart):
    """n scalars of one run in call order; ``tag_index``, intp[n], points into ``run.tags``."""

    columns: Columns
    tag_index: NDArray[np.intp]

    @property
    def last_sequence(self) -> int:
        """See ``RunPart``."""
        return int(self.columns.sequence[-1])

    def split_front(self, count: int) -> ScalarPiece:
        """Returns its first ``count`` scalars, less than all, which come back by themselves."""
        size_bytes = self.size_bytes * count // self.records
        piece = ScalarPiece(
            self.session_id,
            self.run,
            None,
            self.sequence,
            count,
            size_bytes,
            self.columns[:count],
            self.tag_index[:count],
            numbers=self.numbers,
            is_copy=self.is_copy,
            group=self.group,
        )
        self.columns, self.tag_index = self.columns[count:], self.tag_index[count:]
        self.sequence = int(self.columns.sequence[0])
        self.records -= count
        self.size_bytes -= size_bytes
        return piece


@dataclass(eq=False)
class ScalarPiece(ScalarPart):
    """The first scalars of a part, which come back before the part does."""


@dataclass(eq=False)
class RejectedPart(RunPart):
    """Some records of a part, which come back before the part does."""

    last: int

    @property
    def last_sequence(self) -> int:
        """See ``RunPart``."""
        return self.last


@dataclass(eq=False)
class SummaryPart(RunPart):
    """One record to reduce: the serialized ``Payload``, and its tensors.

    They come in chunks, or lie in ``maps`` at the payload's slots. ``is_health_only``: of what
    the record shows, its tensors' health alone is to be written.
    """

    tag: int
    step: int
    wall_time: float
    payload: bytes
    tensors: dict[int, list[bytes]]
    maps: Mapping[int, memoryview] | None = None
    is_health_only: bool = field(default=False, kw_only=True)


@dataclass(eq=False)
class SeriesPart(SummaryPart):
    """One record with a summary of each of several series; ``tag`` is that of the first.

    ``tags`` are those of all, None of one that is left out: ``left_out`` then says so.
    """

    tags: Sequence[int | None] = ()
    left_out: Refusal | None = None

    @property
    def known_tags(self) -> list[int]:
        """The tags of those that are not left out."""
        return [tag for tag in self.tags if tag is not None]


@dataclass(eq=False)
class MergedPart(SummaryPart):
    """What ranks contributed to a point of a summary, ``partial``, to be presented."""

    partial: Any = None


@dataclass(eq=False)
class RewindPart(RunPart):
    """What the run holds from ``step`` on is out of date, unless ``sequence`` is written.

    It has no records itself. It comes from a group, which may make it again.
    """

    step: int


@dataclass(eq=False)
class EndPart(RunPart):
    """A session logs no more to a run."""


@dataclass(eq=False)
class DropPart(RunPart):
    """What one client has dropped of a run by now: records by reason. It has no records itself."""

    dropped: dict[str, int]
    #: The highest step among what was reported last, as far as the client knows.
    step: int
    wall_time: float


@dataclass(eq=False)
class MeasuredPart(RunPart):
    """What a run's process and its host use: scalars of the daemon's own, by tag.

    It has no records itself.
    """

    values: Mapping[str, float]
    wall_time: float
    #: Set when it was written or rejected.
    is_back: bool = False


@dataclass(eq=False)
class PurgePart(RunPart):
    """What the run holds from ``step`` on is out of date, unless ``epoch`` did that already.

    It has no records itself.
    """

    epoch: int
    step: int


@dataclass
class Batch:
    """What came of one message."""

    parts: list[RunPart] = field(default_factory=list)
    #: Whether the written sequence or the list of rejections changed.
    told: bool = False


@dataclass
class Counters:
    """``accepted = written + sum(rejected) + pending`` at any moment; in records."""

    accepted: int = 0
    written: int = 0
    pending: int = 0
    rejected: dict[int, int] = field(default_factory=dict)
    duplicates: int = 0
    written_bytes: int = 0
    #: Cumulative, by the client's own reason: records and bytes.
    dropped_by_client: dict[str, tuple[int, int]] = field(default_factory=dict)

    def reject(self, reason: int, records: int) -> None:
        """Counts ``records`` as rejected."""
        self.rejected[reason] = self.rejected.get(reason, 0) + records

    def add(self, other: Counters) -> None:
        """Adds the counts of ``other``; reasons of drops past the bound become one."""
        self.accepted += other.accepted
        self.written += other.written
        self.pending += other.pending
        self.duplicates += other.duplicates
        self.written_bytes += other.written_bytes
        for reason, records in other.rejected.items():
            self.reject(reason, records)
        for name, (records, size_bytes) in other.dropped_by_client.items():
            reason_name = counted_as(name, self.dropped_by_client)
            before = self.dropped_by_client.get(reason_name, (0, 0))
            self.dropped_by_client[reason_name] = before[0] + records, before[1] + size_bytes

    @property
    def balanced(self) -> bool:
        """Whether every accepted record is accounted for."""
        return self.accepted == self.written + sum(self.rejected.values()) + self.pending

    def message(self) -> pb.Counters:
        """The counts as they go into a status."""
        return pb.Counters(
            accepted=self.accepted,
            written=self.written,
            pending=self.pending,
            rejected=[
                pb.RejectCount(reason=pb.Reason.Name(reason), records=records)
                for reason, records in sorted(self.rejected.items())
            ],
            duplicates=self.duplicates,
            written_bytes=self.written_bytes,
            dropped_by_client=[
                pb.DropCount(
                    reason=name,
                    records=min(records, _MAX_COUNT),
                    size_bytes=min(size_bytes, _MAX_COUNT),
                )
                for name, (records, size_bytes) in sorted(self.dropped_by_client.items())
            ],
        )

"""What a pair of ends should do with every record, and what it did.

The ledger stands outside both ends: it is told of each record at the call, and of each
outcome by the disk and by the daemon's intake. It knows records by client and sequence
number, and compares what is written byte by byte with what was logged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from boardd_client.memory.ring import Ring
from boardd_protos import boardd_pb2 as pb


class Outcome(NamedTuple):
    """What one daemon did with a record; ``life`` counts the daemons, from 0."""

    life: int
    reason: int = 0  #: why it was rejected; 0: it is written

    @property
    def is_written(self) -> bool:
        return self.reason == 0


class Content(NamedTuple):
    """What of a record must reach the event file as it was logged."""

    path: str
    tag: str
    step: int
    data: bytes  #: of a tensor; a scalar's float64; empty for the end of a run


@dataclass(eq=False)
class Record:
    """One accepted record and its outcomes in the order in which they came."""

    session_id: bytes
    sequence: int
    content: Content
    ring: Ring
    #: Whether its value was lost before it was whole.
    has_failed: bool = False
    #: Daemons that did it and were killed before its client had heard so.
    forgotten_by: set[int] = field(default_factory=set)
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def has_value(self) -> bool:
        """Whether its value is in the ring, or was."""
        return not self.has_failed and not self.ring.is_claimed(self.sequence)


@dataclass(eq=False)
class Ledger:
    """Every record of a history. Methods raise ``AssertionError`` when a rule is broken."""

    records: dict[tuple[bytes, int], Record] = field(default_factory=dict)
    #: What the event files say: up to where each session's records of a run are in them.
    marks: dict[tuple[bytes, str], int] = field(default_factory=dict)
    _by_client: dict[bytes, list[Record]] = field(default_factory=dict)
    _last: dict[tuple[int, bytes, str], int] = field(default_factory=dict)

    def accept(self, record: Record) -> Record:
        """A call returned, and the record has its sequence number."""
        key = record.session_id, record.sequence
        assert key not in self.records, f"{key} was given to two records"
        self.records[key] = record
        self._by_client.setdefault(record.session_id, []).append(record)
        return record

    def of(self, session_id: bytes) -> list[Record]:
        """The records of one client in call order."""
        return self._by_client.get(session_id, [])

    def written(self, life: int, session_id: bytes, sequence: int, content: Content) -> None:
        """The disk has a record."""
        record = self.records[session_id, sequence]
        assert content == record.content, f"written as {content}, logged as {record.content}"
        assert record.has_value, f"{record} has no value and is written"
        key = life, session_id, content.path
        before = self._last.get(key, 0)
        assert sequence > before, f"{content.path}: record {sequence} is written behind {before}"
        self._last[key] = sequence
        self.marks[session_id, content.path] = sequence
        self._note(record, Outcome(life))

    def rejected(self, life: int, session_id: bytes, sequence: int, reason: int) -> None:
        """The daemon has rejected a record."""
        assert reason, "a rejection without a reason"
        record = self.records[session_id, sequence]
        if reason == pb.CAPTURE_FAILED:
            assert not record.has_value, f"{record} has its value"
        self._note(record, Outcome(life, reason))

    def _note(self, record: Record, outcome: Outcome) -> None:
        # What a daemon did and its client has not heard of is sent to the next one. That finds
        # in the event files what is written; what was rejected it decides anew.
        done_by = {known.life for known in record.outcomes}
        assert done_by <= record.forgotten_by, f"{record} is done twice"
        is_written = any(known.is_written for known in record.outcomes)
        assert not (is_written and outcome.is_written), f"{record} is written twice"
        record.outcomes.append(outcome)

    def forgotten(self, life: int, session_id: bytes, knows_done: Callable[[int], bool]) -> None:
        """A daemon was killed, and the client goes to another, having heard only of some records.

        ``knows_done`` says of which, by sequence number.
        """
        for record in self.of(session_id):
            if not knows_done(record.sequence):
                record.forgotten_by.update(
                    known.life for known in record.outcomes if known.life <= life
                )

    def rejections(self, session_id: bytes) -> Counter[int]:
        """The records by reason whose last outcome is a rejection."""
        return Counter(
            record.outcomes[-1].reason
            for record in self.of(session_id)
            if record.outcomes and not record.outcomes[-1].is_written
        )

    def check_done(self, records: Iterable[Record]) -> None:
        """All of ``records`` are written or rejected."""
        for record in records:
            assert record.outcomes, f"{record} is neither written nor rejected"

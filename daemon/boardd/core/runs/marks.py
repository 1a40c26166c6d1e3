"""How much of each session's records is in the event files of one run.

A session's records of a run are written in ascending sequence, so the sequence number of
the last one says which are written. Event files hold these marks beside the events that
they speak of (``boardd.events.marks``), so that a daemon knows what an earlier one wrote.
"""

from __future__ import annotations

import functools
import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from boardd.core.runs.drop_reasons import add_records, raise_to

#: Sessions that are remembered; those that wrote last.
MAX_MARKS: Final = 1024
#: Of them, sessions that have ended their part in the run.
MAX_ENDED_MARKS: Final = 64
#: Bytes of a session's key.
KEY_BYTES: Final = 16
#: The same of a journal, to which all ranks and hosts of a group log.
MAX_JOURNAL_MARKS: Final = 1 << 16
MAX_ENDED_JOURNAL_MARKS: Final = 1 << 12
#: The key of events that belong to no session.
NO_SESSION: Final = b""


@functools.lru_cache(maxsize=1024)
def session_key(session_id: bytes) -> bytes:
    """What a session is called in event files, which others may read: its id is a secret."""
    return hashlib.sha256(session_id).digest()[:KEY_BYTES]


def member_key(session_id: bytes, rank: int) -> bytes:
    """What a session is called in a group's journal, as that ``rank``.

    A process may log as several ranks, and each has a mark of its own.
    """
    return session_key(b"rank %d " % rank + session_id)


def purge_key(member: bytes) -> bytes:
    """What the purges of a group's member are called, whose epochs have a mark of their own."""
    return session_key(b"purge " + member)


def drops_key(session_id: bytes) -> bytes:
    """What the reports of a session's drops are called, which have a mark of their own."""
    return session_key(b"dropped " + session_id)


@dataclass(eq=False)
class Mark:
    """What is written of one session's records: all up to ``sequence``."""

    sequence: int = 0
    has_ended: bool = False
    #: Records that its client dropped and that the run has told of, by reason; of few reasons.
    dropped: dict[str, int] = field(default_factory=dict)


class Marks:
    """The marks of one run, the one that moved last at the end.

    At most ``max_marks`` are kept, and ``max_ended`` of sessions that have ended.
    """

    def __init__(self, max_marks: int = MAX_MARKS, max_ended: int = MAX_ENDED_MARKS) -> None:
        self._max_marks, self._max_ended = max_marks, max_ended
        self._marks: OrderedDict[bytes, Mark] = OrderedDict()
        self._ended = 0
        #: What sessions dropped that are not remembered any more.
        self._dropped_by_others: dict[str, int] = {}
        self._untold: dict[bytes, None] = {}

    def __iter__(self) -> Iterator[tuple[bytes, Mark]]:
        """Yields all of them, and under ``NO_SESSION`` what forgotten sessions dropped."""
        if self._dropped_by_others:
            yield NO_SESSION, Mark(dropped=self._dropped_by_others)
        yield from self._marks.items()

    def sequence(self, key: bytes) -> int:
        """Returns up to where the records of a session are written."""
        mark = self._marks.get(key)
        return 0 if mark is None else mark.sequence

    def advance(self, key: bytes, sequence: int) -> None:
        """Notes that the records of a session are written up to ``sequence``."""
        mark = self._moved(key)
        mark.sequence = max(mark.sequence, sequence)
        if mark.has_ended:
            mark.has_ended = False
            self._ended -= 1
        self._forget_oldest()

    def end(self, key: bytes) -> None:
        """Notes that a session which wrote something logs no more to the run."""
        mark = self._marks.get(key)
        if mark is not None and not mark.has_ended:
            self._moved(key).has_ended = True
            self._ended += 1
            self._untold[key] = None
            self._forget_oldest()

    def drop(self, key: bytes, dropped: Mapping[str, int]) -> None:
        """Notes that the run has told what a session's client dropped by now, by reason."""
        if key == NO_SESSION:
            raise_to(self._dropped_by_others, dropped)
            return
        raise_to(self._moved(key).dropped, dropped)
        self._forget_oldest()

    def total_dropped(self, key: bytes, dropped: Mapping[str, int]) -> dict[str, int]:
        """Returns what all clients have dropped, by reason, with ``dropped`` by that of ``key``."""
        total = dict(dropped)
        for other, mark in self:
            if other != key:
                for reason, records in mark.dropped.items():
                    add_records(total, reason, records)
        return total

    def take_untold(self) -> list[tuple[bytes, Mark]]:
        """Returns those that ended since the last call."""
        untold, self._untold = self._untold, {}
        return [(key, self._marks[key]) for key in untold if key in self._marks]

    def _moved(self, key: bytes) -> Mark:
        mark = self._marks.get(key)
        if mark is None:
            mark = self._marks[key] = Mark()
        else:
            self._marks.move_to_end(key)
        return mark

    def _forget_oldest(self) -> None:
        if self._ended > self._max_ended:
            self._forget(next(key for key, mark in self._marks.items() if mark.has_ended))
        if len(self._marks) > self._max_marks:
            self._forget(next(iter(self._marks)))

    def _forget(self, key: bytes) -> None:
        mark = self._marks.pop(key)
        self._ended -= mark.has_ended
        for reason, records in mark.dropped.items():
            add_records(self._dropped_by_others, reason, records)

"""What the event files of a run say when its directory is opened.

The newest file whose first mark is whole has all: its last table tells what was known
there, the marks behind it what was written since, and the whole events behind the last
mark how much of its batch. A file that was torn before that holds no events of ours.
Files without marks are of other programs or older versions. They say no more than what
kind of summary each tag is.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from boardd_protos.summary_kind import SummaryKind

from boardd.core.runs.contents import RunContents
from boardd.core.runs.marks import NO_SESSION
from boardd.events import readiness
from boardd.events.kinds import kinds_of, notable_events
from boardd.events.marks import batch_of, events_in, is_mark, sequence_after
from boardd.events.marks_pb2 import Batch, Mark, Part
from boardd.runs.directories.logdir import RunDirectory
from boardd.runs.event_files.event_file_names import EVENT_FILE_MARK
from boardd.runs.event_files.event_records import EventRecords

_logger = logging.getLogger(__name__)

#: So many bytes of files without marks are read, the newest first.
MAX_UNMARKED_BYTES: Final = 256 << 20
#: Of a record.
MAX_SEQUENCE: Final = (1 << 64) - 1
#: A file up to this size is read without the compiled loop.
UNCOMPILED_BYTES: Final = 64 << 10

#: A FIFO is not waited for.
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: What cannot be read is no file of ours.
_NOT_OURS: Final = frozenset({errno.ENOENT, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO})


def recover(
    directory: RunDirectory,
    contents: RunContents,
    reading: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """Adds to ``contents`` what the event files in ``directory`` hold.

    Blocks on the disk, for the most part within ``reading()``. Raises ``OSError`` if it
    fails; then call it again.
    """
    with reading():
        names = sorted(name for name in os.listdir(directory.fd) if EVENT_FILE_MARK in name)
    left_bytes = MAX_UNMARKED_BYTES
    for name in reversed(names):
        try:
            with reading():
                fd = os.open(name, _READ, dir_fd=directory.fd)
        except OSError as error:
            if error.errno not in _NOT_OURS:
                raise
            _logger.warning("%s: %s; its tags are not known", directory.path / name, error.strerror)
            continue
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                continue
            records = EventRecords(fd, reading)
            if has_marks(records):
                try:
                    read_marks(records, contents)
                except ValueError as error:
                    _logger.warning(
                        "%s: %s; what it says behind that is not known, and may be written again",
                        directory.path / name,
                        error,
                    )
                break
            left_bytes = _read_kinds(records, contents, left_bytes)
        finally:
            os.close(fd)
        if left_bytes <= 0:
            _logger.warning(
                "%s: over %d MiB of event files without marks; not all of their tags are known",
                directory.path,
                MAX_UNMARKED_BYTES >> 20,
            )
            break


def has_marks(records: EventRecords) -> bool:
    """Whether the first mark is whole. It comes behind the event that opens the file."""
    return any(map(is_mark, itertools.islice(records.walk(), 1, 2)))


def read_marks(records: EventRecords, contents: RunContents) -> None:
    """Adds to ``contents`` what the marks of one file say, whose first mark is whole.

    Raises ``OSError``, and ``ValueError`` at a mark that cannot be: the rest is not read.
    """
    reading = _Reading(contents)
    events = 0
    for data in records.walk(records.last_table() or 0):
        if is_mark(data):
            reading.settle(events)
            reading.begin(batch_of(data))
            events = 0
        else:
            events += 1
    reading.settle(events)


class _Reading:
    """The marks of one file, read from a whole table on."""

    def __init__(self, contents: RunContents) -> None:
        self._contents = contents
        self._batch = Batch()
        #: Sessions in the order of their numbers.
        self._sessions: list[bytes] = []

    def begin(self, batch: Batch) -> None:
        """Takes what is known before a batch."""
        contents = self._contents
        self._batch = batch
        if batch.offset:
            self._sessions = [entry.session for entry in batch.table if entry.session]
            self._raise_epoch(batch.epoch)
            contents.curve_levels = contents.curve_levels or batch.curve_levels
        for entry in batch.table:
            if entry.session != NO_SESSION:
                contents.marks.advance(entry.session, entry.sequence)
                if entry.has_ended:
                    contents.marks.end(entry.session)
            if entry.dropped:
                contents.marks.drop(entry.session, _dropped(entry))
        for tags in batch.tags:
            try:
                kind = SummaryKind(tags.kind)
            except ValueError:
                continue  # of a newer version
            contents.kinds.restore(dict.fromkeys(tags.names, kind))
        if batch.HasField("dropped_step"):
            contents.dropped_step = max(contents.dropped_step, batch.dropped_step)

    def settle(self, events: int) -> None:
        """Takes what the whole events behind a mark, ``events`` of them, say of its batch."""
        for part in self._batch.parts:
            key = part.session
            if key:
                self._sessions.append(key)
            elif part.known:
                if part.known > len(self._sessions):
                    raise ValueError(f"a mark names session {part.known}, which it does not tell")
                key = self._sessions[part.known - 1]
            count = events_in(part.runs)
            done = min(count, events)
            if done and key != NO_SESSION:
                sequence = sequence_after(part.runs, done)
                if sequence > MAX_SEQUENCE:
                    raise ValueError(f"a mark tells record {sequence}, which cannot be")
                self._contents.marks.advance(key, sequence)
                self._contents.marks.drop(key, _dropped(part))
            if done < count:
                return
            events -= done
        self._raise_epoch(self._batch.next_epoch)

    def _raise_epoch(self, written: int) -> None:
        # It may be higher than any file says if its append is still held up.
        contents = self._contents
        contents.written_epoch = max(contents.written_epoch, written)
        contents.epoch = max(contents.epoch, written)


def _dropped(entry: Mark | Part) -> dict[str, int]:
    return {one.reason: one.records for one in entry.dropped}


def _read_kinds(records: EventRecords, contents: RunContents, left_bytes: int) -> int:
    """Returns how many of ``left_bytes`` are left for older files."""
    if records.size_bytes <= UNCOMPILED_BYTES or readiness.are_awaited():
        events = _within(left_bytes, records.walk())
    else:
        events = notable_events(records.chunks(left_bytes))
    contents.kinds.restore(kinds_of(events))
    return left_bytes - records.size_bytes


def _within(max_bytes: int, events: Iterable[bytes]) -> Iterator[bytes]:
    for data in events:
        max_bytes -= len(data)
        if max_bytes < 0:
            return
        yield data

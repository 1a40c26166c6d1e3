"""What a rank logged, as rows in the order of its files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from boardd_protos.merging import REDUCTIONS
from numpy.typing import NDArray

from boardd.events.event_pb2 import SummaryMetadata
from boardd.events.marks import batch_of, is_mark
from boardd.events.scan import Scan
from boardd.merge.processes import NO_PROCESS, Processes
from boardd.merge.rank_files import RankFiles
from boardd.merge.values import SCALARS, Content, Found, read

#: Of the record of a mark.
_OF_MARK: Final = np.array([NO_PROCESS], np.intp)


class Names:
    """Names by number, in the order in which they were met."""

    def __init__(self) -> None:
        self.names: list[bytes] = []
        self._numbers: dict[bytes, int] = {}

    def number(self, name: bytes) -> int:
        """The number of ``name``, which is added if it is new."""
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self.names)
            self.names.append(name)
        return number


class Rows(NamedTuple):
    """n values of one rank in the order in which they were written.

    ``record``, int64[n], is the number of each one's record among all of the rank, ``tag``
    and ``kind``, intp[n], are numbers of ``Tables``; ``step`` is int64[n], ``wall_time``
    and ``value`` float64[n]. Scalars have the value; the others have ``content``, intp[n],
    a place in ``contents``, which is -1 for scalars. ``process``, intp[n], is the number of
    the process that logged each (``Processes``). ``starts`` are the records at which a session
    began, each with its step. ``is_ours``: boardd wrote the file that they are all of.
    """

    is_ours: bool
    record: NDArray[np.int64]
    tag: NDArray[np.intp]
    kind: NDArray[np.intp]
    step: NDArray[np.int64]
    wall_time: NDArray[np.float64]
    value: NDArray[np.float64]
    content: NDArray[np.intp]
    process: NDArray[np.intp]
    contents: list[Content]
    starts: list[tuple[int, int]]

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Rows:
        """Returns some of the rows, in the order of ``index``."""
        return self._replace(
            record=self.record[index],
            tag=self.tag[index],
            kind=self.kind[index],
            step=self.step[index],
            wall_time=self.wall_time[index],
            value=self.value[index],
            content=self.content[index],
            process=self.process[index],
        )


@dataclass
class Tables:
    """The tags and kinds of a run, which all its ranks number alike."""

    tags: Names = field(default_factory=Names)
    kinds: Names = field(default_factory=Names)


class RowReader:
    """Reads the rows of one rank's files, about ``piece_bytes`` of them at once."""

    def __init__(self, files: RankFiles, tables: Tables, piece_bytes: int) -> None:
        self._files = files
        self._tables = tables
        self._piece_bytes = piece_bytes
        self._scalars = tables.kinds.number(SCALARS.encode())
        self._metadata: dict[bytes, SummaryMetadata] = {}
        self._processes = Processes()
        #: By tag, how ranks merge it, where the files say so.
        self.reductions: dict[bytes, str] = {}
        #: Bytes whose rows were yielded.
        self.read_bytes = 0
        #: Events that no reader understands.
        self.unreadable = 0

    def __iter__(self) -> Iterator[Rows]:
        """Yields all rows, from the beginning. Raises ``OSError``."""
        records, last_file = 0, None
        self._processes = Processes()
        self.unreadable = self.read_bytes = 0
        self._metadata.clear()
        for file, scan in self._files.pieces(self._piece_bytes):
            if file != last_file:
                self._processes.begin_file(file)
                last_file = file
            rows = self._rows(scan, records)
            records += scan.records
            self.read_bytes += scan.size_bytes
            yield rows

    def _rows(self, scan: Scan, first: int) -> Rows:
        contents: list[Content] = []
        starts: list[tuple[int, int]] = []
        listed: list[tuple[int, int, int, int, float, float, int]] = []
        process: list[NDArray[np.intp]] = []
        at = 0
        for number, data in scan.others:
            if is_mark(data):
                process.append(self._processes.of_next(number - at))
                process.append(_OF_MARK)
                at = number + 1
                self._take_mark(data)
                continue
            event = read(data, self._metadata)
            if event is None or not np.isfinite(event.wall_time):
                self.unreadable += 1
                continue
            if event.writer:
                self._processes.take_writer(event.writer)
            if event.is_start:
                starts.append((first + number, event.step))
            for found in event.values:
                place = -1
                if found.content is not None:
                    place = len(contents)
                    contents.append(found.content)
                number_of_tag, kind = self._numbers(found)
                listed.append(
                    (
                        *(first + number, number_of_tag, kind, event.step),
                        *(event.wall_time, found.scalar, place),
                    )
                )
        process.append(self._processes.of_next(scan.records - at))
        processes = np.concatenate(process)
        tags = np.array([self._tag(name) for name in scan.tags], np.intp)
        is_good = np.isfinite(scan.wall_time)
        tag = tags[scan.tag] if len(tags) else np.zeros(0, np.intp)
        is_good &= tag >= 0
        self.unreadable += int(np.count_nonzero(~is_good))
        count = int(np.count_nonzero(is_good))
        rows = Rows(
            self._processes.is_ours,
            scan.record[is_good] + first,
            tag[is_good],
            np.full(count, self._scalars, np.intp),
            scan.step[is_good],
            scan.wall_time[is_good],
            scan.value[is_good],
            np.full(count, -1, np.intp),
            processes[scan.record[is_good]],
            contents,
            starts,
        )
        if listed:
            rows = _merged(rows, listed)
            rows = rows._replace(process=processes[rows.record - first])
        return rows

    def _take_mark(self, data: bytes) -> None:
        try:
            batch = batch_of(data)
        except ValueError:
            self.unreadable += 1
            return
        self._processes.take_mark(batch)
        for tags in batch.tags:
            if tags.reduce in REDUCTIONS:
                self.reductions.update(dict.fromkeys(tags.names, tags.reduce))

    def _numbers(self, found: Found) -> tuple[int, int]:
        return self._tables.tags.number(found.tag), self._tables.kinds.number(found.kind.encode())

    def _tag(self, name: bytes) -> int:
        """The number of a tag, -1 if it is no text."""
        try:
            name.decode()
        except UnicodeDecodeError:
            return -1
        return self._tables.tags.number(name)


def _merged(rows: Rows, listed: list[tuple[int, int, int, int, float, float, int]]) -> Rows:
    """Returns ``rows`` with others between them, by record."""
    record, tag, kind, step, wall_time, value, content = zip(*listed, strict=True)
    both = Rows(
        rows.is_ours,
        np.append(rows.record, np.array(record, np.int64)),
        np.append(rows.tag, np.array(tag, np.intp)),
        np.append(rows.kind, np.array(kind, np.intp)),
        np.append(rows.step, np.array(step, np.int64)),
        np.append(rows.wall_time, np.array(wall_time, np.float64)),
        np.append(rows.value, np.array(value, np.float64)),
        np.append(rows.content, np.array(content, np.intp)),
        np.append(rows.process, np.zeros(len(record), np.intp)),
        rows.contents,
        rows.starts,
    )
    return both.take(np.argsort(both.record, kind="stable"))

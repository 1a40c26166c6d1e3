"""Merges one run: the files of each rank in, points out, with little of them in memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import numpy as np

from boardd.errors import CommandError
from boardd.merge.combine import approximate_note, combine
from boardd.merge.output import RunOutput
from boardd.merge.rank_files import RankFiles
from boardd.merge.report import RankReport, RunReport
from boardd.merge.rows import RowReader, Rows, Tables
from boardd.merge.survey import Survey
from boardd.merge.values import SCALARS
from boardd.merge.windows import Points, Windows

#: Read at once, of all ranks together and of each.
_ALL_PIECES_BYTES: Final = 32 << 20
_MAX_PIECE_BYTES: Final = 1 << 20
_MIN_PIECE_BYTES: Final = 64 << 10
#: Tags of boardd's own, which tell of one rank.
_OWN_TAGS: Final = b"boardd/"
_NO_STEP: Final = np.iinfo(np.int64).min


class OutOfOrderError(CommandError):
    """The ranks log in orders that are too different; merge parts, or allow more memory."""


@dataclass(frozen=True)
class MergeOptions:
    """How ranks merge.

    ``reductions`` are patterns of tags, each with what is shown of their scalars; the last
    pattern that fits counts. If none does, what boardd's own files say is shown, else the
    mean. ``max_open_bytes`` is the memory for values that wait for other ranks.
    """

    reductions: tuple[tuple[str, str], ...] = ()
    max_open_bytes: int = 1 << 30

    def reduce(self, tag: str, said: str) -> str:
        """What is shown of the scalars under ``tag``; ``said``: by the files, maybe nothing."""
        fitting = [how for pattern, how in self.reductions if fnmatchcase(tag, pattern)]
        return fitting[-1] if fitting else said or "mean"


class RunMerge:
    """Merges the run ``path`` of the ranks in ``directories`` into event files beneath ``out``.

    ``advanced`` is told the bytes that were read. Raises ``OSError`` of the disk.
    """

    def __init__(
        self,
        path: str,
        directories: Mapping[int, Path],
        options: MergeOptions,
        advanced: Callable[[int], None],
    ) -> None:
        self._options = options
        self._advanced = advanced
        self._ranks = np.array(sorted(directories), np.int64)
        self._files = [RankFiles(directories[rank]) for rank in self._ranks.tolist()]
        self._tables = Tables()
        piece_bytes = max(_MIN_PIECE_BYTES, _ALL_PIECES_BYTES // len(self._files))
        self._readers = [
            RowReader(files, self._tables, min(piece_bytes, _MAX_PIECE_BYTES))
            for files in self._files
        ]
        self._surveys = [Survey() for _ in self._files]
        self._reports = [RankReport(files.directory) for files in self._files]
        #: Of each tag: the kind at the lowest rank that has it, and whether it is passed over.
        self._kinds = np.zeros(0, np.intp)
        self._is_own = np.zeros(0, bool)
        self.report = RunReport(path, dict(zip(self._ranks.tolist(), self._reports, strict=True)))

    def run(self, out: Path) -> None:
        """Reads all, twice, and writes what the ranks make together.

        Raises ``OutOfOrderError`` if more values wait for other ranks than may, and
        ``OSError``.
        """
        for reader, survey in zip(self._readers, self._surveys, strict=True):
            for rows in self._told(reader):
                survey.add(rows)
        tags = len(self._tables.tags.names)
        counts = np.zeros((len(self._surveys), tags), np.int64)
        names = self._tables.tags.names
        self._is_own = np.array([name.startswith(_OWN_TAGS) for name in names], bool)
        self._kinds = np.full(tags, -1, np.intp)
        for row, survey in enumerate(self._surveys):
            counts[row, : len(survey.counts)] = survey.counts[:tags]
            kinds = np.full(tags, -1, np.intp)
            kinds[: len(survey.kinds)] = survey.kinds[:tags]
            self._kinds = np.where(self._kinds < 0, kinds, self._kinds)
        began = min(
            (one.first_wall_time for one in self._surveys if math.isfinite(one.first_wall_time)),
            default=0.0,
        )
        with RunOutput(out, self.report.path, self._ranks, began) as output:
            self._merge(Windows(counts), output)
            last_steps = [one.last_step for one in self._reports if one.last_step is not None]
            output.finish(self.report.markdown(), max(last_steps, default=0), began)
            self.report.points = output.points

    def _merge(self, windows: Windows, output: RunOutput) -> None:
        open_rows: dict[int, Iterator[Rows]] = {
            row: iter(self._told(reader)) for row, reader in enumerate(self._readers)
        }
        reached = np.full(len(self._readers), _NO_STEP)
        turns = 0
        while open_rows:
            row = min(open_rows, key=lambda one: reached[one])
            if windows.size_bytes > self._options.max_open_bytes // 2:
                holding = windows.holding()
                row = holding if holding in open_rows else row
            rows = next(open_rows[row], None)
            if rows is None:
                del open_rows[row]
                self._finish(row)
                continue
            used = self._used(row, rows)
            windows.passed(row, rows.tag)
            if len(used.tag):
                windows.add(row, used)
                reached[row] = max(int(reached[row]), int(used.step.max()))
            turns += 1
            # Closing costs about the same whether few or many points are done.
            is_much = windows.size_bytes > self._options.max_open_bytes // 2
            if turns >= len(self._readers) or is_much:
                turns = 0
                self._write(windows, output)
                self._check_open(windows)
        self._write(windows, output)

    def _used(self, row: int, rows: Rows) -> Rows:
        """The rows that count, without those out of date and of another kind."""
        report = self._reports[row]
        is_other = rows.kind != self._kinds[rows.tag]
        stale = self._surveys[row].stale(rows) & ~is_other
        report.other_kind += int(np.count_nonzero(is_other))
        report.out_of_date += int(np.count_nonzero(stale))
        used = rows.take(~(is_other | stale | self._is_own[rows.tag]))
        report.values += len(used.tag)
        if len(used.tag):
            last = int(used.step.max())
            report.last_step = last if report.last_step is None else max(report.last_step, last)
        return used

    def _write(self, windows: Windows, output: RunOutput) -> None:
        for points in windows.closed():
            name = self._tables.tags.names[points.tag]
            kind = self._tables.kinds.names[self._kinds[points.tag]].decode()
            if kind == SCALARS:
                said = next(
                    (one.reductions[name] for one in self._readers if name in one.reductions), ""
                )
                output.add_scalars(points, name, self._options.reduce(name.decode(), said))
            else:
                self._write_summaries(points, name.decode(), kind, output)

    def _write_summaries(self, points: Points, tag: str, kind: str, output: RunOutput) -> None:
        wall_times = np.where(points.present, points.wall_time, -np.inf).max(axis=0)
        for number, contents in enumerate(points.contents):
            by_rank = {int(self._ranks[row]): content for row, content in contents.items()}
            wall_time = float(wall_times[number])
            combined = combine(tag, kind, int(points.step[number]), wall_time, by_rank)
            if combined is None:
                self.report.left_out[tag] += len(contents)
                continue
            output.add_event(combined.encoded, combined.embedding)
            if not combined.is_exact:
                if tag not in self.report.approximate:
                    output.add_event(approximate_note(tag, int(points.step[number]), wall_time))
                self.report.approximate[tag] += 1
            if combined.left_out:
                self.report.left_out[tag] += combined.left_out
        output.add_summaries(points)

    def _told(self, reader: RowReader) -> Iterator[Rows]:
        before = 0
        for rows in reader:
            self._advanced(reader.read_bytes - before)
            before = reader.read_bytes
            yield rows

    def _finish(self, row: int) -> None:
        report = self._reports[row]
        report.unreadable = self._readers[row].unreadable
        report.torn_bytes = sum(file.left_bytes for file in self._files[row].files)

    def _check_open(self, windows: Windows) -> None:
        if windows.size_bytes > self._options.max_open_bytes:
            raise OutOfOrderError(
                f"run {self.report.path or '.'}: {windows.size_bytes >> 20} MiB of values wait "
                "for other ranks, which log the same tags in another order; "
                "raise --max-open-mib, or merge fewer ranks or runs at once"
            )

"""The merged event files of one run: the run itself, and beneath it the extremes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from boardd.events import event, plugins
from boardd.events.embedding import EmbeddingFiles
from boardd.events.scalars import encode_scalars
from boardd.merge.inputs import EXTREMES
from boardd.merge.windows import Points
from boardd.partials.scalars import reduce_columns
from boardd.runs.directories.logdir import Roots, RunDirectory
from boardd.runs.event_files.embedding_files import write_embedding
from boardd.runs.event_files.event_file import EventFile

#: What was merged, told as a text.
REPORT_TAG: Final = "boardd/merge"
#: How many ranks made the points of a step.
COVERAGE_TAG: Final = "boardd/group/coverage"
#: Rows of coverage that are sorted at once, or more if there are more steps.
_COVERAGE_ROWS: Final = 1 << 16
#: Ranks that an extreme is taken of.
_FEWEST_RANKS: Final = 2


class _Directory:
    """One directory of event files, made when something is written."""

    def __init__(self, root: Path, path: str, clock: Callable[[], float]) -> None:
        self._root = root
        self._path = path
        self._clock = clock
        self._directory: RunDirectory | None = None
        self._file: EventFile | None = None

    def append(self, events: bytes) -> None:
        self._opened()[1].append(events)

    def write_embedding(self, files: EmbeddingFiles) -> None:
        directory, _ = self._opened()
        write_embedding(directory, files)

    def sync(self) -> None:
        if self._file is not None and self._directory is not None:
            self._file.sync()
            self._directory.sync()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        if self._directory is not None:
            self._directory.close()

    def _opened(self) -> tuple[RunDirectory, EventFile]:
        if self._directory is None:
            self._directory = Roots([self._root]).open_run(str(self._root), self._path)
        if self._file is None:
            self._file = EventFile(self._directory, clock=self._clock)
        return self._directory, self._file


class RunOutput:
    """Writes merged points to the run ``path`` beneath ``root``; a context manager.

    ``ranks`` are those that ``Points`` speaks of, int64[R]. ``began`` is when the run
    begins, in seconds since the epoch. Raises ``OSError`` if the disk fails.
    """

    def __init__(self, root: Path, path: str, ranks: NDArray[np.int64], began: float) -> None:
        self._ranks = ranks
        self._run = _Directory(root, path, lambda: began)
        self._extremes = [
            _Directory(root, f"{path}/{name}" if path else name, lambda: began) for name in EXTREMES
        ]
        self._coverage = _Coverage()
        self.points = 0

    def add_scalars(self, points: Points, tag: bytes, reduce: str) -> None:
        """Writes what ``reduce`` makes of each point, and the extremes of several ranks."""
        columns = reduce_columns(
            points.value, points.present, points.wall_time, self._ranks, reduce
        )
        index = np.zeros(len(points.step), np.intp)
        self._run.append(
            encode_scalars(columns.wall_time, points.step, columns.value, index, [tag])
        )
        several = columns.count >= _FEWEST_RANKS
        if several.any():
            for directory, extreme in zip(self._extremes, (columns.min, columns.max), strict=True):
                directory.append(
                    encode_scalars(
                        columns.wall_time[several],
                        points.step[several],
                        extreme[several],
                        index[several],
                        [tag],
                    )
                )
        self._add(points)

    def add_event(self, encoded: bytes, embedding: EmbeddingFiles | None = None) -> None:
        """Writes a merged summary, after the side files that it needs."""
        if embedding is not None:
            self._run.write_embedding(embedding)
        self._run.append(encoded)

    def add_summaries(self, points: Points) -> None:
        """Counts points whose summaries were written."""
        self._add(points)

    def finish(self, report: str, step: int, wall_time: float) -> None:
        """Writes how many ranks made each step, and ``report``, and syncs all."""
        self._run.append(self._coverage.encoded())
        self._run.append(event.summary(wall_time, step, plugins.text_value(REPORT_TAG, report)))
        for directory in (self._run, *self._extremes):
            directory.sync()

    def __enter__(self) -> RunOutput:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for directory in (self._run, *self._extremes):
            directory.close()

    def _add(self, points: Points) -> None:
        self.points += len(points.step)
        self._coverage.add(
            points.step,
            np.count_nonzero(points.present, axis=0),
            np.where(points.present, points.wall_time, -np.inf).max(axis=0),
        )


class _Coverage:
    """For each step, the most ranks that made a point there."""

    def __init__(self) -> None:
        self._step = np.zeros(0, np.int64)
        self._count = np.zeros(0, np.int64)
        self._wall_time = np.zeros(0)
        self._new: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
        self._new_rows = 0

    def add(
        self,
        step: NDArray[np.int64],
        count: NDArray[np.int64],
        wall_time: NDArray[np.float64],
    ) -> None:
        self._new.append((step, count, wall_time))
        self._new_rows += len(step)
        if self._new_rows > max(_COVERAGE_ROWS, len(self._step)):
            self._settle()

    def _settle(self) -> None:
        steps, counts, times = zip(
            (self._step, self._count, self._wall_time), *self._new, strict=True
        )
        self._new, self._new_rows = [], 0
        self._step, place = np.unique(np.concatenate(steps), return_inverse=True)
        self._count = np.zeros(len(self._step), np.int64)
        np.maximum.at(self._count, place, np.concatenate(counts))
        self._wall_time = np.full(len(self._step), -np.inf)
        np.maximum.at(self._wall_time, place, np.concatenate(times))

    def encoded(self) -> bytes:
        self._settle()
        return encode_scalars(
            self._wall_time,
            self._step,
            self._count.astype(np.float64),
            np.zeros(len(self._step), np.intp),
            [COVERAGE_TAG.encode()],
        )

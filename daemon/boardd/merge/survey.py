"""The first look through a rank's files: which tags it has, and what of them is out of date.

As in TensorBoard, a session that starts at a step makes out of date what all tags had there
and later, and a tag whose steps go back what that tag had. So does a tag that a new process
goes on with at its last step. If that was logged with boardd, it holds for all tags from
the first step that the process logs again, as in a daemon that merges.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Final

import numpy as np
from numpy.typing import NDArray

from boardd.merge.processes import NO_PROCESS
from boardd.merge.rows import Rows

_NO_STEP: Final = np.iinfo(np.int64).min
_ALL_TAGS: Final = -1
#: More than there are processes.
_PROCESSES: Final = 1 << 32


class Rewinds:
    """The records at which points from a step on went out of date.

    Kept are those that no later one covers: their steps ascend with the records.
    """

    def __init__(self) -> None:
        self._records: list[int] = []
        self._steps: list[int] = []

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: int, step: int) -> None:
        """Adds the latest one: records before it are out of date at ``step`` and later."""
        while self._steps and self._steps[-1] >= step:
            self._steps.pop()
            self._records.pop()
        self._records.append(record)
        self._steps.append(step)

    def stale(self, record: NDArray[np.int64], step: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of n records with their steps are out of date, bool[n]."""
        records = np.array(self._records, np.int64)
        steps = np.append(np.array(self._steps, np.int64), 0)
        following = np.searchsorted(records, record, side="right")
        is_followed = following < len(records)
        stale: NDArray[np.bool_] = is_followed & (steps[following] <= step)
        return stale


class Survey:
    """What one rank has of each tag, by the tag's number."""

    def __init__(self) -> None:
        #: Values of each tag, int64[tags]; tags may be more than it has.
        self.counts = np.zeros(0, np.int64)
        #: The kind that each tag first had, intp[tags]; -1: none.
        self.kinds = np.zeros(0, np.intp)
        #: The earliest, in seconds since the epoch; infinite if it has no values.
        self.first_wall_time = math.inf
        self._last_step = np.zeros(0, np.int64)
        self._last_process = np.zeros(0, np.intp)
        #: The latest process that went back.
        self._restarted = NO_PROCESS
        #: From which step on that made all tags out of date, and the highest step since.
        self._restart_step = self._highest = _NO_STEP
        #: The step of the latest SessionLog START; none is at or past infinity.
        self._start_step = math.inf
        #: Records that are only logged again: what was there before stays.
        self._left_out: list[int] = []
        self._of_tags: defaultdict[int, Rewinds] = defaultdict(Rewinds)
        self._of_all = Rewinds()

    def add(self, rows: Rows) -> None:
        """Takes the next rows."""
        rewinds = [(record, step, _ALL_TAGS) for record, step in rows.starts]
        if len(rows.tag):
            self.first_wall_time = min(self.first_wall_time, float(rows.wall_time.min()))
            self._grow(int(rows.tag.max()) + 1)
            rewinds += self._taken(rows)
        if rows.starts:
            _, self._start_step = rows.starts[-1]
        for record, step, tag in sorted(rewinds):
            (self._of_all if tag == _ALL_TAGS else self._of_tags[tag]).add(record, step)

    def _taken(self, rows: Rows) -> list[tuple[int, int, int]]:
        """Returns where steps go back, as records, steps, and tags or ``_ALL_TAGS``."""
        order = np.argsort(rows.tag, kind="stable")
        tag, step, process = rows.tag[order], rows.step[order], rows.process[order]
        first = np.flatnonzero(np.diff(tag, prepend=-1))
        last = np.append(first[1:], len(tag)) - 1
        tags = tag[first]
        previous = np.concatenate(([_NO_STEP], step[:-1]))
        previous[first] = self._last_step[tags]
        # The latest process of each tag so far: tags ascend, and with them these sums.
        base = tag.astype(np.int64) * _PROCESSES
        latest = base + process
        latest[first] = np.maximum(latest[first], base[first] + self._last_process[tags])
        latest = np.maximum.accumulate(latest)
        before = np.concatenate(([0], latest[:-1]))
        before[first] = base[first] + self._last_process[tags]
        is_new = (base + process > before) & (previous != _NO_STEP)
        goes_back = (step < previous) | (is_new & (step == previous))
        again = set(rows.record[order[goes_back & (step == previous)]].tolist())
        found = []
        for at in np.flatnonzero(goes_back).tolist():
            found.append((int(rows.record[order[at]]), int(step[at]), int(tag[at])))
        if rows.is_ours:
            found = self._with_restarts(found, again, rows)
        unknown = self.kinds[tags] < 0
        self.kinds[tags[unknown]] = rows.kind[order[first[unknown]]]
        self.counts[tags] += last - first + 1
        self._last_step[tags] = step[last]
        self._last_process[tags] = latest[last] - base[last]
        return found

    def _with_restarts(
        self, found: list[tuple[int, int, int]], again: set[int], rows: Rows
    ) -> list[tuple[int, int, int]]:
        """Returns ``found`` with the first of each new process for all tags.

        Of those ``again`` at their tag's last step, what is before the rank's highest step is
        left out: a setting that each process logs starts nothing over.
        """
        kept: list[tuple[int, int, int]] = []
        begin = 0
        highest = np.maximum(np.maximum.accumulate(rows.step), self._highest)
        for record, step, tag in sorted(found):
            at = int(np.searchsorted(rows.record, record))
            process = int(rows.process[at])
            is_first = process > max(self._restarted, 0)
            if record in again and step < self._started_at(record, rows):
                before = int(highest[at - 1]) if at > begin else self._highest
                if step < (before if is_first else self._restart_step):
                    self._left_out.append(record)
                    continue
            kept.append((record, step, tag))
            if is_first:
                self._restarted, self._restart_step = process, step
                begin, self._highest = at, step - 1 if step > _NO_STEP else step
                highest[at:] = np.maximum.accumulate(rows.step[at:])
                kept.append((record, step, _ALL_TAGS))
        self._highest = max(self._highest, int(highest[-1]))
        return kept

    def _started_at(self, record: int, rows: Rows) -> float:
        starts = [step for before, step in rows.starts if before < record]
        return starts[-1] if starts else self._start_step

    def stale(self, rows: Rows) -> NDArray[np.bool_]:
        """Which rows, of all that were added, are out of date; bool[n]."""
        stale = self._of_all.stale(rows.record, rows.step)
        if self._left_out:
            stale |= np.isin(rows.record, self._left_out)
        if not self._of_tags:
            return stale
        for tag in np.unique(rows.tag).tolist():
            rewinds = self._of_tags.get(tag)
            if rewinds is not None:
                of_tag = np.flatnonzero(rows.tag == tag)
                stale[of_tag] |= rewinds.stale(rows.record[of_tag], rows.step[of_tag])
        return stale

    def _grow(self, tags: int) -> None:
        more = tags - len(self.counts)
        if more > 0:
            more = max(more, len(self.counts))
            self.counts = np.append(self.counts, np.zeros(more, np.int64))
            self.kinds = np.append(self.kinds, np.full(more, -1, np.intp))
            self._last_step = np.append(self._last_step, np.full(more, _NO_STEP))
            self._last_process = np.append(self._last_process, np.full(more, NO_PROCESS))

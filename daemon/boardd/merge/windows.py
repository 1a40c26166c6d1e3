"""Values of all ranks that wait for those of other ranks to the same point.

A point's key is (step, nth): nth is how often its rank logged the tag at this step before.
Unlike in a daemon, it is known how many values of a tag each rank has. So a point is done
when every rank that still has values of the tag is past it, and none is ever late.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from boardd.merge.rows import Rows
from boardd.merge.values import Content

_NO_STEP: Final = np.iinfo(np.int64).min
#: Of a scalar that waits: its key, value and wall time.
_ROW_BYTES: Final = 32
#: Values of all ranks in the points that are yielded at once.
_MATRIX_VALUES: Final = 1 << 17


class Points(NamedTuple):
    """K points of one tag, by rising key, with what R ranks contributed.

    ``step`` and ``nth`` are int64[K]; ``value`` and ``wall_time`` float64[R, K], ``present``
    bool[R, K]. ``contents`` has one for each point, by rank, unless the tag is a scalar.
    """

    tag: int
    step: NDArray[np.int64]
    nth: NDArray[np.int64]
    value: NDArray[np.float64]
    wall_time: NDArray[np.float64]
    present: NDArray[np.bool_]
    contents: list[dict[int, Content]]


@dataclass
class _Waiting:
    """Values of one rank and tag, by rising key; all arrays have one length."""

    step: NDArray[np.int64]
    nth: NDArray[np.int64]
    wall_time: NDArray[np.float64]
    value: NDArray[np.float64]
    contents: list[Content]

    def front(self, end: int) -> _Waiting:
        """Returns the first ``end`` of them, which leave."""
        front = _Waiting(
            self.step[:end],
            self.nth[:end],
            self.wall_time[:end],
            self.value[:end],
            self.contents[:end],
        )
        self.step, self.nth = self.step[end:], self.nth[end:]
        self.wall_time, self.value = self.wall_time[end:], self.value[end:]
        self.contents = self.contents[end:]
        return front

    @property
    def size_bytes(self) -> int:
        return len(self.step) * _ROW_BYTES + sum(one.size_bytes for one in self.contents)


@dataclass
class _Tag:
    """What waits of one tag, by rank, and how far each rank is."""

    last_step: NDArray[np.int64]
    last_nth: NDArray[np.int64]
    waiting: dict[int, deque[_Waiting]] = field(default_factory=dict)
    size_bytes: int = 0


class Windows:
    """The open points of one run. ``left`` says how many values ranks have, int64[R, tags]."""

    def __init__(self, left: NDArray[np.int64]) -> None:
        self._left = left.copy()
        self._ranks, tags = left.shape
        self._tags: list[_Tag | None] = [None] * tags
        self._touched: set[int] = set()
        self.size_bytes = 0

    def passed(self, rank: int, tags: NDArray[np.intp]) -> None:
        """Notes that a rank's next values of ``tags``, intp[n], were read, used or not."""
        np.subtract.at(self._left[rank], tags, 1)
        self._touched.update(np.unique(tags).tolist())

    def add(self, rank: int, rows: Rows) -> None:
        """Adds values of a rank, whose steps rise for each tag."""
        order = np.argsort(rows.tag, kind="stable")
        edges = np.append(np.flatnonzero(np.diff(rows.tag[order], prepend=-1)), len(order))
        for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            at = order[start:stop]
            number = int(rows.tag[at[0]])
            tag = self._tags[number]
            if tag is None:
                tag = self._tags[number] = _Tag(
                    np.full(self._ranks, _NO_STEP), np.zeros(self._ranks, np.int64)
                )
            step = rows.step[at]
            waiting = _Waiting(
                step,
                _nth(step, int(tag.last_step[rank]), int(tag.last_nth[rank])),
                rows.wall_time[at],
                rows.value[at],
                [rows.contents[place] for place in rows.content[at].tolist() if place >= 0],
            )
            tag.last_step[rank], tag.last_nth[rank] = step[-1], waiting.nth[-1]
            tag.waiting.setdefault(rank, deque()).append(waiting)
            size_bytes = waiting.size_bytes
            tag.size_bytes += size_bytes
            self.size_bytes += size_bytes

    def closed(self) -> Iterator[Points]:
        """Yields the points that are done, those of a tag by rising key; they leave."""
        touched, self._touched = sorted(self._touched), set()
        for number in touched:
            tag = self._tags[number]
            if tag is None or not tag.waiting:
                continue
            owing = self._left[:, number] > 0
            if not owing.any():
                end = None
            else:
                end = int(tag.last_step[owing].min())
                if end == _NO_STEP:
                    continue
            taken = self._taken(tag, end)
            if taken:
                yield from _aligned(number, taken, self._ranks)

    def holding(self) -> int:
        """The rank that the tag which takes most memory waits for."""
        sizes = [0 if tag is None else tag.size_bytes for tag in self._tags]
        largest = sizes.index(max(sizes))
        owing = np.flatnonzero(self._left[:, largest] > 0)
        tag = self._tags[largest]
        steps = tag.last_step[owing] if tag is not None else owing
        return int(owing[steps.argmin()])

    def _taken(self, tag: _Tag, end: int | None) -> list[tuple[int, _Waiting]]:
        """Takes all values below the step ``end``."""
        taken: list[tuple[int, _Waiting]] = []
        for rank in sorted(tag.waiting):
            queue = tag.waiting[rank]
            while queue:
                first = queue[0]
                count = len(first.step)
                if end is not None:
                    count = int(np.searchsorted(first.step, end))
                if count:
                    before = first.size_bytes
                    taken.append((rank, first.front(count)))
                    before -= first.size_bytes
                    tag.size_bytes -= before
                    self.size_bytes -= before
                if len(first.step):
                    break
                queue.popleft()
            if not queue:
                del tag.waiting[rank]
        return taken


def _nth(step: NDArray[np.int64], last_step: int, last_nth: int) -> NDArray[np.int64]:
    """How often each of rising steps came before; after ``last_step``, which came last."""
    place = np.arange(len(step))
    is_first = np.diff(step, prepend=step[:1]) != 0
    is_first[:1] = True
    nth: NDArray[np.int64] = place - np.maximum.accumulate(np.where(is_first, place, 0))
    if last_step == step[0]:
        nth[step == last_step] += last_nth + 1
    return nth


def _aligned(tag: int, taken: list[tuple[int, _Waiting]], ranks: int) -> Iterator[Points]:
    """Yields the points that ``taken`` values make, so many at once that memory stays small."""
    step = np.concatenate([one.step for _, one in taken])
    nth = np.concatenate([one.nth for _, one in taken])
    wall_time = np.concatenate([one.wall_time for _, one in taken])
    values = np.concatenate([one.value for _, one in taken])
    rank = np.concatenate([np.full(len(one.step), number) for number, one in taken])
    contents = [content for _, one in taken for content in one.contents]
    order = np.lexsort((nth, step))
    is_new = np.ones(len(order), bool)
    is_new[1:] = (np.diff(step[order]) != 0) | (np.diff(nth[order]) != 0)
    first = np.flatnonzero(is_new)
    block = max(1, _MATRIX_VALUES // ranks)
    for begin in range(0, len(first), block):
        keys = first[begin : begin + block]
        end = first[begin + block] if begin + block < len(first) else len(order)
        rows = order[keys[0] : end]
        key = np.cumsum(is_new[keys[0] : end]) - 1
        shape = (ranks, len(keys))
        points = Points(
            tag,
            step[order[keys]],
            nth[order[keys]],
            np.zeros(shape),
            np.zeros(shape),
            np.zeros(shape, bool),
            [{} for _ in keys] if contents else [],
        )
        at = rank[rows], key
        points.value[at] = values[rows]
        points.wall_time[at] = wall_time[rows]
        points.present[at] = True
        if contents:
            for place, row in zip(key.tolist(), rows.tolist(), strict=True):
                points.contents[place][int(rank[row])] = contents[row]
        yield points

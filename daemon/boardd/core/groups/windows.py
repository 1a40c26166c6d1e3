"""Open points: what ranks contributed to keys that are not closed."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from boardd.core.groups.contributions import Columns, Contributions
from boardd.core.groups.entries import Partial
from boardd.core.groups.keys import MAX, Key, at_or_below, grown

#: Contributions of one rank to one key that are kept as Python objects. More are kept as arrays.
_FEW: Final = 6
#: Memory of what is kept, as CPython and NumPy need it.
_WINDOW_BYTES: Final = 700
_POINT_BYTES: Final = 110
_FEW_BYTES: Final = 200
_BLOCK_BYTES: Final = 700
_COLUMN_BYTES: Final = 32
_SUMMARY_BYTES: Final = 400
#: Contributions to one summary that wait to be merged.
_MAX_UNMERGED: Final = 64
_UNMERGED_BYTES: Final = 64 << 10
#: Places of points whose contributions stay, and of those whose contributions are not shown.
_KEPT: Final = -1
_LEFT_OUT: Final = -2


class OpenSummary:
    """What ranks contributed to one point of another kind.

    To merge many at a time costs little more than to merge one. So contributions wait for
    others, up to ``_UNMERGED_BYTES`` of them and ``_MAX_UNMERGED``.
    """

    __slots__ = (
        "_merged",
        "_unmerged",
        "count",
        "first_wall_time",
        "rank",
        "size_bytes",
        "wall_time",
    )

    def __init__(self, rank: int, wall_time: float, partial: Partial) -> None:
        self._merged = partial
        self._unmerged: list[Partial] = []
        self.rank = rank  #: that of the latest
        self.first_wall_time = self.wall_time = wall_time
        self.count = 1
        self.size_bytes = partial.size_bytes  #: memory of all contributions, as far as merged

    def add(self, rank: int, wall_time: float, partial: Partial) -> None:
        """Takes one contribution more."""
        self._unmerged.append(partial)
        self.size_bytes += partial.size_bytes
        unmerged_bytes = self.size_bytes - self._merged.size_bytes
        if unmerged_bytes > _UNMERGED_BYTES or len(self._unmerged) >= _MAX_UNMERGED:
            self._merge()
        self.count += 1
        self.first_wall_time = min(self.first_wall_time, wall_time)
        if (wall_time, -rank) > (self.wall_time, -self.rank):
            self.wall_time, self.rank = wall_time, rank

    @property
    def partial(self) -> Partial:
        """All contributions, merged."""
        if self._unmerged:
            self._merge()
        return self._merged

    def _merge(self) -> None:
        self._merged = self._merged.merge(*self._unmerged)
        self._unmerged.clear()
        self.size_bytes = self._merged.size_bytes


@dataclass(eq=False, slots=True)
class _Window:
    """What is open of one key."""

    opened_at: float
    size_bytes: int = _WINDOW_BYTES
    tags: set[int] = field(default_factory=set)
    few: list[tuple[int, int, float, float]] = field(default_factory=list)
    blocks: list[Contributions] = field(default_factory=list)
    summaries: dict[int, OpenSummary] = field(default_factory=dict)


class Windows:
    """The open keys of all tags."""

    def __init__(self) -> None:
        #: In the order in which they were opened.
        self._windows: dict[Key, _Window] = {}
        #: The open keys of each tag that has any, in rising order.
        self._keys: dict[int, deque[Key]] = {}
        #: The lowest open key of each tag.
        self._low: NDArray[Any] = np.full((2, 16), MAX, np.int64)
        #: Those that were open in the state that this was restored from.
        self._unknown: dict[Key, set[int]] = {}
        self.open_bytes = 0
        self.open_points = 0

    def __bool__(self) -> bool:
        return bool(self._windows)

    def grow_tags(self, tags: int) -> None:
        """Makes room for a number of tags."""
        self._low = grown(self._low, tags, MAX)

    def keys(self, tag: int) -> Collection[Key]:
        """Returns the open keys of a tag, in rising order."""
        return self._keys.get(tag, ())

    def opened_at(self, key: Key) -> float:
        """Returns when an open key was opened."""
        return self._windows[key].opened_at

    def with_more_than(self, keys: int, tags: Iterable[int]) -> list[int]:
        """Returns those of ``tags`` that have more open keys."""
        return [tag for tag in tags if len(self.keys(tag)) > keys]

    def tags(self) -> Collection[int]:
        """Returns the tags that have open keys."""
        return self._keys.keys()

    def oldest(self) -> Iterator[tuple[Key, float, int, Collection[int]]]:
        """Yields each open key, when it was opened, its memory and its tags; the oldest first."""
        for key, window in self._windows.items():
            yield key, window.opened_at, window.size_bytes, window.tags

    def at_or_below(self, step: NDArray[np.int64], nth: NDArray[np.int64]) -> NDArray[np.intp]:
        """Returns the tags whose lowest open key is at or below a key for each tag."""
        tags = len(step)
        low = self._low[:, :tags]
        return np.flatnonzero((low[1] < MAX) & at_or_below(low[0], low[1], step, nth))

    def add(self, rank: int, columns: Columns, now: float) -> list[int]:
        """Takes scalars of one rank; returns a tag for each key of it that this opened."""
        opened: list[int] = []
        changes = np.count_nonzero(columns.step[1:] != columns.step[:-1])
        if len(columns) <= _FEW * (1 + changes):
            for step, nth, tag, value, wall_time in zip(
                columns.step.tolist(),
                columns.nth.tolist(),
                columns.tag.tolist(),
                columns.value.tolist(),
                columns.wall_time.tolist(),
                strict=True,
            ):
                key = step, nth
                window = self._windows.get(key) or self._window(key, now)
                window.few.append((tag, rank, value, wall_time))
                window.size_bytes += _FEW_BYTES
                if tag not in window.tags:
                    opened.append(tag)
                    self._open(window, key, [tag])
            self.open_bytes += len(columns) * _FEW_BYTES
            return opened
        for key, part in columns.by_key():
            tags = part.tag.tolist()
            window = self._window(key, now)
            ranks = np.full(len(tags), rank, np.intp)
            # Copies: what they are part of may be large, and is not charged here.
            window.blocks.append(
                Contributions(part.tag.copy(), ranks, part.value.copy(), part.wall_time.copy())
            )
            self._charge(window, _BLOCK_BYTES + len(tags) * _COLUMN_BYTES)
            if not window.tags.issuperset(tags):
                new = [tag for tag in tags if tag not in window.tags]
                self._open(window, key, new)
                opened += new
        return opened

    def add_together(self, key: Key, columns: Contributions, now: float) -> list[int]:
        """Takes scalars of several ranks with one key; returns the tags of which it is opened."""
        window = self._window(key, now)
        window.blocks.append(columns)
        self._charge(window, _BLOCK_BYTES + len(columns.point) * _COLUMN_BYTES)
        tags = set(columns.point.tolist()) - window.tags
        if tags:
            self._open(window, key, list(tags))
        return list(tags)

    def add_summary(
        self, key: Key, tag: int, rank: int, wall_time: float, partial: Partial, now: float
    ) -> bool:
        """Takes one contribution; returns whether it opened a key of the tag."""
        window = self._window(key, now)
        summary = window.summaries.get(tag)
        if summary is None:
            window.summaries[tag] = OpenSummary(rank, wall_time, partial)
            self._charge(window, _SUMMARY_BYTES + partial.size_bytes)
            self._open(window, key, [tag])
            return True
        before = summary.size_bytes
        summary.add(rank, wall_time, partial)
        self._charge(window, summary.size_bytes - before)
        return False

    def take(
        self, step: NDArray[np.int64], nth: NDArray[np.int64], tag: NDArray[np.intp]
    ) -> tuple[Contributions | None, dict[int, OpenSummary]]:
        """Closes m keys of tags, those of one tag in rising order.

        Returns the contributions to them, with the place of each among the m as its point,
        and summaries by place. Those that ``restore`` named are left out.
        """
        few: list[tuple[int, int, float, float]] = []
        blocks: list[Contributions] = []
        summaries: dict[int, OpenSummary] = {}
        touched: set[int] = set()
        for key, places in _by_key(step, nth, tag):
            unknown = self._unknown.get(key)
            if unknown is not None:
                places.update(dict.fromkeys(unknown & places.keys(), _LEFT_OUT))
                unknown -= places.keys()
                if not unknown:
                    del self._unknown[key]
            window = self._windows.get(key)
            if window is not None:
                touched |= self._take(window, key, places, few, blocks, summaries)
        self._lower(touched)
        if few:
            points, ranks, values, wall_times = zip(*few, strict=True)
            blocks.append(
                Contributions(
                    np.array(points, np.intp),
                    np.array(ranks, np.intp),
                    np.array(values, np.float64),
                    np.array(wall_times, np.float64),
                )
            )
        return Contributions.joined(blocks) if blocks else None, summaries

    def clear(self) -> None:
        """Forgets all of them."""
        self._windows.clear()
        self._keys.clear()
        self._unknown.clear()
        self._low[:] = MAX
        self.open_bytes = self.open_points = 0

    def _window(self, key: Key, now: float) -> _Window:
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window(now)
            self.open_bytes += window.size_bytes
        return window

    def _charge(self, window: _Window, size_bytes: int) -> None:
        window.size_bytes += size_bytes
        self.open_bytes += size_bytes

    def _open(self, window: _Window, key: Key, tags: list[int]) -> None:
        window.tags.update(tags)
        self._charge(window, len(tags) * _POINT_BYTES)
        self.open_points += len(tags)
        lower = []
        for tag in tags:
            keys = self._keys.get(tag)
            if keys is None:
                self._keys[tag] = deque((key,))
                lower.append(tag)
            elif key > keys[-1]:
                keys.append(key)
            else:
                if key < keys[0]:
                    lower.append(tag)
                insort(keys, key)
        if lower:
            self.grow_tags(max(lower) + 1)
            self._low[:, lower] = [[key[0]], [key[1]]]

    def _take(
        self,
        window: _Window,
        key: Key,
        places: dict[int, int],
        few: list[tuple[int, int, float, float]],
        blocks: list[Contributions],
        summaries: dict[int, OpenSummary],
    ) -> set[int]:
        """Moves the contributions to the tags of ``places`` from one key's window."""
        taken = window.tags & places.keys()
        window.tags -= taken
        self.open_points -= len(taken)
        for tag in taken:
            keys = self._keys[tag]
            del keys[0 if keys[0] == key else bisect_left(keys, key)]
        kept_few = []
        for contribution in window.few:
            place = places.get(contribution[0], _KEPT)
            if place == _KEPT:
                kept_few.append(contribution)
            elif place != _LEFT_OUT:
                few.append((place, *contribution[1:]))
        for tag in window.summaries.keys() & taken:
            summary = window.summaries.pop(tag)
            if places[tag] != _LEFT_OUT:
                summaries[places[tag]] = summary
        kept_blocks = []
        if window.blocks:
            block = Contributions.joined(window.blocks)
            place_of = np.full(max(int(block.point.max()), *places) + 1, _KEPT, np.intp)
            place_of[list(places)] = list(places.values())
            at = place_of[block.point]
            if (at < 0).any():
                if (at == _KEPT).any():
                    kept_blocks.append(block[at == _KEPT])
                block, at = block[at >= 0], at[at >= 0]
            if len(at):
                blocks.append(Contributions(at, block.rank, block.value, block.wall_time))
        if not window.tags:
            self.open_bytes -= window.size_bytes
            del self._windows[key]
        else:
            window.few, window.blocks = kept_few, kept_blocks
            self._charge(window, _size_bytes(window) - window.size_bytes)
        return taken

    def _lower(self, tags: set[int]) -> None:
        """Finds the lowest open keys of tags anew."""
        gone = [tag for tag in tags if not self._keys[tag]]
        for tag in gone:
            del self._keys[tag]
        self._low[:, gone] = MAX
        left = list(tags.difference(gone))
        if left:
            self._low[:, left] = np.array([self._keys[tag][0] for tag in left]).T

    def state(self) -> dict[str, NDArray[np.int64]]:
        """What ``restore`` takes: the open keys and their tags."""
        keys = [(*key, tag) for key, window in self._windows.items() for tag in window.tags]
        keys += [(*key, tag) for key, tags in self._unknown.items() for tag in tags]
        return {"open": np.array(sorted(set(keys)), np.int64).reshape(-1, 3)}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Takes what ``state`` returned; what was contributed to those keys is not known."""
        for step, nth, tag in arrays["open"].tolist():
            self._unknown.setdefault((step, nth), set()).add(tag)


def _size_bytes(window: _Window) -> int:
    return (
        _WINDOW_BYTES
        + len(window.tags) * _POINT_BYTES
        + len(window.few) * _FEW_BYTES
        + sum(_BLOCK_BYTES + len(block.point) * _COLUMN_BYTES for block in window.blocks)
        + sum(_SUMMARY_BYTES + one.size_bytes for one in window.summaries.values())
    )


def _by_key(
    step: NDArray[np.int64], nth: NDArray[np.int64], tag: NDArray[np.intp]
) -> Iterator[tuple[Key, dict[int, int]]]:
    """Yields each key with its tags, and their places."""
    if len(step) and (step == step[0]).all() and (nth == nth[0]).all():
        yield (int(step[0]), int(nth[0])), dict(zip(tag.tolist(), range(len(tag)), strict=True))
        return
    found: dict[Key, dict[int, int]] = {}
    columns = zip(step.tolist(), nth.tolist(), tag.tolist(), strict=True)
    for place, (at, number, index) in enumerate(columns):
        found.setdefault((at, number), {})[index] = place
    yield from found.items()

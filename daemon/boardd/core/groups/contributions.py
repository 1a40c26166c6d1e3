"""Contributions to scalars by the column: taken apart by key, and put together as points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boardd.core.groups.entries import Closed
from boardd.core.groups.keys import Key, numbered
from boardd.core.groups.points import ScalarPoints


@dataclass(frozen=True, eq=False)
class Columns:
    """n contributions of one rank; every column has shape ``[n]``."""

    step: NDArray[np.int64]
    nth: NDArray[np.int64]
    tag: NDArray[np.intp]
    value: NDArray[np.float64]
    wall_time: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.step)

    def __getitem__(self, chosen: NDArray[Any] | slice) -> Columns:
        return Columns(
            self.step[chosen],
            self.nth[chosen],
            self.tag[chosen],
            self.value[chosen],
            self.wall_time[chosen],
        )

    def by_key(self) -> Iterator[tuple[Key, Columns]]:
        """Yields each key with its contributions, which are of different tags."""
        if not len(self):
            return
        is_other = (self.step[1:] != self.step[:-1]) | (self.nth[1:] != self.nth[:-1])
        if not is_other.any():
            yield (int(self.step[0]), int(self.nth[0])), self
            return
        columns = self[np.lexsort((self.nth, self.step))]
        step, nth = columns.step, columns.nth
        begins = np.flatnonzero((step[1:] != step[:-1]) | (nth[1:] != nth[:-1])) + 1
        edges = [0, *begins.tolist(), len(step)]
        keys = zip(step[edges[:-1]].tolist(), nth[edges[:-1]].tolist(), strict=True)
        for key, begin, end in zip(keys, edges, edges[1:], strict=False):
            yield key, columns[begin:end]


@dataclass(frozen=True, eq=False)
class Contributions:
    """n contributions of any rank; every column has shape ``[n]``.

    ``point`` is a tag, or a place in a list of points.
    """

    point: NDArray[np.intp]
    rank: NDArray[np.intp]
    value: NDArray[np.float64]
    wall_time: NDArray[np.float64]

    def __getitem__(self, chosen: NDArray[Any]) -> Contributions:
        return Contributions(
            self.point[chosen], self.rank[chosen], self.value[chosen], self.wall_time[chosen]
        )

    @classmethod
    def joined(cls, blocks: list[Contributions]) -> Contributions:
        """All of ``blocks``, of which there is one at least."""
        if len(blocks) == 1:
            return blocks[0]
        return cls(
            np.concatenate([block.point for block in blocks]),
            np.concatenate([block.rank for block in blocks]),
            np.concatenate([block.value for block in blocks]),
            np.concatenate([block.wall_time for block in blocks]),
        )


def scalar_points(
    entry: Closed, contributions: Contributions
) -> tuple[ScalarPoints, NDArray[np.intp]]:
    """Returns the points of ``entry`` that there are contributions to, and their places in it."""
    ranks, row = numbered(contributions.rank)
    places, column = numbered(contributions.point)
    shape = len(ranks), len(places)
    at = row * len(places) + column
    present = np.zeros(shape, bool)
    value, wall_time = np.zeros(shape), np.zeros(shape)
    present.reshape(-1)[at] = True
    value.reshape(-1)[at] = contributions.value
    wall_time.reshape(-1)[at] = contributions.wall_time
    points = ScalarPoints(
        entry.sequence + places,
        entry.step[places],
        entry.nth[places],
        entry.tag[places],
        ranks,
        value,
        present,
        wall_time,
    )
    return points, places

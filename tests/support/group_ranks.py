"""A group of ranks without a journal, as tests tell it what ranks do."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

import numpy as np
from boardd.core.groups.entries import (
    Attempt,
    Began,
    Entry,
    Joined,
    Scalars,
    Tag,
)
from boardd.core.groups.group import Group
from boardd.core.groups.limits import GroupLimits
from boardd.core.groups.points import HealthPoints, Point, ScalarPoints, TextPoint

FIRST = Attempt(10, "job", 0)
#: Step, nth, tag and the value of each rank.
Shown = tuple[int, int, str, dict[int, float]]


class Ranks:
    """A group of ranks, which journals nothing."""

    def __init__(self, world_size: int, **limits: float) -> None:
        self.group = Group(GroupLimits(**{"backlog_secs": 0.0, **limits}))  # type: ignore[arg-type]
        self.world_size = world_size
        self.now = 0.0
        self.points: list[Point] = []
        self.entries: list[Entry] = []
        self.apply(Began(b"g" * 16, world_size))

    def apply(self, *entries: Entry) -> None:
        self.entries += entries
        for entry in entries:
            self.points += self.group.apply(entry, self.now)

    def join(
        self,
        rank: int,
        attempt: Attempt = FIRST,
        *,
        pid: int = 1,
        siblings: bool = False,
        process_id: bytes = b"",
        absent: Collection[bytes] = (),
    ) -> bytes:
        session = b"%d %d %b" % (pid, rank, process_id)
        joined = Joined(session, rank, attempt, self.world_size, "host", pid, siblings)
        self.apply(*self.group.admit(replace(joined, process_id=process_id), absent))
        return session

    def leave(self, session: bytes) -> None:
        self.apply(*self.group.leave(session))

    def log(
        self, session: bytes, steps: Iterable[int], tag: str = "loss", value: float = 1.0
    ) -> None:
        columns = np.array(list(steps), np.int64)
        tags = np.full(len(columns), self.tag(tag), np.intp)
        self.apply(*self.group.rewind(session, tags, columns))
        values = np.full(len(columns), value)
        self.apply(Scalars(session, tags, columns, values + 100, values))

    def tag(self, name: str, kind: str = "scalar") -> int:
        added = self.group.new_tags([Tag(name.encode(), kind, "mean")])
        if added is not None:
            self.apply(added)
        index = self.group.tag_index(name.encode())
        assert index is not None
        return index

    def decide(self, now: float | None = None, *, drain: bool = False) -> list[Shown]:
        """Applies what is due; returns the scalars that it shows."""
        self.now = self.now if now is None else now
        first = len(self.points)
        while due := self.group.due(self.now, drain=drain):
            self.apply(*due)
        return [one for point in self.points[first:] for one in shown(point, self.group)]

    def health(self) -> dict[int, list[float]]:
        found = {}
        for point in self.points:
            if isinstance(point, HealthPoints):
                found.update(zip(point.step.tolist(), point.value.T.tolist(), strict=True))
        return found

    def tables(self) -> list[str]:
        return [point.text for point in self.points if isinstance(point, TextPoint)]


def shown(point: Point, group: Group) -> Iterable[Shown]:
    if isinstance(point, ScalarPoints):
        for at in range(len(point.step)):
            rows = np.flatnonzero(point.present[:, at])
            values = {int(point.rank[row]): float(point.value[row, at]) for row in rows}
            name = group.tag(int(point.tag[at])).name.decode()
            yield int(point.step[at]), int(point.nth[at]), name, values

"""A group: what its entries make of it, and which entries are due."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from boardd.core.groups.alike import alike
from boardd.core.groups.attempts import Attempts, Member
from boardd.core.groups.closing import Closing
from boardd.core.groups.contributions import Columns, scalar_points
from boardd.core.groups.entries import (
    Began,
    Closed,
    Entry,
    Joined,
    Left,
    Rewound,
    Scalars,
    State,
    Summary,
    Tag,
    Tags,
    Told,
)
from boardd.core.groups.health import Arrivals, Health
from boardd.core.groups.keys import Key
from boardd.core.groups.limits import GroupLimits
from boardd.core.groups.points import (
    HEALTH_TAGS,
    Point,
    RankScalars,
    RankSummary,
    SummaryPoint,
    TextPoint,
)
from boardd.core.groups.positions import Frontiers, Positions
from boardd.core.groups.tags import TagTable
from boardd.core.groups.windows import Windows


class Group:
    """All ranks that log to one run together.

    ``apply`` alone changes it. The other methods say which entries to journal and apply,
    in the order in which they return them. Times are in seconds of a clock that never
    goes backwards.

    A contribution is *late*, and left out, if its point is closed, if its rank has logged
    the tag at a higher step before, or if its attempt was superseded.
    """

    #: Whether another daemon makes its points.
    is_forwarded: ClassVar[bool] = False

    def __init__(self, limits: GroupLimits) -> None:
        self._began: Began | None = None
        self._tags = TagTable()
        self._attempts = Attempts()
        self._positions = Positions()
        self._frontiers = Frontiers()
        self._windows = Windows()
        self._health = Health()
        self._closing = Closing(limits, self._attempts, self._windows)
        self._next_sequence = 1
        #: How often members, tags or the attempt have changed.
        self.changes = 0

    def apply(self, entry: Entry, now: float) -> list[Point]:
        """Changes the group as ``entry`` says; returns what is to be shown of it.

        That is of ``Closed``, of ``Told``, and of what members log whose series the group
        keeps. Points that were open in the ``State`` that the group began with are left out:
        a journal keeps its segments until their points are written.
        """
        if isinstance(entry, Scalars):
            return self._take_scalars(entry, now)
        if isinstance(entry, Summary):
            return self._take_summary(entry, now)
        if isinstance(entry, Closed):
            return self._close(entry)
        if isinstance(entry, Told):
            self._health.tell(now)
            self._next_sequence = entry.sequence + 1
            return [TextPoint(entry.sequence, entry.step, entry.wall_time, entry.text)]
        self.changes += 1
        if isinstance(entry, Rewound) and not entry.is_own:
            self._attempts.rewind(entry.step)
            self._frontiers.rewind(entry.step)
            self._health.rewind(entry.step)
        else:
            self._change(entry, now)
        return []

    def apply_together(self, entries: Sequence[Entry], now: float) -> bool:
        """Applies contributions of several ranks by the column, if they are alike.

        Returns whether it did: the group is then as after ``apply`` of each, and nothing is to
        be shown of them. If not, nothing has changed.
        """
        plain = [entry for entry in entries if isinstance(entry, (Scalars, Summary))]
        if not plain or len(plain) < len(entries):
            return False
        found = alike(plain, self._attempts, self._positions)
        if found is None:
            return False
        step, zero = np.array([found.step]), np.zeros(1, np.int64)
        self._frontiers.grow_tags(len(self._tags))
        if self._frontiers.covers(found.tags, step, zero).any():
            return False
        if not self._positions.advance_together(found.ranks, found.tags, found.step):
            return False
        key = found.step, 0
        if found.scalars is not None:
            for tag in self._windows.add_together(key, found.scalars, now):
                self._closing.opened(tag)
        for rank, one in found.summaries:
            if self._windows.add_summary(key, one.tag, rank, one.wall_time, one.partial, now):
                self._closing.opened(one.tag)
        return True

    def check(self, entry: Entry) -> None:
        """Raises ``ValueError`` if ``entry`` names a tag that is not told: rows are made for it."""
        if isinstance(entry, (Scalars, Closed)):
            highest = int(entry.tag.max(initial=-1))
        else:
            highest = entry.tag if isinstance(entry, Summary) else -1
        if highest >= len(self._tags):
            raise ValueError(f"tag {highest} of {len(self._tags)}")

    def admit(self, asked: Joined, absent: Collection[bytes] = ()) -> list[Entry]:
        """Returns what a session changes that logs, or logs again, as ``asked`` says.

        Nothing if it is a member. Where a new attempt begins, what is open is closed before.
        ``absent`` members are kept, and nothing says that they live.
        """
        joined = self._attempts.place(asked, absent)
        return [] if joined is None else self._joining(joined)

    def leave(self, session: bytes) -> list[Entry]:
        """Returns what changes when a session logs no more."""
        member = self._attempts.get(session)
        return [] if member is None or member.has_left else [Left(session)]

    def check_tag(self, tag: Tag) -> str | None:
        """Returns why nothing can be contributed under ``tag``: it is another kind. Or None."""
        return self._tags.conflict(tag)

    def tag(self, index: int) -> Tag:
        """Returns a tag by its index."""
        return self._tags.tags[index]

    def tag_index(self, name: bytes) -> int | None:
        """Returns the index of a tag, None if the group does not have it."""
        return self._tags.index(name)

    def new_tags(self, tags: list[Tag]) -> Tags | None:
        """Returns the entry for those of ``tags`` that the group does not have, None if none.

        Of several that have one name, the first counts.
        """
        return self._tags.new(tags)

    def no_tags(self) -> Tags:
        """Returns an entry that changes nothing."""
        return Tags(len(self._tags), ())

    def rewind(self, session: bytes, tag: NDArray[np.intp], step: NDArray[np.int64]) -> list[Entry]:
        """Returns what comes before n contributions of a member, intp[n] and int64[n].

        A new attempt that goes on from a checkpoint rewinds the group, once, to the first
        step that an older attempt has points past. What is only logged again, as a setting at
        step 0, rewinds nothing. Points of this attempt stay.
        """
        attempts = self._attempts
        if not attempts.has_predecessor or attempts.rewound_to is not None:
            return []
        if attempts[session].is_old or attempts.current is None:
            return []
        self._frontiers.grow_tags(len(self._tags))
        frontier = self._frontiers.step(tag)
        again = step[(step < frontier) | ((step == frontier) & (step >= self._health.highest))]
        if not len(again):
            return []
        return [Rewound(attempts.current, max(int(again.min()), attempts.highest_closed + 1))]

    @property
    def may_rewind(self) -> bool:
        """Whether ``rewind`` may return anything."""
        return self._attempts.has_predecessor and self._attempts.rewound_to is None

    def purge(self, session: bytes, step: int) -> list[Entry]:
        """Returns what changes as a member says that all from ``step`` on is out of date.

        Nothing if the attempt has rewound to there, or has points there. A rank that logged
        such steps itself begins a new attempt, and all that are there move on with it.
        """
        attempts = self._attempts
        member = attempts[session]
        if member.is_old or attempts.current is None:
            return []
        if self._positions.top(member.joined.rank) >= step:
            joined = attempts.again(session)
            return [*self._joining(joined), Rewound(joined.attempt, step, session)]
        is_rewound = attempts.rewound_to is not None and attempts.rewound_to <= step
        if is_rewound or attempts.highest_closed >= step:
            return []
        return [Rewound(attempts.current, step, session)]

    def due(self, now: float, *, drain: bool = False) -> list[Entry]:
        """Returns what is decided: the points that are done, and the table of ranks.

        ``drain``: no open point is waited for.
        """
        entries: list[Entry] = list(self._closed(now, drain=drain))
        table_at = self._health.table_due_at()
        if entries or table_at is None:
            return entries  # The table, if it is due, comes with the next call.
        if now >= table_at or drain or (not self._windows and not self._attempts.live_ranks()):
            text = self._health.table(self._attempts, self._positions)
            step, wall_time = self._health.highest, self._health.wall_time
            entries.append(Told(self._next_sequence, text, step, wall_time))
        return entries

    def next_due(self, now: float) -> float | None:
        """Returns when ``due`` or ``is_over`` may say more though nobody logs; None: never.

        A time that is past means at once.
        """
        times = (self._closing.next_due(now), self._health.table_due_at())
        return min((time for time in times if time is not None), default=None)

    def is_over(self, now: float) -> bool:
        """Returns whether nobody is there or may come, and all that was logged is shown."""
        return (
            not self._windows
            and not self._attempts.live_ranks()
            and not self._closing.awaits_ranks(now)
            and self._health.table_due_at() is None
        )

    def state(self) -> State:
        """Returns the entry that, applied to a new group, gives this one.

        What was contributed to open points is not in it.
        """
        assert self._began is not None, "a group's first entry is Began"
        tags = len(self._tags)
        return State(
            self._began,
            self._attempts.current,
            Tags(0, tuple(self._tags.tags)),
            tuple(member.joined for member in self._attempts),
            {"next_sequence": self._next_sequence},
            {
                **self._attempts.state(),
                **self._positions.state(tags),
                **self._frontiers.state(tags),
                **self._windows.state(),
                **self._health.state(),
            },
        )

    @property
    def group_id(self) -> bytes | None:
        """That of ``Began``, None before."""
        return None if self._began is None else self._began.group_id

    @property
    def world_size(self) -> int:
        """Ranks of the present attempt."""
        return self._attempts.world_size

    @property
    def next_sequence(self) -> int:
        """The emission sequence of the next point. The first is 1."""
        return self._next_sequence

    @property
    def open_bytes(self) -> int:
        """Memory of open points."""
        return self._windows.open_bytes

    @property
    def open_points(self) -> int:
        """Points that are not done."""
        return self._windows.open_points

    @property
    def oldest_open_at(self) -> float | None:
        """When the oldest of the open points was opened; None if there is none."""
        return next((opened_at for _, opened_at, *_ in self._windows.oldest()), None)

    @property
    def live_sessions(self) -> list[bytes]:
        """The sessions that log here and are waited for."""
        return [
            member.joined.session
            for member in self._attempts
            if member.is_live and not member.joined.relayed_by
        ]

    @property
    def live_ranks(self) -> set[int]:
        """The ranks that are waited for."""
        return self._attempts.live_ranks()

    def relayed(self) -> dict[bytes, list[bytes]]:
        """Returns the sessions that are waited for and log at other hosts, by their producer."""
        found: dict[bytes, list[bytes]] = {}
        for member in self._attempts:
            if member.is_live and member.joined.relayed_by:
                found.setdefault(member.joined.relayed_by, []).append(member.joined.session)
        return found

    def last_rank(self) -> tuple[int, int]:
        """Returns the rank that is farthest behind, and how many steps behind the first.

        Of those at one step it is the one that came last most often. -1 and 0 if no rank that
        is there has logged anything.
        """
        tops = {rank: self._positions.top(rank) for rank in self.live_ranks & self._logged()}
        if not tops:
            return -1, 0
        last = min(tops, key=lambda rank: (tops[rank], -self._health.came_last(rank), rank))
        return last, max(tops.values()) - tops[last]

    @property
    def highest_step(self) -> int:
        """The highest step that any rank has logged; 0 before the first."""
        return max(map(self._positions.top, self._positions.ranks), default=0)

    def _logged(self) -> set[int]:
        return set(self._positions.ranks)

    def series_of(self, session: bytes) -> str | None:
        """Returns the series of a member's rank alone, None if the group keeps none."""
        member = self._attempts.get(session)
        if member is None or member.joined.per_rank == "none":
            return None
        return member.joined.series

    def rewind_series(self, session: bytes, step: int) -> list[Entry]:
        """Returns what changes as a member purges its own series, and the group has rewound."""
        member = self._attempts.get(session)
        if member is None or member.is_old or self._attempts.current is None:
            return []
        return [Rewound(self._attempts.current, step, session, is_own=True)]

    @property
    def late(self) -> dict[int, int]:
        """Late contributions by rank, those of superseded attempts included."""
        return {rank: one.late for rank, one in self._health.ranks.items() if one.late}

    def frontier(self, tag: int) -> Key | None:
        """Returns the key of a tag's last point, or below which it rewound; None: it has none."""
        return self._frontiers.key(tag)

    def _change(self, entry: Entry, now: float) -> None:
        if isinstance(entry, Began):
            self._began = entry
        elif isinstance(entry, Tags):
            self._tags.add(entry)
            self._grow_tags()
        elif isinstance(entry, Joined):
            if self._attempts.join(entry, now):
                self._windows.clear()
                self._positions.clear()
            self._closing.count_ranks(self._positions)
        elif isinstance(entry, Left):
            self._attempts.leave(entry.session)
            self._health.has_changed = True
            self._closing.count_ranks(self._positions)
        elif isinstance(entry, State):
            self._restore(entry, now)

    def _restore(self, state: State, now: float) -> None:
        self._began = state.began
        self._tags.add(state.tags)
        self._attempts.restore(state.attempt, state.members, state.arrays, now)
        self._positions.restore(state.arrays)
        self._frontiers.restore(state.arrays)
        self._windows.restore(state.arrays)
        self._health.restore(state.arrays, now)
        self._next_sequence = state.numbers["next_sequence"]
        self._grow_tags()
        self._closing.count_ranks(self._positions)

    def _grow_tags(self) -> None:
        for part in (self._positions, self._frontiers, self._windows):
            part.grow_tags(len(self._tags))

    def _joining(self, joined: Joined) -> list[Entry]:
        """The entry for a session that joins, and what comes before it."""
        if not self._attempts.moves_on(joined):
            return [joined]
        return [*self._closed(0.0, drain=True), joined]

    def _closed(self, now: float, *, drain: bool) -> list[Closed]:
        return self._closing.due(
            self._tags, self._positions, self._health, self._next_sequence, now, drain=drain
        )

    def _take_scalars(self, entry: Scalars, now: float) -> list[Point]:
        if not len(entry.tag):
            return []
        member = self._attempts[entry.session]
        rank = member.joined.rank
        if member.is_old:
            self._health.count_late(rank, len(entry.tag))
            return []
        if member.is_back:
            self._note_progress(member, int(entry.step.max()))
        nth = self._advance(rank, entry.tag, entry.step)
        columns = Columns(entry.step, nth, entry.tag, entry.value, entry.wall_time)
        late = (nth < 0) | self._frontiers.covers(entry.tag, entry.step, nth)
        if late.any():
            self._health.count_late(rank, int(late.sum()))
            columns = columns[~late]
        for tag in self._windows.add(rank, columns, now):
            self._closing.opened(tag)
        if member.joined.per_rank == "none":
            return []
        sequence, self._next_sequence = self._next_sequence, self._next_sequence + len(entry.tag)
        columns_shown = (entry.tag, entry.step, entry.wall_time, entry.value)
        return [RankScalars(sequence, member.joined.series, *columns_shown)]

    def _take_summary(self, entry: Summary, now: float) -> list[Point]:
        member = self._attempts[entry.session]
        rank = member.joined.rank
        nth = -1
        if not member.is_old:
            if member.is_back:
                self._note_progress(member, entry.step)
            is_new = rank not in self._positions
            nth = self._positions.advance_one(rank, entry.tag, entry.step)
            if is_new:
                self._closing.count_ranks(self._positions)
        key = entry.step, nth
        if nth < 0 or self._frontiers.covers_one(entry.tag, key):
            self._health.count_late(rank, 1)
        elif self._windows.add_summary(key, entry.tag, rank, entry.wall_time, entry.partial, now):
            self._closing.opened(entry.tag)
        if member.is_old or member.joined.per_rank != "all":
            return []
        sequence, self._next_sequence = self._next_sequence, self._next_sequence + 1
        series = member.joined.series
        content = (entry.tag, entry.step, entry.wall_time, entry.partial)
        return [RankSummary(sequence, series, *content)]

    def _note_progress(self, member: Member, step: int) -> None:
        """A member that came back is about to log at ``step``, and may go on with the others."""
        member.is_back = step <= self._positions.top(member.joined.rank)

    def _advance(
        self, rank: int, tag: NDArray[np.intp], step: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        is_new = rank not in self._positions
        nth = self._positions.advance(rank, tag, step)
        if is_new:
            self._closing.count_ranks(self._positions)
        return nth

    def _close(self, entry: Closed) -> list[Point]:
        scalars, summaries = self._windows.take(entry.step, entry.nth, entry.tag)
        points: list[Point] = []
        places = np.zeros(0, np.intp)
        found = None
        if scalars is not None:
            found, places = scalar_points(entry, scalars)
            self._health.count_extremes(found)
            points.append(found)
        for place, one in sorted(summaries.items()):
            points.append(
                SummaryPoint(
                    entry.sequence + place,
                    int(entry.tag[place]),
                    int(entry.step[place]),
                    int(entry.nth[place]),
                    one.wall_time,
                    one.partial,
                    one.count,
                )
            )
        self._frontiers.move(entry.tag, entry.step, entry.nth)
        self._attempts.closed(int(entry.step.max()))
        behind = entry.sequence + len(entry.tag)
        self._next_sequence = behind + len(HEALTH_TAGS) * len(self._health.new_steps(entry.step))
        arrivals = Arrivals.of(len(entry.tag), found, places, summaries)
        health = self._health.close(behind, entry.step, arrivals, self._attempts, self._positions)
        if health is not None:
            points.append(health)
        return points

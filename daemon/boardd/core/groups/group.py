"""A group: what its entries make of it, and which entries are due."""

from __future__ import annotations

from boardd.core.groups.entries import Entry, Joined, State, Tag, Tags
from boardd.core.groups.limits import GroupLimits
from boardd.core.groups.points import Point


class Group:
    """All ranks that log to one run together.

    ``apply`` alone changes it. The other methods say which entries to journal and apply,
    in the order in which they return them. Times are in seconds of a clock that never
    goes backwards.
    """

    def __init__(self, limits: GroupLimits) -> None:
        self._limits = limits

    def apply(self, entry: Entry, now: float) -> list[Point]:
        """Changes the group as ``entry`` says; returns what is to be shown of it.

        Only ``Closed`` and ``Told`` show anything. What depends on contributions before the
        ``State`` that the group began with is left out: it has been written.
        """
        raise NotImplementedError

    def admit(self, asked: Joined) -> list[Entry]:
        """Returns what a session changes that logs, or logs again, as ``asked`` says.

        Nothing if it is a member. Where a new attempt begins, what is open is closed before.
        """
        raise NotImplementedError

    def leave(self, session: bytes) -> list[Entry]:
        """Returns what changes when a session logs no more."""
        raise NotImplementedError

    def check_tag(self, tag: Tag) -> str | None:
        """Returns why nothing can be contributed under ``tag``: it is another kind. Or None."""
        raise NotImplementedError

    def tag_index(self, name: bytes) -> int | None:
        """Returns the index of a tag, None if the group does not have it."""
        raise NotImplementedError

    def new_tags(self, tags: list[Tag]) -> Tags | None:
        """Returns those of ``tags``, of different names, that the group does not have."""
        raise NotImplementedError

    def rewind(self, session: bytes, step: int, *, is_asked: bool = False) -> list[Entry]:
        """Returns what comes before contributions of a member, the lowest of them at ``step``.

        A new attempt that goes on from a checkpoint rewinds the group. ``is_asked``: the
        member says that all from ``step`` on is out of date (``purge_step``).
        """
        raise NotImplementedError

    def due(self, now: float, *, drain: bool = False) -> list[Entry]:
        """Returns what is decided: the points that are done, and the table of ranks.

        ``drain``: no open point is waited for.
        """
        raise NotImplementedError

    def next_due(self, now: float) -> float | None:
        """Returns when ``due`` may return more though nothing is contributed; None: never."""
        raise NotImplementedError

    def is_over(self, now: float) -> bool:
        """Returns whether all ranks have left and all that they logged is shown."""
        raise NotImplementedError

    def state(self) -> State:
        """Returns the entry that, applied to a new group, gives this one."""
        raise NotImplementedError

    @property
    def next_sequence(self) -> int:
        """The emission sequence of the next point. The first is 1."""
        raise NotImplementedError

    @property
    def open_bytes(self) -> int:
        """Memory of open points."""
        raise NotImplementedError

    @property
    def open_points(self) -> int:
        """Points that are not done."""
        raise NotImplementedError

    @property
    def late(self) -> dict[int, int]:
        """Contributions that came too late for their point, by rank."""
        raise NotImplementedError

    def frontier(self, tag: int) -> tuple[int, int] | None:
        """Returns the key of the last point of a tag, None if it has none."""
        raise NotImplementedError

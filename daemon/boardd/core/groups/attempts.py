"""Who belongs to the group: sessions, their ranks, and the attempt that counts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boardd.core.groups.entries import Attempt, Joined
from boardd.core.groups.keys import NO_STEP


@dataclass(eq=False)
class Member:
    """A session that logs as a rank, or did."""

    joined: Joined
    #: Of an attempt that another one has superseded.
    is_old: bool = False
    has_left: bool = False
    #: Another process of its rank was there before it, and it has not gone past that one.
    is_back: bool = False

    @property
    def is_live(self) -> bool:
        """Whether it is waited for."""
        return not self.is_old and not self.has_left


class Attempts:
    """The sessions of the present attempt, and those of older ones that still log."""

    def __init__(self) -> None:
        self.current: Attempt | None = None
        self.world_size = 0
        #: Since when ranks are waited for.
        self.began_at = 0.0
        #: Whether there was an attempt before the present one.
        self.has_predecessor = False
        #: The step that the present attempt rewound to, and the highest step of its points.
        self.rewound_to: int | None = None
        self.highest_closed = NO_STEP
        self._members: dict[bytes, Member] = {}

    def __getitem__(self, session: bytes) -> Member:
        return self._members[session]

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def get(self, session: bytes) -> Member | None:
        """Returns a session's member, None if it is not known."""
        return self._members.get(session)

    def live_ranks(self) -> set[int]:
        """Returns the ranks that are waited for."""
        return {member.joined.rank for member in self if member.is_live}

    def left_ranks(self) -> set[int]:
        """Returns the ranks of the present attempt whose sessions have all left."""
        ranks = {member.joined.rank for member in self if not member.is_old}
        return ranks - self.live_ranks()

    def place(self, asked: Joined, absent: Collection[bytes] = ()) -> Joined | None:
        """Returns the entry for a session that logs as ``asked`` says; None if it is a member.

        Of the members that are ``absent``, nothing but their session says that they live.
        """
        member = self._members.get(asked.session)
        current = self.current
        if current is None:
            return asked
        if member is not None and not member.has_left and _is_same(member.joined, asked):
            # Of a launch that seemed to be started anew, a member may have been alive.
            goes_on = member.is_old and self._goes_on(asked, current)
            return replace(asked, attempt=current) if goes_on else None
        is_same = _is_launch(asked.attempt, current)
        if is_same and not self._is_relaunch(asked, absent):
            return replace(asked, attempt=current)
        if is_same or self._is_newer(asked.attempt, current, absent):
            return self._successor(asked)
        epoch = min(asked.attempt.epoch, current.epoch)
        return replace(asked, attempt=replace(asked.attempt, epoch=epoch))

    def again(self, session: bytes) -> Joined:
        """Returns the entry with which a member begins an attempt after the present one."""
        return self._successor(self._members[session].joined)

    def moves_on(self, joined: Joined) -> bool:
        """Returns whether the group leaves its attempt for that of ``joined``, an entry."""
        return self.current is None or joined.attempt.epoch > self.current.epoch

    def join(self, joined: Joined, now: float) -> bool:
        """Takes a session; returns whether the group moved on to its attempt."""
        has_moved = self.moves_on(joined)
        if has_moved:
            self._move_on(joined, now)
        member = Member(joined, is_old=joined.attempt != self.current)
        if not member.is_old:
            self.world_size = joined.world_size  # an elastic launch changes in size
            member.is_back = not joined.has_siblings and bool(self._others(joined))
        self._members.pop(joined.session, None)
        self._members[joined.session] = member
        return has_moved

    def leave(self, session: bytes) -> None:
        """Notes that a session logs no more. Of each rank, the last that left is remembered."""
        member = self._members.get(session)
        if member is None:
            return
        if member.is_old:
            del self._members[session]
            return
        member.has_left = True
        for key, other in list(self._members.items()):
            if other.has_left and other is not member and other.joined.rank == member.joined.rank:
                del self._members[key]

    def closed(self, step: int) -> None:
        """Notes that the present attempt has a point at ``step``."""
        self.highest_closed = max(self.highest_closed, step)

    def rewind(self, step: int) -> None:
        """Notes that the present attempt rewound to ``step``."""
        self.rewound_to = step
        if self.highest_closed >= step:
            self.highest_closed = NO_STEP if step == NO_STEP else step - 1

    def state(self) -> dict[str, NDArray[Any]]:
        """What ``restore`` takes, beside the members and the attempt."""
        return {
            "is_old": np.array([member.is_old for member in self], bool),
            "has_left": np.array([member.has_left for member in self], bool),
            "is_back": np.array([member.is_back for member in self], bool),
            "attempt": np.array(
                [
                    self.world_size,
                    self.has_predecessor,
                    self.highest_closed,
                    *(() if self.rewound_to is None else (self.rewound_to,)),
                ],
                np.int64,
            ),
        }

    def restore(
        self,
        attempt: Attempt | None,
        members: tuple[Joined, ...],
        arrays: Mapping[str, NDArray[Any]],
        now: float,
    ) -> None:
        """Takes what ``state`` returned; ranks are waited for anew."""
        self.current, self.began_at = attempt, now
        self.world_size, has_predecessor, self.highest_closed, *rewound_to = arrays[
            "attempt"
        ].tolist()
        self.has_predecessor = bool(has_predecessor)
        self.rewound_to = rewound_to[0] if rewound_to else None
        is_back = arrays.get("is_back", np.zeros(len(members), bool))
        columns = (arrays["is_old"], arrays["has_left"], is_back)
        flags = zip(*(column.tolist() for column in columns), strict=True)
        self._members = {
            joined.session: Member(joined, *flag)
            for joined, flag in zip(members, flags, strict=True)
        }

    def _move_on(self, joined: Joined, now: float) -> None:
        before, self.current = self.current, joined.attempt
        self.world_size, self.began_at = joined.world_size, now
        self.has_predecessor = before is not None
        self.rewound_to, self.highest_closed = None, NO_STEP
        is_same = before is not None and _is_launch(before, joined.attempt)
        # A member that purges takes along all that are there, and one that is started again
        # those that were started again before it.
        is_purge = joined.session in self._members
        for session, member in list(self._members.items()):
            if member.has_left:
                del self._members[session]
            else:
                member.is_old = member.is_old or not (is_same and (is_purge or member.is_back))
                member.is_back = False

    def _is_newer(self, attempt: Attempt, current: Attempt, absent: Collection[bytes]) -> bool:
        """Whether ``attempt``, of another launch or number, supersedes the current one."""
        if attempt.launch == current.launch and attempt.number > current.number:
            return True
        # A launch may be submitted again under its name. What is left of an earlier restart
        # of it, or has no epoch, supersedes nobody who is there.
        is_doubtful = attempt.launch == current.launch or attempt.epoch == current.epoch
        if is_doubtful and any(self._present(absent)):
            return False
        return attempt.epoch >= current.epoch

    def _is_relaunch(self, asked: Joined, absent: Collection[bytes]) -> bool:
        """Whether the launch was started anew, and not just one rank of it.

        That is so if no process goes on that was there before, and a rank comes from another
        process or in a world of another size.
        """
        if asked.has_siblings or any(not one.is_back for one in self._present(absent)):
            return False
        return asked.world_size != self.world_size or bool(self._others(asked))

    def _goes_on(self, asked: Joined, current: Attempt) -> bool:
        """Whether a member of an older attempt is of the ``current`` one, and not replaced."""
        is_replaced = any(not one.is_old and one.joined.rank == asked.rank for one in self)
        is_same = _is_launch(asked.attempt, current) and asked.world_size == self.world_size
        return is_same and not is_replaced

    def _present(self, absent: Collection[bytes]) -> Iterator[Member]:
        return (one for one in self if one.is_live and one.joined.session not in absent)

    def _others(self, asked: Joined) -> list[Joined]:
        """Those that logged as its rank, if all of them are other processes."""
        earlier = [
            member.joined
            for member in self
            if not member.is_old and member.joined.rank == asked.rank
        ]
        return [] if any(one.is_process_of(asked) for one in earlier) else earlier

    def _successor(self, asked: Joined) -> Joined:
        assert self.current is not None
        epoch = max(asked.attempt.epoch, self.current.epoch + 1)
        return replace(asked, attempt=replace(asked.attempt, epoch=epoch))


def _is_launch(one: Attempt, other: Attempt) -> bool:
    return (one.launch, one.number) == (other.launch, other.number)


def _is_same(joined: Joined, asked: Joined) -> bool:
    one, other = (joined.rank, joined.world_size), (asked.rank, asked.world_size)
    return one == other and _is_launch(joined.attempt, asked.attempt)

"""Budgets that many share, so that no number of them keeps the next from its part.

``Shares`` is for bytes: a holder may have as much as is left for others, so one alone gets
half, and each that comes half of what is left. Up to the floor each may have in any case.
``Places`` is for what is counted: the last part of the places is left to holders of few.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

#: Of the places, the part that is left to holders of few, and how many are few.
_RESERVED_PART: Final = 8
_FEW_PART: Final = 64


class Shares:
    """Bytes of one budget by holder; a holder has ``floor_bytes`` in any case."""

    def __init__(self, budget_bytes: int, floor_bytes: int) -> None:
        self.budget_bytes: Final = budget_bytes
        self.floor_bytes: Final = floor_bytes
        self._held: dict[Hashable, int] = {}
        self._held_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Bytes that all hold."""
        return self._held_bytes

    def take(self, holder: Hashable, size_bytes: int) -> bool:
        """Counts ``size_bytes`` more for ``holder``; returns False, and does not, if too many."""
        own_bytes = self._held.get(holder, 0) + size_bytes
        free_bytes = self.budget_bytes - self._held_bytes
        if own_bytes > max(self.floor_bytes, free_bytes):
            return False
        self._held[holder] = own_bytes
        self._held_bytes += size_bytes
        return True

    def give_back(self, holder: Hashable, size_bytes: int) -> None:
        """Counts ``size_bytes`` less. Raises ``ValueError`` if ``holder`` has fewer: a defect."""
        own_bytes = self._held.get(holder, 0) - size_bytes
        if own_bytes < 0:
            raise ValueError(f"{size_bytes} bytes given back, {own_bytes + size_bytes} held")
        self._held_bytes -= size_bytes
        self._held[holder] = own_bytes
        if not own_bytes:
            del self._held[holder]

    def leave(self, holder: Hashable) -> None:
        """Counts nothing of ``holder`` any more."""
        self._held_bytes -= self._held.pop(holder, 0)


def has_place(places: int, taken: int, own: int) -> bool:
    """Whether one more of ``places`` may go to a holder of ``own``; ``taken`` are gone.

    The last eighth is for those that hold less than a 64th. Of fewer than 64 places, none
    is reserved.
    """
    few = places // _FEW_PART
    reserved = places // _RESERVED_PART if few else 0
    return taken < places - reserved or (taken < places and own < few)


class Places:
    """Places of one budget by holder; see ``has_place``. Its length is how many are taken."""

    def __init__(self, places: int) -> None:
        self.places: Final = places
        self._held: dict[Hashable, int] = {}
        self._taken = 0

    def __len__(self) -> int:
        return self._taken

    def take(self, holder: Hashable) -> bool:
        """Takes a place for ``holder``; returns False if it may have no more."""
        own = self._held.get(holder, 0)
        if not has_place(self.places, self._taken, own):
            return False
        self._held[holder] = own + 1
        self._taken += 1
        return True

    def give_back(self, holder: Hashable) -> None:
        """Gives a place back. Raises ``KeyError`` if ``holder`` has none: a defect."""
        self._held[holder] -= 1
        self._taken -= 1
        if not self._held[holder]:
            del self._held[holder]


class SessionPlaces:
    """The places of sessions, and whose share of the budgets each session's part is."""

    def __init__(self, places: int) -> None:
        self._places = Places(places)
        self._sharers: dict[bytes, Hashable] = {}
        self._sessions: dict[Hashable, set[bytes]] = {}

    def take(self, session_id: bytes, sharer: Hashable) -> bool:
        """Takes a place for a session of ``sharer``; returns False if that may have no more."""
        if not self._places.take(sharer):
            return False
        self._sharers[session_id] = sharer
        self._sessions.setdefault(sharer, set()).add(session_id)
        return True

    def sharer(self, session_id: bytes) -> Hashable:
        """Whose a session is: the session itself if nobody has said."""
        return self._sharers.get(session_id, session_id)

    def sharing(self, sharer: Hashable) -> frozenset[bytes]:
        """The sessions that are ``sharer``'s, as was said."""
        return frozenset(self._sessions.get(sharer, ()))

    def leave(self, session_id: bytes) -> None:
        """Gives the place of a session back, if it has one."""
        if session_id in self._sharers:
            sharer = self._sharers.pop(session_id)
            self._places.give_back(sharer)
            self._sessions[sharer].discard(session_id)
            if not self._sessions[sharer]:
                del self._sessions[sharer]

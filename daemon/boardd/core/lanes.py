"""How many threads make brief items of a ``FairQueue`` and how many long ones.

Long items have a share of the threads at most, so that brief ones always have one; and no
brief item can keep a long one from its share for longer than it takes itself.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from boardd.core.durations import Durations
from boardd.core.turns import FairQueue, Flow, Taken

Item = TypeVar("Item")

#: One thread in this many makes long items, and always one.
THREADS_PER_LONG_ONE: Final = 4


class Lanes(Generic[Item]):
    """Who takes what from ``queue``; at most ``max_threads`` threads at a time.

    If that is one, long items are made on a second. A thread that was reserved calls ``take``,
    and ``take_another`` for what it makes together, ``made`` with each that it took, and ``take``
    again, until that returns None.
    """

    def __init__(self, queue: FairQueue[Item], max_threads: int) -> None:
        self.queue = queue
        #: How long items took to make, as the threads measure it.
        self.durations: Final = Durations()
        self.max_threads = max(2, max_threads)
        self._max_brief = max_threads
        self._max_long = max(1, max_threads // THREADS_PER_LONG_ONE)
        #: Threads that are reserved or at work, those with a long item apart.
        self._brief = 0
        self._long = 0

    @property
    def is_at_work(self) -> bool:
        """Whether any thread is reserved or at work."""
        return self._brief + self._long > 0

    def push(self, flow: Flow[Item], owner: Hashable, item: Item) -> None:
        """See ``FairQueue.push``."""
        self.queue.push(flow, owner, item)

    def reserve(self, most: int) -> int:
        """Reserves threads until ``most`` make brief items. Returns how many are to be started."""
        wanted = min(self._room, most) if self.queue.has_turns else 0
        if self.queue.has_long_turns and self._long < self._max_long:
            wanted = max(wanted, 1)
        threads = max(0, wanted - self._brief)
        self._brief += threads
        return threads

    def take(self) -> Taken[Item] | None:
        """Takes an item for a thread, which ends if there is none."""
        taken = None
        may_be_long = self._long < self._max_long
        if may_be_long:
            taken = self.queue.pop_long()
        if taken is None and self._brief <= self._room:
            taken = self.queue.pop(may_be_long=may_be_long)
        if taken is None:
            self._brief -= 1
        elif taken.is_long:
            self._brief -= 1
            self._long += 1
        return taken

    def take_another(self) -> Taken[Item] | None:
        """Takes a brief item more for a thread that has one; None if there is none."""
        return self.queue.pop(may_be_long=False) if self._brief <= self._room else None

    def made(self, taken: Taken[Item], size_bytes: int) -> None:
        """An item is made; ``size_bytes`` of it wait to be used."""
        if taken.is_long:
            self._long -= 1
            self._brief += 1
        self.queue.made(taken.flow, size_bytes)

    @property
    def _room(self) -> int:
        """How many threads may make brief items."""
        return min(self._max_brief, self.max_threads - self._long)

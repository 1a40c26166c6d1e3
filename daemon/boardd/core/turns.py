"""Whose turn it is: owners take turns, and an owner's flows take turns among themselves.

So an owner with a thousand items, in one flow or in a thousand, delays another owner's
by one. ``FairQueue`` chooses whose work is next: the items of one flow are begun in
order, and a flow that is far ahead of the place where its results are used waits. Long
items have a lane of their own, so that they cannot take the place of all brief ones.
"""

from __future__ import annotations

import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Turns(Generic[Item]):
    """Items in turns by owner; those of one owner in their order."""

    def __init__(self) -> None:
        self._owners: OrderedDict[Hashable, deque[Item]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, owner: Hashable, item: Item) -> None:
        """Adds ``item`` behind the others of ``owner``."""
        items = self._owners.get(owner)
        if items is None:
            items = self._owners[owner] = deque()
        items.append(item)
        self._count += 1

    def take(self) -> Item:
        """Takes the next item; its owner's turn goes on. Raises ``StopIteration`` if none is."""
        owner = next(iter(self._owners))
        items = self._owners[owner]
        item = items.popleft()
        self._count -= 1
        if not items:
            del self._owners[owner]
        return item

    def end_turn(self, owner: Hashable) -> None:
        """The others are next, before ``owner`` is again."""
        if owner in self._owners:
            self._owners.move_to_end(owner)

    def clear(self) -> list[Item]:
        """Takes all items."""
        items = [item for items in self._owners.values() for item in items]
        self._owners.clear()
        self._count = 0
        return items


class Flow(Generic[Item]):
    """One key's items in a ``FairQueue``, and how much was made of them and not yet used."""

    __slots__ = ("has_turn", "unused_bytes", "waiting")

    def __init__(self) -> None:
        #: Each with its owner.
        self.waiting: deque[tuple[Hashable, Item]] = deque()
        self.unused_bytes = 0
        self.has_turn = False


@dataclass(slots=True)
class Taken(Generic[Item]):
    """An item that is to be begun, its flow, and whether it is a long one."""

    flow: Flow[Item]
    item: Item
    is_long: bool


class FairQueue(Generic[Item]):
    """Whose item is begun next: owners and flows take turns, and each flow has a window of bytes.

    A flow stands for the owner of its next item. What is made of a flow's items is used in
    their order. While at least ``window_bytes`` of it wait for that, the flow is passed over.
    That never holds up the item that all others wait for: items are begun in order, so when
    all before it are used, nothing else of the flow waits.

    All flows together have ``budget_bytes``, and each may have as much as is left for others. A
    flow of which nothing waits to be used is never passed over.

    ``is_long`` tells long items; it is asked when an item's turn has come.

    Raises ``ValueError`` for a window below one byte.
    """

    def __init__(
        self, window_bytes: int, is_long: Callable[[Item], bool], budget_bytes: int = sys.maxsize
    ) -> None:
        if window_bytes < 1:
            raise ValueError(f"a window of {window_bytes} bytes lets nothing begin")
        self._window_bytes = window_bytes
        self._is_long = is_long
        self.budget_bytes = budget_bytes
        self._unused_bytes = 0
        #: Flows with an item that may be begun; some may have filled their window since. Among
        #: the first are those with a long item whose turn has not come yet.
        self._turns: Turns[Flow[Item]] = Turns()
        self._long_turns: Turns[Flow[Item]] = Turns()
        #: Flows with an item that may not be begun, because their window is full.
        self._passed_over: set[Flow[Item]] = set()

    @property
    def unused_bytes(self) -> int:
        """What was made of all flows and is not yet used."""
        return self._unused_bytes

    @property
    def has_turns(self) -> bool:
        """Whether ``pop`` is worth a try."""
        return bool(self._turns)

    @property
    def has_long_turns(self) -> bool:
        """Whether ``pop_long`` is worth a try."""
        return bool(self._long_turns)

    def push(self, flow: Flow[Item], owner: Hashable, item: Item) -> None:
        """Adds ``item``, which is ``owner``'s, behind the others of ``flow``."""
        flow.waiting.append((owner, item))
        self._give_turn(flow)

    def pop(self, *, may_be_long: bool) -> Taken[Item] | None:
        """Takes the next item that may be begun; None if there is none.

        One that is long goes to the lane of its own, unless it ``may_be_long``. Call ``made``
        with the size of what becomes of it.
        """
        while (flow := self._next(self._turns)) is not None:
            owner, item = flow.waiting[0]
            is_long = self._is_long(item)
            if not is_long or may_be_long:
                return self._begun(self._turns, flow, is_long=is_long)
            flow.has_turn = True
            self._long_turns.add(owner, flow)
        return None

    def pop_long(self) -> Taken[Item] | None:
        """As ``pop``, of the long items whose turn has come before."""
        flow = self._next(self._long_turns)
        return None if flow is None else self._begun(self._long_turns, flow, is_long=True)

    def made(self, flow: Flow[Item], size_bytes: int) -> None:
        """Counts what was made of an item."""
        flow.unused_bytes += size_bytes
        self._unused_bytes += size_bytes

    def used(self, flow: Flow[Item], size_bytes: int) -> bool:
        """Counts what was used. Returns whether the flow takes turns again."""
        flow.unused_bytes -= size_bytes
        self._unused_bytes -= size_bytes
        return self._give_turn(flow)

    def clear(self) -> None:
        """Drops the items of all flows."""
        for flow in (*self._turns.clear(), *self._long_turns.clear(), *self._passed_over):
            flow.waiting.clear()
            flow.has_turn = False
        self._passed_over.clear()

    def _next(self, turns: Turns[Flow[Item]]) -> Flow[Item] | None:
        """Takes the next flow whose window is not full."""
        while turns:
            flow = turns.take()
            flow.has_turn = False
            if self._has_room(flow):
                return flow
            self._passed_over.add(flow)
        return None

    def _begun(self, turns: Turns[Flow[Item]], flow: Flow[Item], *, is_long: bool) -> Taken[Item]:
        owner, item = flow.waiting.popleft()
        turns.end_turn(owner)
        self._give_turn(flow)
        return Taken(flow, item, is_long)

    def _has_room(self, flow: Flow[Item]) -> bool:
        free_bytes = self.budget_bytes - self._unused_bytes
        # What it has comes to be used, and then it is asked again.
        return not flow.unused_bytes or flow.unused_bytes < min(self._window_bytes, free_bytes)

    def _give_turn(self, flow: Flow[Item]) -> bool:
        if flow.has_turn or not flow.waiting:
            return False
        if not self._has_room(flow):
            self._passed_over.add(flow)
            return False
        self._passed_over.discard(flow)
        flow.has_turn = True
        owner, _ = flow.waiting[0]
        self._turns.add(owner, flow)
        return True

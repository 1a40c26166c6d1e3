"""Call order kept while the work in between finishes in any order.

``Order`` releases results in the order in which their tickets were drawn.
``FairQueue`` chooses whose work is next: the items of one flow are begun in order,
and flows take turns, so that one with a thousand items delays another's by one. A
flow that is far ahead of the place where its results are used waits.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class _Slot(Generic[Item]):
    """A place in the order, and its result once there is one."""

    __slots__ = ("done", "result")

    def __init__(self) -> None:
        self.done = False
        self.result: Item | None = None


class Order(Generic[Item]):
    """Results released in the order of their tickets."""

    def __init__(self) -> None:
        self._slots: deque[_Slot[Item]] = deque()
        self._first_ticket = 0

    def __len__(self) -> int:
        return len(self._slots)

    def draw(self) -> int:
        """Returns the ticket of the next place in the order."""
        self._slots.append(_Slot())
        return self._first_ticket + len(self._slots) - 1

    def complete(self, ticket: int, result: Item) -> None:
        """Stores the result of ``ticket``.

        Raises ``ValueError`` for a ticket that was never drawn, was completed
        before, or was released.
        """
        position = ticket - self._first_ticket
        if not 0 <= position < len(self._slots) or self._slots[position].done:
            raise ValueError(f"ticket {ticket} is not waiting for a result")
        slot = self._slots[position]
        slot.done = True
        slot.result = result

    def append(self, result: Item) -> None:
        """Draws a ticket and completes it at once."""
        self.complete(self.draw(), result)

    @property
    def ready(self) -> bool:
        """Whether the head of the order has its result."""
        return bool(self._slots) and self._slots[0].done

    def release(self) -> Item:
        """Takes the result at the head. Raises ``IndexError`` when it is not ready."""
        if not self.ready:
            raise IndexError("the head of the order is not complete")
        self._first_ticket += 1
        return self._slots.popleft().result  # type: ignore[return-value]  # done: it is set

    def peek(self) -> Item:
        """The result at the head. Raises ``IndexError`` when it is not ready."""
        if not self.ready:
            raise IndexError("the head of the order is not complete")
        return self._slots[0].result  # type: ignore[return-value]  # done: it is set


class Flow(Generic[Item]):
    """One key's items in a ``FairQueue``, and how much was made of them and not yet used."""

    __slots__ = ("has_turn", "unused_bytes", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Item] = deque()
        self.unused_bytes = 0
        self.has_turn = False


class FairQueue(Generic[Item]):
    """Whose item is begun next: flows take turns, and each has a window of bytes.

    What is made of a flow's items is used in their order. While at least
    ``window_bytes`` of it wait for that, the flow is passed over. That never holds up
    the item that all others wait for: items are begun in order, so when all before
    it are used, nothing else of the flow waits.

    Raises ``ValueError`` for a window below one byte.
    """

    def __init__(self, window_bytes: int) -> None:
        if window_bytes < 1:
            raise ValueError(f"a window of {window_bytes} bytes lets nothing begin")
        self._window_bytes = window_bytes
        #: Flows with an item that may be begun; some may have filled their window since.
        self._turns: deque[Flow[Item]] = deque()
        #: Flows with an item that may not be begun, because their window is full.
        self._passed_over: set[Flow[Item]] = set()

    def __bool__(self) -> bool:
        """Whether ``pop`` is worth a try."""
        return bool(self._turns)

    def push(self, flow: Flow[Item], item: Item) -> None:
        """Adds ``item`` behind the others of ``flow``."""
        flow.waiting.append(item)
        self._give_turn(flow)

    def pop(self) -> tuple[Flow[Item], Item] | None:
        """Takes the next item that may be begun, and its flow; None if there is none.

        Call ``made`` with the size of what becomes of it.
        """
        while self._turns:
            flow = self._turns.popleft()
            flow.has_turn = False
            if flow.unused_bytes < self._window_bytes:
                item = flow.waiting.popleft()
                self._give_turn(flow)
                return flow, item
            self._passed_over.add(flow)
        return None

    def made(self, flow: Flow[Item], size_bytes: int) -> None:
        """Counts what was made of an item."""
        flow.unused_bytes += size_bytes

    def used(self, flow: Flow[Item], size_bytes: int) -> bool:
        """Counts what was used. Returns whether the flow takes turns again."""
        flow.unused_bytes -= size_bytes
        return self._give_turn(flow)

    def clear(self) -> None:
        """Drops the items of all flows."""
        for flow in (*self._turns, *self._passed_over):
            flow.waiting.clear()
            flow.has_turn = False
        self._turns.clear()
        self._passed_over.clear()

    def _give_turn(self, flow: Flow[Item]) -> bool:
        if flow.has_turn or not flow.waiting:
            return False
        if flow.unused_bytes >= self._window_bytes:
            self._passed_over.add(flow)
            return False
        self._passed_over.discard(flow)
        flow.has_turn = True
        self._turns.append(flow)
        return True

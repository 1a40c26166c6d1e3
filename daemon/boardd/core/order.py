"""Call order kept while the work in between finishes in any order."""

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

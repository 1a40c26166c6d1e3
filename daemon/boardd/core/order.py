"""Call order kept while the work in between finishes in any order."""

from __future__ import annotations

from collections import deque
from typing import Any, Final, Generic, TypeVar

Item = TypeVar("Item")

#: Stands in the place of a result that is not there yet.
_PENDING: Final[Any] = object()


class Order(Generic[Item]):
    """Results released in the order of their tickets."""

    def __init__(self) -> None:
        self._results: deque[Item] = deque()
        self._first_ticket = 0

    def __len__(self) -> int:
        return len(self._results)

    def draw(self) -> int:
        """Returns the ticket of the next place in the order."""
        self._results.append(_PENDING)
        return self._first_ticket + len(self._results) - 1

    def complete(self, ticket: int, result: Item) -> None:
        """Stores the result of ``ticket``.

        Raises ``ValueError`` for a ticket that was never drawn, was completed
        before, or was released.
        """
        position = ticket - self._first_ticket
        if not (0 <= position < len(self._results) and self._results[position] is _PENDING):
            raise ValueError(f"ticket {ticket} is not waiting for a result")
        self._results[position] = result

    def append(self, result: Item) -> None:
        """Draws a ticket and completes it at once."""
        self._results.append(result)

    @property
    def ready(self) -> bool:
        """Whether the head of the order has its result."""
        return bool(self._results) and self._results[0] is not _PENDING

    def release(self) -> Item:
        """Takes the result at the head. Raises ``IndexError`` when it is not ready."""
        head = self.peek()
        self._first_ticket += 1
        self._results.popleft()
        return head

    def peek(self) -> Item:
        """The result at the head. Raises ``IndexError`` when it is not ready."""
        if not self.ready:
            raise IndexError("the head of the order is not complete")
        return self._results[0]

"""The call order of one run: what its writer takes next, while reductions end in any order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from boardd.core.groups.entries import Joined
from boardd.core.order import Order
from boardd.core.session.batch import (
    PART_BYTES,
    DropPart,
    EndPart,
    MeasuredPart,
    PurgePart,
    RewindPart,
    RunPart,
    ScalarPart,
    SummaryPart,
)
from boardd.relay.relay import Batch, NotTakenError
from boardd.runs.event_files.sync_result import SyncResult
from boardd.runs.writing.group_work import RelayedWork
from boardd.runs.writing.reductions import Reduction
from boardd.summaries.reduction import EncodedSummary, SummaryError

#: One append takes about this many scalars and this many bytes at most.
APPEND_RECORDS: Final = 1 << 16
APPEND_BYTES: Final = 16 << 20
#: Of the event of a scalar, beside its tag.
_SCALAR_EVENT_BYTES: Final = 64
#: An append up to this size is brief: it shares a thread with those of other runs.
BRIEF_BYTES: Final = 64 << 10


class ReducedSummary:
    """A summary record, and what it was reduced to or why it cannot be."""

    __slots__ = ("has_files", "part", "result", "size_bytes")

    def __init__(self, part: SummaryPart, result: Reduction | SummaryError) -> None:
        self.part = part
        self.result = result
        self.size_bytes = 0 if isinstance(result, SummaryError) else result.size_bytes
        self.has_files = isinstance(result, EncodedSummary) and result.embedding is not None

    @property
    def charged_bytes(self) -> int:
        """What the intake is charged for it."""
        return PART_BYTES + self.size_bytes


@dataclass(eq=False)
class Sync:
    """A request to make all that came before it durable."""

    done: asyncio.Future[SyncResult]

    def answer(self, result: SyncResult) -> None:
        """Hands over the result, unless nobody waits for it any more."""
        if not self.done.done():
            self.done.set_result(result)


@dataclass(frozen=True, eq=False)
class Presence:
    """A session is there as the rank that it ``asked`` to be."""

    asked: Joined
    size_bytes: int = 0


@dataclass(frozen=True, eq=False)
class RelayedItem:
    """A batch from another daemon; ``done`` gets the position of its producer."""

    batch: Batch
    works: Sequence[RelayedWork]
    done: asyncio.Future[int]

    @property
    def size_bytes(self) -> int:
        """Memory that it holds."""
        return len(self.batch.data)

    def answer(self, position: int) -> None:
        """Hands over the position, unless nobody waits for it any more."""
        if not self.done.done():
            self.done.set_result(position)

    def refuse(self, message: str) -> None:
        """Says why it is not taken."""
        if not self.done.done():
            self.done.set_exception(NotTakenError(message))


Item = (
    RelayedItem
    | ScalarPart
    | DropPart
    | EndPart
    | MeasuredPart
    | PurgePart
    | RewindPart
    | ReducedSummary
    | Presence
    | Sync
)


#: What is handled by itself.
_ALONE: Final = (DropPart, EndPart, MeasuredPart, PurgePart, RewindPart, RelayedItem, Sync)


class Items(deque[Item]):
    """What is handled together. Its sizes are those of all that was taken, whatever is left."""

    def __init__(self) -> None:
        super().__init__()
        #: Of the events that are made of them, at most, about.
        self.event_bytes = 0
        #: Of what summaries among them were reduced to.
        self.reduced_bytes = 0

    @property
    def is_brief(self) -> bool:
        """Whether they are appended in so short a time that they may share a thread."""
        return self.event_bytes <= BRIEF_BYTES


class RunOrder:
    """What is to be done for one run, in call order. For the event loop's thread only."""

    def __init__(self) -> None:
        self._order: Order[Item] = Order()
        self._wake = asyncio.Event()
        #: Sessions' ends among them.
        self.ends = 0

    def __len__(self) -> int:
        return len(self._order)

    @property
    def ready(self) -> bool:
        """Whether the next item can be taken."""
        return self._order.ready

    async def wait(self) -> None:
        """Waits until the next item may have become ready."""
        self._wake.clear()
        await self._wake.wait()

    def wake(self) -> None:
        """Ends a wait, though no item has become ready."""
        self._wake.set()

    def append(self, item: Item) -> None:
        """Adds what is ready once all before it is taken."""
        self._order.append(item)
        self.ends += isinstance(item, EndPart)
        self._wake.set()

    def draw(self) -> int:
        """Returns the ticket of the next place, for a summary that is still to be reduced."""
        return self._order.draw()

    def complete(self, ticket: int, item: ReducedSummary) -> None:
        """Puts ``item`` in the place of ``ticket``. Raises ``ValueError`` as ``Order`` does."""
        self._order.complete(ticket, item)
        self._wake.set()

    def take(self) -> Items:
        """Takes what is ready: events up to a bound, or one item that is handled by itself."""
        items, order, records = Items(), self._order, 0
        while order.ready and records < APPEND_RECORDS and items.event_bytes < APPEND_BYTES:
            head = order.peek()
            alone = head.has_files if isinstance(head, ReducedSummary) else isinstance(head, _ALONE)
            if alone and items:
                break
            items.append(order.release())
            items.event_bytes += _event_bytes(head)
            if isinstance(head, ReducedSummary):
                items.reduced_bytes += head.size_bytes
                records += head.part.records
            elif isinstance(head, RunPart):
                records += head.records
            if alone:
                self.ends -= isinstance(head, EndPart)
                break
        return items


def take_part(items: deque[Item]) -> RunPart:
    """Takes the first of ``items``. Returns its part. Raises ``TypeError`` if it has none."""
    item = items.popleft()
    if isinstance(item, ReducedSummary):
        return item.part
    if isinstance(item, (Presence, RelayedItem, Sync)):
        raise TypeError(f"no part: {item!r}")
    return item


def _event_bytes(item: Item) -> int:
    """The most bytes of events, about, that are made of ``item``."""
    if isinstance(item, ScalarPart):
        return item.records * (_SCALAR_EVENT_BYTES + item.run.longest_tag_bytes)
    return 0 if isinstance(item, Sync) else item.size_bytes

"""The seam between hosts: batches of a producer's entries, and up to where they are written.

What an implementation promises:

- *Durable*: a position that it returns covers only what the aggregator has written. So a
  producer that keeps what lies behind the position loses nothing, whoever dies.
- *At least once*: a batch for which ``send`` returns or raises may have arrived, once or
  several times, also later. The aggregator passes over what it has.
- *Ordered*: batches of one producer are taken in the order in which they were sent. One that
  leaves a gap is not taken.
- *Replayable*: a producer may send anew whatever it still has, and is told to by a position
  that lies before what it sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

#: Of a producer's name.
PRODUCER_BYTES: Final = 16
#: Of the data of one batch; a single entry may need nearly all of it.
MAX_BATCH_BYTES: Final = 64 << 20
#: Of data in one message, well below what any server takes.
CHUNK_BYTES: Final = 1 << 20
#: A batch takes this long at most, and longer for more data over a slow link.
ANSWER_SECS: Final = 30.0
SLOWEST_BYTES_PER_SEC: Final = 8 << 10


def longest_secs(size_bytes: int) -> float:
    """Returns for how long ``size_bytes`` of data may be on their way, and their answer."""
    return ANSWER_SECS + size_bytes / SLOWEST_BYTES_PER_SEC


@dataclass(frozen=True, eq=False)
class Batch:
    """The entries that ``producer`` has from ``first`` on and before ``end``, as ``data``.

    Entries have rising numbers from 0; not every number needs to be one. ``oldest`` is the
    first that the producer still has: if the aggregator lacks older ones, they are lost.
    ``run`` is the directory of the run, relative to the producer's logdir root.
    """

    producer: bytes
    run: str
    first: int
    end: int
    oldest: int
    data: bytes


class RelayError(Exception):
    """A batch was not taken, as far as the sender knows; keep it and send it again."""


class UnreachableError(RelayError):
    """The aggregator is not there, or has no room; the next try may succeed."""


class NotTakenError(RelayError):
    """The aggregator refuses the batch until somebody mends what the message says."""


class Relay(Protocol):
    """Carries batches to the aggregator."""

    async def send(self, batch: Batch) -> int:
        """Returns the producer's position: all its entries before it are written.

        A position before ``batch.first`` asks for what lies between. One call at a time for
        each producer. Raises ``RelayError``.
        """
        ...

    async def close(self) -> None:
        """Ends calls that wait, and gives up what they need."""
        ...


#: The aggregator's end: writes a batch and returns the position, or raises ``RelayError``.
Take = Callable[[Batch], Awaitable[int]]


def position_after(batch: Batch, position: int) -> int | None:
    """Returns from which entry on ``batch`` is to be written, if the aggregator is at ``position``.

    None if it leaves a gap that the producer can still fill.
    """
    if batch.first <= position:
        return position
    return batch.first if batch.first <= batch.oldest else None

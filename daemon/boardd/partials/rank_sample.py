"""What ranks have of one kind, up to a budget of bytes; of more, a uniform sample of ranks.

Ranks are taken in the order of their bits read backwards: 0, then what halves the others,
then what quarters them. So any beginning of that order is spread over all ranks evenly. The
sample is the longest beginning that fits the budget. It is the same for any order of merges,
since a rank that does not fit beside some others does not fit beside more of them either.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

_RANK_BITS: Final = 32


class RankItem(Protocol):
    """What one rank has."""

    @property
    def rank(self) -> int:
        """The rank, below 2**32."""

    @property
    def order(self) -> Any:
        """Orders different items of the same rank."""

    @property
    def size_bytes(self) -> int:
        """The memory that it holds."""


_Item = TypeVar("_Item", bound=RankItem)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class RankSample(Generic[_Item]):
    """``items`` of ranks that come before ``limit`` in the order of samples, in that order.

    ``limit`` is None if nothing was left out. What the first rank has is kept in any case.
    """

    items: tuple[_Item, ...]
    limit: int | None = None

    def merge(self, other: RankSample[_Item], max_bytes: int) -> RankSample[_Item]:
        """Returns the sample of both that has ``max_bytes``."""
        limits = [limit for limit in (self.limit, other.limit) if limit is not None]
        limit = min(limits, default=None)
        items = sorted(
            (*self.items, *other.items), key=lambda item: (place_of(item.rank), item.order)
        )
        kept: list[_Item] = []
        size_bytes = 0
        start = 0
        while start < len(items):
            place = place_of(items[start].rank)
            if limit is not None and place >= limit:
                break
            stop = start
            while stop < len(items) and place_of(items[stop].rank) == place:
                size_bytes += items[stop].size_bytes
                stop += 1
            if kept and size_bytes > max_bytes:
                limit = place
                break
            kept += items[start:stop]
            start = stop
        return RankSample(tuple(kept), limit)

    def by_rank(self) -> Sequence[_Item]:
        """Returns the items in the order of their ranks."""
        return sorted(self.items, key=lambda item: (item.rank, item.order))

    @property
    def size_bytes(self) -> int:
        """The memory that it holds, about."""
        return sum(item.size_bytes + 128 for item in self.items)


def place_of(rank: int) -> int:
    """Returns where a rank comes in the order of samples: its 32 bits, read backwards."""
    return int(f"{rank:0{_RANK_BITS}b}"[::-1], 2)

"""What cannot be added up: of all ranks that log it, the lowest one's is shown."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True)
class First:
    """``content``, which is opaque here, of the lowest rank.

    If one rank contributes several, the first in the order of bytes is taken.
    """

    rank: int
    content: bytes

    @property
    def form(self) -> tuple[Any, ...]:
        """All merge."""
        return ()

    def merge(self, *others: First) -> First:
        """Returns that of the lowest rank."""
        return min(self, *others, key=lambda first: (first.rank, first.content))

    @property
    def size_bytes(self) -> int:
        """The memory that it holds."""
        return len(self.content)

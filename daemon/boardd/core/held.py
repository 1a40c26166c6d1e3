"""What is held of a budget at a moment."""

from __future__ import annotations

from typing import NamedTuple


class Held(NamedTuple):
    """``held`` bytes or pieces of at most ``limit``; ``budget`` is named after its flag."""

    budget: str
    held: int
    limit: int

"""What is held of a budget at a moment."""

from __future__ import annotations

from typing import NamedTuple


class Held(NamedTuple):
    """``held`` bytes or pieces of at most ``limit``; ``budget`` is named after its flag, if any.

    Of a budget that each session, run or group has, the most that one of them holds. A ``limit``
    of 0: what is held has no bound of its own.
    """

    budget: str
    held: int
    limit: int

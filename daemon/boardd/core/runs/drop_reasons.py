"""Under which reasons drops are counted: clients name them, so there is a bound."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sized
from typing import Final, Protocol

#: Characters of a reason.
MAX_REASON: Final = 256
#: Reasons that a client may name, and that a run and the daemon tell apart.
MAX_DROP_REASONS: Final = 32
#: What the drops of further reasons are counted as.
OTHER: Final = "other"


class _Counts(Sized, Container[str], Protocol):
    """Counts by reason."""


def counted_as(reason: str, counts: _Counts) -> str:
    """Returns the reason under which ``counts`` has, or is to have, drops of ``reason``.

    ``OTHER`` if it tells ``MAX_DROP_REASONS`` apart already, so it has one more at most.
    """
    is_new = reason not in counts and len(counts) >= MAX_DROP_REASONS
    return OTHER if is_new else reason


def raise_to(counts: dict[str, int], least: Mapping[str, int]) -> None:
    """Raises each of ``counts``, of one source, to ``least``.

    Reasons past ``MAX_DROP_REASONS`` and ``OTHER`` are passed over.
    """
    for reason, records in least.items():
        if reason in counts or len(counts) <= MAX_DROP_REASONS:
            counts[reason] = max(counts.get(reason, 0), records)


def add_records(counts: dict[str, int], reason: str, records: int) -> None:
    """Adds ``records`` to ``counts``, whose reasons are bounded whatever clients name."""
    reason = counted_as(reason, counts)
    counts[reason] = counts.get(reason, 0) + records

"""What one or more ranks contribute to a point of a summary."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol


class Mergeable(Protocol):
    """A value that merges with others of the same type and form.

    ``merge`` is associative and commutative, bit for bit. Two values of a type may be merged
    if their ``form`` is equal.
    """

    def merge(self, *others: Any) -> Any:
        """Returns the value of all together."""

    @property
    def form(self) -> tuple[Any, ...]:
        """What has to agree: edges, numbers of thresholds and the like. Hashable, sortable."""

    @property
    def size_bytes(self) -> int:
        """The memory that it holds, about."""


@dataclasses.dataclass(slots=True, eq=False)
class Share:
    """What the ranks made whose values have one form.

    ``rank`` is the lowest of them, and ``count`` the number of their contributions.
    """

    rank: int
    count: int
    value: Mergeable

    @property
    def key(self) -> tuple[str, tuple[Any, ...]]:
        """Shares with equal keys merge."""
        return type(self.value).__name__, self.value.form

    def merge(self, *others: Share) -> Share:
        """Returns the values of all, whose keys are equal."""
        return Share(
            min(self.rank, *(other.rank for other in others)),
            self.count + sum(other.count for other in others),
            self.value.merge(*(other.value for other in others)),
        )


@dataclasses.dataclass(slots=True, eq=False)
class Partial:
    """The contributions of some ranks to one point.

    Values of different forms, such as histograms with different edges, cannot be added up.
    They stay side by side: ``shares`` has one for each form, in the order of their lowest
    ranks, and ``shown``, the first, is what TensorBoard gets.
    """

    shares: tuple[Share, ...]
    #: The memory that it holds, about.
    size_bytes: int = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.size_bytes = sum([share.value.size_bytes for share in self.shares])

    @classmethod
    def of(cls, rank: int, value: Mergeable) -> Partial:
        """Returns what ``rank`` contributes with one record."""
        return cls((Share(rank, 1, value),))

    def merge(self, *others: Partial) -> Partial:
        """Returns all contributions together; associative and commutative, bit for bit."""
        alike: dict[tuple[str, tuple[Any, ...]], list[Share]] = {}
        for partial in (self, *others):
            for share in partial.shares:
                alike.setdefault(share.key, []).append(share)
        merged = [first.merge(*rest) if rest else first for first, *rest in alike.values()]
        if len(merged) > 1:
            merged.sort(key=lambda share: (share.rank, share.key))
        return Partial(tuple(merged))

    @property
    def shown(self) -> Share:
        """The share that is shown: the lowest rank's."""
        return self.shares[0]

    @property
    def count(self) -> int:
        """The number of contributions, those that are not shown included."""
        return sum(share.count for share in self.shares)

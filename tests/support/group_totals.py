"""A partial that adds up, for tests of groups without a daemon."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Total:
    """What some ranks contribute together."""

    value: float
    size_bytes: int = 8

    def merge(self, *others: Total) -> Total:
        return Total(self.value + sum(other.value for other in others))

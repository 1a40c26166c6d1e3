"""What came of making events durable."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class SyncResult:
    """Whether all that was asked for is durable, and if not, why, for people."""

    ok: bool
    reason: str = ""

    @classmethod
    def of_all(cls, results: Iterable[SyncResult]) -> SyncResult:
        """Returns the result of several: ok if all are, else the reasons of those that are not."""
        failed = [result.reason for result in results if not result.ok]
        return cls(ok=not failed, reason="; ".join(failed))

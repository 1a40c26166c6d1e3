"""What a flush says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FlushResult:
    """Whether a level was reached; true in a boolean context if so."""

    ok: bool
    reason: str = ""  #: why not; empty when ok
    pending: int = 0  #: records of this process that are not written yet

    def __bool__(self) -> bool:
        return self.ok

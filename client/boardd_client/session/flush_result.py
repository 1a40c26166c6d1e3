"""What a flush says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class FlushResult:
    """Whether a level was reached; true in a boolean context if so."""

    ok: bool  #: whether the level was reached
    reason: str = ""  #: why not; empty when ok
    pending: int = 0  #: records of this process that are not written yet
    #: Records of this writer that were dropped since its last flush, by reason.
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.ok

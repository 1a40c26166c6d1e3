"""The step and wall time of records that are given none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

_T = TypeVar("_T")


@dataclass
class Defaults:
    """See the module; None is boardd's own default."""

    global_step: Any = None
    walltime: float | None = None

    def of(self, global_step: Any, walltime: float | None) -> tuple[Any, float | None]:
        """Returns what counts, of a step and a wall time that may be None."""
        return (
            self.global_step if global_step is None else global_step,
            self.walltime if walltime is None else walltime,
        )

    @contextmanager
    def set(self, owner: _T, global_step: Any, walltime: float | None) -> Iterator[_T]:
        """Sets both until the block ends, which gets ``owner``.

        Raises ``ValueError`` if both are None, or within another such block.
        """
        if global_step is None and walltime is None:
            raise ValueError("use_metadata needs global_step or walltime")
        if self.global_step is not None or self.walltime is not None:
            raise ValueError("use_metadata within use_metadata; leave the outer one first")
        self.global_step, self.walltime = global_step, walltime
        try:
            yield owner
        finally:
            self.global_step = self.walltime = None

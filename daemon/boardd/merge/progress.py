"""How far a merge is, told to whoever waits for it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, TextIO

from tqdm import tqdm

#: Pause between two lines where no bar can be drawn.
_LINE_SECS: Final = 10.0


class Progress:
    """A bar on a terminal, else a line now and then; a context manager.

    ``total_bytes`` are to be read in all.
    """

    def __init__(
        self,
        total_bytes: int,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._total_bytes = total_bytes
        self._done_bytes = 0
        self._clock = clock
        self._told_at = clock()
        self._bar: tqdm[None] | None = None
        if self._stream.isatty():
            self._bar = tqdm(
                total=total_bytes, unit="B", unit_scale=True, leave=False, file=self._stream
            )

    def stage(self, name: str) -> None:
        """Says what is being done."""
        if self._bar is not None:
            self._bar.set_description(name)

    def advance(self, size_bytes: int) -> None:
        """Says that so many bytes more were read."""
        self._done_bytes += size_bytes
        if self._bar is not None:
            self._bar.update(size_bytes)
            return
        now = self._clock()
        if now - self._told_at >= _LINE_SECS:
            self._told_at = now
            share = self._done_bytes / self._total_bytes if self._total_bytes else 1.0
            print(
                f"boardd merge: {share:.0%} of {self._total_bytes / 1e6:.0f} MB",
                file=self._stream,
                flush=True,
            )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

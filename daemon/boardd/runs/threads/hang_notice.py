"""Notices that the file system does not answer.

Only the calls that touch it count: one that waits for a thread, or first encodes, says
nothing about the disk.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

from boardd.runs.threads.writer_threads import HANGING_SECS


class HangNotice:
    """Calls ``on_hang`` on the event loop when a call has not returned for ``HANGING_SECS``.

    For one call at a time, on a thread that is awaited within ``watching``.
    """

    def __init__(self, on_hang: Callable[[], None]) -> None:
        self._on_hang = on_hang
        self._begun_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def watching(self) -> AbstractContextManager[None]:
        """Looks whether a call hangs meanwhile. On the event loop."""
        return _Meanwhile(self._begin_watch, self._end_watch)

    def call(self) -> AbstractContextManager[None]:
        """The file system is called meanwhile. On any thread."""
        return _Meanwhile(self._begin_call, self._end_call)

    def _begin_watch(self) -> None:
        self._look_in(HANGING_SECS)

    def _end_watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin_call(self) -> None:
        self._begun_at = time.monotonic()

    def _end_call(self) -> None:
        self._begun_at = None

    def _look_in(self, secs: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(secs, self._look)

    def _look(self) -> None:
        self._timer = None
        begun_at = self._begun_at
        left_secs = HANGING_SECS
        if begun_at is not None:
            left_secs -= time.monotonic() - begun_at
        if left_secs <= 0:
            self._on_hang()
        else:
            self._look_in(left_secs)


class _Meanwhile:
    """Calls ``begin`` and ``end``: made for every append, several times as fast as a generator."""

    __slots__ = ("_begin", "_end")

    def __init__(self, begin: Callable[[], None], end: Callable[[], None]) -> None:
        self._begin, self._end = begin, end

    def __enter__(self) -> None:
        self._begin()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

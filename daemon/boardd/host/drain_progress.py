"""Showing whoever looks at a terminal how much a leaving daemon still has to write."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Final, Protocol

#: A drain that is over sooner is not shown.
_SHOW_AFTER_SECS: Final = 0.5
_SHOW_SECS: Final = 0.2


class Progress(Protocol):
    """Who is told how far a drain is."""

    def advance(self, amount: int) -> None:
        """So many records more are done."""


#: Takes how many records are to be written.
ShowDrain = Callable[[int], AbstractContextManager[Progress]]


@contextlib.asynccontextmanager
async def showing_progress(
    show: ShowDrain | None, pending: Callable[[], int]
) -> AsyncIterator[None]:
    """Tells ``show`` what becomes of the records that are ``pending`` while the body runs."""
    if show is None:
        yield
        return
    task = asyncio.ensure_future(_tell(show, pending))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])  # it clears its line


async def _tell(show: ShowDrain, pending: Callable[[], int]) -> None:
    await asyncio.sleep(_SHOW_AFTER_SECS)
    left = pending()
    # What cannot be shown does not keep the rest from being written.
    with contextlib.suppress(ImportError, OSError), show(left) as progress:
        while True:
            await asyncio.sleep(_SHOW_SECS)
            now = min(left, pending())
            progress.advance(left - now)
            left = now

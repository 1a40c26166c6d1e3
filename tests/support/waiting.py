"""Waits for what will be true: polls it, up to a deadline that only guards against hanging."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

DEADLINE_SECS = 60.0

_POLL_SECS = 0.005


def wait_until(
    condition: Callable[[], object], what: str = "", timeout_secs: float = DEADLINE_SECS
) -> None:
    """Polls until ``condition()`` is true; fails with ``what`` past the deadline."""
    deadline = time.monotonic() + timeout_secs
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_secs:g} s: {what or condition}"
        time.sleep(_POLL_SECS)


async def until(
    condition: Callable[[], object], what: str = "", timeout_secs: float = DEADLINE_SECS
) -> None:
    """``wait_until`` on the event loop, for a ``condition`` that does not block it."""
    deadline = time.monotonic() + timeout_secs
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_secs:g} s: {what or condition}"
        await asyncio.sleep(_POLL_SECS)

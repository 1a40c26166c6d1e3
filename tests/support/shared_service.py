"""A service whose client shares its memory, and what it wrote."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from boardd.core.budget import Budgets

from support.raw_client import Harness, serving
from support.service_reading import events_of
from support.shared_client import SharedClient, freed, is_mapped
from support.waiting import until


@contextlib.asynccontextmanager
async def shared(
    path: Path, budgets: Budgets | None = None, *, log_bytes: int = 1 << 16, **options: Any
) -> AsyncIterator[tuple[Harness, SharedClient]]:
    """A service and a client; afterwards no memory of the client is mapped any more."""
    async with serving(path, budgets, **options) as harness:
        with freed(SharedClient(harness.channel, harness.socket, log_bytes=log_bytes)) as client:
            yield harness, client
    gc.collect()
    await until(lambda: not is_mapped())


def histograms_of(harness: Harness, run: str = "run") -> list[Any]:
    """The histograms of a run, in the order of its files."""
    return [
        value.histo
        for path in harness.files(run)
        for event in events_of(path)
        for value in event.summary.value
        if value.HasField("histo")
    ]


def sessions(harness: Harness) -> int:
    """How many are open."""
    return len(harness.status().sessions)

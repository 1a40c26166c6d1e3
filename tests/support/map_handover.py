"""A service to which a client hands over its memory."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import AsyncIterator
from pathlib import Path

from boardd.core.budget import Budgets
from boardd_protos.shared import SHARE, Handover

from support.raw_client import Harness, serving
from support.shared_client import (
    SharedClient,
    freed,
    is_mapped,
)
from support.waiting import until

SIZE_BYTES = 1 << 16


def open_files() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


@contextlib.asynccontextmanager
async def handing_over(
    path: Path, budgets: Budgets | None = None, **options: float
) -> AsyncIterator[tuple[Harness, SharedClient]]:
    """A service and an open session; afterwards no memory is mapped any more."""
    async with serving(path, budgets, **options) as harness:
        with freed(SharedClient(harness.channel, harness.socket)) as client:
            await client.open()
            yield harness, client
    gc.collect()
    await until(lambda: not is_mapped())


def first(client: SharedClient, size_bytes: int = SIZE_BYTES, **changes: object) -> bytes:
    """What hands over map 0 of ``client``, but for ``changes``."""
    handover = Handover(client.session_id, SHARE, 0, size_bytes)
    return handover._replace(**changes).encode()  # type: ignore[arg-type]

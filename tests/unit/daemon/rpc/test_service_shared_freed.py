"""What is held for clients that are gone is let go of without a search for garbage."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest
from boardd.rpc.stream import Stream
from support.raw_client import DEADLINE_SECS, scalars, serving
from support.service_reading import run_async
from support.shared_client import MEMORY_NAME, SharedClient, freed

pytestmark = pytest.mark.usefixtures("no_defects")

CLIENTS = 6


def mapped_to_read() -> int:
    """How many maps of clients the daemon has; clients' own can be written."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return sum(f"memfd:{MEMORY_NAME}" in line and " r--s " in line for line in lines)


def streams() -> int:
    """How many there are; a cycle through the frames of one would keep it."""
    return sum(isinstance(item, Stream) for item in gc.get_objects())


@pytest.mark.parametrize("how", ["closed", "cut", "half_closed", "broken"])
def test_neither_map_nor_stream_waits_for_the_collector(tmp_path: Path, how: str) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            for _ in range(CLIENTS):
                with freed(SharedClient(harness.channel, harness.socket)) as client:
                    await client.begin()
                    await client.log(scalars(2, 10))
                    await client.acknowledged(11)
                    assert mapped_to_read()
                    if how == "half_closed":
                        await client.half_close()
                        await client.end()
                    if how == "broken":
                        await client.records(scalars(12, 1))  # not on a stream with a ring
                        await client.end()
                    if how in ("closed", "half_closed"):
                        assert (await client.close()).closed
                    if how == "cut":
                        await client.cut()
            deadline = asyncio.get_running_loop().time() + DEADLINE_SECS
            while harness.status().sessions or mapped_to_read() or streams():
                assert asyncio.get_running_loop().time() < deadline, (mapped_to_read(), streams())
                await asyncio.sleep(0.01)

    gc.collect()
    gc.disable()
    try:
        run_async(test, tmp_path)
    finally:
        gc.enable()

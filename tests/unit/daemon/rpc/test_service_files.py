"""Files that somebody removes while the daemon writes them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from boardd_protos import boardd_pb2 as pb
from support.raw_client import Harness, scalars, serving
from support.service_reading import run_async, steps_of


def remove_file(harness: Harness) -> None:
    (file,) = harness.files()
    file.unlink()


def replace_file(harness: Harness) -> None:
    (file,) = harness.files()
    shutil.copy(file, file.with_suffix(".copy"))
    file.with_suffix(".copy").replace(file)


def remove_directory(harness: Harness) -> None:
    shutil.rmtree(harness.root / "run")


@pytest.mark.parametrize("remove", [remove_file, remove_directory, replace_file])
def test_what_is_written_behind_a_removed_file_can_be_found(
    tmp_path: Path, remove: Callable[[Harness], None]
) -> None:
    async def test(path: Path) -> None:
        async with serving(path, retry_secs=0.01) as harness:
            client = await harness.client().begin()
            await client.records(scalars(1, 10))
            await client.acknowledged(10)
            remove(harness)
            await client.records(scalars(11, 10))
            await client.acknowledged(20)
            kept = list(range(1, 11)) if remove is replace_file else []
            assert steps_of(harness) == [*kept, *range(11, 21)]
            # What was removed was never synced, and that is told.
            reply = await client.flush(20, level=pb.SYNCED)
            assert (reply.reached, "removed or replaced" in reply.message) == (False, True)
            assert (await client.flush(20, level=pb.SYNCED)).reached
            assert (await client.close()).closed

    run_async(test, tmp_path)


def test_a_removed_file_is_not_synced(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin()
            await client.records(scalars(1, 10))
            await client.acknowledged(10)
            remove_file(harness)
            reply = await client.flush(10, level=pb.SYNCED)
            assert (reply.reached, "removed or replaced" in reply.message) == (False, True)
            await client.records(scalars(11, 10))
            assert (await client.flush(20, level=pb.SYNCED)).reached
            assert steps_of(harness) == list(range(11, 21))
            await client.close()

    run_async(test, tmp_path)

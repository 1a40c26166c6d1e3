"""What the status tells: how far a run is, written and made durable, and who its clients are."""

from __future__ import annotations

import time
from pathlib import Path

from boardd_protos import boardd_pb2 as pb
from support.raw_client import Harness, scalars, serving
from support.service_reading import run_async


def the_run(harness: Harness) -> pb.RunStatus:
    (run,) = harness.status().runs
    return run


def test_written_and_synced_of_a_run(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin()
            await client.records(scalars(1, 10))
            await client.acknowledged(10)
            written = the_run(harness)
            assert (written.written, written.synced_bytes) == (10, 0)
            assert written.written_bytes > 0
            assert (await client.flush(10, level=pb.SYNCED)).reached
            assert the_run(harness).synced_bytes == written.written_bytes
            # What was in a file that is gone is never called durable.
            await client.records(scalars(11, 10))
            await client.acknowledged(20)
            (file,) = harness.files()
            file.unlink()
            assert not (await client.flush(20, level=pb.SYNCED)).reached
            await client.records(scalars(21, 5))
            assert (await client.flush(25, level=pb.SYNCED)).reached
            run = the_run(harness)
            assert run.written == 25
            later = 15 * written.written_bytes // 10
            assert run.written_bytes == written.written_bytes + later
            assert run.synced_bytes == run.written_bytes - written.written_bytes
            assert abs(harness.status().answered_at - time.time()) < 60
            await client.close()

    run_async(test, tmp_path)


def test_the_version_of_a_client_is_told(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = harness.client()
            await client.open(client_version="0.9.1\n")
            (session,) = harness.status().sessions
            assert session.client_version == r"0.9.1\n"
            # It has been upgraded, and comes back.
            await client.open(client_version="1.0.0")
            (session,) = harness.status().sessions
            assert session.client_version == "1.0.0"

    run_async(test, tmp_path)

"""A service whose runs are shipped: what it says of them, and a spool that is full."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from boardd.core.sync_policy import NEVER, SyncPolicy
from boardd.runs.directories.holdings import HeldForStore
from boardd.shipping.shipping import Shipping
from boardd_protos import boardd_pb2 as pb
from support.raw_client import definitions, scalar, serving, summary
from support.service_reading import run_async, steps_of
from support.spooled_runs import RecordingStore, last_written, shipper_of, spool_at
from support.waiting import until

pytestmark = pytest.mark.usefixtures("no_defects")

URL = "memory://bucket/runs"
WORDS = pb.Payload(tensors=[pb.Tensor(dtype="int8", shape=[1, 2])], embedding=pb.Embedding())


def test_a_full_spool_holds_its_runs_up_and_no_others(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        spool, store = spool_at(path / "spool", limit_bytes=1), RecordingStore()
        bucket = spool.path / "memory" / "bucket"
        async with serving(path, roots=[URL], spool=spool, retry_secs=0.01) as harness:
            remote = await harness.client().begin()
            spool.recount(bucket, HeldForStore(size_bytes=5))
            await remote.send(definitions=definitions(f"{URL}/one", {2: "loss"}, run=2))
            await remote.records(scalar(1, series=2))
            await until(lambda: any(run.trouble for run in harness.status().runs), "it waits")
            (trouble,) = {run.trouble for run in harness.status().runs if run.trouble}
            assert "5 bytes wait to be shipped" in trouble
            assert f"{URL}/one" in {run.path for run in harness.status().runs}
            assert list(harness.status().logdir_roots) == [str(harness.root), URL]
            local = await harness.client().begin()
            await local.records(scalar(1))
            await local.acknowledged(1)
            assert steps_of(harness) == [1]
            assert harness.status().counters.pending == 1
            spool.recount(bucket, HeldForStore())
            await remote.acknowledged(1)
            assert (await remote.close()).closed
        shipper_of(spool, store).ship()
        assert len(store.objects) == 1
        spool.release()

    run_async(test, tmp_path)


@pytest.mark.parametrize("has_embedding", [False, True])
def test_a_full_spool_ships_what_the_runs_that_wait_have_open(
    tmp_path: Path, has_embedding: bool
) -> None:
    async def test(path: Path) -> None:
        store = RecordingStore()
        shipping = Shipping(path / "spool", 1, 0.5, lambda url: store)
        async with serving(path, roots=[URL], spool=shipping.spool) as harness:
            one, two = [await harness.client().begin() for _ in range(2)]
            tags = {2: "loss", 3: "words"}
            await one.send(definitions=definitions(f"{URL}/one", tags, run=2))
            await two.send(definitions=definitions(f"{URL}/two", tags, run=2))
            await one.records(scalar(1, series=2))
            await one.acknowledged(1)  # what it has open is all that the spool may hold
            await two.records(scalar(1, series=2))
            for client in (two, one):
                if has_embedding:
                    await client.tensor(2, b"12")
                    await client.records(summary(2, WORDS, series=3))
                else:
                    await client.records(scalar(2, series=2))
            for client in (one, two):
                await client.acknowledged(2)
                assert (await client.close()).closed
        assert await asyncio.to_thread(shipping.drain, 60.0)
        assert len([key for key in store.objects if "tfevents" in key]) >= 3
        shipping.spool.release()

    run_async(test, tmp_path)


def test_a_url_beneath_no_root_is_refused_with_what_there_is(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        spool = spool_at(path / "spool")
        async with serving(path, roots=[URL], spool=spool) as harness:
            client = await harness.client().begin()
            await client.send(definitions=definitions("memory://other/x", {2: "loss"}, run=2))
            await client.until(lambda: client.refused)
            (refused,) = client.refused
            assert refused.reason == pb.OUTSIDE_ROOTS
            assert f"'memory://other/x' is not beneath a logdir root of the daemon ({path}" in (
                refused.message
            )
            assert URL in refused.message
        assert not spool.path.exists()

    run_async(test, tmp_path)


@pytest.mark.parametrize("sync", [NEVER, SyncPolicy(0.1)])
def test_a_segment_ends_in_time_though_nothing_more_is_logged(
    tmp_path: Path, sync: SyncPolicy
) -> None:
    async def test(path: Path) -> None:
        spool = spool_at(path / "spool", clock=time.monotonic, ship_secs=0.5)
        bucket = spool.path / "memory" / "bucket"
        async with serving(path, roots=[URL], spool=spool, sync=sync) as harness:
            client = await harness.client().begin()
            await client.send(definitions=definitions(f"{URL}/one", {2: "loss"}, run=2))
            await client.records(scalar(1, series=2))
            await client.acknowledged(1)
            await until(lambda: spool.held_for(bucket).closed_files == 1, "the segment ends")
        spool.release()

    run_async(test, tmp_path)


def test_the_marks_of_a_shipped_run_are_found_by_the_next_daemon(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        store = RecordingStore()
        for life in range(1, 4):
            spool = spool_at(path / "spool")
            async with serving(path, roots=[URL], spool=spool) as harness:
                client = await harness.client(b"s" * 16).begin()
                await client.send(definitions=definitions(f"{URL}/one", {2: "loss"}, run=2))
                await client.records(*(scalar(at, series=2) for at in range(1, 5 * life + 1)))
                await client.acknowledged(5 * life)
            shipper_of(spool, store).ship()
            spool.release()
        assert store.steps(path / "scratch") == list(range(1, 16))
        assert last_written(spool_at(path / "spool"), f"{URL}/one") == 0

    run_async(test, tmp_path)

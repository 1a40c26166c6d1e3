"""Flush, close, drain and the budgets of a service."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import numpy as np
import pytest
from boardd.core.budget import Budgets
from boardd_protos import boardd_pb2 as pb
from support.raw_client import (
    DEADLINE_SECS,
    RawClient,
    histogram_payload,
    scalar,
    scalars,
    serving,
    summary,
)
from support.service_reading import run_async, steps_of
from support.waiting import until

pytestmark = pytest.mark.usefixtures("no_defects")


def test_flush_waits_for_its_record_and_honours_its_timeout(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin()
            await client.records(scalars(1, 3))
            assert (await client.flush(3)).reached
            reply = await client.flush(4, timeout_secs=0.05)
            assert (reply.reached, reply.written_sequence) == (False, 3)
            assert "3 of 4" in reply.message
            waiting = asyncio.create_task(client.flush(5, level=pb.SYNCED))
            await client.records(scalars(4, 2))
            assert (await waiting).reached
            assert (await client.flush(5, timeout_secs=0.0)).reached
            assert (await client.flush(5, timeout_secs=float("inf"))).reached
            for timeout_secs in (-1.0, float("nan")):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await client.flush(5, timeout_secs=timeout_secs)
                assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT

    run_async(test, tmp_path)


def test_close_writes_what_is_pending_first(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin(tags={1: "weights", 2: "loss"})
            values = np.arange(2_000_000, dtype=np.float32)
            await client.tensor(1, values)
            payload = histogram_payload(values)
            await client.records(summary(1, payload), scalar(2, series=2))
            await until(lambda: harness.status().counters.accepted == 2)
            reply = await client.close()
            assert (reply.closed, reply.written_sequence) == (True, 2)
            assert await client.end() == grpc.StatusCode.OK
            assert client.written_sequence == 2
            assert steps_of(harness) == [1, 2]
            status = harness.status()
            assert not status.sessions
            assert not status.runs
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await client.close()
            assert caught.value.code() == grpc.StatusCode.NOT_FOUND

    run_async(test, tmp_path)


def test_a_report_of_drops_reaches_the_status(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin()
            for records in (3, 5):
                drop = pb.DropCount(reason="arena full", records=records, size_bytes=10 * records)
                await client.send(report=pb.ClientReport(dropped=[drop]))
            await client.records(scalar(1))
            await client.acknowledged(1)
            assert (await client.close()).closed
            (found,) = harness.status().counters.dropped_by_client
            assert (found.reason, found.records, found.size_bytes) == ("arena full", 5, 50)

    run_async(test, tmp_path)


def test_drain_writes_acknowledges_and_leaves(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin()
            values = np.arange(2_000_000, dtype=np.float32)
            await client.tensor(1, values)
            await client.records(summary(1, histogram_payload(values)))
            await until(lambda: harness.status().counters.accepted == 1)
            assert await harness.service.drain(DEADLINE_SECS)
            assert await client.end() == grpc.StatusCode.OK
            assert client.draining
            assert client.written_sequence == 1
            assert steps_of(harness) == [1]
            for call in (client.open(), harness.client().open()):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call
                assert caught.value.code() == grpc.StatusCode.UNAVAILABLE

    run_async(test, tmp_path)


@pytest.mark.parametrize(
    ("budgets", "writers", "limit_bytes"),
    [
        # The budget, one record past it, and a message of each of the others.
        (Budgets(intake_bytes=1 << 20, reducers=2), 4, (1 << 20) + 4 * 310_000),
        # One session's own budget, and the record that it was sending.
        (Budgets(session_intake_bytes=1 << 19, reducers=1), 1, (1 << 19) + 310_000),
    ],
    ids=["all sessions", "one session"],
)
def test_a_full_intake_holds_clients_up_and_loses_nothing(
    tmp_path: Path, budgets: Budgets, writers: int, limit_bytes: int
) -> None:
    async def test(path: Path) -> None:
        values = np.random.default_rng(0).integers(0, 256, 300_000, np.uint8)
        payload = histogram_payload(values)
        payload.histogram.rule = "stone"  # slow
        async with serving(path, budgets) as harness:
            clients = [await harness.client().begin(f"run{number}") for number in range(writers)]
            peak = 0

            async def log(client: RawClient) -> None:
                nonlocal peak
                for sequence in range(1, 11):
                    await client.tensor(sequence, values, 100_000)
                    await client.records(summary(sequence, payload))
                    peak = max(peak, harness.status().intake_bytes)
                await client.acknowledged(10)

            await asyncio.gather(*(log(client) for client in clients))
            for number in range(writers):
                assert steps_of(harness, f"run{number}") == list(range(1, 11))
            assert limit_bytes / 3 < peak < limit_bytes
            assert harness.status().intake_bytes == 0

    run_async(test, tmp_path)


def test_two_half_tensors_past_the_budget_do_not_wait_for_each_other(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        budgets = Budgets(intake_bytes=1 << 18)
        values = np.zeros(400_000, np.uint8)
        data = values.tobytes()
        async with serving(path, budgets) as harness:
            clients = [await harness.client().begin(f"run{number}") for number in range(3)]
            for client in clients:
                await client.send(chunk=pb.TensorChunk(sequence=1, data=data[:100_000]))
            await until(lambda: harness.status().intake_bytes >= 300_000)
            for client in clients:
                for offset in range(100_000, 400_000, 100_000):
                    chunk = data[offset : offset + 100_000]
                    await client.send(chunk=pb.TensorChunk(sequence=1, offset=offset, data=chunk))
                await client.records(summary(1, histogram_payload(values)))
            for client in clients:
                await client.acknowledged(1)

    run_async(test, tmp_path)


def test_half_a_tensor_that_takes_the_whole_budget_holds_up_nobody_else(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        budgets = Budgets(intake_bytes=1 << 20, stall_secs=DEADLINE_SECS)
        async with serving(path, budgets) as harness:
            silent = await harness.client().begin("silent")
            await silent.tensor(1, bytes(2 << 20))
            await until(lambda: harness.status().intake_bytes >= 2 << 20)
            other = await harness.client().begin("other")
            values = np.arange(100_000, dtype=np.float32)
            for sequence in range(1, 21):
                await other.tensor(sequence, values)
                await other.records(summary(sequence, histogram_payload(values)))
            reply = await other.flush(20)
            assert reply.reached, reply.message
            assert harness.status().intake_bytes >= 2 << 20
            assert not silent.ended.is_set()

    run_async(test, tmp_path)


def test_a_client_that_falls_silent_in_a_tensor_loses_its_stream(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path, Budgets(stall_secs=0.1)) as harness:
            client = await harness.client().begin()
            await client.send(chunk=pb.TensorChunk(sequence=1, data=b"x" * 1000))
            assert await client.end() == grpc.StatusCode.DEADLINE_EXCEEDED
            await until(lambda: harness.status().intake_bytes == 0)

    run_async(test, tmp_path)


def test_a_run_with_much_to_reduce_does_not_hold_up_another(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        values = np.random.default_rng(0).random(400_000)
        async with serving(path, Budgets(reducers=1)) as harness:
            busy = await harness.client().begin("busy")
            quick = await harness.client().begin("quick", tags={1: "weights", 2: "loss"})
            # Warm, so that compiling does not decide who is first.
            await quick.tensor(1, np.ones(4))
            await quick.records(summary(1, histogram_payload(np.ones(4))))
            await quick.acknowledged(1)
            for sequence in range(1, 16):
                await busy.tensor(sequence, values)
                payload = pb.Payload(
                    tensors=[pb.Tensor(dtype="float64", shape=values.shape)],
                    histogram=pb.Histogram(rule="stone"),
                )
                await busy.records(summary(sequence, payload))
            await until(lambda: harness.status().counters.accepted == 16)
            await quick.tensor(2, np.ones(4))
            await quick.records(summary(2, histogram_payload(np.ones(4))), scalar(3, series=2))
            await quick.acknowledged(3)
            assert harness.status().counters.pending > 3

    run_async(test, tmp_path)

"""The budgets of peers: whoever floods one leaves room for others."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import grpc
import pytest
from boardd.core.budget import Budgets
from boardd.rpc.unattached import MAX_UNATTACHED
from boardd_protos import boardd_pb2 as pb
from support.raw_client import DEADLINE_SECS, RawClient, scalars, serving, summary
from support.service_reading import run_async, until

pytestmark = pytest.mark.usefixtures("no_defects")


async def log_one(client: RawClient) -> None:
    await client.begin()
    await client.records(scalars(1, 1))
    await client.acknowledged(1)


def test_streams_that_bring_no_attach_leave_room_for_others(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with (
            serving(path) as harness,
            grpc.aio.insecure_channel(f"127.0.0.1:{harness.tcp_port}") as channel,
        ):
            flood = RawClient(channel).stub
            calls = [flood.Stream() for _ in range(MAX_UNATTACHED)]
            codes = [asyncio.ensure_future(call.code()) for call in calls]
            refused, _ = await asyncio.wait(
                codes, return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE_SECS
            )
            assert {code.result() for code in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
            await log_one(harness.client())
            for call in calls:
                call.cancel()
            await asyncio.wait(codes)

    run_async(test, tmp_path)


def test_the_sessions_of_one_host_leave_room_for_those_of_others(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with (
            serving(path, Budgets(max_sessions=64)) as harness,
            grpc.aio.insecure_channel(f"127.0.0.1:{harness.tcp_port}") as channel,
        ):
            for number in range(64 - 8):
                await RawClient(channel).open(pid=number + 1)
            with pytest.raises(grpc.aio.AioRpcError, match="--max-sessions") as caught:
                await RawClient(channel).open(pid=100)
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            await log_one(harness.client())
            # Each local process has a part of its own.
            with pytest.raises(grpc.aio.AioRpcError, match="--max-sessions"):
                await harness.client(os.urandom(16)).open()
            await harness.client(os.urandom(16)).open(pid=4712)

    run_async(test, tmp_path)


def test_the_runs_of_one_process_leave_room_for_those_of_others(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path, Budgets(max_runs=64)) as harness:
            greedy = await harness.client().begin()
            runs = [pb.RunDefinition(run=n, logdir=f"run{n}", rank=-1) for n in range(2, 65)]
            await greedy.send(definitions=pb.Definitions(runs=runs))
            await until(lambda: len(greedy.refused) == 8)
            newcomer = harness.client()
            await newcomer.open(pid=4712)
            await newcomer.attach()
            own = pb.RunDefinition(run=1, logdir="new", rank=-1)
            series = pb.SeriesDefinition(series=1, run=1, tag="loss")
            await newcomer.send(definitions=pb.Definitions(runs=[own], series=[series]))
            await newcomer.records(scalars(1, 1))
            await newcomer.acknowledged(1)
            assert not newcomer.refused
            assert {told.reason for told in greedy.refused} == {pb.TOO_MANY_RUNS}

    run_async(test, tmp_path)


def test_a_few_bytes_that_make_a_large_picture_are_rejected_and_nothing_is_drawn(
    tmp_path: Path,
) -> None:
    payload = pb.Payload(
        tensors=[pb.Tensor(dtype="uint8", shape=[4, 4, 4])],
        image=pb.Image(dataformats="NHW", padding=3500),
    )

    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin(tags={1: "picture"})
            await client.tensor(1, bytes(64))
            await client.records(summary(1, payload))
            await client.acknowledged(1)
            (told,) = client.rejected
            assert told.reason == pb.TENSOR_TOO_LARGE
            assert "'picture': it takes about" in told.message
            assert "--reduction-bytes" in told.message

    run_async(test, tmp_path)

"""The aggregator's end of the relay, from a peer that does not keep to the rules."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import grpc.aio
import pytest
from boardd.relay.relay import Batch
from boardd.rpc import relay_service
from boardd.rpc.handlers import add_relay
from boardd.rpc.relay_service import RelayService
from boardd_protos import relay_pb2 as pb
from boardd_protos.relay_pb2_grpc import RelayStub
from support.service_reading import run_async
from support.waiting import until


async def nothing(batch: Batch) -> int:
    raise AssertionError("a batch that is not whole was taken")


def test_a_batch_that_does_not_end_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_service, "longest_secs", lambda size_bytes: 0.1)

    async def test(path: Path) -> None:
        service = RelayService(nothing)
        server = grpc.aio.server()
        add_relay(service, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = RelayStub(channel).Send()
            header = pb.BatchHeader(producer=b"p" * 16, run="run", end=1)
            await call.write(pb.SendRequest(header=header, data=b"x" * 100))
            assert await asyncio.wait_for(call.code(), 20.0) == grpc.StatusCode.DEADLINE_EXCEEDED
            await until(lambda: service._held_bytes == 0)
        await server.stop(None)

    run_async(test, tmp_path)

"""The service and messages that contradict the protocol."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import grpc
import pytest
from boardd.core.budget import Budgets
from boardd_protos import boardd_pb2 as pb
from support.raw_client import (
    definitions,
    end_run,
    scalar,
    serving,
)
from support.service_reading import run_async

pytestmark = pytest.mark.usefixtures("no_defects")


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(b"garbage", id="garbage"),
        pytest.param(os.urandom(480), id="random"),
        pytest.param(scalar(1)[:40], id="cut"),
        pytest.param(scalar(1) + scalar(3), id="gap within a message"),
        pytest.param(scalar(2), id="gap before a message"),
        pytest.param(scalar(0), id="zero"),
        pytest.param(scalar(1) + scalar(1), id="twice in a message"),
        pytest.param(scalar(1) + end_run(3), id="gap before another kind"),
        pytest.param(scalar(2**64 - 1, step=1), id="far"),
    ],
)
def test_frames_that_make_no_sense_end_the_stream_and_nothing_else(
    tmp_path: Path, frames: bytes
) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            good = await harness.client().begin("good")
            client = await harness.client().begin()
            await client.records(frames)
            assert await client.end() == grpc.StatusCode.INVALID_ARGUMENT
            assert harness.status().counters.accepted == 0
            # The message was refused whole; the session itself is unharmed.
            await client.open()
            await client.attach()
            await client.records(scalar(1))
            await client.acknowledged(1)
            await good.records(scalar(1))
            await good.acknowledged(1)

    run_async(test, tmp_path)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"attach": pb.Attach(session_id=b"x" * 16)}, "attached already"),
        ({}, "does not know"),
        ({"chunk": pb.TensorChunk(sequence=1, offset=5, data=b"x")}, "offset 5, expected 0"),
        ({"chunk": pb.TensorChunk(sequence=1, tensor=99, data=b"x")}, "tensor 99"),
        ({"definitions": definitions("elsewhere")}, "defined already"),
        ({"definitions": definitions("run", {1: "other"})}, "defined already"),
    ],
)
def test_messages_that_contradict_the_protocol(
    tmp_path: Path, message: dict[str, Any], text: str
) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin()
            await client.send(**message)
            assert await client.end() == grpc.StatusCode.INVALID_ARGUMENT
            assert client.error is not None
            assert text in client.error.details()
            assert ("boardd-reason", "INVALID_RECORD") in tuple(client.error.trailing_metadata())

    run_async(test, tmp_path)


def test_a_request_that_is_too_long_is_refused(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin()
            request = pb.FlushRequest(session_id=client.session_id, runs=range(1 << 16))
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await client.stub.Flush(request)
            assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert "at most 65536 are taken" in str(refused.value.details())
            assert (await client.flush(0)).reached

    run_async(test, tmp_path)


def test_long_definitions_are_taken_whole(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            tags = {number: f"{number:0100}" for number in range(1, 1001)}
            client = await harness.client().begin(tags=tags)
            await client.records(scalar(1, series=1), scalar(2, series=1000))
            assert (await client.flush(2)).reached
            assert harness.status().counters.written == 2

    run_async(test, tmp_path)


def test_a_stream_begins_with_attach_to_an_open_session(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = harness.client()
            await client.attach()
            assert await client.end() == grpc.StatusCode.NOT_FOUND
            call = client.stub.Stream()
            await call.write(pb.ClientMessage(records=pb.Records()))
            assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT

    run_async(test, tmp_path)


@pytest.mark.parametrize(
    ("request_", "code", "reason", "text"),
    [
        (
            {"min_protocol_version": 2, "max_protocol_version": 9},
            grpc.StatusCode.FAILED_PRECONDITION,
            "PROTOCOL_VERSION",
            "upgrade the daemon",
        ),
        (
            {"min_protocol_version": 0, "max_protocol_version": 0},
            grpc.StatusCode.FAILED_PRECONDITION,
            "PROTOCOL_VERSION",
            "upgrade the client",
        ),
        ({"session_id": b"short"}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_RECORD", "5 bytes"),
        (
            {"acknowledged_sequence": 2**63},
            grpc.StatusCode.INVALID_ARGUMENT,
            "INVALID_RECORD",
            str(2**63),
        ),
    ],
)
def test_open_is_refused(
    tmp_path: Path, request_: dict[str, Any], code: grpc.StatusCode, reason: str, text: str
) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await harness.client().stub.Open(
                    pb.OpenRequest(
                        **{
                            "min_protocol_version": 1,
                            "max_protocol_version": 1,
                            "session_id": b"i" * 16,
                            **request_,
                        }
                    )
                )
            assert caught.value.code() == code
            assert text in caught.value.details()
            assert ("boardd-reason", reason) in tuple(caught.value.trailing_metadata())
            assert not harness.status().sessions

    run_async(test, tmp_path)


def test_a_newer_client_that_still_speaks_our_version_is_served(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            reply = await harness.client().open(min_protocol_version=1, max_protocol_version=7)
            assert reply.protocol_version == 1

    run_async(test, tmp_path)


def test_sessions_are_bounded(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path, Budgets(max_sessions=2)) as harness:
            clients = [harness.client() for _ in range(3)]
            await clients[0].open()
            await clients[1].open()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await clients[2].open()
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert ("boardd-reason", "TOO_MANY_SESSIONS") in tuple(caught.value.trailing_metadata())
            await clients[0].open()  # resumes, takes no new place
            assert (await clients[1].close()).closed
            await clients[2].open()

    run_async(test, tmp_path)

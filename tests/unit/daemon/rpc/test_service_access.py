"""Who may do what with a session: nobody but its client, by the way it came."""

from __future__ import annotations

import os
from pathlib import Path

import grpc
import grpc.aio
import pytest
from boardd_protos import boardd_pb2 as pb
from support.raw_client import RawClient, scalar, serving
from support.service_reading import run_async, steps_of

pytestmark = pytest.mark.usefixtures("no_defects")


def scalars(first: int, last: int) -> bytes:
    return b"".join(scalar(number, step=number) for number in range(first, last + 1))


def test_a_peer_on_tcp_with_a_local_clients_id_reaches_nothing(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            victim = await harness.client().begin()
            await victim.records(scalars(1, 10))
            await victim.acknowledged(10)
            async with grpc.aio.insecure_channel(f"127.0.0.1:{harness.tcp_port}") as channel:
                forger = RawClient(channel, victim.session_id)
                for call, request in (
                    (forger.stub.Flush, pb.FlushRequest(session_id=victim.session_id)),
                    (forger.stub.Close, pb.CloseRequest(session_id=victim.session_id)),
                ):
                    with pytest.raises(grpc.aio.AioRpcError) as caught:
                        await call(request)
                    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
                    assert victim.session_id.hex() not in caught.value.details()
                await forger.attach()
                assert await forger.end() == grpc.StatusCode.NOT_FOUND
                # What it opens is a session of its own, which knows nothing of the other's.
                assert (await forger.open()).received_sequence == 0
                await forger.attach()
                await forger.records(scalars(1, 100))
                await forger.acknowledged(100)
                assert [item.reason for item in forger.rejected] == [pb.UNDEFINED_SERIES]
                await forger.half_close()
                assert await forger.end() == grpc.StatusCode.OK
                await victim.records(scalars(11, 20))
                await victim.acknowledged(20)
                counters = harness.status().counters
                assert (counters.written, counters.duplicates) == (20, 0)
            await victim.half_close()
            assert await victim.end() == grpc.StatusCode.OK
            assert steps_of(harness) == [*range(1, 21)]

    run_async(test, tmp_path)


def test_a_session_over_tcp_is_resumed_over_tcp(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with (
            serving(path) as harness,
            grpc.aio.insecure_channel(f"127.0.0.1:{harness.tcp_port}") as channel,
        ):
            client = await RawClient(channel).begin()
            await client.records(scalars(1, 10))
            await client.acknowledged(10)
            await client.half_close()
            assert await client.end() == grpc.StatusCode.OK
            assert (await client.open()).received_sequence == 10
            # Not by a local process, which could have read the id on its way.
            assert (await harness.client(client.session_id).open()).received_sequence == 0

    run_async(test, tmp_path)


@pytest.mark.parametrize("length", [0, 15, 17])
def test_an_id_of_another_length_is_refused_over_tcp_too(length: int, tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with (
            serving(path) as harness,
            grpc.aio.insecure_channel(f"127.0.0.1:{harness.tcp_port}") as channel,
        ):
            client = RawClient(channel)
            client.session_id = os.urandom(length)
            with pytest.raises(grpc.aio.AioRpcError, match=f"session_id has {length} bytes"):
                await client.open()

    run_async(test, tmp_path)


def test_a_stream_that_never_says_whose_it_is_ends(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path, attach_secs=0.2) as harness:
            silent = harness.client()
            call = silent.stub.Stream()
            with pytest.raises(grpc.aio.AioRpcError, match=r"no Attach came within 0\.2 s") as info:
                await call.read()
            assert info.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            client = await harness.client().begin()
            await client.records(scalars(1, 1))
            await client.acknowledged(1)

    run_async(test, tmp_path)

"""A record whose reduction costs the daemon its life, as one does for which memory is too small."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import grpc.aio
import numpy as np
from boardd_protos import boardd_pb2 as pb
from support.daemon_process import DaemonProcess
from support.raw_client import RawClient, definitions, scalars, summary
from support.waiting import wait_until

LOSS, WORDS = 1, 2
#: Rows and columns of a matrix whose projection takes longer than it takes to kill a daemon.
SLOW_SIDE = 3000


async def send(client: RawClient) -> None:
    """All that there is: an embedding, and a hundred scalars of another run."""
    await client.open()
    await client.attach()
    await client.send(definitions=definitions("words", {WORDS: "words"}, run=1))
    await client.send(definitions=definitions("run", {LOSS: "loss"}, run=2))
    matrix = np.random.default_rng(1).standard_normal((SLOW_SIDE, SLOW_SIDE)).astype(np.float32)
    tensor = pb.Tensor(dtype="float32", shape=matrix.shape)
    payload = pb.Payload(tensors=[tensor], embedding=pb.Embedding(project_to=50))
    await client.tensor(1, matrix)
    await client.records(summary(1, payload, series=WORDS))
    await client.records(scalars(2, 100, series=LOSS))


def until_reducing(notes: Path) -> None:
    wait_until(lambda: any(notes.read_bytes()[28::32]), "something is being reduced")


def test_a_record_that_killed_two_daemons_is_set_aside(tmp_path: Path) -> None:
    session_id = os.urandom(16)

    async def life(daemon: DaemonProcess, *, is_killed: bool) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(daemon.address, options=options) as channel:
            client = RawClient(channel, session_id)
            await send(client)
            if is_killed:
                notes = daemon.socket.with_name(daemon.socket.name + ".reducing")
                await asyncio.to_thread(until_reducing, notes)
                daemon.kill()
                return
            assert (await client.flush(101)).reached
            await client.acknowledged(101)
            (rejected,) = client.rejected
            assert (rejected.reason, rejected.sequence) == (pb.DAEMON_KILLED, 1)
            (run,) = [run for run in daemon.status().runs if run.path.endswith("/run")]
            assert run.pending == 0
            assert (await client.close()).closed
        counters = daemon.status().counters
        assert (counters.accepted, counters.written) == (101, 100)

    first = DaemonProcess(tmp_path)
    try:
        asyncio.run(life(first, is_killed=True))
        for is_killed in (True, False):
            with DaemonProcess(tmp_path, socket=first.socket) as daemon:
                asyncio.run(life(daemon, is_killed=is_killed))
    finally:
        first.close()

"""What the daemon does when it is killed, stopped, drained, or its disk is full."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
from boardd.events.event_pb2 import Event
from boardd_protos import boardd_pb2 as pb
from support.daemon_process import DaemonProcess
from support.independent_reader import points
from support.raw_client import (
    RawClient,
    definitions,
    histogram_payload,
    scalar,
    scalars,
    summary,
)
from support.tfrecords import read_records
from support.tools import tmpfs
from support.waiting import wait_until


def run_async(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 120.0))


@contextlib.asynccontextmanager
async def connected(daemon: DaemonProcess) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(
        daemon.address,
        options=[
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.max_reconnect_backoff_ms", 100),
            # Channels of one target share connections, also across daemons.
            ("grpc.use_local_subchannel_pool", 1),
        ],
    ) as channel:
        yield channel


async def until(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_until, condition)


def steps_of(run: Path) -> list[int]:
    found = []
    for path in sorted(run.iterdir()):
        for data in read_records(path.read_bytes()):
            event = Event.FromString(data)
            found += [event.step] * len(event.summary.value)
    return found


def test_what_was_acknowledged_survives_sigkill(tmp_path: Path) -> None:
    async def test() -> None:
        with DaemonProcess(tmp_path) as daemon:
            async with connected(daemon) as channel:
                client = await RawClient(channel).begin()
                for first in range(1, 2_000, 100):
                    await client.records(scalars(first, 100))
                await client.acknowledged(500)
                os.kill(daemon.pid, signal.SIGKILL)
                await client.end()
                acknowledged = client.written_sequence
        with DaemonProcess(tmp_path) as daemon:
            async with connected(daemon) as channel:
                again = RawClient(channel, client.session_id)
                reply = await again.open(acknowledged_sequence=acknowledged)
                assert reply.received_sequence == acknowledged
                await again.attach()
                await again.send(definitions=definitions("run"))
                await again.records(scalars(acknowledged + 1, 2_000 - acknowledged))
                await again.acknowledged(2_000)
                assert (await again.close()).closed
        found = steps_of(daemon.logdir / "run")
        assert set(found) == set(range(1, 2_001))
        assert found[:acknowledged] == list(range(1, acknowledged + 1))

    run_async(test())


def test_a_stopped_daemon_goes_on_where_it_was(daemon: DaemonProcess) -> None:
    async def test() -> None:
        async with connected(daemon) as channel:
            client = await RawClient(channel).begin()
            await client.records(scalars(1, 10))
            await client.acknowledged(10)
            os.kill(daemon.pid, signal.SIGSTOP)
            try:
                await client.records(scalars(11, 10))
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await client.stub.Status(pb.StatusRequest(), timeout=0.3)
                assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
                assert client.written_sequence == 10
            finally:
                os.kill(daemon.pid, signal.SIGCONT)
            await client.acknowledged(20)
            assert steps_of(daemon.logdir / "run") == list(range(1, 21))

    run_async(test())


def test_sigterm_writes_what_was_received(tmp_path: Path) -> None:
    async def test() -> None:
        values = np.random.default_rng(0).normal(size=400_000)
        with DaemonProcess(tmp_path) as daemon:
            async with connected(daemon) as channel:
                client = await RawClient(channel).begin()
                for sequence in range(1, 9):
                    await client.tensor(sequence, values.tobytes())
                    payload = histogram_payload(values)
                    await client.records(summary(sequence, payload))
                await until(lambda: daemon.status().counters.accepted == 8)
                os.kill(daemon.pid, signal.SIGTERM)
                await client.end()
                assert client.draining
                assert client.written_sequence == 8
                await until(lambda: daemon.returncode == 0)
        assert steps_of(daemon.logdir / "run") == list(range(1, 9))

    run_async(test())


def test_noise_on_the_socket_harms_nobody(daemon: DaemonProcess) -> None:
    async def test() -> None:
        async with connected(daemon) as channel:
            client = await RawClient(channel).begin()
            for noise in (b"", b"GET / HTTP/1.1\r\n\r\n", os.urandom(100_000)):
                with socket.socket(socket.AF_UNIX) as peer:
                    peer.connect(str(daemon.socket))
                    with contextlib.suppress(OSError):
                        peer.sendall(noise)
            await client.records(scalar(1))
            await client.acknowledged(1)

    run_async(test())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB beneath the daemon's root."""
    with tmpfs(tmp_path / "logs" / "small", "size=512k") as directory:
        yield directory


@pytest.mark.parametrize("is_full_from_the_start", [False, True])
def test_a_full_disk_holds_up_its_runs_only_and_loses_nothing(
    tmp_path: Path, small_disk: Path, is_full_from_the_start: bool
) -> None:
    async def test() -> None:
        ballast = small_disk / "ballast"
        held_bytes = (512 if is_full_from_the_start else 400) * 1024
        ballast.write_bytes(bytes(held_bytes))
        with DaemonProcess(tmp_path, "--intake-bytes", "64MiB") as daemon:
            async with connected(daemon) as channel:
                full = await RawClient(channel).begin("small/run")
                free = await RawClient(channel).begin("run")
                for first in range(1, 5_001, 500):
                    await full.records(scalars(first, 500))
                await until(lambda: any("No space" in run.trouble for run in daemon.status().runs))
                # The other run goes on, and so does this one's stream.
                await free.records(scalars(1, 100))
                await free.acknowledged(100)
                status = daemon.status()
                assert status.counters.pending > 0
                assert status.intake_bytes > 0
                reply = await full.flush(5_000, timeout_secs=0.1)
                assert not reply.reached
                assert "No space" in reply.message
                assert not (await full.close(timeout_secs=0.1)).closed
                ballast.unlink()
                await full.acknowledged(5_000)
                counters = daemon.status().counters
                assert (counters.pending, counters.written) == (0, 5_100)
                assert not any(run.trouble for run in daemon.status().runs)
                assert (await full.close()).closed
        assert steps_of(small_disk / "run") == list(range(1, 5_001))
        assert len(list((small_disk / "run").iterdir())) == 1

    run_async(test())


def test_a_daemon_that_leaves_a_full_disk_is_followed_at_the_very_record(
    tmp_path: Path, small_disk: Path
) -> None:
    async def test() -> None:
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(400 * 1024))
        total = 20_000
        runs = [definitions("small/run", {1: "loss"}), definitions("run", {2: "loss"}, run=2)]
        with DaemonProcess(tmp_path, "--drain-secs", "0.2") as daemon:
            async with connected(daemon) as channel:
                client = await RawClient(channel).begin("small/run")
                await client.send(definitions=runs[1])
                for first in range(1, total, 500):
                    frames = [scalar(at, series=1 + at % 2) for at in range(first, first + 500)]
                    await client.records(*frames)
                await until(lambda: any(run.trouble for run in daemon.status().runs))
                await until(lambda: daemon.status().counters.accepted == total)
                daemon.signal(signal.SIGTERM)
                await until(lambda: daemon.returncode is not None)
                await client.end()
                acknowledged = max(client.written_sequence, 0)
        assert acknowledged < total
        ballast.unlink()
        with DaemonProcess(tmp_path) as daemon:
            async with connected(daemon) as channel:
                again = RawClient(channel, client.session_id)
                await again.open(acknowledged_sequence=acknowledged)
                await again.attach()
                for message in runs:
                    await again.send(definitions=message)
                for first in range(acknowledged + 1, total + 1, 500):
                    last = min(first + 500, total + 1)
                    await again.records(
                        *(scalar(at, series=1 + at % 2) for at in range(first, last))
                    )
                await again.acknowledged(total)
                counters = daemon.status().counters
                assert counters.written == counters.accepted == total - acknowledged
                assert counters.duplicates > 0
                assert (await again.close()).closed
        assert steps_of(daemon.logdir / "run") == list(range(1, total + 1, 2))
        found = [step for step, _ in points(small_disk / "run", "loss")]
        assert found == list(range(2, total + 1, 2))

    run_async(test())


def test_a_full_disk_makes_the_stream_wait_and_memory_stays_bounded(
    tmp_path: Path, small_disk: Path
) -> None:
    async def test() -> None:
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(500 * 1024))
        budget = 1 << 20
        with DaemonProcess(tmp_path, "--session-intake-bytes", str(budget)) as daemon:
            async with connected(daemon) as channel:
                client = await RawClient(channel).begin("small/run")
                # Noise, which no compression makes smaller.
                pixels = np.random.default_rng(0).integers(0, 256, (300, 300), np.uint8)
                payload = pb.Payload(
                    tensors=[pb.Tensor(dtype="uint8", shape=pixels.shape)],
                    image=pb.Image(dataformats="HW"),
                )
                total = 100

                async def log() -> None:
                    for sequence in range(1, total + 1):
                        await client.tensor(sequence, pixels.tobytes())
                        await client.records(summary(sequence, payload))

                logging = asyncio.create_task(log())
                # 9 MB are offered; the daemon takes what its budget allows.
                await until(lambda: any(run.trouble for run in daemon.status().runs))
                before = 0
                while (now := daemon.status().counters.accepted) != before:
                    before = now
                    await asyncio.sleep(0.3)
                assert daemon.status().intake_bytes < 2 * budget + 200_000
                assert now < total
                subprocess.run(
                    ["mount", "-o", "remount,size=64m", str(small_disk)], check=True, timeout=120
                )
                await logging
                await client.acknowledged(total)
        ballast.unlink()
        assert steps_of(small_disk / "run") == list(range(1, total + 1))

    run_async(test())

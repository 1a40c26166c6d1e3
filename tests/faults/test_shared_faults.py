"""Shared memory when the trainer is killed, the daemon is, or the disk is full."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import grpc.aio
import pytest
from boardd_protos import boardd_pb2 as pb
from boardd_protos.address import MAX_SOCKET_PATH_BYTES
from boardd_protos.local_socket import HANDOVER_SUFFIX
from support import shared_trainer
from support.daemon_process import DaemonProcess
from support.raw_client import RawClient, definitions, scalar, scalars
from support.service_reading import events_of
from support.shared_client import MEMORY_NAME, SharedClient
from support.tools import tmpfs
from support.waiting import wait_until

COMMITTED, BEHIND = 300, 500
STEPS = shared_trainer.steps(COMMITTED, BEHIND)


def steps_of(run: Path) -> list[int]:
    return [
        event.step
        for path in sorted(run.iterdir())
        for event in events_of(path)
        for _ in event.summary.value
    ]


def has_nothing_left(daemon: DaemonProcess) -> bool:
    status = daemon.status()
    return not status.sessions and not status.runs and not status.counters.pending


def test_a_killed_trainer_loses_nothing(daemon: DaemonProcess) -> None:
    trainer = shared_trainer.start(daemon.socket, "run", COMMITTED, BEHIND)
    wait_until(lambda: daemon.status().counters.written == COMMITTED)
    assert MEMORY_NAME in Path(f"/proc/{daemon.pid}/maps").read_text()
    files = len(os.listdir(f"/proc/{daemon.pid}/fd"))
    shared_trainer.end(trainer)
    wait_until(lambda: has_nothing_left(daemon))
    assert steps_of(daemon.logdir / "run") == STEPS
    (rejected,) = daemon.status().counters.rejected
    assert (rejected.reason, rejected.records) == (pb.CAPTURE_FAILED, 1)
    daemon.wait_log(
        rf"pid 4711 on host\) ended without closing its session: {BEHIND + 2} records beyond .*, "
        "1 of them without their values"
    )
    # No memory of the trainer is kept.
    assert MEMORY_NAME not in Path(f"/proc/{daemon.pid}/maps").read_text()
    assert len(os.listdir(f"/proc/{daemon.pid}/fd")) < files


def test_a_trainer_that_dies_while_the_daemon_is_stopped_loses_nothing(
    daemon: DaemonProcess,
) -> None:
    trainer = shared_trainer.start(daemon.socket, "run", COMMITTED, BEHIND)
    with daemon.stop_cont():
        shared_trainer.end(trainer)
    wait_until(lambda: has_nothing_left(daemon))
    assert steps_of(daemon.logdir / "run") == STEPS


def test_sigterm_comes_after_a_dead_trainers_log(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        trainers = [
            shared_trainer.start(daemon.socket, f"run{number}", COMMITTED, BEHIND)
            for number in range(2)
        ]
        with daemon.stop_cont():
            for trainer in trainers:
                shared_trainer.end(trainer)
            daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
    for number in range(2):
        assert steps_of(daemon.logdir / f"run{number}") == STEPS


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB beneath the daemon's root."""
    with tmpfs(tmp_path / "logs" / "small", "size=512k") as directory:
        yield directory


def test_a_dead_trainers_log_waits_for_a_full_disk(tmp_path: Path, small_disk: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(512 * 1024))
        trainer = shared_trainer.start(daemon.socket, "small/run", COMMITTED, BEHIND)
        shared_trainer.end(trainer)
        wait_until(lambda: any("No space" in run.trouble for run in daemon.status().runs))
        other = shared_trainer.start(daemon.socket, "run", COMMITTED, BEHIND)
        shared_trainer.end(other)
        wait_until(lambda: len(daemon.status().sessions) == 1)
        assert steps_of(daemon.logdir / "run") == STEPS
        ballast.unlink()
        wait_until(lambda: has_nothing_left(daemon))
        assert steps_of(small_disk / "run") == STEPS


def test_what_a_dead_trainer_loses_at_the_end_of_the_drain_is_said(
    tmp_path: Path, small_disk: Path
) -> None:
    with DaemonProcess(tmp_path, "--drain-secs", "0.2") as daemon:
        (small_disk / "ballast").write_bytes(bytes(512 * 1024))
        trainer = shared_trainer.start(daemon.socket, "small/run", COMMITTED, BEHIND)
        shared_trainer.end(trainer)
        wait_until(lambda: any("No space" in run.trouble for run in daemon.status().runs))
        assert daemon.terminate() == 0
        daemon.wait_log("pid 4711 is gone, and not all that its ring held could be written")


def test_the_next_daemon_gets_the_map_and_goes_on(tmp_path: Path) -> None:
    async def test() -> None:
        with DaemonProcess(tmp_path) as first:
            async with grpc.aio.insecure_channel(first.address) as channel:
                client = SharedClient(channel, first.socket, log_bytes=1 << 20)
                await client.begin()
                client.ring.append(scalars(2, 5_000))
                await client.commit()
                await client.acknowledged(100)
                first.kill()
                await client.end()
                acknowledged = client.written_sequence
            end = client.ring.position
        with DaemonProcess(tmp_path) as second:
            async with grpc.aio.insecure_channel(second.address) as channel:
                again = SharedClient(channel, second.socket, client.session_id, log_bytes=1 << 20)
                # The same memory, as the client's process still has it.
                again.view[:] = client.view
                client.free()
                again.ring.sequence, again.ring.position = 5_001, end
                reply = await again.open(acknowledged_sequence=acknowledged)
                assert (reply.received_sequence, reply.holds_maps) == (acknowledged, False)
                assert await again.hand_over() == ""
                at = end - (5_001 - acknowledged) * len(scalar(1))
                await again.attach(pb.LogPosition(sequence=acknowledged, position=at))
                await again.send(definitions=definitions("run"))
                await again.commit()
                await again.acknowledged(5_001)
                assert (await again.close()).closed
                again.free()
        found = steps_of(second.logdir / "run")
        assert found[: acknowledged - 1] == list(range(2, acknowledged + 1))
        assert set(found) == set(range(2, 5_002))

    asyncio.run(asyncio.wait_for(test(), 120.0))


def test_a_path_too_long_for_a_second_socket_costs_only_that(
    tmp_path: Path, runtime_directory: Path
) -> None:
    room = MAX_SOCKET_PATH_BYTES - len(HANDOVER_SUFFIX) - len(str(runtime_directory)) - 2
    directory = runtime_directory / ("x" * (room - 1))
    socket = directory / "ss"
    assert len(str(socket)) + len(HANDOVER_SUFFIX) == MAX_SOCKET_PATH_BYTES + 1

    async def test(daemon: DaemonProcess) -> None:
        async with grpc.aio.insecure_channel(daemon.address) as channel:
            client = await RawClient(channel).begin()
            await client.records(scalar(1))
            await client.acknowledged(1)
            await client.cut()

    with DaemonProcess(tmp_path, socket=socket) as daemon:
        daemon.wait_log("clients cannot share memory.*too long")
        asyncio.run(asyncio.wait_for(test(daemon), 120.0))
        daemon.terminate()
        assert list(directory.iterdir()) == []

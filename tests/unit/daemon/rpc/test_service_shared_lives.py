"""Whether a client that shares its ring lives, and what becomes of its session."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boardd.core.budget import Budgets
from boardd.core.session.frame_taker import FrameTaker
from boardd.core.session.session import Session
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import CLAIMED
from boardd_protos.local_socket import HANDOVER_SUFFIX
from boardd_protos.shared import SHARE, Handover
from support.raw_client import Harness, definitions, scalar, scalars, summary
from support.service_reading import reasons, run_async, steps_of, until
from support.shared_client import SharedClient, slotted_histogram
from support.shared_service import sessions, shared

#: Hands over the memory of another process's descriptor, and waits.
HAND_OVER = """
import socket, sys
peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
peer.connect(sys.argv[1])
socket.send_fds(peer, [bytes.fromhex(sys.argv[2])], list(map(int, sys.argv[3:])))
peer.recv(4096)
print("done", flush=True)
sys.stdin.read()
"""


@contextlib.asynccontextmanager
async def another_process(harness: Harness, client: SharedClient) -> AsyncIterator[Any]:
    """A process that has handed over the memory of ``client``; killed in the end."""
    first = Handover(client.session_id, SHARE, 0, client.size_bytes)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-c", HAND_OVER, f"{harness.socket}{HANDOVER_SUFFIX}"),
        *(first.encode().hex(), str(client.fd), str(client.log_fd)),
        pass_fds=[client.fd, client.log_fd],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"done\n"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


def holds_maps(harness: Harness) -> bool:
    return any(session.map_bytes for session in harness.status().sessions)


def is_verifying(harness: Harness) -> bool:
    return any(live.state.is_verifying for live in harness.service._sessions.registry)


# A map connection that no stream was attached to


@pytest.mark.usefixtures("no_defects")
def test_a_living_client_that_gave_up_its_handover_loses_nothing(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (harness, client):
            await client.open()
            frames = scalar(2), scalar(3, flags=CLAIMED)
            client.ring.append(*frames)
            assert await client.hand_over() == ""
            client.let_go()  # it had no answer in time
            await until(lambda: not holds_maps(harness))
            assert sessions(harness) == 1, "its lease runs"
            reply = await client.open()
            assert (reply.received_sequence, reply.holds_maps) == (1, False)
            assert await client.hand_over() == ""
            await client.attach(pb.LogPosition(sequence=1))
            await client.define(definitions("run"))
            client.ring.position -= len(frames[1])
            client.ring.append(scalar(3))  # its value has arrived
            await client.commit()
            await client.acknowledged(3)
            assert steps_of(harness) == [2, 3]
            assert not reasons(harness)

    run_async(test, tmp_path)


@pytest.mark.usefixtures("no_defects")
def test_a_living_client_may_come_back_before_it_is_known_to_live(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (harness, client):
            await client.open()
            client.ring.append(scalar(2))
            for _ in range(20):
                assert await client.hand_over() == ""
                client.let_go()
                await until(lambda: is_verifying(harness))
                assert not (await client.open()).holds_maps
            assert await client.hand_over() == ""
            await client.attach(pb.LogPosition(sequence=1))
            await client.define(definitions("run"))
            await client.commit()
            await client.acknowledged(2)
            assert (await client.open()).holds_maps
            assert (await client.close()).closed

    run_async(test, tmp_path)


@pytest.mark.usefixtures("no_defects")
def test_the_lease_of_a_client_that_let_go_ends(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with shared(path, Budgets(lease_secs=0.05)) as (harness, client):
            await client.open()
            assert await client.hand_over() == ""
            client.let_go()
            await until(lambda: sessions(harness) == 0)

    run_async(test, tmp_path)


@pytest.mark.usefixtures("no_defects")
@pytest.mark.parametrize("is_drained", [False, True])
def test_a_client_that_dies_before_its_first_stream(is_drained: bool, tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (harness, client):
            await client.open()
            client.keep(definitions("run"))
            client.ring.append(scalars(2, 10))
            async with another_process(harness, client) as process:
                assert (await client.open()).holds_maps
                process.kill()
                await process.wait()
            if is_drained:
                assert await harness.service.drain(20.0)
            else:
                await until(lambda: sessions(harness) == 0)
            assert steps_of(harness) == list(range(2, 12))

    run_async(test, tmp_path)


@pytest.mark.usefixtures("no_defects")
@pytest.mark.parametrize("is_opened", [False, True])
def test_the_log_of_a_client_that_dies_before_it_attached_is_read_from_its_tail(
    is_opened: bool, tmp_path: Path
) -> None:
    async def test(path: Path) -> None:
        async with shared(path, log_bytes=4096) as (harness, client):
            client.keep(definitions("run"))
            client.ring.append(scalars(2, 130))  # more than a lap
            client.freed(100, 99 * 48 + 4096 % 48)  # a daemon before this one wrote them
            if is_opened:
                await client.open(acknowledged_sequence=100)
            async with another_process(harness, client) as process:
                assert sessions(harness) == 1
                process.kill()
                await process.wait()
            await until(lambda: sessions(harness) == 0)
            assert steps_of(harness) == list(range(101, 132))
            counters = harness.status().counters
            assert (counters.accepted, counters.duplicates) == (31, 0)

    run_async(test, tmp_path)


@pytest.mark.usefixtures("no_defects")
def test_an_empty_ring_of_many_laps_holds_nothing(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with shared(path, log_bytes=4096) as (harness, client):
            client.keep(definitions("run"))
            client.ring.append(scalars(2, 200))
            client.freed(201, client.ring.position)  # where a frame of an earlier lap still is
            async with another_process(harness, client) as process:
                process.kill()
                await process.wait()
            await until(lambda: sessions(harness) == 0)
            counters = harness.status().counters
            assert (counters.accepted, counters.duplicates) == (0, 0)

    run_async(test, tmp_path)


# The lease


@pytest.mark.usefixtures("no_defects")
@pytest.mark.parametrize("comes_back", [False, True])
def test_a_session_has_no_lease_while_its_connection_holds(
    comes_back: bool, tmp_path: Path
) -> None:
    async def test(path: Path) -> None:
        async with shared(path, Budgets(lease_secs=0.1)) as (harness, client):
            await client.begin()
            await client.log(scalar(2))
            await client.acknowledged(2)
            await client.cut()
            await until(lambda: not harness.status().sessions[0].attached)
            position = client.here()
            client.ring.append(scalars(3, 50))
            other = harness.client()
            await other.open()  # its lease begins later
            await until(lambda: sessions(harness) == 1)
            assert steps_of(harness) == [2], "nothing is read without a stream"
            if comes_back:
                assert (await client.open()).holds_maps
                await client.attach(position)
                await client.commit()
                await client.acknowledged(52)
                assert (await client.close()).closed
            else:
                client.free()  # the client dies
                await until(lambda: sessions(harness) == 0)
            assert steps_of(harness) == list(range(2, 53))

    run_async(test, tmp_path)


# Close


@pytest.mark.usefixtures("no_defects")
def test_close_does_not_pass_over_what_was_committed_and_not_read(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        budgets = Budgets(session_intake_bytes=4096)
        async with shared(path, budgets, log_bytes=1 << 22) as (harness, client):
            await client.begin()
            client.ring.append(scalars(2, 80_000))
            await client.commit()
            await until(lambda: harness.status().counters.accepted > 0)
            await client.cut()
            reply = await client.close(0.2)
            assert not reply.closed
            assert "of 80001" in reply.message
            assert "no stream is attached to read it" in reply.message
            assert sessions(harness) == 1
            # By value the rest can come, too, and then none of the ring is missing.
            received = (await client.open()).received_sequence
            assert received < 80_001
            await client.attach()
            await client.send(definitions=definitions("run"))
            for number in range(received + 1, 80_002, 10_000):
                await client.records(scalars(number, min(10_000, 80_002 - number)))
            await client.acknowledged(80_001)
            assert (await client.close()).closed
            assert steps_of(harness) == list(range(2, 80_002))

    run_async(test, tmp_path)


# Defects


@pytest.mark.parametrize(
    ("owner", "method"),
    [(Session, "receive_walked"), (FrameTaker, "_take_summary"), (Session, "end")],
)
def test_a_defect_ends_the_session_of_a_dead_client_all_the_same(
    owner: type,
    method: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*arguments: object) -> None:
        raise MemoryError("no more")

    async def test(path: Path) -> None:
        async with shared(path) as (harness, client):
            await client.begin()
            await client.log(scalars(2, 3))
            await client.acknowledged(4)
            values = np.arange(3.0)
            payload = slotted_histogram(values, client.place(values))
            client.ring.append(scalars(5, 5), summary(10, payload))
            with monkeypatch.context() as patch:
                patch.setattr(owner, method, fail)
                await client.die()
                await until(lambda: not harness.service.has_sessions)
            assert any("cannot be" in text for text in caplog.messages)
            # Others are served as before.
            other = await harness.client().begin("other")
            await other.records(scalar(1))
            await other.acknowledged(1)
            assert (await other.close()).closed
            caplog.clear()

    # What it had accepted stays out of balance, which the status would complain of.
    monkeypatch.setattr(Harness, "status", lambda self: list(self.service.status())[-1])
    run_async(test, tmp_path)

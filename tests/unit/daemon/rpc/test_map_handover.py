"""The socket over which clients hand over their memory: who may, what, and how it ends."""

from __future__ import annotations

import asyncio
import fcntl
import os
import stat
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from boardd.core.budget import Budgets
from boardd_protos.local_socket import HANDOVER_SUFFIX
from boardd_protos.shared import (
    F_ADD_SEALS,
    HANDOVER_BYTES,
    RELEASE,
    SEALS,
    SHARE,
    Handover,
)
from support.descriptors import descriptors_left
from support.map_handover import SIZE_BYTES, first, handing_over, open_files
from support.raw_client import Harness, definitions, scalar, serving
from support.service_reading import run_async, steps_of
from support.shared_client import (
    ALL_SEALS,
    SharedClient,
    freed,
    is_mapped,
    log_file,
    log_of,
    memory,
)
from support.waiting import until

pytestmark = pytest.mark.usefixtures("no_defects")


def map_bytes(harness: Harness) -> int:
    return sum(session.map_bytes for session in harness.status().sessions)


# What is taken


def test_a_map_is_held_as_long_as_the_session(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with handing_over(path) as (harness, client):
            assert not (await client.open()).holds_maps
            assert await client.hand_over() == ""
            assert (await client.open()).holds_maps
            assert map_bytes(harness) == client.size_bytes
            assert (await client.close()).closed
            client.free()
            await until(lambda: not is_mapped())

    run_async(test, tmp_path)


def test_the_socket_is_the_users_alone(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            status = os.stat(f"{harness.socket}{HANDOVER_SUFFIX}")
            assert stat.S_ISSOCK(status.st_mode)
            assert stat.S_IMODE(status.st_mode) == 0o600

    run_async(test, tmp_path)


def test_more_maps_are_taken_and_released(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with handing_over(path) as (harness, client):
            await client.hand_over()
            fd = memory(SIZE_BYTES)
            for number in (1, 2):
                client.tell(Handover(client.session_id, SHARE, number, SIZE_BYTES), fd)
            os.close(fd)
            await until(lambda: map_bytes(harness) == client.size_bytes + 2 * SIZE_BYTES)
            client.tell(Handover(client.session_id, RELEASE, 1))
            await until(lambda: map_bytes(harness) == client.size_bytes + SIZE_BYTES)
            client.tell(Handover(client.session_id, RELEASE, 77))  # unknown: nothing happens
            client.tell(Handover(client.session_id, RELEASE, 2))
            await until(lambda: map_bytes(harness) == client.size_bytes)

    run_async(test, tmp_path)


def test_a_newer_connection_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with handing_over(path) as (harness, client):
            await client.hand_over()
            older, client.map_connection = client.map_connection, None
            fd = memory(SIZE_BYTES)
            with freed(client), older:
                second = Handover(client.session_id, SHARE, 1, SIZE_BYTES)
                assert await client.exchange(older, second.encode(), [fd]) == ""
                os.close(fd)
                assert map_bytes(harness) == client.size_bytes + SIZE_BYTES
                assert await client.hand_over() == ""
                # Only the new map 0 is left, and the end of the old connection means nothing.
                assert map_bytes(harness) == client.size_bytes
                assert await asyncio.get_running_loop().sock_recv(older, 1) == b""
                await asyncio.sleep(0)
                assert len(harness.status().sessions) == 1

    run_async(test, tmp_path)


# What is refused


def sealed_too_little() -> int:
    return memory(SIZE_BYTES, seals=ALL_SEALS & ~2)


def writable_by_others() -> int:
    return memory(SIZE_BYTES, seals=SEALS)


def huge_pages() -> int:
    fd = os.memfd_create("huge", os.MFD_ALLOW_SEALING | os.MFD_HUGETLB)
    os.ftruncate(fd, 2 << 20)
    fcntl.fcntl(fd, F_ADD_SEALS, ALL_SEALS)
    return fd


def plain_file() -> int:
    with tempfile.TemporaryFile() as file:
        file.truncate(SIZE_BYTES)
        return os.dup(file.fileno())


@pytest.mark.parametrize(
    ("make", "changes", "refusal"),
    [
        (sealed_too_little, {}, "has the seals 0x15; 0x17 are needed"),
        (writable_by_others, {}, "has the seals 0x7; 0x17 are needed"),
        (huge_pages, {"size_bytes": 2 << 20}, "a memfd of another kind"),
        (plain_file, {}, "is no memfd"),
        (lambda: memory(SIZE_BYTES), {"size_bytes": SIZE_BYTES + 4096}, "65536 bytes, not 69632"),
        (lambda: memory(SIZE_BYTES), {"size_bytes": SIZE_BYTES - 4096}, "65536 bytes, not 61440"),
        (lambda: memory(SIZE_BYTES), {"map_number": 1}, "2 descriptors; this message has 1"),
        (lambda: memory(SIZE_BYTES), {"action": 7}, "descriptors; this message has 0"),
        (lambda: memory(SIZE_BYTES), {"session_id": bytes(16)}, "the log is another session's"),
    ],
)
def test_a_map_that_is_not_as_it_must_be_is_refused(
    make: Callable[[], int], changes: dict[str, object], refusal: str, tmp_path: Path
) -> None:
    async def test(path: Path) -> None:
        async with handing_over(path) as (harness, client):
            with await client.connect() as peer:
                fd = make()
                fds = [fd, client.log_fd]
                answer = await client.exchange(peer, first(client, **changes), fds)
                os.close(fd)
                assert refusal in answer
                assert await asyncio.get_running_loop().sock_recv(peer, 1) == b""
            assert map_bytes(harness) == 0
            assert await client.hand_over() == "", "a refusal is not for ever"

    run_async(test, tmp_path)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda data: b"x" * len(data), "does not begin as a log does"),
        (lambda data: data[:100], "does not begin as a log does"),
        (lambda data: data[:-8], "1183736 bytes, not 1183744"),
        (lambda data: data[:24] + b"\x07" + data[25:], "version 7"),
        (lambda data: data[:40] + bytes(8) + data[48:], "a ring of 0 bytes"),
        (lambda data: data[:40] + struct.pack("<Q", 4097) + data[48:], "a ring of 4097 bytes"),
        (lambda data: data[:32] + struct.pack("<Q", 4100) + data[40:], "bytes at 4100"),
        (lambda data: data[:32] + struct.pack("<Q", 8) + data[40:], "bytes at 8"),
        (lambda data: data[:40] + struct.pack("<Q", 2**64 - 8) + data[48:], "a ring of"),
        (lambda data: data[:48] + struct.pack("<Q", 2**64 - 8) + data[56:], "definitions of"),
        (lambda data: data[:64] + struct.pack("<Q", 2**64 - 1) + data[72:], "freed up to"),
        (lambda data: data[:72] + struct.pack("<Q", 4) + data[80:], "position 4"),
        (lambda data: data[:80] + struct.pack("<Q", 1 << 40) + data[88:], "of definitions"),
    ],
)
def test_a_log_that_is_none_is_refused(
    change: Callable[[bytes], bytes], refusal: str, tmp_path: Path
) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            with freed(SharedClient(harness.channel, harness.socket)) as client:
                before = open_files()
                with await client.connect() as peer:
                    log = log_file(change(log_of(client.session_id)))
                    fds = [client.fd, log]
                    answer = await client.exchange(peer, first(client, client.size_bytes), fds)
                    os.close(log)
                    assert refusal in answer
                assert not harness.status().sessions, "no session begins with it"
                await until(lambda: open_files() <= before)

    run_async(test, tmp_path)


#: It takes five: of the connection, its process, the map, the log, and its copy.
@pytest.mark.parametrize("spare", range(1, 5))
def test_a_map_for_which_there_is_no_descriptor_is_refused(spare: int, tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            with freed(SharedClient(harness.channel, harness.socket)) as client:
                fds = [client.fd, log_file(log_of(client.session_id))]
                with await client.connect() as peer, descriptors_left(spare):
                    answer = await client.exchange(peer, first(client, client.size_bytes), fds)
                os.close(fds[1])
                assert "or more descriptors" in answer or "open files" in answer
                assert await client.hand_over() == ""

    run_async(test, tmp_path)


def test_a_log_that_does_not_lie_in_memory_is_refused(tmp_path: Path) -> None:
    """To read it might take any time."""

    async def test(path: Path) -> None:
        async with handing_over(path) as (_, client):
            reading, writing = os.pipe()
            file = path / "log"
            file.write_bytes(log_of(client.session_id))
            with open(file, "rb") as plain, await client.connect() as peer:
                fds = [client.fd, plain.fileno()]
                answer = await client.exchange(peer, first(client, client.size_bytes), fds)
                assert "no file in memory" in answer
            with await client.connect() as peer:
                fds = [client.fd, reading]
                answer = await client.exchange(peer, first(client, client.size_bytes), fds)
                assert "no file in memory" in answer
            os.close(reading)
            os.close(writing)

    run_async(test, tmp_path)


def test_a_session_may_begin_with_its_maps(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            with freed(SharedClient(harness.channel, harness.socket)) as client:
                assert await client.hand_over() == ""
                (session,) = harness.status().sessions
                assert (session.hostname, session.pid, session.program) == ("host", 4711, "test")
                reply = await client.open()
                assert (reply.received_sequence, reply.holds_maps) == (1, True)
                await client.attach(client.here())
                await client.define(definitions("run"))
                await client.log(scalar(2))
                await client.acknowledged(2)
                assert steps_of(harness) == [2]

    run_async(test, tmp_path)


def test_a_session_past_the_budget_does_not_begin_with_its_maps(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path, Budgets(max_sessions=1)) as harness:
            await harness.client().open()
            with freed(SharedClient(harness.channel, harness.socket)) as client:
                assert "budget of 1 sessions" in await client.hand_over()

    run_async(test, tmp_path)


def test_a_log_that_is_cut_off_ends_the_stream_alone(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with handing_over(path) as (harness, client):
            await client.begin()
            await client.log(scalar(2))
            await client.acknowledged(2)
            client.ring.append(scalar(3))
            os.ftruncate(client.log_fd, 4096)
            await client.commit()
            assert await client.end() == grpc.StatusCode.INVALID_ARGUMENT
            assert client.error is not None
            assert "the log has no" in str(client.error.details())
            client.let_go()
            await until(lambda: not harness.status().sessions)

    run_async(test, tmp_path)


@pytest.mark.parametrize("count", [0, 1, 3, 8, 9, 200])
def test_too_few_or_many_descriptors_are_refused_and_closed(count: int, tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with handing_over(path) as (_, client):
            before = open_files()
            with await client.connect() as peer:
                answer = await client.exchange(peer, first(client), [client.fd] * count)
                assert "descriptors; this message has 2" in answer
            await until(lambda: open_files() <= before)

    run_async(test, tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(HANDOVER_BYTES),
        bytes(HANDOVER_BYTES + 1),
        b"\0" * 9000,
    ],
)
def test_noise_is_refused(data: bytes, tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with handing_over(path) as (_, client):
            with await client.connect() as peer:
                assert "no handover of this protocol" in await client.exchange(peer, data)

    run_async(test, tmp_path)


def test_noise_on_a_map_connection_harms_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(path: Path) -> None:
        async with handing_over(path) as (harness, client):
            await client.begin()
            other = SharedClient(harness.channel, harness.socket)
            with freed(other):
                await other.open()
                await client.log(scalar(2))
                await client.acknowledged(2)
                before = open_files()
                for session_id in (client.session_id, other.session_id):
                    for action in (SHARE, RELEASE, 9):
                        for number in (0, 1):
                            client.tell(Handover(session_id, action, number, 8192), 0, 1, 2)
                assert client.map_connection is not None
                client.map_connection.send(os.urandom(HANDOVER_BYTES))
                await client.log(scalar(3))
                await client.acknowledged(3)
                await until(lambda: open_files() <= before)
                assert map_bytes(harness) == client.size_bytes
            warnings = [one for one in caplog.messages if "cannot share more memory" in one]
            assert len(warnings) == 1, "a client must not be able to fill the journal"

    run_async(test, tmp_path)


def test_memory_past_the_budget_is_refused(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        probe = SIZE_BYTES
        async with handing_over(path, Budgets(max_map_bytes=probe)) as (harness, client):
            assert "past the budget of 65536, of which 0 are taken" in await client.hand_over()
            client.let_go()
            with await client.connect() as peer:
                fd = memory(SIZE_BYTES)
                for _ in range(2):  # the second in place of the first, so it fits
                    assert await client.exchange(peer, first(client), [fd, client.log_fd]) == ""
                client.map_connection = peer
                second = Handover(client.session_id, SHARE, 1, SIZE_BYTES)
                answer = await client.exchange(peer, second.encode(), [fd])
                assert "map 1 of 65536 bytes is past the budget" in answer
                assert await client.exchange(peer, first(client), [fd, client.log_fd]) == ""
                os.close(fd)
                assert map_bytes(harness) == SIZE_BYTES

    run_async(test, tmp_path)


def test_the_budget_is_that_of_all_sessions(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with handing_over(path, Budgets(max_map_bytes=2 * SIZE_BYTES)) as (harness, client):
            other = SharedClient(harness.channel, harness.socket)
            with freed(other):
                await other.open()
                fd = memory(SIZE_BYTES)
                with await client.connect() as one, await other.connect() as another:
                    assert await client.exchange(one, first(client), [fd, client.log_fd]) == ""
                    fds = [fd, other.log_fd]
                    assert await other.exchange(another, first(other), fds) == ""
                    other.map_connection = another
                    second = Handover(other.session_id, SHARE, 1, SIZE_BYTES)
                    answer = await other.exchange(another, second.encode(), [fd])
                    assert "map 1 of 65536 bytes is past the budget" in answer
                    # In place of what this session has there is room, and for no more.
                    assert await other.exchange(another, first(other), fds) == ""
                    assert map_bytes(harness) == 2 * SIZE_BYTES
                    third = SharedClient(harness.channel, harness.socket)
                    with freed(third):
                        await third.open()
                        with await third.connect() as peer:
                            fds = [fd, third.log_fd]
                            answer = await third.exchange(peer, first(third), fds)
                            assert "past the budget of 131072, of which 131072 are" in answer
                        assert (await client.close()).closed
                        with await third.connect() as peer:
                            assert await third.exchange(peer, first(third), fds) == ""
                os.close(fd)

    run_async(test, tmp_path)

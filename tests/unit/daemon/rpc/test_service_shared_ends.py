"""Streams of shared memory that break, and clients that die."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import grpc
import numpy as np
import pytest
from boardd.core.budget import Budgets
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import CLAIMED, Frame, FrameKind, encode
from support.raw_client import (
    definitions,
    end_run,
    scalar,
    scalars,
    serving,
    summary,
)
from support.service_reading import reasons, run_async, steps_of
from support.shared_client import (
    SharedClient,
    freed,
    is_mapped,
    slotted_histogram,
)
from support.shared_service import histograms_of, sessions, shared
from support.waiting import until

pytestmark = pytest.mark.usefixtures("no_defects")

VALUES = np.random.default_rng(5).normal(size=2_000).astype(np.float32)


# Broken streams


@pytest.mark.parametrize("is_handed_over_anew", [False, True])
def test_a_stream_that_breaks_goes_on_where_it_was(
    is_handed_over_anew: bool, tmp_path: Path
) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (harness, client):
            await client.begin()
            await client.log(scalars(2, 100))
            await client.acknowledged(50)
            await client.cut()
            client.ring.append(scalars(102, 100))
            reply = await client.open()
            assert reply.holds_maps
            assert reply.received_sequence == 101
            if is_handed_over_anew:
                older, client.map_connection = client.map_connection, None
                assert await client.hand_over() == ""
                assert older is not None
                older.close()
            here = client.here()
            # Some of what was received already comes again.
            at = here.position - 150 * 48
            await client.attach(pb.LogPosition(sequence=51, position=at))
            await client.send(definitions=definitions("run"))
            await client.commit()
            await client.acknowledged(201)
            assert steps_of(harness) == list(range(2, 202))
            assert harness.status().counters.duplicates == 50
            assert (await client.close()).closed

    run_async(test, tmp_path)


def test_a_session_opened_again_ends_the_stream_that_reads_its_ring(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (harness, client):
            await client.begin()
            await client.log(scalars(2, 100))
            await client.acknowledged(101)
            position = client.here()
            client.ring.append(scalars(102, 100))
            reply = await client.open()
            assert (reply.received_sequence, reply.holds_maps) == (101, True)
            assert await client.end() == grpc.StatusCode.ABORTED
            await client.attach(position)
            await client.commit()
            await client.acknowledged(201)
            assert steps_of(harness) == list(range(2, 202))
            assert harness.status().counters.duplicates == 0

    run_async(test, tmp_path)


def test_by_value_after_a_shared_stream(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (harness, client):
            await client.begin()
            await client.log(scalar(2))
            await client.acknowledged(2)
            await client.cut()
            await client.attach()
            await client.send(definitions=definitions("run"))
            await client.records(scalars(3, 5))
            await client.acknowledged(7)
            assert steps_of(harness) == list(range(2, 8))

    run_async(test, tmp_path)


# The client's end


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in caplog.messages if "ended without closing" in text]


def test_what_a_dead_client_left_is_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (harness, client):
            await client.begin()
            await client.log(scalar(2))
            await client.acknowledged(2)
            offset = client.place(VALUES)
            client.share(1, VALUES)
            waiting = encode(Frame(FrameKind.SUMMARY, CLAIMED, 6, 6, 1e9, 1, 0.0, bytes(24)))
            client.keep(definitions("run", {2: "weights"}))
            client.ring.append(
                scalar(3),
                summary(4, slotted_histogram(VALUES, offset), series=2),
                summary(5, slotted_histogram(VALUES, 0, number=1), series=2),
                waiting,
                end_run(7),
                scalar(8),
            )
            client.ring.put(scalar(9)[:4] + b"\0" + scalar(9)[5:])
            await client.die()
            await until(lambda: sessions(harness) == 0)
            assert steps_of(harness) == [2, 3, 4, 5, 8]
            assert len(histograms_of(harness)) == 2
            status = harness.status()
            assert status.counters.accepted == 7
            assert reasons(harness) == {"CAPTURE_FAILED": 1}
            assert not status.runs
            (warning,) = warnings_of(caplog)
            assert "test (pid 4711 on host)" in warning
            assert "6 records beyond" in warning
            assert "1 of them without" in warning
            gc.collect()
            await until(lambda: not is_mapped(), "its memory is let go")
            # If it was not dead after all, nothing is written twice.
            again = SharedClient(harness.channel, harness.socket, client.session_id)
            with freed(again):
                assert (await again.open()).received_sequence == 8

    run_async(test, tmp_path)


def test_last_words_on_the_stream_are_heard(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (harness, client):
            await client.open()
            await client.hand_over()
            client.ring.append(scalar(2))
            await client.attach(pb.LogPosition(sequence=1))
            await until(lambda: harness.status().sessions[0].attached)
            # The connection is gone first, and what was said on the stream still comes.
            client.let_go()
            await client.send(definitions=definitions("run"))
            await client.half_close()
            await until(lambda: sessions(harness) == 0)
            assert steps_of(harness) == [2]

    run_async(test, tmp_path)


def test_a_living_client_that_lets_go_is_told(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (harness, client):
            await client.begin()
            await client.commit()
            await client.acknowledged(1)
            client.ring.append(scalars(2, 5))
            client.let_go()
            assert await client.end() == grpc.StatusCode.ABORTED
            await until(lambda: sessions(harness) == 0)
            assert steps_of(harness) == list(range(2, 7))
            assert (await client.open()).received_sequence == 6

    run_async(test, tmp_path)


def test_the_end_of_a_closed_session_means_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (harness, client):
            await client.begin()
            await client.log(scalar(2))
            await client.acknowledged(2)
            client.ring.append(scalar(3))
            assert (await client.close()).closed
            await client.die()
            assert sessions(harness) == 0
            assert steps_of(harness) == [2]
            assert not warnings_of(caplog)

    run_async(test, tmp_path)


def test_a_dead_clients_log_that_is_no_good_is_read_as_far_as_it_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (harness, client):
            await client.begin()
            await client.log(scalar(2))
            await client.acknowledged(2)
            client.ring.append(scalar(3))
            client.ring.append(scalar(5))  # 4 is missing
            await client.die()
            await until(lambda: sessions(harness) == 0)
            assert steps_of(harness) == [2, 3]
            assert len(warnings_of(caplog)) == 1

    run_async(test, tmp_path)


def test_a_dead_clients_broken_definition_costs_its_own_records_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (harness, client):
            await client.begin()
            await client.log(scalar(2))
            await client.acknowledged(2)
            client.keep(definitions("run", {2: "good"}))
            client.keep(b"\xff")
            client.keep(definitions("elsewhere", {3: "contradicts"}))
            client.keep(definitions("run", {4: "good/too"}))
            client.ring.append(*(scalar(2 + series, series=series) for series in (1, 2, 3, 4)))
            await client.die()
            await until(lambda: sessions(harness) == 0)
            assert steps_of(harness) == [2, 3, 4, 6]
            assert reasons(harness) == {"UNDEFINED_SERIES": 1}
            (text,) = (text for text in caplog.messages if "definitions" in text)
            assert text == "2 definitions of pid 4711 are broken"

    run_async(test, tmp_path)


def test_small_budgets_do_not_keep_a_dead_clients_log_from_being_written(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        budgets = Budgets(intake_bytes=1000, session_intake_bytes=1000)
        async with shared(path, budgets, log_bytes=1 << 20) as (harness, client):
            await client.begin()
            await client.commit()
            await client.acknowledged(1)
            client.ring.append(scalars(2, 20_000))
            await client.die()
            await until(lambda: sessions(harness) == 0)
            assert steps_of(harness) == list(range(2, 20_002))

    run_async(test, tmp_path)


def test_a_session_that_ends_cannot_be_attached_to_and_is_begun_anew(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        budgets = Budgets(session_intake_bytes=48)
        async with shared(path, budgets, log_bytes=1 << 20) as (harness, client):
            await client.begin()
            await client.commit()
            await client.acknowledged(1)
            client.ring.append(scalars(2, 20_000))
            client.let_go()
            await client.cut()
            assert harness.service.idle_secs == 0.0, "a session that is written out is one"
            assert not (await client.open()).holds_maps
            assert "was gone" in await client.hand_over()
            await client.attach(client.here())
            assert await client.end() == grpc.StatusCode.NOT_FOUND
            assert (await client.open()).received_sequence == 20_001
            assert steps_of(harness) == list(range(2, 20_002))

    run_async(test, tmp_path)


def test_the_service_ends_after_a_dead_clients_log(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with shared(path, log_bytes=1 << 20) as (harness, client):
            await client.begin()
            await client.commit()
            await client.acknowledged(1)
            alive = SharedClient(harness.channel, harness.socket)
            with freed(alive):
                await alive.begin("alive")
                await alive.commit()
                await alive.acknowledged(1)
                client.ring.append(scalars(2, 5_000))
                alive.ring.append(scalars(2, 5_000))
                client.let_go()  # and the service has not looked yet
                assert await harness.service.drain(20.0)
                await alive.end()
                assert alive.draining
                assert steps_of(harness) == list(range(2, 5_002))
                assert steps_of(harness, "alive") == [], "it takes that to the next daemon"

    run_async(test, tmp_path)


def test_many_clients_die_at_once(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            clients = [
                SharedClient(harness.channel, harness.socket, log_bytes=1 << 16) for _ in range(20)
            ]
            for number, client in enumerate(clients):
                await client.begin(f"run{number}")
                client.ring.append(scalars(2, 500))
            for client in clients:
                client.free()
            await until(lambda: sessions(harness) == 0)
            await asyncio.gather(*(client.end() for client in clients))
            for number in range(20):
                assert steps_of(harness, f"run{number}") == list(range(2, 502))
        gc.collect()
        await until(lambda: not is_mapped())

    run_async(test, tmp_path)


def test_maps_that_a_client_shared_before_it_died_are_taken_beside_answers_it_never_read(
    tmp_path: Path,
) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (harness, client):
            await client.begin(tags={1: "histogram"})
            shared_bytes = harness.status().sessions[0].map_bytes
            client.share(1, VALUES)
            # Its answer is not read, so the end of the connection is an error for the daemon.
            await until(lambda: harness.status().sessions[0].map_bytes > shared_bytes)
            client.share(2, VALUES)
            client.ring.append(summary(2, slotted_histogram(VALUES, 0, number=2)))
            client.let_go()  # and the service has not looked yet
            await until(lambda: sessions(harness) == 0)
            assert len(histograms_of(harness)) == 1, reasons(harness)

    run_async(test, tmp_path)

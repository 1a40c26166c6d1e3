"""Records that come through memory shared with the service, by a client that speaks by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from boardd.core.budget import Budgets
from boardd_protos import boardd_pb2 as pb
from boardd_protos.shared import RELEASE, Handover
from support.raw_client import (
    definitions,
    scalar,
    scalars,
    serving,
    summary,
)
from support.service_reading import reasons, run_async, steps_of, values_of
from support.shared_client import (
    FIRST,
    SharedClient,
    slotted_histogram,
)
from support.shared_service import histograms_of, shared
from support.waiting import until

pytestmark = pytest.mark.usefixtures("no_defects")

VALUES = np.random.default_rng(5).normal(size=2_000).astype(np.float32)


# Good records


def test_scalars_and_tensors_come_through_the_log(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (harness, client):
            await client.begin()
            await client.define(definitions("run", {2: "weights"}))
            payload = slotted_histogram(VALUES, client.place(VALUES))
            await client.log(
                scalar(2, 0.5),
                summary(3, payload, series=2),
                scalar(4, 0.25),
            )
            await client.acknowledged(4)
            assert [step for step, _, _ in values_of(harness)] == [2, 3, 4]
            (histogram,) = histograms_of(harness)
            counts, _ = np.histogram(VALUES, 10)
            assert histogram.num == VALUES.size
            assert histogram.max == VALUES.max()
            assert sum(histogram.bucket) == counts.sum()
            counters = harness.status().counters
            assert (counters.accepted, counters.written) == (3, 3)
            assert (await client.close()).closed
            assert harness.status().intake_bytes == 0

    run_async(test, tmp_path)


def test_commits_may_come_over_the_map_connection(tmp_path: Path) -> None:
    """Of two that the daemon reads the other way round, the further one counts."""

    async def test(path: Path) -> None:
        async with shared(path) as (harness, client):
            await client.begin()
            await client.log(scalar(2))
            await client.acknowledged(2)
            client.ring.append(scalar(3))
            early = client.here()
            client.ring.append(scalar(4))
            client.commit_beside()
            client.commit_beside(early)
            await client.acknowledged(4)
            client.ring.append(scalar(5))
            client.commit_beside()
            assert (await client.close()).closed
            assert steps_of(harness) == [2, 3, 4, 5]

    run_async(test, tmp_path)


def test_a_commit_over_the_map_connection_that_is_not_in_the_ring_ends_the_stream(
    tmp_path: Path,
) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (_, client):
            await client.begin()
            await client.log(scalar(2))
            await client.acknowledged(2)
            client.commit_beside(pb.LogPosition(sequence=9, position=1 << 40))
            await client.ended.wait()
            assert client.error is not None
            assert client.error.code() == grpc.StatusCode.INVALID_ARGUMENT

    run_async(test, tmp_path)


@pytest.mark.parametrize("log_bytes", [1 << 10, 5000 // 8 * 8, 1 << 20])
def test_many_laps_keep_order_and_count(log_bytes: int, tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with shared(path, log_bytes=log_bytes) as (harness, client):
            await client.begin()
            total = 5_000 if log_bytes > 1024 else 300
            values = np.arange(3.0)
            payload = slotted_histogram(values, client.place(values))
            await client.log(
                *(
                    summary(number, payload) if number % 50 == 0 else scalar(number, series=2)
                    for number in range(2, total + 1)
                )
            )
            await client.acknowledged(total)
            assert reasons(harness) == {"UNDEFINED_SERIES": total - 1 - total // 50}
            assert steps_of(harness) == list(range(50, total + 1, 50))

    run_async(test, tmp_path)


def test_small_budgets_hold_the_log_up_and_lose_nothing(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        budgets = Budgets(intake_bytes=1000, session_intake_bytes=1000)
        async with shared(path, budgets, log_bytes=1 << 21) as (harness, client):
            await client.begin()
            await client.log(scalars(2, 20_000))
            await client.acknowledged(20_001)
            assert steps_of(harness) == list(range(2, 20_002))

    run_async(test, tmp_path)


def test_the_intake_is_not_charged_for_the_clients_memory(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        values = np.zeros(1 << 17)
        budgets = Budgets(intake_bytes=8192, session_intake_bytes=8192)
        async with shared(path, budgets) as (harness, client):
            await client.begin()
            payload = slotted_histogram(values, client.place(values))
            await client.log(*(summary(number, payload) for number in range(2, 30)))
            await client.acknowledged(29)
            assert len(histograms_of(harness)) == 28

    run_async(test, tmp_path)


def test_a_half_closed_stream_is_read_to_what_was_committed(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        budgets = Budgets(session_intake_bytes=1000)
        async with shared(path, budgets, log_bytes=1 << 20) as (harness, client):
            await client.begin()
            client.ring.append(scalars(2, 5_000))
            await client.commit()
            await client.half_close()
            assert await client.end() == grpc.StatusCode.OK
            assert client.written_sequence == 5_001
            assert steps_of(harness) == list(range(2, 5_002))

    run_async(test, tmp_path)


def test_close_waits_for_what_was_committed(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        budgets = Budgets(session_intake_bytes=1000)
        async with shared(path, budgets, log_bytes=1 << 20) as (harness, client):
            await client.begin()
            client.ring.append(scalars(2, 5_000))
            await client.commit()
            await until(lambda: harness.status().counters.accepted > 0)
            assert (await client.close()).written_sequence == 5_001

    run_async(test, tmp_path)


# Slots


def test_maps_of_their_own_are_used_and_released(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (harness, client):
            await client.begin()
            for number in range(1, 20):
                client.share(number, VALUES * number)
                payload = slotted_histogram(VALUES, 0, number=number)
                await client.log(summary(number + 1, payload))
                if number % 3 == 0:
                    await client.acknowledged(number + 1)
                    for old in range(number - 2, number + 1):
                        client.tell(Handover(client.session_id, RELEASE, old))
            await client.acknowledged(20)
            found = [histogram.max for histogram in histograms_of(harness)]
            assert found == [(VALUES * number).max() for number in range(1, 20)]
            client.tell(Handover(client.session_id, RELEASE, 19))
            await until(lambda: harness.status().sessions[0].map_bytes == client.size_bytes)

    run_async(test, tmp_path)


SIZE = VALUES.nbytes
BAD_SLOTS: list[tuple[dict[str, int], str]] = [
    ({"map": 9}, "lies in map 9, which is not shared"),
    ({"offset": 2**64 - 8}, "ends at byte 18446744073709559608 of map 0"),
    ({"offset": (1 << 20) - SIZE + 4}, "of map 0, which has 1048576"),
    ({"size_bytes": SIZE - 4}, f"{SIZE - 4} bytes for a tensor of float32"),
    ({"size_bytes": SIZE + 4}, f"{SIZE + 4} bytes for a tensor of float32"),
    ({"size_bytes": 0}, "0 bytes for a tensor of float32"),
]


@pytest.mark.parametrize(("slot", "why"), BAD_SLOTS)
def test_a_bad_slot_rejects_its_record_alone(
    slot: dict[str, int], why: str, tmp_path: Path
) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (harness, client):
            await client.begin(tags={1: "loss", 2: "weights"})
            offset = client.place(VALUES)
            await client.log(
                scalar(2),
                summary(3, slotted_histogram(VALUES, **{"offset": offset, **slot}), series=2),
                summary(4, slotted_histogram(VALUES, offset), series=2),
            )
            await client.acknowledged(4)
            (rejected,) = client.rejected
            assert (rejected.sequence, rejected.reason) == (3, pb.INVALID_TENSOR)
            assert why in rejected.message
            assert steps_of(harness) == [2, 4]

    run_async(test, tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda payload: payload.slots.add(), pb.INVALID_TENSOR),
        (lambda payload: payload.tensors.add(), pb.INVALID_TENSOR),
        (lambda payload: setattr(payload.slots[0], "size_bytes", 2**63), pb.TENSOR_TOO_LARGE),
    ],
)
def test_slots_that_do_not_go_with_the_tensors_are_rejected(
    change: Callable[[pb.Payload], None], reason: int, tmp_path: Path
) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (_, client):
            await client.begin()
            payload = slotted_histogram(VALUES, client.place(VALUES))
            change(payload)
            await client.log(summary(2, payload), scalar(3))
            await client.acknowledged(3)
            assert [one.reason for one in client.rejected] == [reason]

    run_async(test, tmp_path)


def test_an_empty_tensor_has_an_empty_slot(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (harness, client):
            await client.begin()
            await client.log(summary(2, slotted_histogram(np.zeros(0), 0, map=9)))
            await client.acknowledged(2)
            assert [one.num for one in histograms_of(harness)] == [0]

    run_async(test, tmp_path)


def test_values_that_change_while_they_are_read_harm_nobody(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with shared(path, log_bytes=1 << 18) as (harness, client):
            await client.begin()
            values = np.arange(1 << 17, dtype=np.float32)
            offset = client.place(values)
            arena = np.frombuffer(client.view[offset : offset + values.nbytes], np.float32)
            stop = threading.Event()

            def change(arena: np.ndarray) -> None:
                factor = 1e-30
                while not stop.is_set():
                    np.multiply(values, factor, out=arena)
                    factor = 1e30 if factor < 1 else 1e-30

            thread = threading.Thread(target=change, args=(arena,))
            del arena
            thread.start()
            try:
                payload = slotted_histogram(values, offset, bins=1000)
                await client.log(*(summary(number, payload) for number in range(2, 60)))
                await client.acknowledged(59)
            finally:
                stop.set()
                thread.join()
            # Each was written or rejected, and the daemon goes on.
            counters = harness.status().counters
            assert counters.pending == 0
            await client.log(scalar(60))
            await client.acknowledged(60)

    run_async(test, tmp_path)


# What contradicts the protocol


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (lambda client: client.records(scalar(2)), "records on a stream whose records lie"),
        (lambda client: client.tensor(2, b"x"), "chunk on a stream whose records lie"),
        (
            lambda client: client.send(committed=pb.LogPosition(sequence=0, position=0)),
            "before record 1",
        ),
        (
            lambda client: client.send(committed=pb.LogPosition(sequence=9, position=99)),
            "no multiple of 8",
        ),
        (
            lambda client: client.send(committed=pb.LogPosition(sequence=9, position=1 << 30)),
            "the ring has 65536 bytes",
        ),
        (lambda client: client.log(scalar(4)), "record 4, expected 2"),
        (lambda client: client.log(scalar(2)[:4] + b"\0" + scalar(2)[5:]), "not finished"),
    ],
)
def test_a_log_that_cannot_be_read_ends_the_stream(
    act: Callable[[SharedClient], Any], text: str, tmp_path: Path
) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (harness, client):
            await client.begin()
            await client.commit()
            await client.acknowledged(1)
            client.ring.sequence, at = 9, client.ring.position
            await act(client)
            assert await client.end() == grpc.StatusCode.INVALID_ARGUMENT
            assert client.error is not None
            assert text in str(client.error.details())
            # Another stream goes on where it was.
            client.ring.sequence, client.ring.position = 1, at
            await client.attach(pb.LogPosition(sequence=1, position=at))
            await client.log(scalar(2))
            await client.acknowledged(2)
            assert steps_of(harness) == [2]

    run_async(test, tmp_path)


@pytest.mark.parametrize(
    ("is_shared", "log_from", "text"),
    [
        (False, pb.LogPosition(), "no ring is shared"),
        (True, pb.LogPosition(position=4), "no multiple of 8"),
    ],
)
def test_a_log_that_cannot_be_attached(
    is_shared: bool, log_from: pb.LogPosition, text: str, tmp_path: Path
) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (_, client):
            await client.open()
            if is_shared:
                await client.hand_over()
            await client.attach(log_from)
            assert await client.end() == grpc.StatusCode.INVALID_ARGUMENT
            assert client.error is not None
            assert text in str(client.error.details())

    run_async(test, tmp_path)


def test_a_commit_before_what_comes_before_the_ring_ends_the_stream(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (_, client):
            await client.open()
            await client.hand_over()
            await client.attach(pb.LogPosition(sequence=FIRST + 1))
            await client.commit()
            assert await client.end() == grpc.StatusCode.INVALID_ARGUMENT
            assert client.error is not None
            expected = f"only record {FIRST} of {FIRST + 1} has come"
            assert expected in str(client.error.details())

    run_async(test, tmp_path)


def test_a_commit_without_a_log_ends_the_stream(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (_, client):
            await client.open()
            await client.hand_over()
            await client.attach()
            await client.commit()
            assert await client.end() == grpc.StatusCode.INVALID_ARGUMENT

    run_async(test, tmp_path)


def test_slots_of_a_record_by_value_mean_nothing(tmp_path: Path) -> None:
    """A client whose handover was refused sends the tensors, and leaves the slots in."""

    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin()
            await client.tensor(1, VALUES)
            await client.records(summary(1, slotted_histogram(VALUES, 1 << 40, number=3)))
            await client.acknowledged(1)
            assert [one.num for one in histograms_of(harness)] == [VALUES.size]

    run_async(test, tmp_path)

"""The service over a real socket, driven by a client that speaks the wire by hand."""

from __future__ import annotations

from pathlib import Path

import grpc
import numpy as np
import pytest
from boardd.core.budget import Budgets
from boardd_protos import boardd_pb2 as pb
from support.raw_client import (
    definitions,
    histogram_payload,
    scalar,
    scalars,
    serving,
    summary,
)
from support.service_reading import events_of, run_async, steps_of, values_of
from support.waiting import until

pytestmark = pytest.mark.usefixtures("no_defects")


def test_scalars_are_written_acknowledged_and_counted(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin(tags={1: "loss", 2: "a b"})
            await client.records(scalar(1, 0.25), scalar(2, 4.0, series=2), scalar(3, 0.75))
            await client.acknowledged(3)
            assert values_of(harness) == [(1, "loss", 0.25), (2, "a_b", 4.0), (3, "loss", 0.75)]
            (status,) = harness.status().runs
            assert (status.pending, status.series, status.trouble) == (0, 2, "")
            assert status.file == harness.files()[0].name
            counters = harness.status().counters
            assert (counters.accepted, counters.written) == (3, 3)
            first = events_of(harness.files()[0])[0]
            assert first.file_version == "brain.Event:2"
            opening_and_mark = harness.files()[0].stat().st_size - counters.written_bytes
            assert 0 < opening_and_mark < 200
            assert harness.status().intake_bytes == 0

    run_async(test, tmp_path)


def test_many_scalars_keep_their_order(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin(tags={7: "x", 4_000_000_000: "y"})
            for first in range(1, 20_001, 4_000):
                await client.records(
                    *(
                        scalar(number, series=7 if number % 2 else 4_000_000_000)
                        for number in range(first, first + 4_000)
                    )
                )
            await client.acknowledged(20_000)
            assert steps_of(harness) == list(range(1, 20_001))
            assert [tag for _, tag, _ in values_of(harness)[:2]] == ["x", "y"]

    run_async(test, tmp_path)


def test_slow_reductions_do_not_break_the_order(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        generator = np.random.default_rng(1)
        # Large, small, large, small: the small ones are done first.
        arrays = [
            generator.normal(size=2_000_000 if number % 2 else 3).astype(np.float32)
            for number in range(6)
        ]
        async with serving(path, Budgets(reducers=4)) as harness:
            client = await harness.client().begin(tags={1: "loss", 2: "weights"})
            for number, values in enumerate(arrays):
                sequence = 2 * number + 1
                await client.tensor(sequence, values)
                await client.records(
                    summary(sequence, histogram_payload(values), series=2),
                    scalar(sequence + 1),
                )
            await client.acknowledged(12)
            assert steps_of(harness) == list(range(1, 13))
            found = [
                value.histo
                for event in events_of(harness.files()[0])
                for value in event.summary.value
                if value.HasField("histo")
            ]
            for histo, values in zip(found, arrays, strict=True):
                assert histo.num == values.size
                assert histo.sum == pytest.approx(float(values.astype(np.float64).sum()))
            assert harness.status().intake_bytes == 0

    run_async(test, tmp_path)


def test_an_image(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        pixels = np.zeros((4, 1, 8, 6), np.uint8)
        image = pb.Payload(
            tensors=[pb.Tensor(dtype="uint8", shape=pixels.shape)],
            image=pb.Image(dataformats="NCHW", nrow=2, padding=1),
        )
        async with serving(path) as harness:
            client = await harness.client().begin(tags={1: "image"})
            await client.tensor(1, pixels)
            await client.records(summary(1, image))
            await client.acknowledged(1)
            (event,) = events_of(harness.files()[0])[1:]
            made = event.summary.value[0].image
            assert (made.height, made.width) == (2 * 9 + 1, 2 * 7 + 1)
            assert made.encoded_image_string.startswith(b"\x89PNG")

    run_async(test, tmp_path)


def test_records_sent_again_are_not_written_again(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin()
            await client.records(scalars(1, 10))
            await client.acknowledged(10)
            await client.cut()
            reply = await client.open(acknowledged_sequence=4)
            assert (reply.received_sequence, reply.written_sequence) == (10, 10)
            await client.attach()
            await client.send(definitions=definitions("run"))
            # It goes on as if the acknowledgement of 5 to 10 had been lost.
            values = np.arange(4.0)
            await client.tensor(10, values)
            await client.records(scalars(5, 5), summary(10, histogram_payload(values)))
            await client.records(summary(10, histogram_payload(values)), scalars(11, 2))
            await client.acknowledged(12)
            assert steps_of(harness) == list(range(1, 13))
            assert harness.status().counters.duplicates == 7

    run_async(test, tmp_path)


def test_a_tensor_cut_off_is_sent_again_from_its_start(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        values = np.arange(100_000, dtype=np.float64)
        async with serving(path) as harness:
            client = await harness.client().begin()
            await client.tensor(1, values.tobytes()[: 1 << 19], 1 << 18)
            await until(lambda: harness.status().intake_bytes >= 1 << 19)
            await client.cut()
            await until(lambda: harness.status().intake_bytes == 0)
            await client.open()
            await client.attach()
            await client.tensor(1, values, 1 << 18)
            await client.records(summary(1, histogram_payload(values)))
            await client.acknowledged(1)
            (event,) = events_of(harness.files()[0])[1:]
            assert event.summary.value[0].histo.num == values.size

    run_async(test, tmp_path)


def test_a_restarted_daemon_goes_on_after_what_was_acknowledged(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin()
            await client.records(scalars(1, 5))
            await client.acknowledged(5)
        async with serving(path) as harness:
            client = harness.client(client.session_id)
            reply = await client.open(acknowledged_sequence=5)
            assert (reply.received_sequence, reply.written_sequence) == (5, 5)
            await client.attach()
            await client.send(definitions=definitions("run"))
            await client.records(scalars(6, 5))
            await client.acknowledged(10)
            assert len(harness.files()) == 2
            assert steps_of(harness) == list(range(1, 11))

    run_async(test, tmp_path)


def test_a_newer_stream_ends_the_older(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            old = await harness.client().begin()
            await old.records(scalars(1, 3))
            await old.acknowledged(3)
            new = harness.client(old.session_id)
            await new.open(3)
            await new.attach()
            assert await old.end() == grpc.StatusCode.ABORTED
            await new.records(scalars(4, 3))
            await new.acknowledged(6)
            assert steps_of(harness) == list(range(1, 7))

    run_async(test, tmp_path)


def test_a_session_opened_again_ends_its_stream(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin()
            await client.records(scalars(1, 3))
            await client.acknowledged(3)
            reply = await client.open(2)
            assert (reply.received_sequence, reply.written_sequence) == (3, 3)
            assert await client.end() == grpc.StatusCode.ABORTED
            await until(lambda: not harness.status().sessions[0].attached)
            await client.attach()
            await client.records(scalars(4, 3))
            await client.acknowledged(6)
            assert steps_of(harness) == list(range(1, 7))

    run_async(test, tmp_path)


def test_a_client_that_ends_its_side_is_told_everything(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin()
            values = np.ones(1_000_000, np.float32)
            await client.tensor(1, values)
            await client.records(summary(1, histogram_payload(values)))
            await client.half_close()
            assert await client.end() == grpc.StatusCode.OK
            assert client.written_sequence == 1

    run_async(test, tmp_path)


def test_activity_changes_with_every_record_and_session_and_at_no_other_time(
    tmp_path: Path,
) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            service = harness.service
            seen = [service.activity]
            assert not service.has_sessions
            client = await harness.client().begin()
            assert service.has_sessions
            seen.append(service.activity)
            await client.records(scalars(1, 5))
            await client.acknowledged(5)
            seen.append(service.activity)
            harness.status()
            assert await client.flush(5)
            assert service.activity == seen[-1]
            await client.close()
            assert not service.has_sessions
            seen.append(service.activity)
            assert len(set(seen)) == 4

    run_async(test, tmp_path)


def test_a_session_without_a_stream_expires_and_its_records_stay_known(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path, Budgets(lease_secs=1.0)) as harness:
            client = await harness.client().begin()
            await client.records(scalars(1, 5))
            await client.acknowledged(5)
            assert harness.service.idle_secs == 0.0
            await client.cut()
            await until(lambda: not harness.status().sessions)
            assert harness.service.idle_secs >= 0.0
            assert not harness.status().runs
            assert harness.status().counters.written == 5
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await client.flush(5)
            assert caught.value.code() == grpc.StatusCode.NOT_FOUND
            assert ("boardd-reason", "UNKNOWN_SESSION") in tuple(caught.value.trailing_metadata())
            # The acknowledgement of 4 and 5 was lost, the daemon still knows them.
            reply = await client.open(acknowledged_sequence=3)
            assert (reply.received_sequence, reply.written_sequence) == (5, 5)

    run_async(test, tmp_path)

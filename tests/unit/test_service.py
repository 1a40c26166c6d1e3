"""The service over a real socket, driven by a client that speaks the wire by hand."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from boardd.core.budget import Budgets
from boardd.events.event_pb2 import Event
from boardd.events.tfrecord import unframe
from boardd_protos import boardd_pb2 as pb
from boardd_protos.record import Frame, Kind, encode
from support.raw_client import (
    DEADLINE_SECS,
    RUN,
    Harness,
    RawClient,
    definitions,
    end_run,
    histogram_payload,
    scalar,
    scalars,
    serving,
    summary,
)


def run_async(test: Callable[[Path], Coroutine[Any, Any, None]], tmp_path: Path) -> None:
    asyncio.run(asyncio.wait_for(test(tmp_path), 60.0))


@pytest.fixture(autouse=True)
def no_defects(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fails a test during which the service met an exception that it did not expect."""
    yield
    defects = [
        record
        for record in caplog.get_records("call")
        if record.exc_info or "never retrieved" in record.getMessage()
    ]
    assert not defects, defects


def events_of(path: Path) -> list[Event]:
    return [Event.FromString(data) for data in unframe(path.read_bytes())]


def values_of(harness: Harness, run: str = "run") -> list[tuple[int, str, float]]:
    """Step, tag and value of every scalar of a run, in the order of its files."""
    return [
        (event.step, value.tag, value.simple_value)
        for path in harness.files(run)
        for event in events_of(path)
        for value in event.summary.value
    ]


def steps_of(harness: Harness, run: str = "run") -> list[int]:
    return [step for step, _, _ in values_of(harness, run)]


async def until(condition: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + DEADLINE_SECS
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "not in time"
        await asyncio.sleep(0.005)


def reasons(harness: Harness) -> dict[str, int]:
    rejected = harness.status().counters.rejected
    return {pb.Reason.Name(item.reason): item.records for item in rejected}


# One writer, good records


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
            opening = harness.files()[0].stat().st_size - counters.written_bytes
            assert 0 < opening < 100
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
                await client.tensor(sequence, values.tobytes())
                await client.records(
                    summary(sequence, histogram_payload(values, inline=False), series=2),
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


def test_image_and_lazy_scalar(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        pixels = np.zeros((4, 1, 8, 6), np.uint8)
        image = pb.Payload(
            tensors=[pb.Tensor(dtype="uint8", shape=pixels.shape, inline=pixels.tobytes())],
            image=pb.Image(dataformats="NCHW", nrow=2, padding=1),
        )
        lazy = pb.Payload(
            tensors=[pb.Tensor(dtype="float32", inline=struct.pack("<f", 2.5))],
            lazy_scalar=pb.LazyScalar(),
        )
        async with serving(path) as harness:
            client = await harness.client().begin(tags={1: "image", 2: "lazy"})
            await client.records(summary(1, image), summary(2, lazy, series=2))
            await client.acknowledged(2)
            first, second = events_of(harness.files()[0])[1:]
            made = first.summary.value[0].image
            assert (made.height, made.width) == (2 * 9 + 1, 2 * 7 + 1)
            assert made.encoded_image_string.startswith(b"\x89PNG")
            assert second.summary.value[0].simple_value == 2.5

    run_async(test, tmp_path)


# Reconnecting


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
            await client.tensor(1, values.tobytes(), 1 << 18)
            await client.records(summary(1, histogram_payload(values, inline=False)))
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


def test_a_client_that_ends_its_side_is_told_everything(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin()
            values = np.ones(1_000_000, np.float32)
            await client.tensor(1, values.tobytes())
            await client.records(summary(1, histogram_payload(values, inline=False)))
            await client.half_close()
            assert await client.end() == grpc.StatusCode.OK
            assert client.written_sequence == 1

    run_async(test, tmp_path)


def test_a_session_without_a_stream_expires_and_its_records_stay_known(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path, Budgets(lease_secs=0.1)) as harness:
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


# What contradicts the protocol


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
        (
            {"definitions": pb.Definitions(series=[pb.SeriesDefinition(series=9, run=9)])},
            "run 9, never defined",
        ),
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
            assert len(reply.daemon_id) == 16

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


# Bad records among good ones


def test_bad_records_are_rejected_alone(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        tensor = pb.Tensor(dtype="float32", shape=[3], inline=bytes(12))
        bins = pb.Histogram(count=4)
        bad = {
            "UNDEFINED_SERIES": [scalar(1, series=77), summary(2, pb.Payload(), series=78)],
            "INVALID_RECORD": [
                scalar(3, wall_time=float("nan")),
                scalar(4, flags=1),
                summary(5, histogram_payload(np.ones(2)), wall_time=float("inf")),
                encode(Frame(Kind.SCALAR, 0, 6, 0, 1.0, 1, 0.0, b"payload")),
                encode(Frame(Kind.SUMMARY, 0, 7, 0, 1.0, 1, 0.0, b"\xff\xff\xff")),
                summary(8, histogram_payload(np.ones(2), bins=0)),
            ],
            "INVALID_NAME": [scalar(9, series=2)],
            "UNSUPPORTED": [
                summary(10, pb.Payload()),
                encode(Frame(200, 0, 11, 0, 1.0, 1, 0.0, b"from the future")),
            ],
            "INVALID_TENSOR": [
                summary(12, pb.Payload(histogram=bins)),
                summary(13, pb.Payload(tensors=[tensor, tensor], histogram=bins)),
                summary(
                    14,
                    pb.Payload(
                        tensors=[pb.Tensor(dtype="float32", shape=[4], inline=bytes(12))],
                        histogram=bins,
                    ),
                ),
                summary(
                    15,
                    pb.Payload(
                        tensors=[pb.Tensor(dtype="complex64", shape=[1], inline=bytes(8))],
                        histogram=bins,
                    ),
                ),
                summary(
                    16,
                    pb.Payload(tensors=[pb.Tensor(dtype="int8", shape=[2**63, 4])], histogram=bins),
                ),
                summary(17, pb.Payload(tensors=[tensor], lazy_scalar=pb.LazyScalar())),
                summary(18, pb.Payload(tensors=[tensor], image=pb.Image(dataformats="NCHW"))),
                summary(
                    19,
                    pb.Payload(
                        tensors=[pb.Tensor(dtype="uint8", shape=[2, 1, 1], inline=bytes(2))],
                        image=pb.Image(dataformats="NHW", padding=2**32 - 1),
                    ),
                ),
            ],
            "CAPTURE_FAILED": [
                encode(Frame(Kind.VOID, 0, 20, 0, 0.0, 1, 0.0, "GPU fell off \xfc".encode()))
            ],
        }
        async with serving(path) as harness:
            client = await harness.client().begin(tags={1: "loss", 2: "///"})
            frames = [frame for group in bad.values() for frame in group]
            await client.records(*frames, scalar(21))
            await client.acknowledged(21)
            assert steps_of(harness) == [21]
            assert reasons(harness) == {reason: len(group) for reason, group in bad.items()}
            told: dict[str, int] = {}
            for rejected in client.rejected:
                name = pb.Reason.Name(rejected.reason)
                told[name] = told.get(name, 0) + rejected.records
            assert told == reasons(harness)
            assert "GPU fell off ü" in {rejected.message for rejected in client.rejected}

    run_async(test, tmp_path)


def test_rejected_scalars_between_good_ones(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin()
            await client.records(
                *(scalar(number, series=1 if number % 3 else 9) for number in range(1, 3001))
            )
            await client.acknowledged(3000)
            assert steps_of(harness) == [number for number in range(1, 3001) if number % 3]
            (rejected,) = client.rejected
            assert (rejected.sequence, rejected.records) == (3, 1000)

    run_async(test, tmp_path)


def test_a_tensor_past_its_bound_is_rejected_and_the_next_is_taken(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        limit = 1 << 20
        async with serving(path, Budgets(max_tensor_bytes=limit)) as harness:
            client = await harness.client().begin()
            large, small = np.zeros(3 * limit, np.uint8), np.zeros(limit, np.uint8)
            await client.tensor(1, large.tobytes())
            await client.records(summary(1, histogram_payload(large, inline=False)))
            await client.tensor(2, small.tobytes())
            await client.records(summary(2, histogram_payload(small, inline=False)))
            await client.acknowledged(2)
            assert steps_of(harness) == [2]
            assert reasons(harness) == {"TENSOR_TOO_LARGE": 1}
            assert harness.status().intake_bytes == 0

    run_async(test, tmp_path)


def test_values_that_are_not_finite_are_shown_beside_the_histogram(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        values = np.array([1, np.nan, 2, np.inf, np.nan, -np.inf])
        async with serving(path) as harness:
            client = await harness.client().begin()
            await client.records(summary(1, histogram_payload(values)))
            await client.acknowledged(1)
            (event,) = events_of(harness.files()[0])[1:]
            found = {value.tag: value.simple_value for value in event.summary.value[1:]}
            assert event.summary.value[0].histo.num == 2
            assert found == {
                "loss/nan": 2,
                "loss/positive_infinity": 1,
                "loss/negative_infinity": 1,
            }

    run_async(test, tmp_path)


def test_tags_are_bounded(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path, Budgets(max_series_per_run=2)) as harness:
            tags = {number: f"tag{number}" for number in range(1, 5)}
            client = await harness.client().begin(tags=tags)
            await client.records(*(scalar(number, series=number) for number in range(1, 5)))
            await client.acknowledged(4)
            assert steps_of(harness) == [1, 2]
            assert reasons(harness) == {"TOO_MANY_SERIES": 2}
        async with serving(path / "b", Budgets(max_series_per_session=3)) as harness:
            client = await harness.client().begin(tags=tags)
            await client.records(*(scalar(number, series=number) for number in range(1, 5)))
            await client.acknowledged(4)
            assert steps_of(harness) == [1, 2, 3]
            assert reasons(harness) == {"TOO_MANY_SERIES": 1}

    run_async(test, tmp_path)


# Runs


def test_a_refused_run_does_not_disturb_the_others(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        (path / "logs").mkdir()
        (path / "logs" / "file").touch()
        async with serving(path) as harness:
            client = await harness.client().begin()
            cases = {
                2: (str(path / "elsewhere"), "", "OUTSIDE_ROOTS"),
                3: ("a/../../b", "", "OUTSIDE_ROOTS"),
                4: ("file", "", "NOT_A_DIRECTORY"),
                5: ("x", "a/../..", "OUTSIDE_ROOTS"),
                6: ("x", "n" * 300, "INVALID_NAME"),
                7: ("x", "nul\0", "INVALID_NAME"),
            }
            for number, (logdir, name, _) in cases.items():
                await client.send(
                    definitions=definitions(logdir, {number: "loss"}, run=number, name=name)
                )
            await client.records(*(scalar(1 + at, series=1 + at % 7) for at in range(70)))
            await client.acknowledged(70)
            await client.until(lambda: len(client.refused) == len(cases))
            told = {item.run: pb.Reason.Name(item.reason) for item in client.refused}
            assert told == {number: reason for number, (_, _, reason) in cases.items()}
            assert steps_of(harness) == list(range(1, 71, 7))
            assert reasons(harness) == {"RUN_REFUSED": 60}
            assert {item.name for item in (path / "logs").iterdir()} == {"file", "run"}
            # Told again after a reconnect: the first telling may have been lost.
            await client.cut()
            client.refused.clear()
            await client.open(70)
            await client.attach()
            await client.send(definitions=definitions("file", {4: "loss"}, run=4))
            await client.until(lambda: [item.run for item in client.refused] == [4])

    run_async(test, tmp_path)


def test_a_run_that_another_daemon_writes_is_refused_until_it_is_free(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness, serving(path) as other:
            first = await harness.client().begin()
            await first.records(scalar(1))
            await first.acknowledged(1)
            second = await other.client().begin()
            await second.records(scalar(1))
            await second.acknowledged(1)
            assert [pb.Reason.Name(item.reason) for item in second.refused] == ["RUN_LOCKED"]
            assert (await first.close()).closed
            third = await other.client().begin()
            await third.records(scalar(1, step=2))
            await third.acknowledged(1)
            assert not third.refused
            assert steps_of(harness) == [1, 2]

    run_async(test, tmp_path)


def test_two_sessions_feed_one_run_through_one_writer(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        (path / "link").symlink_to(path / "logs")
        async with serving(path) as harness:
            # The same directory by three names.
            names = ["run", str(path / "logs" / "run"), str(path / "link" / "run")]
            clients = [await harness.client().begin(name) for name in names]
            for at, client in enumerate(clients):
                await client.records(
                    *(scalar(number, step=10 * number + at) for number in range(1, 201))
                )
            for client in clients:
                await client.acknowledged(200)
            assert len(harness.files()) == 1
            assert len(harness.status().runs) == 1
            for at in range(3):
                own = [step for step in steps_of(harness) if step % 10 == at]
                assert own == [10 * number + at for number in range(1, 201)]
            # The first to end its run does not close the others' file.
            await clients[0].records(end_run(201))
            await clients[0].acknowledged(201)
            await clients[1].records(scalar(201, step=9000))
            await clients[1].acknowledged(201)
            assert len(harness.files()) == 1
            assert steps_of(harness)[-1] == 9000

    run_async(test, tmp_path)


def test_ranks_and_sub_runs_have_their_own_directories(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            for rank in range(2):
                client = await harness.client().begin(rank=rank, world_size=2, name="exp")
                await client.records(scalar(1, value=rank))
                await client.acknowledged(1)
            unknown = await harness.client().begin(rank=-1, world_size=2, name="exp")
            await unknown.records(scalar(1))
            await unknown.acknowledged(1)
            assert {item.name for item in (harness.root / "run" / "exp").iterdir()} == {
                "rank_0",
                "rank_1",
                "worker_host_4711",
            }
            assert values_of(harness, "run/exp/rank_1") == [(1, "loss", 1.0)]
            curves = await harness.client().begin("plot")
            for number, name in ((2, "train"), (3, "test")):
                await curves.send(
                    definitions=pb.Definitions(
                        series=[
                            pb.SeriesDefinition(
                                series=number, run=RUN, tag="loss", sub_run=f"loss/{name}"
                            )
                        ]
                    )
                )
            await curves.records(
                scalar(1, 1.0), scalar(2, 2.0, series=2), scalar(3, 3.0, series=3), end_run(4)
            )
            await curves.acknowledged(4)
            assert values_of(harness, "plot/loss/train") == [(2, "loss", 2.0)]
            assert values_of(harness, "plot/loss/test") == [(3, "loss", 3.0)]
            assert values_of(harness, "plot") == [(1, "loss", 1.0)]
            counters = [item.counters for item in harness.status().sessions]
            assert counters[-1].accepted == counters[-1].written == 4

    run_async(test, tmp_path)


def test_a_run_that_was_ended_goes_on_in_a_new_file(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin(filename_suffix=".mine")
            await client.records(scalar(1), end_run(2))
            await client.acknowledged(2)
            await client.records(scalar(3), end_run(4), end_run(5), end_run(6, run=99))
            await client.acknowledged(6)
            assert [path.name.endswith(".mine") for path in harness.files()] == [True, True]
            assert steps_of(harness) == [1, 3]
            assert reasons(harness) == {"UNDEFINED_SERIES": 1}

    run_async(test, tmp_path)


def test_runs_are_bounded(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path, Budgets(max_runs=2)) as harness:
            first = await harness.client().begin("a")
            await first.send(definitions=definitions("b", {2: "loss"}, run=2))
            await until(lambda: len(harness.status().runs) == 2)
            second = await harness.client().begin("c")
            await second.until(lambda: bool(second.refused))
            assert pb.Reason.Name(second.refused[0].reason) == "TOO_MANY_RUNS"
            await second.records(scalar(1))
            await second.acknowledged(1)
            await first.send(definitions=definitions("d", {3: "loss"}, run=3))
            assert await first.end() == grpc.StatusCode.RESOURCE_EXHAUSTED

    run_async(test, tmp_path)


def test_a_removed_directory_is_made_anew(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path, retry_secs=0.01) as harness:
            client = await harness.client().begin()
            await client.records(scalar(1))
            await client.acknowledged(1)
            harness.files()[0].unlink()
            (harness.root / "run").rmdir()
            await client.records(scalar(2))
            await client.acknowledged(2)
            assert steps_of(harness) == [2]

    run_async(test, tmp_path)


def test_steps_that_go_backwards_are_counted_and_written(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin(tags={1: "loss", 2: "other"})
            await client.records(scalar(1, step=5), scalar(2, step=3, series=2), scalar(3, step=4))
            await client.records(scalar(4, step=6), scalar(5, step=2))
            await client.acknowledged(5)
            assert steps_of(harness) == [5, 3, 4, 6, 2]
            (run,) = harness.status().runs
            assert run.steps_backwards == 2

    run_async(test, tmp_path)


def test_reductions_wait_for_the_file_and_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Room for a few events at a time, so that every one must make room for the next.
    monkeypatch.setattr("boardd.run_writer.UNWRITTEN_BYTES", 1000)

    async def test(path: Path) -> None:
        values = np.random.default_rng(0).normal(size=100)
        async with serving(path) as harness:
            client = await harness.client().begin()
            payload = histogram_payload(values, 50)
            await client.records(*(summary(number, payload) for number in range(1, 41)))
            await client.acknowledged(40)
            assert steps_of(harness) == list(range(1, 41))

    run_async(test, tmp_path)


# Flush, close, drain, budgets


def test_flush_waits_for_its_record_and_honours_its_timeout(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin()
            await client.records(scalars(1, 3))
            assert (await client.flush(3)).reached
            reply = await client.flush(4, timeout_secs=0.05)
            assert (reply.reached, reply.written_sequence) == (False, 3)
            assert "3 of 4" in reply.message
            waiting = asyncio.create_task(client.flush(5, level=pb.SYNCED))
            await client.records(scalars(4, 2))
            assert (await waiting).reached
            assert (await client.flush(5, timeout_secs=0.0)).reached
            assert (await client.flush(5, timeout_secs=float("inf"))).reached
            for timeout_secs in (-1.0, float("nan")):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await client.flush(5, timeout_secs=timeout_secs)
                assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT

    run_async(test, tmp_path)


def test_close_writes_what_is_pending_first(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin(tags={1: "weights", 2: "loss"})
            values = np.arange(2_000_000, dtype=np.float32)
            await client.tensor(1, values.tobytes())
            payload = histogram_payload(values, inline=False)
            await client.records(summary(1, payload), scalar(2, series=2))
            await until(lambda: harness.status().counters.accepted == 2)
            reply = await client.close()
            assert (reply.closed, reply.written_sequence) == (True, 2)
            assert await client.end() == grpc.StatusCode.OK
            assert client.written_sequence == 2
            assert steps_of(harness) == [1, 2]
            status = harness.status()
            assert not status.sessions
            assert not status.runs
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await client.close()
            assert caught.value.code() == grpc.StatusCode.NOT_FOUND

    run_async(test, tmp_path)


def test_a_report_of_drops_reaches_the_status(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin()
            for records in (3, 5):
                drop = pb.DropCount(reason="arena full", records=records, size_bytes=10 * records)
                await client.send(report=pb.ClientReport(dropped=[drop]))
            await client.records(scalar(1))
            await client.acknowledged(1)
            assert (await client.close()).closed
            (found,) = harness.status().counters.dropped_by_client
            assert (found.reason, found.records, found.size_bytes) == ("arena full", 5, 50)

    run_async(test, tmp_path)


def test_drain_writes_acknowledges_and_leaves(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin()
            values = np.arange(2_000_000, dtype=np.float32)
            await client.tensor(1, values.tobytes())
            await client.records(summary(1, histogram_payload(values, inline=False)))
            await until(lambda: harness.status().counters.accepted == 1)
            assert await harness.service.drain(DEADLINE_SECS)
            assert await client.end() == grpc.StatusCode.OK
            assert client.draining
            assert client.written_sequence == 1
            assert steps_of(harness) == [1]
            for call in (client.open(), harness.client().open()):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call
                assert caught.value.code() == grpc.StatusCode.UNAVAILABLE

    run_async(test, tmp_path)


@pytest.mark.parametrize(
    ("budgets", "writers", "limit_bytes"),
    [
        # The budget, one record past it, and a message of each of the others.
        (Budgets(intake_bytes=1 << 20, reducers=2), 4, (1 << 20) + 4 * 310_000),
        # One session's own budget, and the record that it was sending.
        (Budgets(session_intake_bytes=1 << 19, reducers=1), 1, (1 << 19) + 310_000),
    ],
    ids=["all sessions", "one session"],
)
def test_a_full_intake_holds_clients_up_and_loses_nothing(
    tmp_path: Path, budgets: Budgets, writers: int, limit_bytes: int
) -> None:
    async def test(path: Path) -> None:
        values = np.random.default_rng(0).integers(0, 256, 300_000, np.uint8)
        payload = histogram_payload(values, inline=False)
        payload.histogram.rule = "stone"  # slow
        async with serving(path, budgets) as harness:
            clients = [await harness.client().begin(f"run{number}") for number in range(writers)]
            peak = 0

            async def log(client: RawClient) -> None:
                nonlocal peak
                for sequence in range(1, 11):
                    await client.tensor(sequence, values.tobytes(), 100_000)
                    await client.records(summary(sequence, payload))
                    peak = max(peak, harness.status().intake_bytes)
                await client.acknowledged(10)

            await asyncio.gather(*(log(client) for client in clients))
            for number in range(writers):
                assert steps_of(harness, f"run{number}") == list(range(1, 11))
            assert limit_bytes / 3 < peak < limit_bytes
            assert harness.status().intake_bytes == 0

    run_async(test, tmp_path)


def test_two_half_tensors_past_the_budget_do_not_wait_for_each_other(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        budgets = Budgets(intake_bytes=1 << 18)
        values = np.zeros(400_000, np.uint8)
        data = values.tobytes()
        async with serving(path, budgets) as harness:
            clients = [await harness.client().begin(f"run{number}") for number in range(3)]
            for client in clients:
                await client.send(chunk=pb.TensorChunk(sequence=1, data=data[:100_000]))
            await until(lambda: harness.status().intake_bytes >= 300_000)
            for client in clients:
                for offset in range(100_000, 400_000, 100_000):
                    piece = data[offset : offset + 100_000]
                    await client.send(chunk=pb.TensorChunk(sequence=1, offset=offset, data=piece))
                await client.records(summary(1, histogram_payload(values, inline=False)))
            for client in clients:
                await client.acknowledged(1)

    run_async(test, tmp_path)


def test_a_client_that_falls_silent_in_a_tensor_loses_its_stream(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path, Budgets(stall_secs=0.1)) as harness:
            client = await harness.client().begin()
            await client.send(chunk=pb.TensorChunk(sequence=1, data=b"x" * 1000))
            assert await client.end() == grpc.StatusCode.DEADLINE_EXCEEDED
            await until(lambda: harness.status().intake_bytes == 0)

    run_async(test, tmp_path)


def test_a_run_with_much_to_reduce_does_not_hold_up_another(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        values = np.random.default_rng(0).random(400_000)
        async with serving(path, Budgets(reducers=1)) as harness:
            busy = await harness.client().begin("busy")
            quick = await harness.client().begin("quick", tags={1: "weights", 2: "loss"})
            # Warm, so that compiling does not decide who is first.
            await quick.records(summary(1, histogram_payload(np.ones(4))))
            await quick.acknowledged(1)
            for sequence in range(1, 16):
                await busy.tensor(sequence, values.tobytes())
                payload = pb.Payload(
                    tensors=[pb.Tensor(dtype="float64", shape=values.shape)],
                    histogram=pb.Histogram(rule="stone"),
                )
                await busy.records(summary(sequence, payload))
            await until(lambda: harness.status().counters.accepted == 16)
            await quick.records(summary(2, histogram_payload(np.ones(4))), scalar(3, series=2))
            await quick.acknowledged(3)
            assert harness.status().counters.pending > 3

    run_async(test, tmp_path)

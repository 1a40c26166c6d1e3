"""The service and bad records among good ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from boardd.core.budget import Budgets
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import Frame, FrameKind, encode
from support.raw_client import (
    histogram_payload,
    scalar,
    serving,
    summary,
)
from support.service_reading import events_of, reasons, run_async, steps_of

pytestmark = pytest.mark.usefixtures("no_defects")


def test_bad_records_are_rejected_alone(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        tensor = pb.Tensor(dtype="float32", shape=[3])
        bins = pb.Histogram(count=4)
        bad = {
            "UNDEFINED_SERIES": [scalar(1, series=77), summary(2, pb.Payload(), series=78)],
            "INVALID_RECORD": [
                scalar(3, wall_time=float("nan")),
                scalar(4, flags=1),
                summary(5, histogram_payload(np.ones(2)), wall_time=float("inf")),
                encode(Frame(FrameKind.SCALAR, 0, 6, 0, 1.0, 1, 0.0, b"payload")),
                encode(Frame(FrameKind.SUMMARY, 0, 7, 0, 1.0, 1, 0.0, b"\xff\xff\xff")),
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
                    pb.Payload(tensors=[pb.Tensor(dtype="float32", shape=[4])], histogram=bins),
                ),
                summary(
                    15,
                    pb.Payload(tensors=[pb.Tensor(dtype="complex64", shape=[1])], histogram=bins),
                ),
                summary(
                    16,
                    pb.Payload(tensors=[pb.Tensor(dtype="int8", shape=[2**63, 4])], histogram=bins),
                ),
                summary(17, pb.Payload(tensors=[tensor], histogram=bins)),  # no chunk of it came
                summary(18, pb.Payload(tensors=[tensor], image=pb.Image(dataformats="NCHW"))),
                summary(
                    19,
                    pb.Payload(
                        tensors=[pb.Tensor(dtype="uint8", shape=[2, 1, 1])],
                        image=pb.Image(dataformats="NHW", padding=2**32 - 1),
                    ),
                ),
            ],
            "CAPTURE_FAILED": [
                encode(
                    Frame(FrameKind.ABORTED, 0, 20, 0, 0.0, 1, 0.0, "GPU fell off \xfc".encode())
                )
            ],
        }
        async with serving(path) as harness:
            client = await harness.client().begin(tags={1: "loss", 2: "///"})
            tensors = {5: 16, 8: 16, 13: 12, 14: 12, 15: 8, 18: 12, 19: 2}
            for sequence, size_bytes in tensors.items():
                await client.tensor(sequence, bytes(size_bytes))
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


def test_scalars_of_tags_of_another_kind_are_rejected_tag_by_tag(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin(tags={1: "loss", 2: "a", 3: "b"})
            values = np.ones(2, np.float32)
            for sequence, series in ((1, 2), (2, 3)):
                await client.tensor(sequence, values)
                await client.records(summary(sequence, histogram_payload(values), series=series))
            await client.acknowledged(2)
            order = (2, 1, 3, 2, 1, 3, 3)
            await client.records(*(scalar(at, series=one) for at, one in enumerate(order, 3)))
            await client.acknowledged(9)
            await client.until(lambda: len(client.rejected) == 2)
            found = [(one.sequence, one.records, one.last_sequence) for one in client.rejected]
            assert found == [(3, 2, 6), (5, 3, 9)]
            assert reasons(harness) == {"INVALID_NAME": 5}

    run_async(test, tmp_path)


def test_a_tensor_past_its_bound_is_rejected_and_the_next_is_taken(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        limit = 1 << 20
        async with serving(path, Budgets(max_tensor_bytes=limit)) as harness:
            client = await harness.client().begin()
            large, small = np.zeros(3 * limit, np.uint8), np.zeros(limit, np.uint8)
            await client.tensor(1, large)
            await client.records(summary(1, histogram_payload(large)))
            await client.tensor(2, small)
            await client.records(summary(2, histogram_payload(small)))
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
            await client.tensor(1, values)
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

"""The service and records of several series: what is written is what single records write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import Frame, FrameKind, encode
from boardd_protos.limits import MAX_HISTOGRAMS
from support.raw_client import RawClient, histogram_payload, scalar, serving, summary
from support.service_reading import events_of, reasons, run_async

pytestmark = pytest.mark.usefixtures("no_defects")

BINS = 10
ARRAYS = [
    np.array([0.0, 1.0, 1.0, np.nan, -np.inf], np.float32),
    np.empty(0, np.float32),
    np.arange(9000, dtype=np.float32),
    np.array([3.0]),
    np.array([np.inf]),
]
TAGS = {number: f"w/{number}" for number in range(1, len(ARRAYS) + 1)}


def payload_of(arrays: Sequence[np.ndarray], series: Sequence[int]) -> pb.Payload:
    """The payload of histograms of arrays, whose dtypes come in a row."""
    dtypes = list(dict.fromkeys(array.dtype.name for array in arrays))
    counts = [sum(array.size for array in arrays if array.dtype == name) for name in dtypes]
    tensors = [
        pb.Tensor(dtype=name, shape=[count]) for name, count in zip(dtypes, counts, strict=True)
    ]
    sizes = [array.size for array in arrays]
    histograms = pb.Histograms(bins=pb.Histogram(count=BINS), series=series, sizes=sizes)
    return pb.Payload(tensors=tensors, histograms=histograms)


def frame(sequence: int, payload: pb.Payload | bytes, target: int = 1) -> bytes:
    data = payload if isinstance(payload, bytes) else payload.SerializeToString()
    kind = FrameKind.SERIES_SUMMARIES
    return encode(Frame(kind, 0, sequence, sequence, 1e9, target, 0.0, data))


async def send(
    client: RawClient, sequence: int, arrays: Sequence[np.ndarray], series: Sequence[int]
) -> None:
    """Sends one record of several series, whose values come in chunks."""
    dtypes = list(dict.fromkeys(array.dtype for array in arrays))
    for number, dtype in enumerate(dtypes):
        values = np.concatenate([array for array in arrays if array.dtype == dtype])
        await client.tensor(sequence, values, tensor=number)
    await client.records(frame(sequence, payload_of(arrays, series), series[0]))


def test_one_event_holds_what_single_records_write(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin(tags=TAGS)
            await send(client, 1, ARRAYS, list(TAGS))
            for number, array in enumerate(ARRAYS, 1):
                await client.tensor(number + 1, array)
                await client.records(
                    summary(number + 1, histogram_payload(array, BINS), series=number, step=1)
                )
            await client.acknowledged(len(ARRAYS) + 1)
            (file,) = harness.files()
            events = [event for event in events_of(file) if event.summary.value]
            assert [event.step for event in events] == [1] * (1 + len(ARRAYS))
            together, *alone = events
            single = [value for event in alone for value in event.summary.value]
            assert list(together.summary.value) == single
            assert [value.tag for value in single if "/nan" in value.tag] == ["w/1/nan"]
            assert client.rejected == []
            counters = harness.status().counters
            assert (counters.accepted, counters.written) == (6, 6)

    run_async(test, tmp_path)


def test_a_refused_series_is_left_out_and_told(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin(tags={1: "loss", 2: "w", 3: "///"})
            await client.records(scalar(1))
            arrays = [np.ones(2), np.ones(3), np.ones(4)]
            await send(client, 2, arrays, [1, 2, 3])
            await send(client, 3, arrays[:2], [1, 2])
            await send(client, 4, arrays[:1], [1])
            await client.acknowledged(4)
            await client.until(lambda: len(client.rejected) == 3)
            (file,) = harness.files()
            shown = [
                (event.step, [value.tag for value in event.summary.value])
                for event in events_of(file)
                if event.summary.value
            ]
            assert shown == [(1, ["loss"]), (2, ["w"]), (3, ["w"])]
            told = [(one.sequence, one.records, one.is_part) for one in client.rejected]
            assert told == [(2, 0, True), (3, 0, True), (4, 1, False)]
            assert client.rejected[0].message.startswith("2 of the 3 histograms")
            assert "tag 'loss' is a scalar" in client.rejected[1].message
            assert reasons(harness) == {"INVALID_NAME": 1}
            counters = harness.status().counters
            assert (counters.accepted, counters.written, counters.pending) == (4, 3, 0)

    run_async(test, tmp_path)


def test_bad_records_of_several_series_are_rejected_alone(tmp_path: Path) -> None:
    one = payload_of([np.ones(2)], [1])
    shaped = pb.Payload.FromString(one.SerializeToString())
    shaped.tensors[0].shape[:] = [1, 2]
    short = pb.Payload.FromString(one.SerializeToString())
    short.histograms.sizes[:] = [1]
    uncounted = pb.Payload.FromString(one.SerializeToString())
    uncounted.histograms.bins.count = 0
    sizeless = pb.Payload.FromString(one.SerializeToString())
    del sizeless.histograms.sizes[:]
    misnamed = pb.Payload.FromString(one.SerializeToString())
    misnamed.health.CopyFrom(pb.Health(tag="health", names=["g/a", "g/b"], parts=1))
    many = payload_of([np.ones(2)] + [np.empty(0)] * MAX_HISTOGRAMS, [1] * (MAX_HISTOGRAMS + 1))
    bad = {
        "INVALID_RECORD": [
            *(b"\xff\xff", sizeless, many, payload_of([np.ones(2)], [2]), uncounted, misnamed)
        ],
        "UNSUPPORTED": [histogram_payload(np.ones(2))],
        "UNDEFINED_SERIES": [(9, payload_of([np.ones(2)], [9]))],
        "INVALID_TENSOR": [shaped, short, pb.Payload(histograms=one.histograms)],
    }

    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin(tags={1: "a", 2: "b"})
            sequence = 0
            for group in bad.values():
                for given in group:
                    sequence += 1
                    target, payload = given if isinstance(given, tuple) else (1, given)
                    if not isinstance(payload, bytes) and payload.tensors:
                        await client.tensor(sequence, np.ones(2))
                    await client.records(frame(sequence, payload, target))
            await send(client, sequence + 1, [np.ones(2)], [1])
            await client.acknowledged(sequence + 1)
            assert reasons(harness) == {reason: len(group) for reason, group in bad.items()}
            assert harness.status().counters.written == 1

    run_async(test, tmp_path)


def test_a_run_that_ranks_log_to_takes_no_such_record(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin(tags={1: "a", 2: "b"}, rank=0, world_size=2)
            await send(client, 1, [np.ones(2), np.ones(2)], [1, 2])
            await client.acknowledged(1)
            assert reasons(harness) == {"UNSUPPORTED": 1}

    run_async(test, tmp_path)

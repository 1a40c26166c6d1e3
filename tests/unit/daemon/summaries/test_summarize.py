"""Payloads and arrays made into events."""

from __future__ import annotations

import numpy as np
import pytest
from boardd.events.event_pb2 import Event, Summary
from boardd.reduce.histogram.bins import Edges, EqualWidth, Rule, default_edges
from boardd.summaries.distributions import bins_of
from boardd.summaries.reduction import SummaryError
from boardd.summaries.summarize import summarize
from boardd_protos import boardd_pb2 as pb
from support.tfrecords import unframe


def values_of(framed: bytes) -> list[Summary.Value]:
    (data,) = unframe(framed)
    event = Event.FromString(data)
    assert (event.step, event.wall_time) == (7, 1.5)
    return list(event.summary.value)


def reduce(
    payload: pb.Payload, pieces: dict[int, list[bytes]] | None = None
) -> list[Summary.Value]:
    return values_of(
        summarize("tag", 7, 1.5, payload.SerializeToString(), pieces or {}, 1 << 30).event
    )


def tensor(array: np.ndarray, *, inline: bool = True) -> pb.Tensor:
    data = array.tobytes() if inline else b""
    return pb.Tensor(dtype=array.dtype.name, shape=array.shape, inline=data)


@pytest.mark.parametrize("piece_bytes", [1, 7, 8, 4096, 1 << 20])
def test_a_histogram_is_numpys_however_its_tensor_came(piece_bytes: int) -> None:
    values = np.random.default_rng(3).normal(size=500)
    data = values.tobytes()
    pieces = [data[at : at + piece_bytes] for at in range(0, len(data), piece_bytes)]
    payload = pb.Payload(tensors=[tensor(values, inline=False)], histogram=pb.Histogram(count=20))
    (value,) = reduce(payload, {0: pieces})
    counts, edges = np.histogram(values, 20)
    assert list(value.histo.bucket) == counts.tolist()
    np.testing.assert_allclose(value.histo.bucket_limit, edges[1:])
    assert (value.tag, value.histo.num) == ("tag", 500)


@pytest.mark.parametrize(
    ("message", "bins"),
    [
        (pb.Histogram(count=5), EqualWidth(5)),
        (pb.Histogram(rule="sturges"), Rule("sturges")),
        (pb.Histogram(rule="default"), default_edges()),
        (pb.Histogram(), default_edges()),
    ],
)
def test_bins(message: pb.Histogram, bins: object) -> None:
    assert bins_of(message) == bins


def test_bins_with_edges() -> None:
    bins = bins_of(pb.Histogram(edges=pb.Edges(edges=[0, 1, 4])))
    assert isinstance(bins, Edges)
    assert bins.edges.tolist() == [0, 1, 4]


@pytest.mark.parametrize(
    ("dtype", "data", "expected"),
    [
        ("float32", np.float32(0.5).tobytes(), 0.5),
        ("int64", np.int64(-3).tobytes(), -3.0),
        ("bool", b"\1", 1.0),
        ("bfloat16", b"\x80\x3f", 1.0),
        ("float64", np.float64(1e300).tobytes(), np.inf),
    ],
)
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_lazy_scalars(dtype: str, data: bytes, expected: float, shape: tuple[int, ...]) -> None:
    payload = pb.Payload(
        tensors=[pb.Tensor(dtype=dtype, shape=shape, inline=data)], lazy_scalar=pb.LazyScalar()
    )
    (value,) = reduce(payload)
    assert value.simple_value == expected


def test_an_image_takes_eight_in_a_row_by_default() -> None:
    images = np.zeros((10, 2, 3), np.uint8)
    payload = pb.Payload(tensors=[tensor(images)], image=pb.Image(dataformats="NHW"))
    (value,) = reduce(payload)
    assert (value.image.height, value.image.width) == (2 * 2, 8 * 3)


@pytest.mark.parametrize(
    ("payload", "pieces", "reason"),
    [
        (b"\xff", {}, pb.INVALID_RECORD),
        (b"", {}, pb.UNSUPPORTED),
        # Field 99: a kind of a newer client.
        (b"\x9a\x06\x00", {}, pb.UNSUPPORTED),
        (pb.Payload(histogram=pb.Histogram()), {}, pb.INVALID_TENSOR),
        (pb.Payload(tensors=[pb.Tensor()], histogram=pb.Histogram()), {}, pb.INVALID_TENSOR),
        (
            pb.Payload(
                tensors=[pb.Tensor(dtype="int8", shape=[1], inline=b"x")],
                histogram=pb.Histogram(),
            ),
            {0: [b"x"]},
            pb.INVALID_TENSOR,
        ),
        (
            pb.Payload(tensors=[pb.Tensor(dtype="int8", shape=[2])], histogram=pb.Histogram()),
            {0: [b"x", b"y", b"z"]},
            pb.INVALID_TENSOR,
        ),
        (
            pb.Payload(
                tensors=[pb.Tensor(dtype="int8", shape=[2**62, 2**62])],
                histogram=pb.Histogram(),
            ),
            {},
            pb.INVALID_TENSOR,
        ),
        *(
            (
                pb.Payload(
                    tensors=[pb.Tensor(dtype="int8", shape=[1], inline=b"x")], histogram=histogram
                ),
                {},
                pb.INVALID_RECORD,
            )
            for histogram in (
                pb.Histogram(count=0),
                pb.Histogram(count=2**32 - 1),
                pb.Histogram(rule="no such rule"),
                pb.Histogram(edges=pb.Edges(edges=[1])),
                pb.Histogram(edges=pb.Edges(edges=[1, 0])),
                pb.Histogram(edges=pb.Edges(edges=[0, float("nan")])),
            )
        ),
        *(
            (
                pb.Payload(
                    tensors=[pb.Tensor(dtype="uint8", shape=[2, 2], inline=b"abcd")], image=image
                ),
                {},
                pb.INVALID_TENSOR,
            )
            for image in (
                pb.Image(),
                pb.Image(dataformats="HWC"),
                pb.Image(dataformats="HH"),
                pb.Image(dataformats="XY"),
            )
        ),
    ],
)
def test_what_cannot_be_summarized(
    payload: pb.Payload | bytes, pieces: dict[int, list[bytes]], reason: int
) -> None:
    data = payload if isinstance(payload, bytes) else payload.SerializeToString()
    with pytest.raises(SummaryError, match="tag") as caught:
        summarize("tag", 7, 1.5, data, pieces, 1 << 30)
    assert caught.value.reason == reason


def test_any_other_failure_is_a_rejection_too() -> None:
    payload = pb.Payload(
        tensors=[pb.Tensor(dtype="int8", shape=[1], inline=b"x")], histogram=pb.Histogram(count=1)
    )
    # A wall time that no event may have: refused before, by the session.
    with pytest.raises(SummaryError, match="ValueError") as caught:
        summarize("tag", 7, float("nan"), payload.SerializeToString(), {}, 1 << 30)
    assert caught.value.reason == pb.REDUCTION_FAILED

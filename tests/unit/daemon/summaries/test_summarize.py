"""Payloads and arrays made into events."""

from __future__ import annotations

import numpy as np
import pytest
from boardd.reduce.histogram.bins import Edges, EqualWidth, Rule, default_edges
from boardd.summaries.distributions import bins_of
from boardd.summaries.reduction import SummaryError
from boardd.summaries.summarize import summarize
from boardd_protos import boardd_pb2 as pb
from support.summaries import STEP, WALL_TIME, chunks, event_of, record, values_of


@pytest.mark.parametrize("chunk_bytes", [1, 7, 8, 4096, 1 << 20])
def test_a_histogram_is_numpys_however_its_tensor_came(chunk_bytes: int) -> None:
    values = np.random.default_rng(3).normal(size=500)
    given = record(values, histogram=pb.Histogram(count=20))
    parts = chunks(values, chunk_bytes=chunk_bytes)
    made = summarize("tag", STEP, WALL_TIME, given.payload.SerializeToString(), parts, 1 << 30)
    (value,) = event_of(made).summary.value
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


def test_an_image_takes_eight_in_a_row_by_default() -> None:
    images = np.zeros((10, 2, 3), np.uint8)
    (value,) = values_of(record(images, image=pb.Image(dataformats="NHW")))
    assert (value.image.height, value.image.width) == (2 * 2, 8 * 3)


@pytest.mark.parametrize(
    ("payload", "parts", "reason"),
    [
        (b"\xff", {}, pb.INVALID_RECORD),
        (b"", {}, pb.UNSUPPORTED),
        # Field 99: a kind of a newer client.
        (b"\x9a\x06\x00", {}, pb.UNSUPPORTED),
        (pb.Payload(histogram=pb.Histogram()), {}, pb.INVALID_TENSOR),
        (pb.Payload(tensors=[pb.Tensor()], histogram=pb.Histogram()), {}, pb.INVALID_TENSOR),
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
                pb.Payload(tensors=[pb.Tensor(dtype="int8", shape=[1])], histogram=histogram),
                {0: [b"x"]},
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
                pb.Payload(tensors=[pb.Tensor(dtype="uint8", shape=[2, 2])], image=image),
                {0: [b"abcd"]},
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
    payload: pb.Payload | bytes, parts: dict[int, list[bytes]], reason: int
) -> None:
    data = payload if isinstance(payload, bytes) else payload.SerializeToString()
    with pytest.raises(SummaryError, match="tag") as caught:
        summarize("tag", STEP, WALL_TIME, data, parts, 1 << 30)
    assert caught.value.reason == reason


def test_any_other_failure_is_a_rejection_too() -> None:
    values = np.ones(1, np.int8)
    payload = record(values, histogram=pb.Histogram(count=1)).payload
    # A wall time that no event may have: refused before, by the session.
    with pytest.raises(SummaryError, match="ValueError") as caught:
        summarize("tag", STEP, float("nan"), payload.SerializeToString(), chunks(values), 1 << 30)
    assert caught.value.reason == pb.REDUCTION_FAILED

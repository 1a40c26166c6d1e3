"""What reductions are estimated to take is what they take."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from boardd.core.budget import Budgets
from boardd.reduce import readiness
from boardd.summaries.series import summarize_series
from boardd.summaries.summarize import summarize
from boardd.summaries.working_memory import MemoryEstimate, estimated_memory
from boardd_protos import boardd_pb2 as pb
from boardd_protos.dtypes import ITEM_BYTES
from boardd_protos.limits import MAX_BINS, MAX_HISTOGRAMS, NUMPY_BIN_RULES
from support.summaries import STEP, WALL_TIME, chunks, record

MEBIBYTE = 1 << 20
RANDOM = np.random.default_rng(5)


def estimate(payload: bytes, *, is_by_value: bool = False, **budgets: int) -> MemoryEstimate:
    bounds = {"budget_bytes": 1 << 30, "max_projection_bytes": 512 * MEBIBYTE, **budgets}
    return estimated_memory(payload, is_by_value=is_by_value, **bounds)


def floats(*shape: int) -> np.ndarray:
    return RANDOM.random(shape, np.float32)


def noise(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 255, shape, np.uint8, endpoint=True)


RECORDS = {
    "histogram": (floats(4_000_000), {"histogram": pb.Histogram(count=30)}),
    "float16 histogram": (
        floats(4_000_000).astype(np.float16),
        {"histogram": pb.Histogram(rule="auto")},
    ),
    "stone": (floats(1_000_000), {"histogram": pb.Histogram(rule="stone")}),
    "scott": (noise(2_000_000), {"histogram": pb.Histogram(rule="scott")}),
    "image": (noise(3, 1500, 1500), {"image": pb.Image(dataformats="CHW")}),
    "grid": (
        floats(64, 3, 128, 128),
        {"image": pb.Image(dataformats="NCHW", padding=2, normalize="batch")},
    ),
    "padding": (noise(64, 8, 8), {"image": pb.Image(dataformats="NHW", padding=60)}),
    "audio": (floats(2_000_000), {"audio": pb.Audio(sample_rate=44_100)}),
    "tensor": (floats(2_000_000), {"tensor": pb.TensorSummary()}),
    "mesh": (floats(1, 500_000, 3), {"mesh": pb.Mesh()}),
    "embedding": (floats(50_000, 64), {"embedding": pb.Embedding()}),
    "double embedding": (
        floats(20_000, 64).astype(np.float64),
        {"embedding": pb.Embedding()},
    ),
    "projection": (floats(20_000, 128), {"embedding": pb.Embedding(project_to=3)}),
    "sample": (floats(120_000, 32), {"embedding": pb.Embedding()}),
}


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("is_by_value", [False, True])
def test_an_estimate_is_what_a_reduction_takes(name: str, *, is_by_value: bool) -> None:
    array, kind = RECORDS[name]
    given: dict[str, Any] = kind
    payload = record(array, **given).payload.SerializeToString()
    parts = chunks(array, chunk_bytes=MEBIBYTE if is_by_value else array.nbytes)
    summarize("warm", STEP, WALL_TIME, payload, parts, 1 << 30)
    tracemalloc.start()
    try:
        made = summarize("tag", STEP, WALL_TIME, payload, parts, 1 << 30)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    estimated = estimate(payload, is_by_value=is_by_value)
    assert estimated.is_allowed
    assert max(peak_bytes, made.size_bytes) <= estimated.size_bytes
    assert estimated.size_bytes <= 12 * max(peak_bytes, made.size_bytes) + 160 * MEBIBYTE


def test_an_estimate_is_what_a_rule_takes_while_kernels_are_awaited() -> None:
    array = floats(8_000_000)
    payload = record(array, histogram=pb.Histogram(rule="auto")).payload.SerializeToString()
    without_bytes = estimate(payload).size_bytes
    parts = chunks(array, chunk_bytes=array.nbytes)
    readiness.await_kernels()
    try:
        estimated = estimate(payload)
        tracemalloc.start()
        summarize("tag", STEP, WALL_TIME, payload, parts, 1 << 30)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        readiness.kernels_are_there()
    assert without_bytes < peak_bytes <= estimated.size_bytes


@pytest.mark.parametrize("bins", [pb.Histogram(count=4000), pb.Histogram(rule="default")])
def test_an_estimate_is_what_many_histograms_take(bins: pb.Histogram) -> None:
    values, count = floats(300 * 64), 300
    histograms = pb.Histograms(bins=bins, series=range(count), sizes=[64] * count)
    payload = record(values, histograms=histograms).payload.SerializeToString()
    tags = [f"w/{number}" for number in range(count)]
    summarize_series(tags, payload, chunks(values), 1 << 30)
    tracemalloc.start()
    try:
        made = summarize_series(tags, payload, chunks(values), 1 << 30)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    estimated = estimate(payload)
    assert estimated.is_allowed
    assert max(peak_bytes, made.size_bytes) <= estimated.size_bytes
    assert estimated.size_bytes <= 12 * max(peak_bytes, made.size_bytes) + 160 * MEBIBYTE


def test_a_few_values_do_not_become_many_buckets() -> None:
    histograms = pb.Histograms(
        bins=pb.Histogram(count=MAX_BINS), series=range(MAX_HISTOGRAMS), sizes=[1] * MAX_HISTOGRAMS
    )
    given = record(np.ones(MAX_HISTOGRAMS), histograms=histograms)
    assert not estimate(given.payload.SerializeToString()).is_allowed


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((1000, 1, 1), {"image": pb.Image(dataformats="NHW", padding=150)}),
        ((4, 4, 4), {"image": pb.Image(dataformats="NHW", padding=3500)}),
    ],
)
def test_a_few_bytes_do_not_become_a_large_picture(
    shape: tuple[int, ...], kind: dict[str, Any]
) -> None:
    payload = record(noise(*shape), **kind).payload.SerializeToString()
    estimated = estimate(payload)
    assert not estimated.is_allowed
    assert estimated.size_bytes > 64 * MEBIBYTE


def test_what_no_tensor_can_be_takes_nothing() -> None:
    for payload in (
        b"\xff",
        b"",
        pb.Payload(
            tensors=[pb.Tensor(dtype="float32", shape=[1 << 40, 1 << 40])],
            tensor=pb.TensorSummary(),
        ).SerializeToString(),
        pb.Payload(tensors=[pb.Tensor(dtype="complex", shape=[3])]).SerializeToString(),
    ):
        assert estimate(payload).size_bytes < 16 * MEBIBYTE


LARGEST_BYTES = Budgets().max_tensor_bytes


def largest(dtype: str, *sides: int) -> pb.Tensor:
    """A tensor of as many times ``sides`` as a record may have."""
    count = LARGEST_BYTES // (ITEM_BYTES[dtype] * math.prod(sides))
    return pb.Tensor(dtype=dtype, shape=[count, *sides])


LARGEST: dict[str, Callable[[str], pb.Payload]] = {
    "histogram": lambda dtype: pb.Payload(
        tensors=[largest(dtype)], histogram=pb.Histogram(count=30)
    ),
    **{
        rule: lambda dtype, rule=rule: pb.Payload(  # type: ignore[misc]
            tensors=[largest(dtype)], histogram=pb.Histogram(rule=rule)
        )
        for rule in NUMPY_BIN_RULES
    },
    "tensor": lambda dtype: pb.Payload(tensors=[largest(dtype)], tensor=pb.TensorSummary()),
    "audio": lambda dtype: pb.Payload(tensors=[largest(dtype)], audio=pb.Audio(sample_rate=8000)),
    "mesh": lambda dtype: pb.Payload(tensors=[largest(dtype, 1000, 3)], mesh=pb.Mesh()),
    "image": lambda dtype: pb.Payload(
        tensors=[largest(dtype, 4096, 3)],
        image=pb.Image(dataformats="HWC", normalize="image", has_boxes=True),
    ),
    "grid": lambda dtype: pb.Payload(
        tensors=[largest(dtype, 28, 28)],
        image=pb.Image(dataformats="NHW", normalize="image", padding=2),
    ),
    "video": lambda dtype: pb.Payload(
        tensors=[largest(dtype, 10, 640, 640, 3)], video=pb.Video(dataformats="NTHWC")
    ),
    "frame": lambda dtype: pb.Payload(
        tensors=[largest(dtype, 1, 640, 640, 1)], video=pb.Video(dataformats="NTHWC")
    ),
    "embedding": lambda dtype: pb.Payload(
        tensors=[largest(dtype, 128)], embedding=pb.Embedding(project_to=3)
    ),
    "labels": lambda dtype: pb.Payload(
        tensors=[pb.Tensor(dtype="float32", shape=[100_000, 2]), largest("uint8")],
        embedding=pb.Embedding(metadata_tensor=1),
    ),
    "thumbnails": lambda dtype: pb.Payload(
        tensors=[pb.Tensor(dtype="float32", shape=[4, 2]), largest(dtype, 3, 64, 64)],
        embedding=pb.Embedding(images_tensor=1),
    ),
}


@pytest.mark.parametrize("dtype", ITEM_BYTES)
@pytest.mark.parametrize("kind", LARGEST)
@pytest.mark.parametrize("is_by_value", [False, True])
def test_the_largest_record_of_each_kind_is_allowed(
    kind: str, dtype: str, *, is_by_value: bool
) -> None:
    payload = LARGEST[kind](dtype).SerializeToString()
    assert estimate(payload, is_by_value=is_by_value).is_allowed


def test_one_large_image_is_allowed_whatever_the_budget() -> None:
    payload = pb.Payload(
        tensors=[pb.Tensor(dtype="uint8", shape=[5000, 5000, 3])],
        image=pb.Image(dataformats="HWC"),
    ).SerializeToString()
    estimated = estimate(payload, budget_bytes=64 * MEBIBYTE)
    assert estimated.size_bytes > 1 << 30
    assert estimated.is_allowed

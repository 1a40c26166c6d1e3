"""What reductions are estimated to take is what they take."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from boardd.summaries.summarize import summarize
from boardd.summaries.working_memory import MemoryEstimate, estimated_memory
from boardd_protos import boardd_pb2 as pb
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


def test_more_than_the_budget_is_allowed_for_tensors_that_are_large_themselves() -> None:
    values = pb.Payload(
        tensors=[pb.Tensor(dtype="float32", shape=[1 << 27])], tensor=pb.TensorSummary()
    ).SerializeToString()
    assert estimate(values).is_allowed
    assert estimate(values).size_bytes > 1 << 30
    stone = pb.Payload(
        tensors=[pb.Tensor(dtype="uint8", shape=[1 << 29])], histogram=pb.Histogram(rule="stone")
    ).SerializeToString()
    assert not estimate(stone).is_allowed

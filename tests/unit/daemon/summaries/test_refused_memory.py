"""A refused record's tensors are let go at once, for they may be many mebibytes in a map."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from boardd.summaries.reduction import SummaryError
from boardd.summaries.series import summarize_series
from boardd.summaries.shared_histograms import SharedRecord, reduce_together
from boardd.summaries.summarize import Refusing, health_of, reduce_shared, summarize
from boardd_protos import boardd_pb2 as pb
from boardd_protos.invalid import InvalidRecordError, InvalidTensorError
from google.protobuf.message import DecodeError


@pytest.fixture(autouse=True)
def _without_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def refused_payload(**kind: Any) -> bytes:
    """Of two tensors, the second of which has a slot that is shorter than its shape says."""
    tensors = [pb.Tensor(dtype="float64", shape=[size]) for size in (8, 9)]
    slots = [pb.Slot(map=0, offset=64 * at, size_bytes=64) for at in range(2)]
    return pb.Payload(tensors=tensors, slots=slots, **kind).SerializeToString()


PR_CURVE = refused_payload(pr_curve=pb.PrCurve(num_thresholds=3))
SERIES = refused_payload(histograms=pb.Histograms(sizes=[8, 9]))
REDUCTIONS: dict[str, Callable[[dict[int, memoryview]], object]] = {
    "alone": lambda maps: summarize("tag", 1, 0.0, PR_CURVE, {}, 1 << 20, maps),
    "health": lambda maps: health_of("tag", 1, 0.0, PR_CURVE, {}, 1 << 20, maps),
    "share": lambda maps: reduce_shared("tag", 1, 0.0, PR_CURVE, {}, 1 << 20, maps, rank=0),
    "series": lambda maps: summarize_series(["a", "b"], SERIES, {}, 1 << 20, maps),
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_map_can_be_closed_once_its_record_was_refused(name: str) -> None:
    shared = bytearray(128)
    with pytest.raises(SummaryError) as caught:
        REDUCTIONS[name]({0: memoryview(shared)})
    del caught
    shared.append(0)  # raises BufferError while an array of it is left


def test_a_map_can_be_closed_once_one_of_several_records_was_refused() -> None:
    shared = bytearray(128)
    tensor, slot = pb.Tensor(dtype="float64", shape=[9]), pb.Slot(map=0, size_bytes=64)
    message = pb.Payload(tensors=[tensor], slots=[slot], histogram=pb.Histogram(count=3))
    payload, maps = message.SerializeToString(), {0: memoryview(shared)}
    record = SharedRecord("tag", 1, 0.0, payload, message, {}, maps, 0)
    (result,) = reduce_together([record], 1 << 20)
    assert isinstance(result, SummaryError)
    del record, maps
    shared.append(0)


@pytest.mark.parametrize("error", [ValueError, InvalidRecordError, InvalidTensorError, DecodeError])
def test_what_a_reduction_held_is_gone_with_its_refusal(error: type[Exception]) -> None:
    watched: list[weakref.ref[Any]] = []

    def reduce() -> None:
        held = np.zeros(8)
        watched.append(weakref.ref(held))
        with Refusing("tag"):
            raise error(f"refused with {held.size} values")

    with pytest.raises(SummaryError) as caught:
        reduce()
    assert watched[0]() is not None
    del caught
    assert watched[0]() is None

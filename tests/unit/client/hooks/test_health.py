"""What the records of watched tensors tell of them, so that their health can be shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from boardd_client.calls.arguments import Bins
from boardd_client.calls.batches import LARGE_BYTES, MAX_NAMES_BYTES, Histogram, histogram_records
from boardd_client.capture import tensor
from boardd_client.hooks.watch import Watch
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import FrameKind
from boardd_protos.limits import MAX_PAYLOAD_BYTES
from support.scripted_daemon import ScriptedDaemon
from support.scripted_writer import writer

pytestmark = pytest.mark.usefixtures("no_autostart")

#: A name of an array, and its number of elements.
Told = list[tuple[str, int]]


def told(
    scripted: ScriptedDaemon, arrays: Mapping[str, Any], *, prefix: str = "", **options: Any
) -> list[tuple[int, int, Told]]:
    """What the records of one step of ``arrays`` tell: part, parts, and the arrays."""
    with writer(scripted, **options) as sw:
        sw.add_scalar("p/gradients/taken", 1.0, 0)
        watched = Watch(
            sw, arrays.items, every=1, bins=10, initial_step=0, prefix=prefix, health=True
        )
        watched.count()
        assert sw.flush(timeout=60)
    found = []
    for frame in scripted.all_frames:
        if frame.kind not in (FrameKind.SUMMARY, FrameKind.SERIES_SUMMARIES):
            continue
        payload = pb.Payload.FromString(frame.payload)
        if not payload.HasField("health"):
            assert payload.WhichOneof("summary") == "custom_scalars"
            continue
        health = payload.health
        assert health.tag == f"{prefix}health"
        sizes = list(health.sizes) or [int(np.prod(one.shape)) for one in payload.tensors]
        assert len(payload.histograms.series) in (0, len(sizes))
        found.append((health.part, health.parts, list(zip(health.names, sizes, strict=True))))
    return found


ARRAYS = {
    "p/parameters/a": np.ones((2, 3)),
    "p/gradients/large": np.zeros(LARGE_BYTES + 1, np.uint8),
    "p/gradients/a": np.ones(4, np.float32),
    "p/parameters/b": np.ones(5),
}


def test_a_record_tells_of_all_its_arrays_in_their_order(scripted: ScriptedDaemon) -> None:
    assert told(scripted, ARRAYS, prefix="p/") == [
        (0, 2, [("gradients/large", LARGE_BYTES + 1)]),
        (1, 2, [("parameters/a", 6), ("parameters/b", 5), ("gradients/a", 4)]),
    ]


def test_in_a_merged_run_each_record_tells_of_one_array(scripted: ScriptedDaemon) -> None:
    arrays = {"parameters/a": np.ones(2), "gradients/a": np.ones(3)}
    assert told(scripted, arrays, rank=0, world_size=2) == [
        (0, 2, [("parameters/a", 2)]),
        (1, 2, [("gradients/a", 3)]),
    ]


def test_what_cannot_be_logged_leaves_the_others_whole(
    scripted: ScriptedDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    arrays = {
        "p/gradients/sparse": object(),
        "p/gradients/a": np.ones(2),
        "p/gradients/taken": np.ones(3),
        "p/gradients/b": np.ones(4),
    }
    assert told(scripted, arrays, prefix="p/") == [(0, 1, [("gradients/a", 2), ("gradients/b", 4)])]
    warned = [line for line in caplog.messages if "is watched but cannot be logged" in line]
    assert [line.split()[1] for line in warned] == ["p/gradients/sparse", "p/gradients/taken"]


def test_a_step_of_which_a_tensor_cannot_come_is_never_whole() -> None:
    histograms = [Histogram(1, tensor(np.ones(2), "values"), "gradients/a")]
    (record,) = histogram_records(histograms, Bins(count=9), health_tag="health", missing=1)
    health = pb.Payload.FromString(record.payload).health
    assert (health.part, health.parts) == (1, 2)


def test_many_long_names_are_shared_out_over_payloads() -> None:
    name = "gradients/" + "a" * 1000
    histograms = [
        Histogram(number + 1, tensor(np.ones(1), "values"), name)
        for number in range(2 * MAX_NAMES_BYTES // len(name))
    ]
    edges = tuple(np.arange(65_537.0).tolist())
    for bins in (Bins(count=1), Bins(edges=edges)):
        records = histogram_records(histograms, bins, health_tag="health")
        assert sum(len(record.names) for record in records) == len(histograms)
        assert max(len(record.payload) for record in records) <= MAX_PAYLOAD_BYTES
        assert max(sum(map(len, record.names)) for record in records) <= MAX_NAMES_BYTES

"""``add_histograms``: what becomes one record, what does not, and what is lost together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from boardd_client.calls.batches import LARGE_BYTES
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import Frame, FrameKind
from boardd_protos.limits import MAX_HISTOGRAMS
from support.scripted_daemon import ScriptedDaemon
from support.scripted_writer import Lazy, writer
from support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("no_autostart")

SMALL = {"a": np.arange(3.0), "b": np.arange(4, dtype=np.float32), "c": np.empty((0, 2))}


def logged(scripted: ScriptedDaemon, values: Mapping[str, Any], **options: Any) -> list[Frame]:
    """The frames of ``values``, logged in one call at step 7."""
    with writer(scripted, **options) as sw:
        sw.add_histograms(values, 7, bins=10, walltime=5.0)
        assert sw.flush(timeout=60)
        statistics = sw.statistics()
        assert (statistics.written, dict(statistics.dropped)) == (statistics.accepted, {})
    return [
        frame
        for frame in scripted.all_frames
        if frame.kind in (FrameKind.SUMMARY, FrameKind.SERIES_SUMMARIES)
    ]


def tags_of(scripted: ScriptedDaemon, frame: Frame) -> list[str]:
    """The tags of the series of a record, in its order."""
    tags = {one.series: one.tag for message in scripted.definitions for one in message.series}
    if frame.kind == FrameKind.SUMMARY:
        return [tags[frame.target]]
    return [tags[one] for one in pb.Payload.FromString(frame.payload).histograms.series]


def test_small_arrays_become_one_record(scripted: ScriptedDaemon) -> None:
    (frame,) = logged(scripted, SMALL)
    assert (frame.kind, frame.step, frame.wall_time) == (FrameKind.SERIES_SUMMARIES, 7, 5.0)
    payload = pb.Payload.FromString(frame.payload)
    assert payload.histograms.bins.count == 10
    assert payload.histograms.series[0] == frame.target
    assert tags_of(scripted, frame) == ["a", "c", "b"]
    assert list(payload.histograms.sizes) == [3, 0, 4]
    assert [(one.dtype, list(one.shape)) for one in payload.tensors] == [
        ("float64", [3]),
        ("float32", [4]),
    ]
    values = [scripted.all_tensors[frame.sequence, number] for number in (0, 1)]
    assert values == [SMALL["a"].tobytes(), SMALL["b"].tobytes()]


def test_a_daemon_that_knows_no_batches_gets_records_of_one_histogram(
    scripted: ScriptedDaemon,
) -> None:
    scripted.revision = 0
    with writer(scripted) as sw:
        sw.add_scalar("loss", 0.5, 6)
        assert sw.flush(timeout=60)  # the daemon has said what it takes
        frames = logged(scripted, SMALL)
    assert {frame.kind for frame in frames} == {FrameKind.SUMMARY}
    assert [tags_of(scripted, frame) for frame in frames] == [["a"], ["b"], ["c"]]


def test_a_large_array_is_a_record_of_its_own(scripted: ScriptedDaemon) -> None:
    large = np.zeros(LARGE_BYTES + 1, np.uint8)
    frames = logged(scripted, {"large": large, **SMALL})
    kinds = {tuple(tags_of(scripted, frame)): frame.kind for frame in frames}
    assert kinds == {
        ("large",): FrameKind.SUMMARY,
        ("a", "c", "b"): FrameKind.SERIES_SUMMARIES,
    }


def test_more_than_one_record_takes_are_several(scripted: ScriptedDaemon) -> None:
    values = {f"w/{number}": np.ones(1) for number in range(MAX_HISTOGRAMS + 1)}
    frames = logged(scripted, values)
    assert sorted(tag for frame in frames for tag in tags_of(scripted, frame)) == sorted(values)
    assert 1 < len(frames) < 5


def test_in_a_merged_run_each_is_a_record_of_its_own(scripted: ScriptedDaemon) -> None:
    frames = logged(scripted, SMALL, rank=0, world_size=2)
    assert [tags_of(scripted, frame) for frame in frames] == [["a"], ["b"], ["c"]]
    assert {frame.kind for frame in frames} == {FrameKind.SUMMARY}


def test_no_arrays_are_no_record(scripted: ScriptedDaemon) -> None:
    assert logged(scripted, {}) == []


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([1.0], TypeError, "values is a list, expected a dict of arrays"),
        ({"a": np.ones(3), "b": object()}, TypeError, r"values\['b'\] is a object"),
        ({"a": np.ones(3), "": np.ones(3)}, ValueError, "tag '' is empty"),
        ({"a": np.ones(3), "loss": np.ones(3)}, ValueError, "'loss' is a scalar"),
    ],
)
def test_a_wrong_argument_raises_and_nothing_was_logged(
    scripted: ScriptedDaemon, values: Any, error: type[Exception], message: str
) -> None:
    with writer(scripted) as sw:
        sw.add_scalar("loss", 1.0, 0)
        with pytest.raises(error, match=message):
            sw.add_histograms(values, 1)
        assert sw.statistics().accepted == 1


def test_one_record_is_dropped_as_one(scripted: ScriptedDaemon) -> None:
    scripted.acknowledges = False
    with writer(scripted) as sw:
        third = np.zeros(LARGE_BYTES // 2, np.uint8)
        before = 0
        while not sw.statistics().dropped:
            before = sw.statistics().accepted
            sw.add_histograms({"a": third, "b": third, "c": third}, before)
        statistics = sw.statistics()
        assert dict(statistics.dropped) == {"arena_full": 1}
        assert statistics.accepted == before
        scripted.send(acknowledged=pb.Acknowledged(written_sequence=before))
        scripted.acknowledges = True
        result = sw.flush(timeout=60)
        assert (result.ok, dict(result.dropped)) == (True, {"arena_full": 1})
        assert dict(sw.flush(timeout=60).dropped) == {}
        assert sw.statistics().arena_used_bytes == 0


def test_one_record_is_lost_if_one_array_is(
    scripted: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = Lazy(1.0, RuntimeError("device lost"))
    monkeypatch.setattr("boardd_client.capture.host.HostTensor.joined", lambda tensors: lost)
    with writer(scripted) as sw:
        values = {"a": np.ones(1, np.float32), "b": np.empty(0, np.float32)}
        sw.add_histograms(values, 1)
        assert sw.statistics().pending == 1
        lost.done.set()
        assert not sw.flush(timeout=60)
        assert dict(sw.statistics().rejected) == {"CAPTURE_FAILED": 1}


def test_a_part_that_the_daemon_refuses_is_told_and_not_counted(
    scripted: ScriptedDaemon,
) -> None:
    with writer(scripted) as sw:
        scripted.acknowledges = False
        sw.add_histograms(SMALL, 1)
        wait_until(lambda: bool(scripted.all_frames), "the record")
        refused = pb.Rejected(
            sequence=1,
            last_sequence=1,
            is_part=True,
            reason=pb.INVALID_NAME,
            message="b is left out",
            number=1,
            run=1,
        )
        scripted.send(rejected=refused)
        scripted.send(acknowledged=pb.Acknowledged(written_sequence=1))
        scripted.acknowledges = True
        result = sw.flush(timeout=60)
        assert not result
        assert result.reason == ("1 record written in part: INVALID_NAME: b is left out")
        assert sw.flush(timeout=60)
        statistics = sw.statistics()
        assert (statistics.accepted, statistics.written, dict(statistics.rejected)) == (1, 1, {})

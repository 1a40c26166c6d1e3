"""Records of several tensors and large ones: dropped, failed or sent as a whole."""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import pytest
from boardd_client import SummaryWriter
from boardd_client.environment import Settings
from boardd_client.errors import CaptureError
from boardd_client.run.run_handle import RunHandle
from boardd_client.transport.senders import senders
from boardd_protos import address as addresses
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import FrameKind
from support.scripted_daemon import ScriptedDaemon
from support.sent_records import send
from support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("no_autostart")


def test_a_record_of_several_tensors_is_dropped_as_one(
    scripted: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_LARGE_TENSOR_BYTES", "0")
    matrix = np.ones((1 << 10, 1 << 8), np.float32)  # 1 MiB
    images = np.zeros((1 << 10, 1, 64, 64), np.uint8)  # 4 MiB
    scripted.acknowledges = False
    with SummaryWriter("/logs", address=scripted.address) as sw:
        sw.add_embedding("first", matrix, images=images)
        used = sw.statistics().arena_used_bytes
        # Its matrix still has room, its images have not.
        sw.add_embedding("second", matrix, labels=np.arange(1 << 10), images=images)
        statistics = sw.statistics()
        assert dict(statistics.dropped) == {"arena_full": 1}
        assert (statistics.accepted, statistics.arena_used_bytes) == (1, used)
        sw.add_embedding("third", matrix)
        assert sw.statistics().accepted == 2
        # Together they never fit, so that waiting for room would be in vain.
        sw.add_embedding("fourth", matrix, images=np.zeros((1 << 10, 1, 88, 88), np.uint8))
        assert sw.statistics().dropped["tensor_too_large"] == 1
        told = {"arena_full", "tensor_too_large"}
        # In one report, or the second in another, which leaves out what was told.
        wait_until(
            lambda: {key for report in scripted.reports for key in report} == told, "reports"
        )
        scripted.send(acknowledged=pb.Acknowledged(written_sequence=2))
        scripted.acknowledges = True
        assert sw.flush(timeout=60)
        assert sw.statistics().arena_used_bytes == 0
    summaries = [frame for frame in scripted.all_frames if frame.kind == FrameKind.SUMMARY]
    assert [frame.sequence for frame in summaries] == [1, 2]


class Slow:
    """A tensor whose copy goes on after the call, until it is told to end."""

    dtype, shape, size_bytes = "uint8", (4,), 4

    def __init__(self) -> None:
        self.may_end = threading.Event()

    def copy_into(self, slot: memoryview) -> Slow:
        self.slot = slot
        return self

    def wait(self) -> None:
        assert self.may_end.wait(60)
        self.slot[:] = b"late"


class Broken:
    """A tensor whose copy cannot be started."""

    dtype, shape, size_bytes = "uint8", (2,), 2

    def copy_into(self, slot: memoryview) -> None:
        raise CaptureError("no memory there")


def test_a_copy_that_fails_loses_its_record_once_the_others_have_ended(
    scripted: ScriptedDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    sender = senders.acquire(addresses.parse(scripted.address), Settings.from_environ(os.environ))
    definition = pb.RunDefinition(logdir="/logs", rank=-1)
    run = RunHandle(sender, definition, "/logs", 0.0, lambda key, text: None)
    sender.start()
    series, slow = run.series_of("t"), Slow()
    run.log_record(series, 1, 1.0, [slow, Broken()], b"payload")
    run.log_scalar(series, 2, 1.0, 3.0)
    # The slow copy still writes to its slot, so that must not be given away.
    assert sender.session.statistics().arena_used_bytes > 0
    assert not scripted.values()
    slow.may_end.set()
    result = run.flushes.flush(20, "written")
    assert "CAPTURE_FAILED: CaptureError: no memory there" in result.reason
    assert "a value could not be captured and is lost" in caplog.text
    statistics = sender.session.statistics()
    assert (dict(statistics.rejected), statistics.arena_used_bytes) == ({"CAPTURE_FAILED": 1}, 0)
    assert [frame.kind for frame in scripted.all_frames] == [FrameKind.ABORTED, FrameKind.SCALAR]
    assert run.end(time.monotonic() + 20)
    senders.release(sender)
    assert sender.finished.wait(60)


def test_a_record_larger_than_the_log_is_dropped_at_once(
    scripted: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_LOG_BYTES", str(64 << 10))
    with SummaryWriter("/logs", address=scripted.address, on_full="block") as sw:
        begin = time.monotonic()
        sw.add_text("t", "x" * (64 << 10))
        assert time.monotonic() - begin < 30
        assert dict(sw.statistics().dropped) == {"record_too_large": 1}
        sw.add_text("t", "y" * 1000)
        assert sw.flush(timeout=60)
        assert sw.statistics().written == 1


def test_the_largest_record_is_sent_as_it_is(scripted: ScriptedDaemon) -> None:
    text = "x" * ((1 << 20) - 8)
    (sent,) = send(scripted, lambda sw: sw.add_text("t", text))
    assert sent.payload.text.markdown == text


@pytest.mark.parametrize("kind", ["scalar", "curve", "histogram"])
def test_a_tag_too_many_is_dropped_at_its_step(
    scripted: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("boardd_client.session.schema.MAX_SERIES", 1)
    with SummaryWriter("/logs", address=scripted.address) as sw:
        sw.add_scalar("known", 0.5, 5)
        if kind == "histogram":
            sw.add_histogram("unknown", np.ones(3), 6)
        else:
            sw.add_scalar("unknown", 0.5 if kind == "scalar" else {"curve": 0.5}, 6)
        assert dict(sw.statistics().dropped) == {"too_many_series": 1}
        wait_until(lambda: scripted.drop_steps, "a report")
        assert set(scripted.drop_steps) == {6}

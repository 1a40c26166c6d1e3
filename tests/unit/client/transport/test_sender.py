"""The thread that sends: order, outages, refusals, and waiting."""

from __future__ import annotations

import gc
import logging
import socket
import threading
import time
import weakref

import grpc
import numpy as np
import pytest
from boardd_client import CaptureError
from boardd_client.session import connection_state
from boardd_client.transport import flushes, pace
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import FrameKind
from support.scripted_daemon import ScriptedDaemon
from support.scripted_writer import Lazy, writer
from support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("no_autostart")


def test_records_arrive_whole_and_close_ends_everything(scripted: ScriptedDaemon) -> None:
    with writer(scripted, run="a", rank=1, world_size=4, filename_suffix=".x") as sw:
        for step in range(100):
            sw.add_scalar("loss", step / 2, step)
        sw.add_histogram("h", np.arange(100_000, dtype=np.float32), 1, bins=10)
        sw.add_scalar("curves", {"sin": 1, "cos": 2}, 3)
        sw.add_scalar("curves", ("tan", 4), 3)
    assert scripted.values() == [step / 2 for step in range(100)] + [1.0, 2.0, 4.0]
    (run,) = scripted.definitions[0].runs
    assert (run.logdir, run.name, run.rank, run.world_size) == ("/logs", "a", 1, 4)
    assert run.filename_suffix == ".x"
    series = [s for message in scripted.definitions for s in message.series]
    assert [(s.tag, s.sub_run) for s in series] == [
        ("loss", ""),
        ("h", ""),
        ("curves", "curves/sin"),
        ("curves", "curves/cos"),
        ("curves", "curves/tan"),
    ]
    assert scripted.tensors == {101: np.arange(100_000, dtype=np.float32).tobytes()}
    (summary,) = (frame for frame in scripted.all_frames if frame.kind == FrameKind.SUMMARY)
    payload = pb.Payload.FromString(summary.payload)
    assert payload.histogram.count == 10
    assert (payload.tensors[0].dtype, list(payload.tensors[0].shape)) == ("float32", [100_000])
    assert scripted.all_frames[-1].kind == FrameKind.END_RUN
    assert [request.session_id for request in scripted.closes] == [
        request.session_id for request in scripted.opens
    ]
    wait_until(lambda: scripted.active_streams == 0)


def test_each_record_ends_a_quiet_wait(
    scripted: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "QUIET_INTERVAL_SECS", 600.0)
    monkeypatch.setattr(pace, "_LOOKS_UNTIL_QUIET", 1)
    with writer(scripted) as sw:
        for step in range(5):
            sw.add_scalar("loss", float(step), step)
            wait_until(lambda step=step: len(scripted.values()) == step + 1)
            assert sw._attached is not None
            quiet = sw._attached.sender._pace
            wait_until(lambda quiet=quiet: quiet._idle_looks > 0)
        with writer(scripted, run="b") as other:
            other.add_scalar("loss", 5.0, 5)
        scripted.break_stream()
        wait_until(lambda: len(scripted.opens) == 2)
    assert scripted.values() == [float(step) for step in range(6)]


def test_writers_of_one_address_share_a_session(scripted: ScriptedDaemon) -> None:
    with writer(scripted) as first, writer(scripted, run="b") as second:
        first.add_scalar("x", 1.0, 1)
        second.add_scalar("x", 2.0, 1)
        assert first.flush(timeout=60)
        assert second.statistics() == first.statistics()
        assert first.statistics().written == 2
    assert len(scripted.opens) == 1


def test_without_a_record_nothing_is_sent_or_started(scripted: ScriptedDaemon) -> None:
    before = threading.active_count()
    with writer(scripted) as sw:
        assert sw.flush(timeout=60)
        assert threading.active_count() == before
    assert scripted.opens == []


def test_a_sender_that_has_ended_is_in_no_cycle(scripted: ScriptedDaemon) -> None:
    gc.collect()
    gc.disable()
    try:
        sw = writer(scripted)
        sw.add_scalar("loss", 0.0, 0)
        assert sw._attached is not None
        sender = weakref.ref(sw._attached.sender)
        assert sw.close()
        thread = next((t for t in threading.enumerate() if t.name == "boardd-sender"), None)
        if thread is not None:
            thread.join(20)
        del sw
        assert sender() is None
    finally:
        gc.enable()


def test_a_daemon_that_announces_its_leave_is_no_trouble(
    scripted: ScriptedDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    with writer(scripted) as sw:
        sw.add_scalar("loss", 0.0, 0)
        assert sw.flush(timeout=60)
        scripted.send(draining=pb.Draining())
        scripted.break_stream()
        sw.add_scalar("loss", 1.0, 1)
        assert sw.flush(timeout=60)
    assert scripted.values() == [0.0, 1.0]
    assert len(scripted.opens) == 2
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_a_broken_stream_is_resumed_and_nothing_is_lost_or_doubled(
    scripted: ScriptedDaemon,
) -> None:
    with writer(scripted) as sw:
        for step in range(300):
            sw.add_scalar("loss", float(step), step)
            if step % 100 == 50:
                assert sw.flush(timeout=60)
                scripted.break_stream()
    assert scripted.values() == [float(step) for step in range(300)]
    assert len(scripted.opens) > 1
    assert len({request.session_id for request in scripted.opens}) == 1


def test_lost_acknowledgements_are_made_up_for_by_the_next_open(scripted: ScriptedDaemon) -> None:
    scripted.acknowledges = False
    with writer(scripted) as sw:
        for step in range(10):
            sw.add_scalar("loss", float(step), step)
        wait_until(lambda: len(scripted.values()) == 10)
        assert sw.statistics().pending == 10
        session_id = scripted.opens[0].session_id
        scripted.written[session_id] = 10
        scripted.break_stream()
        assert sw.flush(timeout=60)
        scripted.acknowledges = True
        sw.add_scalar("loss", 10.0, 10)
    assert scripted.values() == [float(step) for step in range(11)]
    assert scripted.duplicates == 0


def test_a_restarted_daemon_gets_definitions_and_unwritten_records_again(
    scripted: ScriptedDaemon,
) -> None:
    with writer(scripted) as sw:
        sw.add_scalar("loss", 0.0, 0)
        assert sw.flush(timeout=60)
        scripted.acknowledges = False
        sw.add_scalar("loss", 1.0, 1)
        wait_until(lambda: len(scripted.values()) == 2)
        scripted.stop()
        scripted.forget()
        scripted.acknowledges = True
        sw.add_scalar("accuracy", 2.0, 2)
        scripted.start()
        assert sw.flush(timeout=60)
    assert scripted.values() == [0.0, 1.0, 2.0]
    assert scripted.duplicates == 1
    assert scripted.opens[-1].acknowledged_sequence == 1
    assert [s.tag for message in scripted.definitions[-1:] for s in message.series] == [
        "loss",
        "accuracy",
    ]


def test_an_outage_is_warned_about_once_and_its_end_too(
    scripted: ScriptedDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "boardd_client")
    with writer(scripted) as sw:
        sw.add_scalar("loss", 0.0, 0)
        assert sw.flush(timeout=60)
        scripted.stop()
        sw.add_scalar("loss", 1.0, 1)
        wait_until(lambda: any("cannot be reached" in text for text in caplog.messages))
        result = sw.flush(timeout=1.0)  # several tries, which must not warn again
        assert not result
        assert result.pending == 1
        assert "BOARDD_AUTOSTART=0 forbids to start a daemon" in result.reason
        scripted.start()
        assert sw.flush(timeout=60)
    assert sum("cannot be reached" in text for text in caplog.messages) == 1
    assert sum("is back" in text for text in caplog.messages) == 1
    assert scripted.values() == [0.0, 1.0]


def test_an_error_that_nobody_expected_is_logged_and_survived(
    scripted: ScriptedDaemon, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_state, "LAST_BACKOFF_SECS", 0.1)

    names = iter(["host", RuntimeError("no name"), "host"])

    def host_name() -> str:
        name = next(names)
        if isinstance(name, Exception):
            raise name
        return name

    monkeypatch.setattr(socket, "gethostname", host_name)
    with writer(scripted) as sw:
        sw.add_scalar("loss", 0.0, 0)
        assert sw.flush(timeout=60)
    assert scripted.values() == [0.0]
    assert "boardd: the sender failed and goes on" in caplog.messages
    assert "no name" in caplog.text
    assert [request.hostname for request in scripted.opens] == ["host"]


@pytest.mark.parametrize("code", ["UNAUTHENTICATED", "FAILED_PRECONDITION"])
def test_a_refused_session_fails_flush_at_once_and_is_tried_again(
    scripted: ScriptedDaemon, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_state, "REFUSED_BACKOFF_SECS", 0.2)
    scripted.open_error = (grpc.StatusCode[code], "not you")
    sw = writer(scripted)
    sw.add_scalar("loss", 0.0, 0)
    begin = time.monotonic()
    result = sw.flush(timeout=60)
    assert time.monotonic() - begin < 30
    assert (result.ok, result.reason, result.pending) == (False, f"{code}: not you", 1)
    scripted.open_error = None
    wait_until(lambda: scripted.values() == [0.0])
    assert sw.close()


def test_a_refused_run_fails_flush_and_close_and_is_warned_about(
    scripted: ScriptedDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.acknowledges = False
    sw = writer(scripted)
    sw.add_scalar("loss", 0.0, 0)
    wait_until(lambda: scripted.definitions)
    number = scripted.definitions[0].runs[0].run
    scripted.send(run_refused=pb.RunRefused(run=number, reason=pb.UNWRITABLE, message="/logs"))
    result = sw.flush(timeout=60)
    assert result.reason == "the daemon refuses the run: UNWRITABLE: /logs"
    scripted.acknowledges = True
    assert not sw.close(timeout=60)
    assert any("refuses /logs: UNWRITABLE: /logs" in text for text in caplog.messages)


def test_rejected_records_fail_the_flush_that_covers_them_and_no_other(
    scripted: ScriptedDaemon,
) -> None:
    scripted.acknowledges = False
    with writer(scripted) as sw:
        sw.add_scalar("loss", 0.0, 0)
        sw.add_scalar("loss", 1.0, 1)
        wait_until(lambda: len(scripted.values()) == 2)
        scripted.send(
            rejected=pb.Rejected(sequence=2, records=1, reason=pb.INVALID_NAME, message="bad name")
        )
        scripted.send(acknowledged=pb.Acknowledged(written_sequence=2))
        result = sw.flush(timeout=60)
        assert result.reason == "1 rejected record: INVALID_NAME: bad name"
        counts = sw.statistics()
        assert (counts.accepted, counts.written, dict(counts.rejected)) == (
            2,
            1,
            {"INVALID_NAME": 1},
        )
        scripted.acknowledges = True
        sw.add_scalar("loss", 2.0, 2)
        assert sw.flush(timeout=60)


def test_a_daemon_that_stops_reading_holds_up_nobody_but_flush(scripted: ScriptedDaemon) -> None:
    sw = writer(scripted)
    sw.add_scalar("loss", 0.0, 0)
    assert sw.flush(timeout=60)
    scripted.reads.clear()
    data = np.zeros(100_000, np.float32)
    took = []
    for step in range(60):
        begin = time.monotonic()
        sw.add_histogram("h", data, step)
        took.append(time.monotonic() - begin)
    assert max(took) < 30, "it waits as on_full='block' does, for 60 s"
    # The last calls find no room. A busy machine delays some, but not each.
    dropped = sw.statistics().dropped["arena_full"]
    assert min(took[-dropped:]) < 0.1
    begin = time.monotonic()
    result = sw.flush(timeout=0.5)
    assert 0.4 < time.monotonic() - begin < 30
    assert "has not written them in time" in result.reason
    counts = sw.statistics()
    assert counts.dropped["arena_full"] > 0
    assert counts.accepted == 61 - counts.dropped["arena_full"]
    scripted.reads.set()
    assert sw.close()
    assert sw.statistics().pending == 0
    assert scripted.reports[-1] == dict(counts.dropped)


def test_block_waits_for_room_and_loses_nothing(scripted: ScriptedDaemon) -> None:
    with writer(scripted, on_full="block") as sw:
        for step in range(60):
            sw.add_histogram("h", np.full(100_000, step, np.float32), step)
        counts = sw.statistics()
        assert dict(counts.dropped) == {}
    assert len(scripted.tensors) == 60


def test_block_gives_up_at_its_deadline(
    scripted: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_BLOCK_TIMEOUT_SECS", "1")
    monkeypatch.setenv("BOARDD_LOG_BYTES", "65536")
    scripted.acknowledges = False
    sw = writer(scripted, on_full="block")
    for _ in range(65536 // 48):
        sw.add_scalar("loss", 0.0, 0)
    begin = time.monotonic()
    sw.add_scalar("loss", 0.0, 0)
    assert 1 <= time.monotonic() - begin < 30
    assert dict(sw.statistics().dropped) == {"log_full": 1}
    took = []
    for _ in range(5):
        begin = time.monotonic()
        sw.add_scalar("loss", 0.0, 0)
        took.append(time.monotonic() - begin)
    assert min(took) < 1, "it waits again before anything was acknowledged"
    assert dict(sw.statistics().dropped) == {"log_full": 6}
    scripted.send(acknowledged=pb.Acknowledged(written_sequence=65536 // 48))
    scripted.acknowledges = True
    assert sw.close()


@pytest.mark.usefixtures("lazy_values")
def test_a_lazy_value_is_waited_for_in_the_background_and_order_is_kept(
    scripted: ScriptedDaemon,
) -> None:
    value = Lazy(0.5)
    with writer(scripted) as sw:
        sw.add_scalar("loss", 1.0, 1)
        sw.add_scalar("loss", value, 2)
        sw.add_scalar("loss", 3.0, 3)
        wait_until(lambda: scripted.values() == [1.0])
        assert not sw.flush(timeout=0.2)
        value.done.set()
        assert sw.flush(timeout=60)
    assert scripted.values() == [1.0, 0.5, 3.0]


@pytest.mark.usefixtures("lazy_values")
@pytest.mark.parametrize("error", [CaptureError("device lost"), RuntimeError("device lost")])
def test_a_value_that_fails_is_void_counted_and_does_not_hold_up_others(
    scripted: ScriptedDaemon, error: Exception
) -> None:
    values = [Lazy(0.0, error), Lazy(0.0, error)]
    for value in values:
        value.done.set()
    with writer(scripted) as sw:
        sw.add_scalar("loss", values[0], 1)
        sw.add_histogram("h", values[1], 1)
        sw.add_scalar("loss", 2.0, 2)
        assert "device lost" in sw.flush(timeout=60).reason
        assert dict(sw.statistics().rejected) == {"CAPTURE_FAILED": 2}
    assert [frame.kind for frame in scripted.all_frames] == [
        FrameKind.ABORTED,
        FrameKind.ABORTED,
        FrameKind.SCALAR,
        FrameKind.END_RUN,
    ]


@pytest.mark.usefixtures("lazy_values")
def test_a_copy_that_cannot_begin_raises_nothing(scripted: ScriptedDaemon) -> None:
    value = Lazy(0.0)

    def copy_into(_: memoryview) -> Lazy:
        raise MemoryError("no memory")

    value.copy_into = copy_into  # type: ignore[method-assign]
    with writer(scripted) as sw:
        sw.add_histogram("h", value, 1)
        assert "MemoryError: no memory" in sw.flush(timeout=60).reason


def test_synced_asks_the_daemon(scripted: ScriptedDaemon) -> None:
    with writer(scripted) as sw:
        sw.add_scalar("loss", 1.0, 1)
        assert sw.flush(timeout=5, level="synced")
        (request,) = scripted.flushes
        assert (request.sequence, request.level) == (1, pb.SYNCED)
        assert 0 < request.timeout_secs <= 5
        scripted.flush_reply = pb.FlushReply(reached=False, message="the disk is slow")
        assert sw.flush(timeout=60, level="synced").reason == "the disk is slow"


def test_a_disk_that_took_too_long_is_asked_again_for_a_moment(
    scripted: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_synced() -> tuple[bool, int]:
        return bool(sw.flush(level="synced")), len(scripted.flushes)

    with writer(scripted) as sw:
        sw.add_scalar("loss", 1.0, 1)
        assert sw.flush(timeout=60)
        monkeypatch.setattr(flushes, "FLUSH_SECS", 0.0)  # every disk takes too long
        monkeypatch.setattr(flushes, "ASK_SECS", 60.0)
        assert is_synced() == (False, 0)
        assert is_synced() == (True, 1)
        assert is_synced() == (False, 1)
        sw.add_scalar("loss", 2.0, 2)
        assert sw.flush(timeout=60)
        assert is_synced() == (False, 1)
        assert is_synced() == (True, 2)


def test_small_max_queue_and_flush_secs_send_sooner(scripted: ScriptedDaemon) -> None:
    with writer(scripted, max_queue=1, flush_secs=0.01) as sw:
        sw.add_scalar("loss", 0.0, 0)
        assert sw.flush(timeout=60)
        delays: list[float] = []
        # A busy machine is late most times, but not always.
        while min(delays, default=1.0) >= 0.08:
            assert len(delays) < 50, delays
            begin = time.monotonic()
            sw.add_scalar("loss", 1.0, 1 + len(delays))
            wait_until(lambda: len(scripted.values()) == 2 + len(delays))
            delays.append(time.monotonic() - begin)

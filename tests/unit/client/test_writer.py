"""A writer of its own: arguments, options, export, pickling, and how it ends."""

from __future__ import annotations

import gc
import json
import pickle
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boardd_client import SummaryWriter
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import FrameKind
from support.scripted_daemon import ScriptedDaemon
from support.scripted_writer import writer
from support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("no_autostart")


def test_a_closed_writer_counts_what_it_gets_and_reopens(scripted: ScriptedDaemon) -> None:
    sw = writer(scripted)
    sw.add_scalar("loss", 1.0, 1)
    assert sw.close()
    assert sw.close()
    sw.add_scalar("loss", 2.0, 2)
    sw.add_histogram("h", np.zeros(3), 2)
    assert sw.flush(timeout=60)
    assert dict(sw.statistics().dropped) == {"closed": 2}
    sw.reopen()
    sw.add_scalar("loss", 3.0, 3)
    assert sw.close()
    assert scripted.values() == [1.0, 3.0]


def test_curves_that_come_again_and_again_are_scalars_in_call_order(
    scripted: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_LOG_BYTES", str(64 << 10))
    with writer(scripted) as sw:
        for step in range(5):
            sw.add_scalar("curves", {"a": step, "b": step + 0.25, "c": step + 0.5}, step)
        assert sw.flush(timeout=60)
        logged = [step + part for step in range(5) for part in (0.0, 0.25, 0.5)]
        assert scripted.values() == logged
        series = {s.series: s.sub_run for message in scripted.definitions for s in message.series}
        scalars = [frame for frame in scripted.all_frames if frame.kind == FrameKind.SCALAR]
        assert [series[frame.target] for frame in scalars] == [
            "curves/a",
            "curves/b",
            "curves/c",
        ] * 5
        assert [frame.step for frame in scalars] == [step for step in range(5) for _ in range(3)]
        assert sw.statistics().accepted == 15
        scripted.stop()
        calls = 0
        while not sw.statistics().dropped:
            sw.add_scalar("curves", {"a": 0.0, "b": 1.0, "c": 2.0}, calls)
            calls += 1
        # The whole call is dropped, or none of it.
        assert dict(sw.statistics().dropped) == {"log_full": 3}
        assert sw.statistics().pending == 3 * (calls - 1)
        scripted.start()


def test_a_writer_that_is_not_closed_ends_its_run_when_it_is_collected(
    scripted: ScriptedDaemon,
) -> None:
    sw = writer(scripted)
    sw.add_scalar("loss", 1.0, 1)
    del sw
    gc.collect()
    wait_until(lambda: scripted.closes)
    assert [frame.kind for frame in scripted.all_frames] == [FrameKind.SCALAR, FrameKind.END_RUN]


def test_close_with_the_daemon_away_keeps_trying_in_the_background(
    scripted: ScriptedDaemon,
) -> None:
    scripted.stop()
    sw = writer(scripted)
    sw.add_scalar("loss", 1.0, 1)
    begin = time.monotonic()
    assert not sw.close(timeout=0.3)
    assert time.monotonic() - begin < 30
    scripted.start()
    wait_until(lambda: scripted.values() == [1.0])
    wait_until(lambda: scripted.closes)


def test_export_has_what_was_logged_with_and_without_a_daemon(
    scripted: ScriptedDaemon, tmp_path: Path
) -> None:
    path = tmp_path / "scalars.json"
    with writer(scripted) as sw:
        sw.add_scalar("loss", 0.5, 1)
        assert sw.flush(timeout=60)
        scripted.stop()
        sw.add_scalar("curves", {"sin": 2}, 3)
        sw.add_scalar("curves", {"größe": 3}, 3)
        sw.export_scalars(path)
        exported = json.loads(path.read_text(encoding="ascii"))
        assert set(exported) == {"/logs/loss", "/logs/curves/sin", "/logs/curves/größe"}
        ((timestamp, step, value),) = exported["/logs/loss"]
        assert (step, value) == (1, 0.5)
        assert abs(timestamp - time.time()) < 60
        sw.clear_scalar_dict()
        sw.add_scalar("loss", 0.25, 2)
        scripted.start()
    sw.export_scalars(path)
    assert [row[1:] for row in json.loads(path.read_text())["/logs/loss"]] == [[2, 0.25]]


def test_an_export_has_steps_as_they_were_given(scripted: ScriptedDaemon, tmp_path: Path) -> None:
    path = tmp_path / "scalars.json"
    with writer(scripted) as sw:
        for step in (1, 1.5, np.float32(2.25), None, np.int64(4), 5.0):
            sw.add_scalar("loss", 0.0, step)
        for step in (0.5, 1.5, 2.5, 3):
            sw.add_scalar("curves", {"sin": 0.0, "cos": 1.0}, step)
        sw.export_scalars(path)
        exported = json.loads(path.read_text())
        assert [row[1] for row in exported["/logs/loss"]] == [1, 1.5, 2.25, None, 4, 5]
        assert [row[1] for row in exported["/logs/curves/cos"]] == [0.5, 1.5, 2.5, 3]
        assert sw.flush(timeout=60)
    assert [frame.step for frame in scripted.all_frames][:6] == [1, 1, 2, 0, 4, 5]


def test_two_tags_that_become_one_are_warned_of_once(
    scripted: ScriptedDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    with writer(scripted) as sw, writer(scripted, run="kept", keep_tags=True) as kept:
        for step in range(3):
            for tag in ("acc@1", "acc#1", "loss"):
                sw.add_scalar(tag, 1.0, step)
                kept.add_scalar(tag, 1.0, step)
            sw.add_scalar("curves", {"top@1": 1.0, "top#1": 2.0}, step)
            sw.add_histogram("h 1", np.zeros(2), step)
            sw.add_histogram("h_1", np.zeros(2), step)
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == [
        "boardd: /logs: 'acc@1' and 'acc#1' are both written as 'acc_1', and so are one series; "
        "use other tags, or keep_tags=True",
        "boardd: /logs: 'h 1' and 'h_1' are both written as 'h_1', and so are one series; "
        "use other tags, or keep_tags=True",
    ]


def test_pickling_takes_address_and_run_along(scripted: ScriptedDaemon) -> None:
    options = {"rank": 2, "world_size": 3, "on_full": "block", "purge_step": 7, "sync": 5}
    with writer(scripted, run="r", **options) as sw:
        sw.add_scalar("loss", 1.0, 1)
        with pickle.loads(pickle.dumps(sw)) as copy:
            copy.add_scalar("loss", 2.0, 2)
    runs = [run for message in scripted.definitions for run in message.runs]
    assert len(runs) == 2
    runs[1].run = runs[0].run
    # The epoch too: the copy is not the original's successor, but its sibling.
    assert [run.has_siblings for run in runs] == [False, True]
    runs[1].has_siblings = False
    assert runs[0] == runs[1]
    assert runs[0].purge_step == 7
    assert scripted.values() == [1.0, 2.0]


def test_a_writer_made_later_has_a_higher_epoch_unless_the_environment_sets_it(
    scripted: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = time.time_ns()
    with writer(scripted) as first, writer(scripted, purge_step=0) as second:
        monkeypatch.setenv("BOARDD_EPOCH", "12")
        with writer(scripted) as third:
            for sw in (first, second, third):
                sw.add_scalar("loss", 1.0, 1)
            first.close()
            first.reopen()
            first.add_scalar("loss", 1.0, 1)
            assert first.flush(timeout=60)
    runs = [run for message in scripted.definitions for run in message.runs]
    epochs = [run.epoch for run in runs]
    assert before <= epochs[0] < epochs[1] <= time.time_ns()
    assert epochs[2:] == [12, epochs[0]]
    assert [run.HasField("purge_step") for run in runs] == [False, True, False, False]
    assert not any(run.has_siblings for run in runs)


@pytest.mark.parametrize("value", ["3", 1.5, True])
def test_a_purge_step_that_is_none_is_refused(scripted: ScriptedDaemon, value: Any) -> None:
    with pytest.raises(TypeError, match=r"purge_step is .*, expected an int"):
        writer(scripted, purge_step=value)


@pytest.mark.parametrize(
    ("sync", "secs", "on_flush"),
    [(None, 0.0, False), ("never", 0.0, False), ("flush", 0.0, True), (2.5, 2.5, False)],
)
def test_sync_is_told_and_makes_flush_and_close_reach_the_disk(
    scripted: ScriptedDaemon, sync: str | float | None, secs: float, on_flush: bool
) -> None:
    with writer(scripted, sync=sync) as sw:
        sw.add_scalar("loss", 1.0, 1)
        assert sw.flush(timeout=60)
        definition = scripted.definitions[0].runs[0]
        assert (definition.sync_secs, definition.sync_on_flush) == (secs, on_flush)
        assert [flush.level for flush in scripted.flushes] == [pb.SYNCED] * on_flush
        scripted.flush_reply = pb.FlushReply(reached=False, message="the disk failed")
        assert bool(sw.close()) is not on_flush
        assert len(scripted.flushes) == 2 * on_flush


def test_a_run_on_this_host_is_described(scripted: ScriptedDaemon, tmp_path: Path) -> None:
    with SummaryWriter(tmp_path / "logs", address=scripted.address) as sw:
        sw.add_scalar("loss", 1.0, 1)
    definition = scripted.definitions[0].runs[0]
    assert definition.ancestor.path == str(tmp_path)
    assert definition.ancestor.inode == tmp_path.stat().st_ino
    assert definition.HasField("umask")


def test_the_token_goes_with_every_call(
    scripted: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_TOKEN", "sesame")
    with writer(scripted) as sw:
        sw.add_scalar("loss", 1.0, 1)
    assert scripted.metadata[0]["authorization"] == "Bearer sesame"


def test_a_token_that_cannot_be_read_keeps_nobody_from_a_daemon_of_this_host(
    scripted: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_TOKEN_FILE", "/nonexistent")
    with writer(scripted) as sw:
        sw.add_scalar("loss", 1.0, 1)
        assert sw.flush(timeout=60)
    assert "authorization" not in scripted.metadata[0]


def test_threads_may_log_at_once(scripted: ScriptedDaemon) -> None:
    with writer(scripted) as sw:

        def log(number: int) -> None:
            for step in range(500):
                sw.add_scalar(f"tag{number}", float(step), step)

        threads = [threading.Thread(target=log, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    tags = {s.series: s.tag for message in scripted.definitions for s in message.series}
    assert len(tags) == 4
    scalars = [frame for frame in scripted.all_frames if frame.kind == FrameKind.SCALAR]
    for series in tags:
        steps = [frame.step for frame in scalars if frame.target == series]
        assert steps == list(range(500))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda sw: sw.add_scalar("", 1.0, 1), ValueError),
        (lambda sw: sw.add_scalar(["loss"], 1.0, 1), TypeError),
        (lambda sw: sw.add_scalar("loss", "1.0", 1), TypeError),
        (lambda sw: sw.add_scalar("loss", 1.0, 1 << 63), ValueError),
        (lambda sw: sw.add_scalar("loss", 1.0, float("nan")), ValueError),
        (lambda sw: sw.add_scalar("loss", 10**400, 1), ValueError),
        (lambda sw: sw.add_scalar("loss", ("a", 1, 2), 1), ValueError),
        (lambda sw: sw.add_scalar("loss", {"a": 1, "b": "x"}, 1), TypeError),
        (lambda sw: sw.add_scalar("loss", np.zeros(2), 1), ValueError),
        (lambda sw: sw.add_histogram("h", np.zeros(2), 1, bins=0), ValueError),
        (lambda sw: sw.add_histogram("h", "text", 1), TypeError),
        (lambda sw: sw.add_histogram("h", np.zeros(2, np.complex64), 1), TypeError),
        (lambda sw: sw.add_image("i", np.zeros((2, 8, 8), np.float32), 1), ValueError),
        (lambda sw: sw.add_image("i", np.zeros((8, 8), np.int32), 1), TypeError),
        (lambda sw: sw.flush(timeout=-1), ValueError),
        (lambda sw: sw.flush(level="durable"), ValueError),
    ],
)
def test_wrong_arguments_raise_and_log_nothing(
    scripted: ScriptedDaemon, call: Any, error: type[Exception]
) -> None:
    with writer(scripted) as sw:
        sw.add_scalar("loss", 1.0, 1)
        with pytest.raises(error):
            call(sw)
        assert sw.statistics().accepted == 1


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_queue": -1}, ValueError),
        ({"flush_secs": "soon"}, TypeError),
        ({"filename_suffix": "/"}, ValueError),
        ({"address": "nowhere"}, ValueError),
        ({"address": 7}, TypeError),
        ({"rank": 3, "world_size": 3}, ValueError),
        ({"run": "../x"}, ValueError),
        ({"on_full": "wait"}, ValueError),
        ({"sync": "always"}, ValueError),
        ({"sync": 0}, ValueError),
        ({"sync": -1.0}, ValueError),
        ({"sync": float("inf")}, ValueError),
        ({"sync": []}, TypeError),
    ],
)
def test_wrong_options_raise(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        SummaryWriter("/logs", **options)


def test_a_wrong_environment_raises_where_the_writer_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BOARDD_LOG_BYTES", "lots")
    with pytest.raises(ValueError, match="BOARDD_LOG_BYTES='lots'"):
        SummaryWriter("/logs")


def test_logdirs_are_absolute_over_a_socket_and_as_given_over_tcp(
    scripted: ScriptedDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with SummaryWriter("logs", address=scripted.address, run="a/b") as sw:
        assert sw.get_logdir() == "logs/a/b"
        monkeypatch.chdir("/")
        sw.add_scalar("loss", 1.0, 1)
    assert scripted.definitions[0].runs[0].logdir == str(tmp_path / "logs")
    remote = SummaryWriter("logs", address="example.org:6006")
    assert remote.__getstate__()["logdir"] == "logs"

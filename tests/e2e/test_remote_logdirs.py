"""Runs whose logdir is a URL, in a store that speaks S3, and stock TensorBoard reading there."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from boardd.commands.status_text import render, to_json
from boardd_client import SummaryWriter
from boardd_protos import boardd_pb2 as pb
from support.daemon_process import DaemonProcess
from support.independent_reader import events
from support.object_store import SECRET, ObjectStore
from support.waiting import wait_until

BUCKET = "boardd-test"
ROOT = f"s3://{BUCKET}/runs"
WAIT_SECS = 120.0


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    with ObjectStore() as store:
        yield store


def daemon_for(
    store: ObjectStore,
    tmp_path: Path,
    socket: Path | None = None,
    *,
    ship_secs: float = 0.5,
    drain_secs: float = 2.0,
) -> DaemonProcess:
    return DaemonProcess(
        tmp_path,
        *("--logdir-root", ROOT, "--spool-dir", str(tmp_path / "spool")),
        *("--ship-secs", str(ship_secs), "--drain-secs", str(drain_secs)),
        socket=socket,
        environ=store.environ,
    )


def wait_for(daemon: DaemonProcess, what: str, condition: Callable[[pb.StoreStatus], bool]) -> None:
    """Waits until what the daemon says of its one store is as ``what`` says."""

    def holds() -> bool:
        return any(map(condition, daemon.status().stores))

    wait_until(holds, what, WAIT_SECS)


def log(writer: SummaryWriter, first: int, end: int) -> None:
    for step in range(first, end):
        writer.add_scalar("loss", float(step), step)
    assert writer.flush(timeout=60)


def steps_in(contents: dict[str, list[bytes]], scratch: Path) -> list[int]:
    """The steps of a scalar, in the order in which TensorBoard reads the objects."""
    found = []
    for key in sorted(key for key in contents if "tfevents" in key):
        scratch.write_bytes(contents[key][0])
        found += [
            event.step for event in events(scratch) for value in event.values if value.tag == "loss"
        ]
    return found


class Page:
    """A stock TensorBoard."""

    def __init__(self, link: str) -> None:
        self._link = link.rstrip("/")

    def steps(self) -> list[int]:
        """Those of the scalar that it shows."""
        path = "data/plugin/scalars/scalars?run=one&tag=loss"
        with urllib.request.urlopen(f"{self._link}/{path}", timeout=60) as answer:
            return [step for _, step, _ in json.load(answer)]

    def points(self) -> int:
        """How many it shows by now."""
        with contextlib.suppress(OSError):
            return len(self.steps())
        return 0


@contextlib.contextmanager
def viewed(url: str, store: ObjectStore) -> Iterator[Page]:
    """Yields a TensorBoard on ``url``, which shows it while it grows."""
    command = [sys.executable, "-m", "boardd", "view", url, "--port", "0", "--timeout", "120"]
    process = subprocess.Popen(
        command, env={**os.environ, **store.environ}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield Page(process.stdout.readline().strip())
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


@pytest.mark.slow
def test_a_bucket_has_every_record_once_whatever_happens_on_the_way(
    tmp_path: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOARDD_AUTOSTART", "0")
    # The store is not there.
    with daemon_for(store, tmp_path) as daemon:
        writer = SummaryWriter(f"{ROOT}/one", address=daemon.address)
        log(writer, 0, 100)
        wait_for(daemon, "a try has failed", lambda store: store.failures > 0)
        reply = daemon.status()
        assert reply.stores[0].pending_files > 0
        assert reply.stores[0].pending_bytes > 0
        assert reply.runs[0].path == f"{ROOT}/one"
        shown = render(reply) + to_json(reply) + daemon.log
        assert f"s3://{BUCKET} cannot be reached" in shown
        assert SECRET not in shown
        assert daemon.terminate() == 0
        # It is there and does not answer; the daemon is killed over it.
        store.start(BUCKET)
        store.stop()
        with daemon_for(store, tmp_path, daemon.socket) as second:
            log(writer, 100, 200)
            wait_for(second, "files wait", lambda store: store.pending_files > 1)
            second.kill()
        store.go_on()
        with daemon_for(store, tmp_path, daemon.socket) as third, viewed(ROOT, store) as page:
            wait_until(lambda: page.points() == 200, "TensorBoard shows what is there", WAIT_SECS)
            log(writer, 200, 300)
            writer.add_embedding("vectors", np.eye(3, dtype=np.float32), labels=["a", "b", "c"])
            assert writer.close(60)
            third.wait_closed()
            wait_for(
                third,
                "all is shipped",
                lambda store: store.shipped_files > 0 and not store.pending_bytes,
            )
            contents = store.contents(BUCKET)
            wait_until(lambda: page.points() == 300, "TensorBoard shows the rest", WAIT_SECS)
            assert page.steps() == list(range(300))
            assert third.terminate() == 0
    assert all(len(set(found)) == 1 for key, found in contents.items() if "tfevents" in key)
    assert steps_in(contents, tmp_path / "scratch") == list(range(300))
    assert {os.path.basename(key) for key in contents if "tfevents" not in key} == {
        *("projector_config.pbtxt", "tensors.bytes", "metadata.tsv"),
    }
    assert not (tmp_path / "s3:").exists()


@pytest.mark.slow
def test_a_daemon_that_leaves_ships_what_it_has_written(
    tmp_path: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_AUTOSTART", "0")
    store.start(BUCKET)
    with daemon_for(store, tmp_path, ship_secs=3600.0, drain_secs=60.0) as daemon:
        writer = SummaryWriter(f"{ROOT}/one", address=daemon.address)
        log(writer, 0, 10)
        assert not store.contents(BUCKET)
        assert daemon.terminate(120.0) == 0
        assert steps_in(store.contents(BUCKET), tmp_path / "scratch") == list(range(10))
        with daemon_for(store, tmp_path, daemon.socket) as second:
            assert writer.close(60)
            assert second.terminate(120.0) == 0
    assert steps_in(store.contents(BUCKET), tmp_path / "scratch") == list(range(10))


def test_a_url_that_the_daemon_does_not_write_is_refused_when_the_writer_is_made(
    tmp_path: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with daemon_for(store, tmp_path) as daemon:
        for logdir in (f"s3://{BUCKET}/other", "gs://bucket/runs", Path(ROOT), "file:///tmp/x"):
            with pytest.raises(ValueError, match="logdir"):
                SummaryWriter(logdir, address=daemon.address)
    with DaemonProcess(tmp_path) as local, pytest.raises(ValueError, match="BOARDD_LOGDIR_ROOT"):
        SummaryWriter(f"{ROOT}/one", address=local.address)
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]

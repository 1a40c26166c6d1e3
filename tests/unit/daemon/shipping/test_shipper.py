"""What is closed is shipped once, whole and in order, and goes when its store has confirmed it."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from boardd import shipping
from boardd.core import budget
from boardd.runs.directories.disk_full import DiskFullError
from boardd.runs.directories.logdir import Roots
from boardd.shipping.tidying import KEPT_SECS
from support.spooled_runs import (
    URL,
    RecordingStore,
    append,
    last_written,
    open_run,
    shipper_of,
    spool_at,
)

SHIPPING = str(Path(shipping.__file__).parent)


class KilledError(BaseException):
    """Stands for SIGKILL: nothing handles it."""


def event_files(spool_path: Path) -> list[str]:
    return sorted(path.name for path in spool_path.rglob("*tfevents*"))


def three_segments(path: Path, *, with_embedding: bool = False) -> None:
    """Two closed segments of a run, and a third of a run that was killed."""
    spool = spool_at(path)
    with open_run(spool) as file:
        append(file, 1, 2)
        file.end_file()
        append(file, 3)
        file.end_file()
        append(file, 4, 5)
    if with_embedding:
        run = spool.path_of(URL)
        (run / "embedding").mkdir()
        (run / "embedding" / "tensors.bytes").write_bytes(b"tensors")
        (run / "projector_config.pbtxt").write_bytes(b"config")
    spool.release()


def test_the_live_file_stays_and_what_is_closed_is_shipped(tmp_path: Path) -> None:
    spool, store = spool_at(tmp_path / "spool"), RecordingStore()
    shipper = shipper_of(spool, store)
    with open_run(spool) as file:
        append(file, 1)
        shipper.ship()
        assert not store.puts
        assert shipper.report().pending_bytes == spool.held_bytes > 0
        file.end_file()
        append(file, 2)
        shipper.ship()
        assert store.steps(tmp_path / "scratch") == [1]
    shipper.ship()
    assert store.steps(tmp_path / "scratch") == [1, 2]
    assert spool.held_bytes == 0
    report = shipper.report()
    assert (report.shipped_files, report.pending_files, report.failures) == (2, 0, 0)
    # The last one stays for its marks.
    assert len(event_files(spool.path)) == 1
    shipper.ship()
    assert len(store.puts) == 2


def test_what_is_shipped_is_remembered_by_the_marks_of_the_last_file(tmp_path: Path) -> None:
    three_segments(tmp_path / "spool")
    spool, store = spool_at(tmp_path / "spool"), RecordingStore()
    shipper_of(spool, store).ship()
    assert last_written(spool) == 5
    with open_run(spool) as file:
        append(file, 6)
    shipper_of(spool, store).ship()
    assert store.steps(tmp_path / "scratch") == [1, 2, 3, 4, 5, 6]


def killing_at(count: int) -> Callable[[FrameType, str, Any], Any]:
    """A trace function that kills at the ``count``-th line of the shipping room."""
    left = count

    def trace(frame: FrameType, what: str, argument: Any) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(SHIPPING):
            return None
        if what == "line":
            left -= 1
            if left == 0:
                raise KilledError
        return trace

    return trace


def test_kills_on_the_way_change_no_object_and_lose_none(tmp_path: Path) -> None:
    three_segments(tmp_path / "template", with_embedding=True)
    kills = 0
    for count in range(1, 10_000, 17):
        path = tmp_path / "spool"
        shutil.copytree(tmp_path / "template", path)
        store, spool = RecordingStore(), spool_at(path)
        spool.take()
        shipper = shipper_of(spool, store)
        earlier = sys.gettrace()
        sys.settrace(killing_at(count))
        try:
            shipper.ship()
        except KilledError:
            kills += 1
        else:
            break
        finally:
            sys.settrace(earlier)
        spool.release()
        next_spool = spool_at(path)
        next_spool.take()
        shipper_of(next_spool, store).ship()
        assert not store.changed(), count
        assert store.steps(tmp_path / "scratch") == [1, 2, 3, 4, 5], count
        assert store.objects["runs/one/embedding/tensors.bytes"] == b"tensors"
        assert store.objects["runs/one/projector_config.pbtxt"] == b"config"
        assert len(event_files(path)) == 1, count
        assert next_spool.held_bytes == 0
        next_spool.release()
        shutil.rmtree(path)
    assert kills > 10


def test_an_object_of_another_size_is_not_believed(tmp_path: Path) -> None:
    three_segments(tmp_path / "spool")
    spool, store = spool_at(tmp_path / "spool"), RecordingStore()
    shipper = shipper_of(spool, store)

    def cut(call: str, key: str) -> None:
        if call == "size_bytes" and "tfevents" in key:
            store.objects[key] = store.objects[key][:-1]

    store.before = cut
    shipper.ship()
    report = shipper.report()
    assert "UnconfirmedError" in report.last_error
    assert report.pending_files == 3
    assert len(event_files(spool.path)) == 3
    store.before = lambda call, key: None
    shipper.ship(hurries=True)
    assert store.steps(tmp_path / "scratch") == [1, 2, 3, 4, 5]
    assert not store.changed()


def test_no_later_segment_is_shipped_before_an_earlier_one(tmp_path: Path) -> None:
    three_segments(tmp_path / "spool")
    spool, store = spool_at(tmp_path / "spool"), RecordingStore()
    first, _, _ = event_files(spool.path)

    def refuse(call: str, key: str) -> None:
        if key.endswith(first):
            raise PermissionError("no")

    store.before = refuse
    shipper_of(spool, store).ship()
    assert not [key for key, _ in store.puts if "tfevents" in key]


def test_a_config_waits_for_what_it_names(tmp_path: Path) -> None:
    three_segments(tmp_path / "spool", with_embedding=True)
    spool, store = spool_at(tmp_path / "spool"), RecordingStore()

    def refuse(call: str, key: str) -> None:
        if key.endswith("tensors.bytes"):
            raise PermissionError("no")

    store.before = refuse
    shipper = shipper_of(spool, store)
    shipper.ship()
    assert "runs/one/projector_config.pbtxt" not in store.objects
    assert store.steps(tmp_path / "scratch") == [1, 2, 3, 4, 5]
    store.before = lambda call, key: None
    shipper.ship(hurries=True)
    assert [key for key, _ in store.puts][-1] == "runs/one/projector_config.pbtxt"


def test_a_store_that_is_away_is_asked_ever_less_and_loses_nothing(tmp_path: Path) -> None:
    now = 0.0
    spool, store = spool_at(tmp_path / "spool", clock=lambda: now), RecordingStore()
    shipper = shipper_of(spool, store)

    def away(call: str, key: str) -> None:
        tries.append(now)
        raise ConnectionError("https://store/?X-Amz-Signature=abc123&token=s3cr3t is away")

    tries: list[float] = []
    store.before = away
    with open_run(spool) as file:
        for step in range(1, 61):  # an hour
            now = 60.0 * step
            append(file, step)
            file.end_file()
            shipper.ship()
    assert len(tries) < 25
    report = shipper.report()
    assert report.pending_files == 60
    assert report.retry_secs > 0
    assert "is away" in report.last_error
    assert "abc123" not in report.last_error
    assert "s3cr3t" not in report.last_error
    store.before = lambda call, key: None
    now += 300.0
    shipper.ship()
    assert store.steps(tmp_path / "scratch") == list(range(1, 61))
    assert shipper.report().last_error == ""


def test_a_full_spool_holds_up_and_goes_on_when_some_is_shipped(tmp_path: Path) -> None:
    spool, store = spool_at(tmp_path / "spool", limit_bytes=1), RecordingStore()
    spool.check_room()
    with open_run(spool) as file:
        append(file, 1)
        with pytest.raises(DiskFullError, match="--spool-bytes"):
            spool.check_room()
        file.end_file()
        shipper_of(spool, store).ship()
        spool.check_room()
        append(file, 2)
    shipper_of(spool, store).ship()
    assert store.steps(tmp_path / "scratch") == [1, 2]


def test_a_full_disk_ends_the_segment_so_that_shipping_it_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, store = spool_at(tmp_path / "spool"), RecordingStore()
    shipper = shipper_of(spool, store)
    write = os.write
    with open_run(spool) as file:
        append(file, 1)

        def torn(fd: int, data: bytes) -> int:
            monkeypatch.setattr(os, "write", full)
            return write(fd, data[: len(data) // 2])

        def full(fd: int, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "full")

        monkeypatch.setattr(os, "write", torn)
        with pytest.raises(DiskFullError):
            append(file, 2, 3)
        monkeypatch.undo()
        shipper.ship()
        assert len(store.puts) == 1
        file.resume()
        append(file, 4)
    shipper.ship()
    assert not store.changed()
    assert store.steps(tmp_path / "scratch") == [1, 2, 3, 4]


def test_a_segment_ends_when_it_has_grown_or_aged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    spool = spool_at(tmp_path / "spool", clock=lambda: now)
    with open_run(spool) as file:
        append(file, 1)
        file.sync()
        assert file.path is not None
        now = 60.0
        file.sync()
        assert file.path is None
        monkeypatch.setattr(budget, "SPOOL_SEGMENT_BYTES", 100)
        append(file, 2, 3, 4)
        assert file.path is None
    assert len(event_files(spool.path)) == 2


def test_what_is_shipped_while_it_is_written_never_changes(tmp_path: Path) -> None:
    spool, store = spool_at(tmp_path / "spool"), RecordingStore()
    shipper = shipper_of(spool, store)
    has_ended = threading.Event()

    def ship() -> None:
        while not has_ended.is_set():
            shipper.ship(hurries=True)

    thread = threading.Thread(target=ship)
    thread.start()
    try:
        for first in range(1, 61, 6):
            with open_run(spool) as file:
                for step in range(first, first + 6, 2):
                    append(file, step)
                    append(file, step + 1)
                    file.end_file()
    finally:
        has_ended.set()
        thread.join()
    shipper.ship(hurries=True)
    assert not store.changed()
    assert store.steps(tmp_path / "scratch") == list(range(1, 61))
    assert len(store.objects) == 30
    assert spool.held_bytes == 0


def test_a_run_that_rests_for_long_leaves_the_spool(tmp_path: Path) -> None:
    three_segments(tmp_path / "spool")
    spool, store = spool_at(tmp_path / "spool"), RecordingStore()
    now = (spool.path_of(URL) / event_files(spool.path)[-1]).stat().st_mtime
    shipper_of(spool, store, lambda: now).ship()
    assert event_files(spool.path)
    with open_run(spool):
        shipper_of(spool, store, lambda: now + KEPT_SECS + 60).ship()
        assert event_files(spool.path)
    shipper_of(spool, store, lambda: now + KEPT_SECS + 60).ship()
    assert not (spool.path / "memory" / "bucket").exists()
    assert store.steps(tmp_path / "scratch") == [1, 2, 3, 4, 5]


def test_what_the_next_embedding_needs_stays(tmp_path: Path) -> None:
    three_segments(tmp_path / "spool", with_embedding=True)
    spool, store = spool_at(tmp_path / "spool"), RecordingStore()
    now = (spool.path_of(URL) / event_files(spool.path)[-1]).stat().st_mtime
    shipper_of(spool, store, lambda: now + KEPT_SECS + 60).ship()
    assert (spool.path_of(URL) / "projector_config.pbtxt").exists()
    assert (spool.path_of(URL) / "embedding" / "tensors.bytes").exists()


def test_an_object_that_can_never_be_shipped_holds_no_other_up(tmp_path: Path) -> None:
    now = 0.0
    spool, store = spool_at(tmp_path / "spool", clock=lambda: now), RecordingStore()
    shipper = shipper_of(spool, store)

    def refuse(call: str, key: str) -> None:
        if key.startswith("runs/one/"):
            tries.append(key)
            raise PermissionError("no")

    tries: list[str] = []
    store.before = refuse
    for url in (URL, "memory://bucket/runs/two"):
        with open_run(spool, url) as file:
            append(file, 1)
    for step in range(2, 62):
        now += 60.0
        with open_run(spool, "memory://bucket/runs/two") as file:
            append(file, step)
        shipper.ship()
        assert len(store.objects) == step, "the other is shipped at once"
    assert len(tries) < 25
    assert shipper.report().last_error.startswith(f"{URL}: PermissionError")
    assert shipper.report().pending_files == 1
    store.before = lambda call, key: None
    now += 300.0
    shipper.ship()
    assert (shipper.report().last_error, shipper.report().pending_files) == ("", 0)


def test_what_is_shipped_goes_though_a_later_file_fails(tmp_path: Path) -> None:
    three_segments(tmp_path / "spool")
    spool, store = spool_at(tmp_path / "spool"), RecordingStore()
    _, _, last = event_files(spool.path)

    def refuse(call: str, key: str) -> None:
        if call == "put" and "tfevents" in key:
            found.append(len(event_files(spool.path)))
        if key.endswith(last):
            raise PermissionError("no")

    found: list[int] = []
    store.before = refuse
    shipper_of(spool, store).ship()
    assert found == [3, 3, 2], "each file goes as soon as the next one is shipped"


def test_a_ledger_that_cannot_be_written_frees_room_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_segments(tmp_path / "spool")
    spool, store = spool_at(tmp_path / "spool"), RecordingStore()
    shipper = shipper_of(spool, store)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", lambda *_: os.pread(-1, 1, 0))
        shipper.ship()
        assert len(event_files(spool.path)) == 1
        assert spool.held_bytes == 0
        shipper.ship(hurries=True)
    assert len(store.puts) == 3
    assert shipper.report().failures == 0
    assert caplog.text.count("cannot be noted") == 1


def test_a_pass_looks_only_at_what_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, store = spool_at(tmp_path / "spool"), RecordingStore()
    shipper = shipper_of(spool, store)
    for number in range(20):
        with open_run(spool, f"memory://bucket/runs/{number}") as file:
            append(file, 1)
    shipper.ship()
    assert len(store.objects) == 20
    looked: set[str] = set()
    scandir = os.scandir

    def noting(path: Any) -> Any:
        if isinstance(path, (str, Path)):
            looked.add(os.path.basename(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", noting)
    with open_run(spool, "memory://bucket/runs/7") as file:
        append(file, 2)
    shipper.ship()
    assert len(store.objects) == 21
    assert looked == {"7"}


def test_what_a_group_goes_on_from_stays(tmp_path: Path) -> None:
    three_segments(tmp_path / "spool")
    spool, store = spool_at(tmp_path / "spool"), RecordingStore()
    (spool.path_of(URL).parent / ".boardd-group").mkdir()
    (spool.path_of(URL).parent / ".boardd-group" / "journal").write_bytes(b"entries")
    now = (spool.path_of(URL) / event_files(spool.path)[-1]).stat().st_mtime
    shipper_of(spool, store, lambda: now + KEPT_SECS + 60).ship()
    assert len(event_files(spool.path)) == 1
    assert not [key for key in store.objects if "journal" in key]


def test_a_journal_is_not_shipped_when_it_is_closed(tmp_path: Path) -> None:
    spool, store = spool_at(tmp_path / "spool"), RecordingStore()
    shipper = shipper_of(spool, store)
    shipper.ship()
    with Roots([URL], spool=spool).open_run(f"{URL}/.boardd-group") as directory:
        (directory.path / "journal").write_bytes(b"entries")
    shipper.ship()
    assert not store.objects


def test_a_directory_that_cannot_be_listed_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    spool, store = spool_at(tmp_path / "spool", clock=lambda: now), RecordingStore()
    shipper = shipper_of(spool, store)
    shipper.ship()
    with open_run(spool) as file:
        append(file, 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", lambda path: os.pread(-1, 1, 0))
        shipper.ship()
    assert shipper.report().failures == 1
    now = 1.0
    shipper.ship()
    assert len(store.objects) == 1
    assert shipper.report().last_error == ""


def test_two_spools_never_name_an_object_alike(tmp_path: Path) -> None:
    store = RecordingStore()
    for name in ("a", "b"):
        spool = spool_at(tmp_path / name)
        with open_run(spool) as file:
            append(file, 1)
        shipper_of(spool, store).ship()
    assert len(store.objects) == 2

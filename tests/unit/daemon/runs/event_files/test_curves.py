"""Which directories beneath a run are its curves, as their event files say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from boardd.events.event import file_version
from boardd.events.marks import mark
from boardd.events.marks_pb2 import Batch
from boardd.runs.event_files import curves
from boardd.runs.event_files.curves import curves_in

NAME = "events.out.tfevents.0000000001.host"


def write(directory: Path, levels: int | None, name: str = NAME) -> None:
    """Writes an event file: a curve of ``levels``, or without a mark."""
    directory.mkdir(parents=True, exist_ok=True)
    data = file_version(1.0)
    if levels is not None:
        data += mark(1.0, Batch(offset=len(data), curve_levels=levels))
    (directory / name).write_bytes(data)


def test_curves_are_those_that_say_so_of_this_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write(run / "a", 1)
    write(run / "tag" / "name", 2)
    write(run / "another run", 0)
    write(run / "another run" / "its curve", 1)
    write(run / "of another program", None)
    assert sorted(curves_in(str(run))) == ["a", "tag/name"]
    write(run, 0)
    assert curves_in(str(run))[0] == ""
    assert curves_in(str(run / "another run")) == ["", "its curve"]


def test_the_newest_file_with_a_mark_counts(tmp_path: Path) -> None:
    write(tmp_path / "a", 0, NAME + ".1")
    write(tmp_path / "a", 1, NAME + ".2")
    write(tmp_path / "a", None, NAME + ".3")
    (tmp_path / "a" / f"{NAME}.4").write_bytes(b"torn")
    assert curves_in(str(tmp_path)) == ["a"]


def test_links_and_what_is_no_file_are_passed_over(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write(tmp_path / "elsewhere", 1)
    write(run / "a", 1)
    (run / "link").symlink_to(tmp_path / "elsewhere")
    (run / "b").mkdir()
    (run / "b" / NAME).symlink_to(tmp_path / "elsewhere" / NAME)
    (run / "c").mkdir()
    os.mkfifo(run / "c" / NAME)
    assert curves_in(str(run)) == ["a"]
    assert curves_in(str(tmp_path / "missing")) == []


def test_so_many_directories_are_looked_into_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(curves, "MAX_DIRECTORIES", 4)
    for number in range(3):
        write(tmp_path / str(number), 1)
    assert len(curves_in(str(tmp_path))) == 3
    assert not caplog.records
    write(tmp_path / "3", 1)
    assert len(curves_in(str(tmp_path))) == 3
    (record,) = caplog.records
    assert "over 4 directories" in record.message

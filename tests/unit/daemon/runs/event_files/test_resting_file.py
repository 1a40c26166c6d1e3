"""An event file that rests is opened again only if it is itself."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from boardd.runs.event_files.resting_file import RestingFile


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture
def resting(tmp_path: Path) -> RestingFile:
    with open(tmp_path / "file", "wb") as file:
        file.write(b"x")
        file.flush()
        return RestingFile(file.fileno(), "file")


def test_the_file_itself_takes_more(tmp_path: Path, directory: int, resting: RestingFile) -> None:
    fd = resting.reopen(directory)
    os.write(fd, b"y")
    os.close(fd)
    assert (tmp_path / "file").read_bytes() == b"xy"


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/cwd/{path.name}")


@pytest.mark.parametrize(
    "replace",
    [
        lambda path: None,
        os.mkfifo,
        os.mkdir,
        _socket,
        lambda path: path.symlink_to("other"),
        lambda path: os.link(path.with_name("other"), path),
        lambda path: path.write_bytes(b"another"),
    ],
    ids=["removed", "FIFO", "directory", "socket", "symbolic link", "hard link", "another file"],
)
def test_what_took_its_place_is_neither_waited_for_nor_written(
    replace: Callable[[Path], object],
    tmp_path: Path,
    directory: int,
    resting: RestingFile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").write_bytes(b"o")
    path = tmp_path / "file"
    path.unlink()
    replace(path)
    with pytest.raises(FileNotFoundError, match="removed or replaced"):
        resting.reopen(directory)
    assert (tmp_path / "other").read_bytes() == b"o"


def test_a_fifo_that_comes_between_look_and_opening_is_not_waited_for(
    tmp_path: Path, directory: int, resting: RestingFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    look = os.stat

    def look_and_replace(*arguments: object, **options: object) -> os.stat_result:
        found: os.stat_result = look(*arguments, **options)  # type: ignore[arg-type]
        path.unlink()
        os.mkfifo(path)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", look_and_replace)
        with pytest.raises(FileNotFoundError, match="removed or replaced"):
            resting.reopen(directory)

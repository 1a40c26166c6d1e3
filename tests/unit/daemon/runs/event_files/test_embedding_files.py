from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from boardd.core.refusals import RefusedError
from boardd.events.embedding import EmbeddingFiles
from boardd.runs.directories.logdir import Roots, RunDirectory
from boardd.runs.event_files.embedding_files import write_embedding
from boardd_protos import boardd_pb2 as pb

CONFIG = "projector_config.pbtxt"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    with Roots([tmp_path]).open_run("run") as directory:
        yield directory


def files(folder: str, data: bytes = b"\xff" * 16) -> EmbeddingFiles:
    return EmbeddingFiles(folder, data, (2, 2))


def names(run: RunDirectory) -> list[str]:
    text = (run.path / CONFIG).read_text()
    return [line.split('"')[1] for line in text.splitlines() if "tensor_name" in line]


def test_bytes_written_are_told(run: RunDirectory) -> None:
    written_bytes = write_embedding(run, files("e"))
    assert written_bytes == 16 + (run.path / CONFIG).stat().st_size


def test_modes_are_those_of_other_files(run: RunDirectory) -> None:
    umask = os.umask(0o027)
    try:
        write_embedding(run, files("e"))
    finally:
        os.umask(umask)
    assert (run.path / CONFIG).stat().st_mode & 0o777 == 0o640
    assert (run.path / "e").stat().st_mode & 0o777 == 0o750


def test_the_same_again_changes_nothing(run: RunDirectory) -> None:
    write_embedding(run, files("a/b"))
    write_embedding(run, files("c"))
    first = (run.path / CONFIG).read_bytes()
    write_embedding(run, files("c"))
    assert (run.path / CONFIG).read_bytes() == first
    write_embedding(run, files(".//a/./b/"))
    assert names(run) == ["c", "a/b"]


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("", pb.INVALID_NAME),
        ("./", pb.INVALID_NAME),
        ("a\0b", pb.INVALID_NAME),
        ("x" * 256, pb.INVALID_NAME),
        ("/".join(["x" * 200] * 30), None),
        ("../e", pb.OUTSIDE_ROOTS),
        ("a/../../e", pb.OUTSIDE_ROOTS),
        (CONFIG, pb.INVALID_NAME),
        (f".{CONFIG}.partial/e", pb.INVALID_NAME),
        ("~root/e", pb.INVALID_NAME),
        ("a/events.out.tfevents.1_000001", pb.INVALID_NAME),
    ],
)
def test_folders_that_are_refused(run: RunDirectory, folder: str, reason: pb.Reason | None) -> None:
    if reason is None:  # deep, but opened one by one
        write_embedding(run, files(folder))
        assert names(run) == [folder]
        return
    with pytest.raises(RefusedError) as caught:
        write_embedding(run, files(folder))
    assert caught.value.reason == reason
    assert list(run.path.iterdir()) == []


def test_an_absolute_folder_is_beneath_the_run(run: RunDirectory) -> None:
    write_embedding(run, files("/etc/e"))
    assert names(run) == ["etc/e"]


@pytest.mark.parametrize("way", ["e", "e/f"])
def test_links_are_not_followed(run: RunDirectory, tmp_path: Path, way: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    link = run.path / way
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside)
    with pytest.raises(RefusedError, match="symbolic link") as caught:
        write_embedding(run, files("e/f/g"))
    assert caught.value.reason == pb.OUTSIDE_ROOTS
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("name", ["tensors.bytes", ".tensors.bytes.partial"])
def test_linked_files_are_replaced_not_followed(
    run: RunDirectory, tmp_path: Path, name: str
) -> None:
    target = tmp_path / "target"
    target.write_text("untouched")
    (run.path / "e").mkdir()
    (run.path / "e" / name).symlink_to(target)
    write_embedding(run, files("e"))
    assert target.read_text() == "untouched"
    assert (run.path / "e" / "tensors.bytes").read_bytes() == b"\xff" * 16
    assert not (run.path / "e" / "tensors.bytes").is_symlink()


def test_linked_config_is_refused(run: RunDirectory, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("")
    (run.path / CONFIG).symlink_to(target)
    with pytest.raises(RefusedError, match="symbolic link"):
        write_embedding(run, files("e"))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["fifo", "directory"])
def test_config_that_is_no_file(run: RunDirectory, make: object) -> None:
    make(run.path / CONFIG)  # type: ignore[operator]
    with pytest.raises(RefusedError, match=CONFIG) as caught:
        write_embedding(run, files("e"))
    assert caught.value.reason == pb.NOT_A_DIRECTORY


@pytest.mark.parametrize("way", ["e", "e/f", "e/f/tensors.bytes", "e/f/.tensors.bytes.partial"])
def test_something_in_the_way(run: RunDirectory, way: str) -> None:
    path = run.path / way
    path.parent.mkdir(parents=True, exist_ok=True)
    if "tensors" in way:
        path.mkdir()
    else:
        path.write_text("a file")
    with pytest.raises(RefusedError, match="something else") as caught:
        write_embedding(run, files("e/f"))
    assert caught.value.reason == pb.NOT_A_DIRECTORY
    assert not (run.path / CONFIG).exists()


def test_removed_folders_leave_the_config(
    run: RunDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b", "c"):
        write_embedding(run, files(name))
    shutil.rmtree(run.path / "b")
    with caplog.at_level(logging.WARNING):
        write_embedding(run, files("d"))
    assert names(run) == ["a", "c", "d"]
    assert "embedding 'b' goes: b/tensors.bytes is not there" in caplog.text


def test_entries_of_others_stay(run: RunDirectory) -> None:
    text = (
        'model_checkpoint_path: "/elsewhere/model"\n'
        'embeddings { tensor_name: "weights" metadata_path: "/elsewhere/words.tsv" }\n'
        'embeddings { tensor_name: "up" tensor_path: "../up.tsv" }\n'
    )
    (run.path / CONFIG).write_text(text)
    write_embedding(run, files("e"))
    write_embedding(run, files("e"))
    assert names(run) == ["weights", "up", "e"]
    assert 'model_checkpoint_path: "/elsewhere/model"' in (run.path / CONFIG).read_text()


def test_config_that_cannot_be_read_is_put_aside(
    run: RunDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    torn = 'embeddings {\ntensor_name: "a"\ntensor_pa'
    (run.path / CONFIG).write_text(torn)
    with caplog.at_level(logging.WARNING):
        write_embedding(run, files("e"))
    assert names(run) == ["e"]
    assert (run.path / f"{CONFIG}.unreadable").read_text() == torn
    assert f"{CONFIG}.unreadable" in caplog.text


def test_run_that_was_removed_may_be_tried_again(run: RunDirectory) -> None:
    shutil.rmtree(run.path)
    with pytest.raises(FileNotFoundError):
        write_embedding(run, files("e"))


@pytest.fixture
def no_root() -> Iterator[None]:
    """Root may write everywhere; who runs the tests as such is nobody for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


@pytest.mark.usefixtures("no_root")
@pytest.mark.parametrize("mode", [0o000, 0o500])
def test_folder_that_may_not_be_written(mode: int) -> None:
    with tempfile.TemporaryDirectory() as root, Roots([root]).open_run("run") as run:
        (run.path / "e").mkdir(mode=mode)
        with pytest.raises(RefusedError, match="Permission denied") as caught:
            write_embedding(run, files("e"))
        assert caught.value.reason == pb.UNWRITABLE


def test_no_descriptor_stays_open(run: RunDirectory) -> None:
    (run.path / "bad").write_text("")
    write_embedding(run, files("e"))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        write_embedding(run, files("a/b/c"))
        with pytest.raises(RefusedError):
            write_embedding(run, files("bad/x"))
    assert len(os.listdir("/proc/self/fd")) <= before

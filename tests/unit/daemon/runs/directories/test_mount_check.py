"""When a path leads a client to another directory than the daemon."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from boardd.core.refusals import RefusedError
from boardd.runs.directories.mount_check import check_same_directory
from boardd_protos import boardd_pb2 as pb
from support.tools import tmpfs


def seen(path: Path, *, device: int = 0, inode: int = 0) -> pb.Directory:
    """What a client saw at ``path``: what is there, unless told otherwise."""
    status = path.stat() if path.exists() else os.stat("/")
    return pb.Directory(
        path=str(path), device=device or status.st_dev, inode=inode or status.st_ino
    )


def mounts(tmp_path: Path, kind: str, point: str = "/") -> Path:
    """A list of mounts in which the device of ``tmp_path`` has the type ``kind``."""
    device = tmp_path.stat().st_dev
    path = tmp_path / "mountinfo"
    number = f"{os.major(device)}:{os.minor(device)}"
    path.write_text(f"22 1 {number} / {point} rw,relatime shared:1 - {kind} /dev/x rw\n")
    return path


def is_refused(logdir: Path, directory: pb.Directory, *where: Path) -> bool:
    try:
        check_same_directory(str(logdir), directory, *where)
    except RefusedError as error:
        return error.reason == pb.ELSEWHERE and directory.path in str(error)
    return False


def test_the_same_directory_is_the_same(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path.parent, Path("/")):
        assert not is_refused(tmp_path / "run", seen(path))


def test_another_device_is_elsewhere(tmp_path: Path) -> None:
    assert is_refused(tmp_path / "run", seen(tmp_path, device=12345))
    assert is_refused(tmp_path / "run", seen(Path("/"), device=12345))


def test_a_directory_that_is_not_here_is_elsewhere_if_its_device_is_not(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    assert is_refused(tmp_path / "a" / "run", seen(tmp_path / "a", device=12345))
    # It was removed since then.
    assert not is_refused(tmp_path / "a" / "run", seen(tmp_path / "a", device=device, inode=7))


def test_a_directory_may_have_been_made_anew_but_a_mount_may_not(tmp_path: Path) -> None:
    other = seen(tmp_path, inode=1 << 40)
    assert not is_refused(tmp_path / "run", other)
    assert is_refused(tmp_path / "run", other, mounts(tmp_path, "ext4", str(tmp_path)))


@pytest.mark.parametrize(
    ("kind", "is_elsewhere"), [("nfs4", False), ("fuse.x", False), ("xfs", True)]
)
def test_a_network_file_system_may_number_each_mount(
    tmp_path: Path, kind: str, is_elsewhere: bool
) -> None:
    listed = mounts(tmp_path, kind)
    assert is_refused(tmp_path / "run", seen(tmp_path, device=12345), listed) is is_elsewhere
    assert is_refused(tmp_path / "run", seen(tmp_path, device=12345, inode=1 << 40), listed)


def test_what_lies_not_above_the_logdir_says_nothing(tmp_path: Path) -> None:
    for directory in (
        seen(tmp_path / "other", device=12345),
        pb.Directory(path="relative", device=1, inode=1),
        pb.Directory(),
    ):
        assert not is_refused(tmp_path / "run", directory)


def test_a_mount_with_a_space_in_its_name_is_found(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "a disk", "size=64k") as path:
        assert not is_refused(path / "run", seen(path))
        assert is_refused(path / "run", seen(path, inode=1 << 40))

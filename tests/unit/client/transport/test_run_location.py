"""What the daemon is told of the directory and the files of a run."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from boardd_client.transport import run_location
from boardd_client.transport.run_location import RunLocation
from boardd_protos import boardd_pb2 as pb


def described(logdir: Path, **options: float) -> pb.RunDefinition:
    definition = pb.RunDefinition(logdir=str(logdir))
    RunLocation(str(logdir)).describe(definition, **options)
    return definition


def test_the_nearest_directory_that_exists_is_told(tmp_path: Path) -> None:
    status = tmp_path.stat()
    for logdir in (tmp_path, tmp_path / "a" / "b"):
        ancestor = described(logdir, patience_secs=30.0).ancestor
        assert (ancestor.path, ancestor.device, ancestor.inode) == (
            str(tmp_path),
            status.st_dev,
            status.st_ino,
        )


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077, 0])
def test_the_umask_is_told_and_not_changed(tmp_path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        definition = described(tmp_path)
        assert definition.HasField("umask")
        assert definition.umask == umask
        assert os.umask(umask) == umask
    finally:
        os.umask(old)


def test_a_disk_that_hangs_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()
    monkeypatch.setattr(run_location, "nearest_directory", lambda path: answers.wait(60))
    begin = time.monotonic()
    location = RunLocation(str(tmp_path))
    definition = pb.RunDefinition()
    location.describe(definition, patience_secs=0.05)
    answers.set()
    assert time.monotonic() - begin < 30
    assert not definition.HasField("ancestor")
    assert definition.HasField("umask")

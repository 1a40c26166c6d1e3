"""Which directories ``boardd view`` shows, and how TensorBoard is told."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from boardd.commands.tensorboard import link, log_flags, tensorboard_command
from boardd.commands.view import MAX_SHOWN_DIRECTORIES, shown_directories
from boardd.errors import CommandError
from boardd_protos import boardd_pb2 as pb

HOME = Path("/home/ann")


def shown(*runs: str, roots: tuple[str, ...] = ("/",)) -> list[str]:
    reply = pb.StatusReply(logdir_roots=roots, runs=[pb.RunStatus(path=run) for run in runs])
    return shown_directories(reply, HOME)


def test_roots_are_shown_whatever_is_in_them() -> None:
    assert shown("/data/a/b", roots=("/data", "/other")) == ["/data", "/other"]


def test_of_a_daemon_that_may_write_anywhere_what_its_runs_have_in_common() -> None:
    assert shown("/home/ann/runs/a", "/home/ann/runs/b") == ["/home/ann/runs"]
    assert shown("/home/ann/runs/a") == ["/home/ann/runs/a"]
    group = pb.GroupStatus(directory="/data/job")
    merged = pb.RunStatus(path="/data/job/.boardd-group", group=group)
    assert shown_directories(pb.StatusReply(logdir_roots=["/"], runs=[merged]), HOME) == [
        "/data/job"
    ]


@pytest.mark.parametrize(
    "runs",
    [("/home/ann/a", "/home/ann/b/c"), ("/home/x", "/home/y"), ("/a", "/b"), ("/tmp/a", "/tmp/b")],
)
def test_a_home_directory_is_too_much_to_read(runs: tuple[str, ...]) -> None:
    assert shown(*runs) == sorted(runs)


def test_nothing_and_too_many_are_told() -> None:
    with pytest.raises(CommandError, match="writes no run now"):
        shown()
    with pytest.raises(CommandError, match="too much to read; name a directory"):
        shown(*(f"/tmp/{number}" for number in range(MAX_SHOWN_DIRECTORIES + 1)))


def test_runs_in_stores_are_shown_beside_local_ones() -> None:
    assert shown("s3://b/x", roots=("s3://b", "/data")) == ["s3://b", "/data"]
    runs = ("/data/runs/a", "/data/runs/b", "s3://b/x")
    assert shown(*runs) == ["/data/runs", "s3://b/x"]
    assert shown("s3://b/x", "s3://b/y") == ["s3://b/x", "s3://b/y"]


def test_several_directories_have_names_of_their_own() -> None:
    assert log_flags(["/data/runs"]) == ["--logdir", "/data/runs"]
    assert log_flags(["/a/runs", "/b/runs", "/c:d", "/"]) == [
        "--logdir_spec",
        "runs:/a/runs,runs_2:/b/runs,c_d:/c:d,root:/",
    ]
    assert log_flags(["/a,b"]) == ["--logdir", "/a,b"]
    with pytest.raises(CommandError, match="for its comma"):
        log_flags(["/a,b", "/c"])


def test_links() -> None:
    assert link("localhost", 6006) == "http://localhost:6006/"
    assert link("::1", 1) == "http://[::1]:1/"


def test_tensorboard_of_this_environment_or_of_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tensorboard_command({})[0] == sys.executable
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CommandError, match="run: pip install tensorboard"):
        tensorboard_command({"PATH": str(tmp_path)})
    program = tmp_path / "tensorboard"
    program.touch(mode=0o755)
    assert tensorboard_command({"PATH": str(tmp_path)}) == [str(program)]

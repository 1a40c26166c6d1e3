"""Where remote runs are written, and who may have them written there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from boardd.core.refusals import RefusedError
from boardd.runs.directories.logdir import Roots
from boardd.runs.directories.spool import MAX_STORES, Spool
from boardd_protos import boardd_pb2 as pb
from support.spooled_runs import spool_at


def reason(roots: Roots, logdir: str) -> int:
    with pytest.raises(RefusedError) as raised:
        roots.resolve(logdir)
    return raised.value.refusal.reason


def test_a_url_is_written_in_the_spool_and_shown_as_it_is(tmp_path: Path) -> None:
    spool = spool_at(tmp_path / "spool")
    roots = Roots(["memory://bucket/runs"], spool=spool)
    path = roots.resolve("memory://bucket/runs//a/")
    assert path == spool.path / "memory" / "bucket" / "runs" / "a"
    assert roots.shown(path) == "memory://bucket/runs/a"
    assert list(map(roots.shown, roots.paths)) == ["memory://bucket/runs"]
    assert roots.resolve("b") == spool.path / "memory" / "bucket" / "runs" / "b"


def test_only_a_remote_root_or_the_root_of_everything_lets_runs_leave_the_host(
    tmp_path: Path,
) -> None:
    spool = spool_at(tmp_path / "spool")
    in_spool = os.fspath(tmp_path / "spool" / "memory" / "bucket" / "a")
    for paths in ([tmp_path], [tmp_path, "memory://bucket/runs"]):
        roots = Roots(paths, spool=spool)
        assert reason(roots, "memory://bucket/a") == pb.OUTSIDE_ROOTS
        assert reason(roots, "memory://bucket/runsaway") == pb.OUTSIDE_ROOTS
        assert reason(roots, in_spool) == pb.OUTSIDE_ROOTS
    assert Roots(["/"], spool=spool).resolve("memory://bucket/a") == Path(in_spool)


def test_what_no_url_can_be_is_refused_and_makes_no_directory(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 1, 60.0, lambda scheme: f"no package for {scheme}")
    roots = Roots(["/"], spool=spool)
    assert reason(roots, "s3:/bucket/a") == pb.INVALID_NAME
    assert reason(roots, "s3://bucket/../a") == pb.INVALID_NAME
    assert reason(roots, "file:///tmp/a") == pb.INVALID_NAME
    assert reason(roots, "s3://bucket/a") == pb.UNSUPPORTED
    assert reason(Roots([tmp_path]), "s3://bucket/a") == pb.UNSUPPORTED
    assert not list(tmp_path.iterdir())


def test_a_part_of_the_spool_that_stands_for_no_url_is_no_logdir(tmp_path: Path) -> None:
    spool = spool_at(tmp_path / "spool")
    roots = Roots(["/"], spool=spool)
    for path in (spool.path, spool.path / "memory"):
        assert reason(roots, os.fspath(path)) == pb.INVALID_NAME
    assert roots.resolve(os.fspath(spool.path / "memory" / "bucket")).is_absolute()
    assert spool.id, "who names a store's directory has the spool made ready as well"


def test_one_daemon_at_a_time_has_a_spool(tmp_path: Path) -> None:
    spool, other = spool_at(tmp_path / "spool"), spool_at(tmp_path / "spool")
    Roots(["/"], spool=spool).resolve("memory://bucket/a")
    with pytest.raises(RefusedError, match="another daemon uses it; set the daemon's --spool-dir"):
        Roots(["/"], spool=other).resolve("memory://bucket/a")
    first_id = spool.id
    spool.release()
    other.take()
    assert other.id == first_id
    other.release()


def test_a_spool_that_others_may_write_to_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool").chmod(0o777)
    with pytest.raises(PermissionError):
        spool_at(tmp_path / "spool").take()


def test_stores_are_bounded(tmp_path: Path) -> None:
    roots = Roots(["/"], spool=spool_at(tmp_path / "spool"))
    for number in range(MAX_STORES):
        roots.resolve(f"memory://bucket{number}/a")
    assert reason(roots, "memory://another/a") == pb.UNWRITABLE
    roots.resolve("memory://bucket0/b")

"""Where remote runs are written, and who may have them written there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from boardd.core.refusals import RefusedError
from boardd.runs.directories import spool_lock
from boardd.runs.directories.disk_full import FULL, PASSING, DiskFullError
from boardd.runs.directories.logdir import Roots
from boardd.runs.directories.spool import MAX_STORES, Spool
from boardd.runs.directories.spool_lock import SpoolBusyError
from boardd.runs.directories.spool_names import LEDGER_NAME, PARTIAL_LEDGER_NAME
from boardd_protos import boardd_pb2 as pb
from support.spooled_runs import spool_at


def reason(roots: Roots, logdir: str) -> int:
    with pytest.raises(RefusedError) as raised:
        roots.resolve(logdir)
    return raised.value.refusal.reason


def failing(number: int) -> Callable[..., None]:
    """A call of the operating system that fails."""

    def fail(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


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
    in_spool = os.fspath(tmp_path / "spool" / "s3" / "bucket" / "a")
    for paths in ([tmp_path], [tmp_path, "s3://bucket/runs"]):
        roots = Roots(paths, spool=spool)
        assert reason(roots, "s3://bucket/a") == pb.OUTSIDE_ROOTS
        assert reason(roots, "s3://bucket/runsaway") == pb.OUTSIDE_ROOTS
        assert reason(roots, in_spool) == pb.OUTSIDE_ROOTS
    roots = Roots(["/"], spool=spool)
    assert roots.resolve("s3://bucket/a") == Path(in_spool)
    assert reason(roots, "memory://bucket/a") == pb.OUTSIDE_ROOTS, "it is lost with the daemon"


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
    for path in (spool.path, spool.path / "s3", spool.path / "lock" / "bucket"):
        assert reason(roots, os.fspath(path)) == pb.INVALID_NAME
    with roots.open_run(os.fspath(spool.path / "s3" / "bucket")):
        assert spool.id, "who names a store's directory has the spool made ready as well"


def test_names_that_the_spool_needs_are_no_runs(tmp_path: Path) -> None:
    roots = Roots(["/"], spool=spool_at(tmp_path / "spool"))
    for name in (LEDGER_NAME, PARTIAL_LEDGER_NAME, "a" * 200 + "/" + "b" * 200 + "/" + "c" * 400):
        assert reason(roots, f"s3://bucket/runs/{name}") == pb.INVALID_NAME


def test_a_run_waits_for_the_daemon_that_has_the_spool(tmp_path: Path) -> None:
    spool, other = spool_at(tmp_path / "spool"), spool_at(tmp_path / "spool")
    Roots(["/"], spool=spool).open_run("s3://bucket/a").close()
    roots = Roots(["/"], spool=other)
    with pytest.raises(SpoolBusyError, match=f"pid {os.getpid()} on .*--spool-dir"):
        roots.open_run("s3://bucket/a")
    first_id = spool.id
    spool.release()
    roots.open_run("s3://bucket/a").close()
    assert other.id == first_id
    other.release()


@pytest.mark.parametrize("number", [*PASSING, *FULL])
def test_trouble_with_the_spool_that_may_pass_is_no_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    roots = Roots(["/"], spool=spool_at(tmp_path / "spool"))
    with monkeypatch.context() as patch:
        patch.setattr(spool_lock.fcntl, "flock", failing(number))
        with pytest.raises(DiskFullError if number in FULL else OSError) as raised:
            roots.open_run("s3://bucket/a")
    assert raised.value.errno == number
    roots.open_run("s3://bucket/a").close()


def test_trouble_with_the_spool_that_stays_is_a_refusal_with_its_cure(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(RefusedError, match="set the daemon's --spool-dir") as raised:
        Roots(["/"], spool=spool_at(tmp_path / "spool")).open_run("s3://bucket/a")
    assert raised.value.reason == pb.UNWRITABLE


def test_a_spool_that_others_may_write_to_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool").chmod(0o777)
    with pytest.raises(PermissionError):
        spool_at(tmp_path / "spool").take()


def test_stores_are_bounded_for_as_long_as_they_are_used(tmp_path: Path) -> None:
    roots = Roots(["/"], spool=spool_at(tmp_path / "spool"))
    opened = [roots.open_run(f"s3://bucket{number}/a") for number in range(MAX_STORES)]
    with pytest.raises(RefusedError, match="close the runs of another") as raised:
        roots.open_run("s3://another/a")
    assert raised.value.reason == pb.UNWRITABLE
    assert not roots.resolve("s3://another").exists()
    roots.open_run("s3://bucket0/b").close()
    opened.pop().close()
    opened.append(roots.open_run("s3://another/a"))
    for run in opened:
        run.close()

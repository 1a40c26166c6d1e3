"""No run lies in what is left alone, whatever way leads there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from boardd.core.refusals import RefusedError
from boardd.host.left_alone import directories_left_alone
from boardd.runs.directories.logdir import Roots
from boardd_protos import boardd_pb2 as pb


def assert_left_alone(roots: Roots, logdir: Path) -> None:
    with pytest.raises(RefusedError, match=r"leaves alone; .*BOARDD_LOGDIR_ROOT") as caught:
        roots.open_run(str(logdir))
    assert caught.value.reason == pb.OUTSIDE_ROOTS


def test_what_is_left_alone_is_reached_by_no_link(tmp_path: Path) -> None:
    keys = tmp_path / "home" / ".ssh"
    keys.mkdir(parents=True)
    (tmp_path / "link").symlink_to(keys)
    (tmp_path / "up").symlink_to(tmp_path / "home")
    roots = Roots(["/"], left_alone=[keys])
    for logdir in (keys, keys / "run", tmp_path / "link", tmp_path / "up" / ".ssh" / "run"):
        assert_left_alone(roots, logdir)
    assert not any(keys.iterdir())
    for logdir in (tmp_path / "home", tmp_path / "home" / ".ssh2", tmp_path / "run"):
        with roots.open_run(str(logdir)) as run:
            assert run.path == logdir


def test_a_directory_that_is_itself_a_link_is_left_alone_at_both_ends(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles"
    real.mkdir()
    (tmp_path / ".config").symlink_to(real)
    roots = Roots(["/"], left_alone=[tmp_path / ".config"])
    assert_left_alone(roots, real / "run")
    assert_left_alone(roots, tmp_path / ".config" / "run")
    assert not any(real.iterdir())


def test_a_root_inside_of_it_counts_more(tmp_path: Path) -> None:
    inside = tmp_path / ".config" / "logs"
    roots = Roots([inside], left_alone=[tmp_path / ".config"])
    with roots.open_run("run") as run:
        assert run.path == inside / "run"


def test_nobodys_logs_lie_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    left_alone = directories_left_alone()
    roots = Roots(["/"], left_alone=left_alone)
    for logdir in (
        *("/etc/systemd/system", "/home/someone/.ssh", "/usr/lib/python3/dist-packages"),
        *("/var/spool/cron/crontabs", "/var/spool/at"),
    ):
        with pytest.raises(RefusedError, match="leaves alone"):
            roots.resolve(logdir)
    for logdir in (
        *("/home/someone/runs", "/home/someone/.cache/runs", "/tmp/runs", "/dev/shm/runs"),
        *("/usr/src/app/runs", "/opt/ml/output", "/workspace", "/mnt/data", "/root/runs", "/logs"),
        *("/usr/local/share/runs", "/var/log/training", "/var/tmp/runs", "/srv/runs"),
        *("/var/spool/pbs/job/runs", "/var/spool/slurmd/job00042/runs"),
    ):
        assert roots.resolve(logdir) == Path(os.path.realpath(logdir))

"""A trainer and a daemon that do not see the same files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import event_files
from support.tools import require_program, require_root

TRAINER = """
import sys
from boardd_client import SummaryWriter
sw = SummaryWriter(sys.argv[1], address=sys.argv[2], verbose=False)
sw.add_scalar("loss", 1.0, 1)
result = sw.close(timeout=60)
print(result.ok, result.reason)
"""


def train(logdir: Path, daemon: DaemonProcess, *, mount: Path | None = None) -> str:
    """What ``close`` said, in a namespace with a disk of its own at ``mount`` if given."""
    trainer = [sys.executable, "-c", TRAINER, str(logdir), daemon.address]
    if mount is not None:
        script = 'mount -t tmpfs tmpfs "$0" && exec "$@"'
        trainer = ["unshare", "--mount", "sh", "-c", script, str(mount), *trainer]
    done = subprocess.run(trainer, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def may_unshare() -> None:
    require_root()
    require_program("unshare")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, timeout=120).returncode:
        pytest.skip("mount namespaces cannot be made here")


@pytest.mark.usefixtures("may_unshare")
def test_a_run_that_the_trainer_sees_elsewhere_is_refused(daemon: DaemonProcess) -> None:
    said = train(daemon.logdir / "a" / "run", daemon, mount=daemon.logdir)
    assert said.startswith("False")
    assert f"{daemon.logdir} is another directory for the daemon" in said
    assert not (daemon.logdir / "a").exists()


@pytest.mark.usefixtures("may_unshare")
def test_another_namespace_in_which_the_directory_is_the_same_changes_nothing(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    assert train(daemon.logdir / "run", daemon, mount=tmp_path / "other") == "True"
    assert len(event_files(daemon.logdir / "run")) == 1


def test_a_directory_that_was_made_anew_is_no_other(daemon: DaemonProcess) -> None:
    for name in ("", "a", "a/b"):
        assert train(daemon.logdir / "a" / "b", daemon) == "True", name
        subprocess.run(["rm", "-r", str(daemon.logdir / "a")], check=True, timeout=120)
        (daemon.logdir / name).mkdir(parents=True, exist_ok=True)

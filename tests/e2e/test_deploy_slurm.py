"""Slurm's scripts start a daemon for a job, tell its tasks of it, and end it."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from pathlib import Path

import pytest
from boardd_protos.socket_owner import socket_owner
from support.tensorboard_reader import read_run

SLURM = Path(__file__).parents[2] / "deploy" / "slurm"
SCRIPTS = sorted(SLURM.glob("*.sh"))

TASK = """
import sys
from boardd_client import SummaryWriter
sw = SummaryWriter(sys.argv[1])
sw.add_scalar("loss", 1.0, 3)
"""


@pytest.fixture
def settings(runtime_directory: Path, tmp_path: Path) -> Path:
    path = tmp_path / "slurm.sh"
    program = Path(sys.executable).with_name("boardd")
    changed = {
        "program=/opt/boardd/bin/boardd": f"program={program}",
        "sockets=/run/boardd-jobs": f"sockets={runtime_directory}/jobs",
        "roots=/": f"roots={tmp_path}/logs",
    }
    text = (SLURM / "settings.sh").read_text()
    for before, after in changed.items():
        assert f"{before}\n" in text
        text = text.replace(before, after)
    path.write_text(text)
    return path


def run(script: str, settings: Path) -> str:
    """Runs a script as Slurm does, for job 7 of this user; it must succeed. Returns its output."""
    done = subprocess.run(
        [str(SLURM / script), str(settings)],
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_UID": str(os.getuid()),
            "SLURM_JOB_USER": getpass.getuser(),
            # As the fixtures know whose daemon it is.
            "XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"],
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    program = Path(sys.executable).with_name("shellcheck")
    command = [str(program), "--external-sources", "--source-path=SCRIPTDIR"]
    done = subprocess.run(
        [*command, str(script)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
    broken = script.read_text() + "\nrm -r $undefined/*\n"
    done = subprocess.run(
        [*command, "-"], input=broken, text=True, timeout=120, capture_output=True
    )
    assert done.returncode == 1


def test_a_job_has_a_daemon_of_its_own(
    settings: Path, runtime_directory: Path, tmp_path: Path
) -> None:
    (tmp_path / "logs").mkdir()
    socket = runtime_directory / "jobs" / "7" / "boardd.sock"
    assert run("task-prolog.sh", settings) == "", "tasks of a job without one use their user's"
    run("prolog.sh", settings)
    try:
        owner = socket_owner(socket)
        assert owner is not None
        assert not owner.is_autostarted
        said = run("task-prolog.sh", settings)
        assert said == f"export BOARDD_ADDRESS=unix:{socket}\n"
        address = said.partition("=")[2].strip()
        task = [sys.executable, "-c", TASK, str(tmp_path / "logs" / "run")]
        subprocess.run(task, env={**os.environ, "BOARDD_ADDRESS": address}, check=True, timeout=120)
    finally:
        run("epilog.sh", settings)
    assert socket_owner(socket) is None
    assert not socket.parent.exists()
    (point,) = read_run(tmp_path / "logs" / "run").scalars["loss"]
    assert (point.step, point.value) == (3, 1.0)
    run("epilog.sh", settings)


def test_a_node_without_boardd_takes_jobs_nevertheless(settings: Path, tmp_path: Path) -> None:
    settings.write_text(settings.read_text().replace("program=", "program=/nonexistent"))
    for name in (settings, tmp_path / "missing"):
        for script in ("prolog.sh", "task-prolog.sh", "epilog.sh"):
            assert run(script, name) == ""

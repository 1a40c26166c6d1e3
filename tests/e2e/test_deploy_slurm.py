"""Slurm's scripts start a daemon for a job, tell its tasks of it, and end it."""

from __future__ import annotations

import os
import pwd
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from boardd_protos.log_directory import is_tmpfs_path
from boardd_protos.socket_owner import socket_owner
from support.tensorboard_reader import read_run
from support.tools import require_root

SLURM = Path(__file__).parents[2] / "deploy" / "slurm"
SCRIPTS = sorted(SLURM.glob("*.sh"))

TASK = """
import sys
from boardd_client import SummaryWriter
sw = SummaryWriter(sys.argv[1])
sw.add_scalar("loss", 1.0, 3)
"""

#: Its process dies with all that it has logged beside the socket.
KILLED_TASK = """
import os, signal, sys
from boardd_client import SummaryWriter
sw = SummaryWriter(sys.argv[1])
for step in range(100):
    sw.add_scalar("loss", step, step)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def settings(runtime_directory: Path, tmp_path: Path) -> Path:
    path = tmp_path / "slurm.sh"
    program = Path(sys.executable).with_name("boardd")
    changed = {
        "program=/opt/boardd/bin/boardd": f"program={program}",
        "sockets=$memory/boardd-jobs": f"sockets={runtime_directory}/jobs",
        "roots=/": f"roots={tmp_path}/logs",
    }
    text = (SLURM / "settings.sh").read_text()
    for before, after in changed.items():
        assert f"{before}\n" in text
        text = text.replace(before, after)
    path.write_text(text)
    return path


class Said(NamedTuple):
    """What a script has printed."""

    output: str
    errors: str


def run(script: str, settings: Path, user: str = "") -> Said:
    """Runs a script as Slurm does, without a PATH, for job 7 of ``user``; it must succeed.

    By default the job is this user's.
    """
    account = pwd.getpwnam(user) if user else pwd.getpwuid(os.getuid())
    done = subprocess.run(
        [str(SLURM / script), str(settings)],
        env={
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_UID": str(account.pw_uid),
            "SLURM_JOB_USER": account.pw_name,
            # As the fixtures know whose daemon it is.
            "XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"],
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Said(done.stdout, done.stderr)


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
    assert run("task-prolog.sh", settings).output == "", (
        "tasks of a job without one use their user's"
    )
    run("prolog.sh", settings)
    try:
        owner = socket_owner(socket)
        assert owner is not None
        assert not owner.is_autostarted
        said = run("task-prolog.sh", settings).output
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


def log_beside_a_killed_daemon(settings: Path, socket: Path, logdir: Path) -> None:
    """Leaves a job's directory with a log that no daemon has written."""
    run("prolog.sh", settings)
    owner = socket_owner(socket)
    assert owner is not None
    os.kill(owner.pid, signal.SIGKILL)
    task = [sys.executable, "-c", KILLED_TASK, str(logdir)]
    environ = {**os.environ, "BOARDD_ADDRESS": f"unix:{socket}", "BOARDD_AUTOSTART": "0"}
    done = subprocess.run(task, env=environ, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    assert logs(socket.parent)


def logs(directory: Path) -> list[Path]:
    return [path for path in (directory / "log").rglob("*") if path.is_file()]


def test_what_a_killed_daemon_had_not_written_is_written_at_the_end_of_the_job(
    settings: Path, runtime_directory: Path, tmp_path: Path
) -> None:
    (tmp_path / "logs").mkdir()
    socket = runtime_directory / "jobs" / "7" / "boardd.sock"
    log_beside_a_killed_daemon(settings, socket, tmp_path / "logs" / "run")
    run("epilog.sh", settings)
    points = read_run(tmp_path / "logs" / "run").scalars["loss"]
    assert [point.step for point in points] == list(range(100))
    assert not socket.parent.exists()


def test_records_that_cannot_be_written_are_kept(
    settings: Path, runtime_directory: Path, tmp_path: Path
) -> None:
    """The program is gone by the end of the job, and comes back for a second try."""
    (tmp_path / "logs").mkdir()
    socket = runtime_directory / "jobs" / "7" / "boardd.sock"
    log_beside_a_killed_daemon(settings, socket, tmp_path / "logs" / "run")
    text = settings.read_text()
    settings.write_text(text.replace("program=", "program=/nonexistent"))
    said = run("epilog.sh", settings)
    assert f"{socket.parent}/log could not be written; it is kept" in said.errors
    assert logs(socket.parent)
    settings.write_text(text)
    run("epilog.sh", settings)
    assert len(read_run(tmp_path / "logs" / "run").scalars["loss"]) == 100
    assert not socket.parent.exists()


@pytest.mark.parametrize("memory", ["/dev/shm", ""])
def test_a_directory_in_memory_is_chosen(memory: str, tmp_path: Path) -> None:
    text = (SLURM / "settings.sh").read_text()
    assert "\nmemory=/run\n" in text
    on_disk = tmp_path if not is_tmpfs_path(tmp_path) else Path("/proc")
    text = text.replace("memory=/run", f"memory={memory or on_disk}")
    done = subprocess.run(
        ["sh", "-c", f'{text}\necho "$sockets"'],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "/dev/shm/boardd-jobs\n"


def test_a_directory_that_another_user_has_made_is_not_used(
    settings: Path, runtime_directory: Path
) -> None:
    require_root()
    jobs = runtime_directory / "jobs"
    for make in (lambda: jobs.mkdir(), lambda: jobs.symlink_to("/etc")):
        make()
        os.chown(jobs, 12345, 12345, follow_symlinks=False)
        said = run("prolog.sh", settings)
        assert f"{jobs} is not this user's directory" in said.errors
        assert not (jobs / "7").exists()
        assert run("epilog.sh", settings) == ("", "")
        jobs.unlink() if jobs.is_symlink() else jobs.rmdir()


def test_the_directory_of_jobs_is_made_where_it_can_be(
    settings: Path, runtime_directory: Path
) -> None:
    above = runtime_directory / "not" / "there"
    text = settings.read_text().replace("program=", "program=/nonexistent")
    settings.write_text(text.replace(f"{runtime_directory}/jobs", f"{above}/jobs"))
    above.parent.write_text("a file is in the way")
    said = run("prolog.sh", settings)
    assert f"{above}/jobs cannot be made: mkdir: " in said.errors
    assert "user's" not in said.errors
    above.parent.unlink()
    assert "/nonexistent" in run("prolog.sh", settings).errors
    assert (above / "jobs").stat().st_mode & 0o777 == 0o755
    run("epilog.sh", settings)


def test_a_node_without_boardd_takes_jobs_nevertheless(
    settings: Path, runtime_directory: Path, tmp_path: Path
) -> None:
    settings.write_text(settings.read_text().replace("program=", "program=/nonexistent"))
    for script in ("prolog.sh", "task-prolog.sh", "epilog.sh"):
        assert run(script, tmp_path / "missing") == ("", "")
    said = run("prolog.sh", settings)
    assert said.output == ""
    assert "job 7: its daemon /nonexistent" in said.errors
    assert "not found" in said.errors, "why it does not run"
    assert run("task-prolog.sh", settings) == ("", "")
    assert run("epilog.sh", settings).output == ""
    assert list((runtime_directory / "jobs").iterdir()) == []


def test_a_daemon_of_another_user_is_started_by_root(
    settings: Path, runtime_directory: Path, tmp_path: Path
) -> None:
    """With a program that anybody may run: the tests' own may lie where only root can look."""
    require_root()
    runtime_directory.chmod(0o755)
    program = runtime_directory / "program"
    program.write_text('#!/bin/sh\nid -un >"${2%/*}/user"\necho is wrong >&2\n')
    program.chmod(0o755)
    text = settings.read_text()
    settings.write_text(re.sub("^program=.*", f"program={program}", text, flags=re.MULTILINE))
    said = run("prolog.sh", settings, user="nobody")
    directory = runtime_directory / "jobs" / "7"
    assert (directory / "user").read_text() == "nobody\n"
    assert (directory / "boardd.log").read_text() == "is wrong\n"
    assert (directory / "boardd.log").owner() == "nobody"
    assert "is wrong" in said.errors
    run("epilog.sh", settings, user="nobody")
    assert not directory.exists()

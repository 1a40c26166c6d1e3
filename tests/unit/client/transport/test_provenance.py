"""Where a run came from: what is said of it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from boardd_client.transport.provenance import provenance


def git(directory: Path, *arguments: str) -> str:
    who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    done = subprocess.run(
        ["git", *who, "-C", str(directory), *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout.strip()


def test_it_says_commit_and_whether_files_differ(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "train.py").write_text("1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    argv = ["python", "train.py", "--name", "a b"]
    text = provenance(argv, str(tmp_path))
    assert "- command: `python train.py --name 'a b'`" in text
    assert f"- git: `{commit} on main, clean`" in text
    assert "\nnumpy==" in text
    (tmp_path / "train.py").write_text("2\n")
    assert "1 tracked file changed" in provenance(argv, str(tmp_path))


def test_outside_of_a_repository_there_is_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_ENVIRONMENT", "visible nowhere")
    text = provenance(["python"], str(tmp_path))
    assert "- git" not in text
    assert "- Python: `3." in text
    assert "visible nowhere" not in text


def test_git_starts_no_monitor_of_the_repository_and_leaves_its_index(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "train.py").write_text("1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    ran = tmp_path / "ran"
    git(tmp_path, "config", "core.fsmonitor", f"touch {ran}; false #")
    os.utime(tmp_path / "train.py", (1, 1))  # the index is out of date
    index = (tmp_path / ".git" / "index").read_bytes()
    assert "on main, clean`" in provenance(["python"], str(tmp_path))
    assert not ran.exists()
    assert (tmp_path / ".git" / "index").read_bytes() == index
    git(tmp_path, "status")
    assert ran.exists()


def test_a_directory_that_is_not_known_has_no_commit() -> None:
    text = provenance(["python"], "")
    assert "- directory" not in text
    assert "- git" not in text
    assert "- command: `python`" in text


def test_arguments_need_not_be_utf_8() -> None:
    text = provenance(["python", os.fsdecode(b"\xff.py")], "")
    assert "- command: `python '?.py'`" in text
    text.encode()

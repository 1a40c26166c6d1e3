"""Where a run came from: what is said of it, and what is kept secret."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest
from boardd_client.transport.provenance import Gathering, masked, provenance


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


@pytest.mark.parametrize(
    "argv",
    [
        ["--api-key", "hidden"],
        ["--token=hidden"],
        ["-W", "--wandb_password", "hidden"],
        ["MY_SECRET=hidden"],
        ["aws.access_key=hidden"],
        ["https://user:hidden@host/path"],
        ["hf_hidden1234567890"],
    ],
    ids=" ".join,
)
def test_secrets_are_masked(argv: list[str]) -> None:
    shown = masked(["train.py", *argv, "--lr", "0.1"])
    assert "hidden" not in " ".join(shown)
    assert "***" in " ".join(shown)
    assert shown[-2:] == ["--lr", "0.1"]


def test_what_is_no_secret_is_shown() -> None:
    argv = ["train.py", "--author", "me", "--token", "--lr", "0.1", "https://host/a@b"]
    assert masked(argv) == argv


def test_nothing_is_told_once_it_is_over() -> None:
    told: list[str] = []
    gathering = Gathering(told.append)
    gathering.finish(60)
    assert len(told) == 1
    may_go = threading.Event()
    late: list[str] = []

    def tell(text: str) -> None:
        late.append(text)
        may_go.wait(60)

    slow = Gathering(tell)
    slow.finish(0)
    slow.finish(0)  # does not wait for a call that waits
    may_go.set()
    slow.finish(60)
    assert len(late) <= 1

"""Commands of the documents, run as they are printed, with a home directory of their own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import site
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.daemon_process import DaemonProcess
from support.documents import CONSOLE, PYTHON, ROOT, blocks, printed
from support.independent_reader import points
from support.plain_session import Session
from support.rank_files import write_ranks
from support.tensorboard_reader import open_reader, read_run
from support.tools import self_signed_certificate
from support.waiting import wait_until

#: In place of ``python3 -m venv`` and ``pip``: an environment with what this one has installed.
#: What pip itself does is for ``test_environments.py``.
PYTHON3 = """#!/bin/sh
[ "$1 $2" = "-m venv" ] && {python} -m venv --without-pip "$3" &&
echo "import site; site.addsitedir('{packages}')" > "$(echo "$3"/lib/python*/site-packages)/all.pth"
"""
PIP = """#!/bin/sh
[ "$1" = install ] && test -f "$2"/pyproject.toml && shift 2 && {python} -m pip show --quiet "$@"
"""
TIMEOUT_SECS = 120.0


@pytest.fixture
def home(runtime_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory in which no daemon runs, with this environment's commands on the path."""
    programs = tmp_path / "programs"
    programs.mkdir()
    packages = next(path for path in site.getsitepackages() if path.startswith(sys.prefix))
    for name, text in (("python3", PYTHON3), ("pip", PIP)):
        script = programs / name
        script.write_text(text.format(python=sys.executable, packages=packages))
        script.chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME")
    search = os.environ["PATH"]
    monkeypatch.setenv("PATH", f"{programs}:{Path(sys.executable).parent}:{search}")
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def run(script: str, cwd: Path) -> str:
    """Runs a shell script in which no command may fail, and returns what it printed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECS,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


@contextlib.contextmanager
def viewing(command: str, cwd: Path) -> Iterator[str]:
    """The link that ``boardd view`` prints. It is ended afterwards."""
    process = subprocess.Popen(
        ["bash", "-c", f"exec {command}"],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], TIMEOUT_SECS)
        assert ready, f"{command} printed nothing in {TIMEOUT_SECS:g} s"
        yield process.stdout.readline().strip()
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_SECS) == 130
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=TIMEOUT_SECS)


def all_written(cwd: Path) -> bool:
    """Whether a daemon answers and has written what it received."""
    # A daemon that is being started is not there yet, and a busy one is late.
    shown = run("boardd status --json --timeout 60 || true", cwd)
    return bool(shown) and json.loads(shown)["counters"]["pending"] == 0


def test_the_first_log(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the installation on, block by block, with what comes without asking."""
    for name in ("BOARDD_SYSTEM_METRICS", "BOARDD_PROVENANCE"):
        monkeypatch.delenv(name)
    steps = blocks(ROOT / "docs/getting-started.md")
    assert [step.language for step in steps] == ["sh", PYTHON, "sh", CONSOLE, "sh"]
    install, script, first, look, after = steps
    directory = home / "boardd-first"
    directory.mkdir()
    (directory / "first.py").write_text(script.text)
    run(install.text + first.text, ROOT)
    # On a busy machine the writer may have given up waiting for it.
    wait_until(lambda: all_written(directory), "everything is written", TIMEOUT_SECS)

    with open_reader(directory / "logs") as reader:
        texts = reader.tensors("text")["first"]
    assert set(texts) == {"result", "boardd/provenance"}
    logged = read_run(directory / "logs" / "first")
    assert [point.step for point in logged.scalars["loss"]] == list(range(200))
    assert logged.scalars["loss"][-1].value == pytest.approx(0.01, rel=0.5)
    assert len(logged.histograms["errors"]) == 200

    (command,) = look.commands()
    with viewing(command, directory) as link:
        assert re.fullmatch(r"http://localhost:\d+/", link)
        with urllib.request.urlopen(f"{link}data/runs", timeout=TIMEOUT_SECS) as page:
            assert page.read() == b'["first"]'

    shown = run(after.text, directory)
    assert re.search(r"^records .* 0 rejected \+ 0 pending$", shown, re.MULTILINE)
    assert " 0 fail" in shown
    with pytest.raises(AssertionError, match="no daemon at"):
        run("boardd status", directory)


WORDS = re.compile(r"[a-z][a-z -]*")
#: A unit, as records a second, is of a heading only; elsewhere it would be a run's name.
HEADING = re.compile(r"[a-z][a-z /-]*")
GRADES = ("ok", "warn", "fail")


def names(text: str) -> set[str]:
    """What a reader looks for in the output of a command.

    These are the headings of its tables, each with all columns in their order; what its other lines
    begin with; and what ``boardd doctor`` has looked at.
    """
    found = set()
    for line in text.splitlines():
        cells = re.split(r"  +|: ", line.strip())
        if cells[0] in GRADES:
            found.add(cells[1])
        elif len(cells) > 2 and all(map(HEADING.fullmatch, cells)):
            found.add(" | ".join(cells))
        elif len(cells) > 1 and WORDS.fullmatch(cells[0]):
            found.add(cells[0])
    return found


def test_headings_first_words_and_subjects_are_names() -> None:
    text = (
        "boardd 0.1.0, pid 7\nsessions: 2\n  run  rec/s  lag\n  job  7  0.1 s\nok    logs    free\n"
    )
    assert names(text) == {"sessions", "run | rec/s | lag", "job", "logs"}


def test_what_a_console_shows(home: Path, daemon: DaemonProcess, tmp_path: Path) -> None:
    """Each command of a console ends well, and prints lines of the same names."""
    shown = [
        block
        for document in sorted((ROOT / "docs").glob("*.md"))
        for block in blocks(document)
        if block.language == CONSOLE and not block.text.startswith("$ boardd view")
    ]
    assert len(shown) >= 4
    settings = home / ".config/boardd/config.toml"
    settings.parent.mkdir(parents=True)
    text = printed("docs/configuration.md", "# ~/.config/boardd/config.toml").text
    settings.write_text(text.replace("/data/", f"{home}/data/"))
    for roots in ("runs", "data/runs"):
        (home / roots).mkdir(parents=True)
    with daemon.channel() as channel:
        session = Session(channel)
        session.define(daemon.logdir / "job")
        session.scalars(10)
        wait_until(lambda: daemon.status().counters.written == 10, "the records are written")
        for block in shown:
            (command,) = block.commands()
            output = run(f"export BOARDD_ADDRESS={daemon.address}\n{command}", tmp_path)
            assert len(names(block.text)) > 4
            assert names(block.text) <= names(output), (command, output)
        session.hang_up()


def test_event_files_are_merged(home: Path, tmp_path: Path) -> None:
    block = printed("docs/multi-worker.md", "boardd merge")
    write_ranks(tmp_path / "logs" / "run", 2, 3, 1)
    for rank in range(2):
        (tmp_path / f"host{rank}").mkdir()
        shutil.copytree(tmp_path / f"logs/run/rank_{rank}", tmp_path / f"host{rank}" / "tb")
    merges = block.commands()
    assert len(merges) == 2
    for merge in merges:
        assert "points of 2 ranks" in run(merge, tmp_path)
        assert len(points(tmp_path / "logs/merged", "layer/0/weight")) == 3
        shutil.rmtree(tmp_path / "logs/merged")


def test_settings_of_several_hosts(home: Path, tmp_path: Path) -> None:
    """``test_forwarding_hosts.py`` has the daemons: here ports and hosts may be others'."""
    block = printed("docs/multi-worker.md", "boardd --listen")
    self_signed_certificate(tmp_path)
    shutil.copy(tmp_path / "cert.pem", tmp_path / "ca.pem")
    (tmp_path / "token").write_text("of-thirty-two-characters-at-least")
    (tmp_path / "token").chmod(0o600)
    (tmp_path / "scratch/logs").mkdir(parents=True)
    (tmp_path / "logs").mkdir()
    for command in block.commands():
        beneath = re.sub(r"(?<=--logdir-root )/", f"{tmp_path}/", command)
        assert beneath != command
        shown = run(beneath.replace("boardd", "boardd config", 1), tmp_path)
        flags = set(re.findall(r"--[a-z-]+", command))
        assert flags == set(re.findall(r" (--[a-z-]+)$", shown, re.MULTILINE))

"""Each target takes its corpus, and a short run of a fuzzer from there, without a defect."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from support.tools import lacking

from fuzz.script import Script, part
from fuzz.targets import CORPUS, TARGETS

#: Inputs of each target in a short run; seconds are only what a busy machine is given.
RUNS: Final = 200
DEADLINE_SECS: Final = 240
#: The mutations of a short run are the same each time.
SEED: Final = 1
MAX_CORPUS_BYTES: Final = 200_000


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_meets_no_defect(name: str) -> None:
    seeds = sorted((CORPUS / name).iterdir())
    assert seeds
    for seed in seeds:
        TARGETS[name](seed.read_bytes())
    TARGETS[name](b"")


def test_the_corpus_is_small() -> None:
    sizes = [path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()]
    assert sum(sizes) <= MAX_CORPUS_BYTES


def test_a_script_gives_back_its_parts() -> None:
    script = Script(part(b"one") + part(b"") + b"\x02\x01rest")
    assert (script.part(), script.part(), script.number(2)) == (b"one", b"", 0x102)
    assert (script.rest(), bool(script), script.part()) == (b"rest", False, b"")


@pytest.mark.slow
def test_a_short_run_meets_no_defect(tmp_path: Path) -> None:
    result = run([], tmp_path)
    assert result.returncode == 0, result.stderr[-4000:]


def test_a_run_tells_of_a_defect(tmp_path: Path) -> None:
    result = run(["config"], tmp_path, PYTHONPATH=str(broken_reader(tmp_path)))
    assert result.returncode == 1
    assert "defects: config" in result.stderr
    assert list(tmp_path.glob("config-crash-*"))


def broken_reader(directory: Path) -> Path:
    """A directory whose ``tomllib`` raises what nobody expects."""
    (directory / "tomllib.py").write_text(
        "class TOMLDecodeError(ValueError): pass\ndef load(file): raise KeyError(file.read(1))\n"
    )
    return directory


def run(names: list[str], found: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """A short run of targets in a process of its own."""
    if importlib.util.find_spec("atheris") is None:
        lacking("atheris is not installed: it has wheels for Python 3.11 to 3.13")
    command = [sys.executable, "-m", "fuzz", *names, "--runs", str(RUNS), "--seed", str(SEED)]
    return subprocess.run(
        [*command, "--secs", str(DEADLINE_SECS), "--found", str(found)],
        cwd=Path(__file__).parents[1],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE_SECS,
    )

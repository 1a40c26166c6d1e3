"""Targets of the Makefile that would otherwise pass without having tested anything."""

from __future__ import annotations

import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

#: Stands for Python 3.10, its ``venv``, ``pip`` and ``pytest``.
PYTHON = """#!/bin/sh
case "$*" in
  -c*) echo 3.10 ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && cp "$0" "$3/bin/pip" ;;
esac
"""


def made_with(directory: Path, pythons: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "-C", REPOSITORY, "test-pythons", f"PYTHONS={pythons}", f"VENV={directory}/venv"],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_python_that_is_not_tested_is_named(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o700)
    made = made_with(tmp_path, str(python))
    assert made.returncode == 0, made.stderr
    missing = [line for line in made.stderr.splitlines() if "is not tested" in line]
    assert [line.split()[2] for line in missing] == ["3.11", "3.12", "3.13", "3.14"]


def test_no_python_at_all_is_a_failure(tmp_path: Path) -> None:
    for pythons in ("", str(tmp_path / "none")):
        made = made_with(tmp_path, pythons)
        assert made.returncode != 0, pythons

"""Names that mean something to a shell, a terminal or another system."""

from __future__ import annotations

from pathlib import Path

import pytest
from boardd.runs.directories.logdir import Roots


@pytest.mark.parametrize(
    "name",
    [
        *("-rf", "--help", "~", "~root", "$(touch x)", "`touch x`", "a;b", "a|b", "*", "new\nline"),
        *("tab\t", " blank ", "dots...", "trailing.", "\x7f", "\x1b[31m", "\udc80"),
        *("損失", "é" * 127, "n" * 255, "con", "aux", "\u202etxt.exe", "boardd", ".boardd"),
    ],
)
def test_odd_names_are_names_and_nothing_else(name: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with Roots([root]).open_run("runs", name) as run:
        assert run.path == root / "runs" / name
    assert [path.relative_to(tmp_path) for path in sorted(tmp_path.rglob("*"))] == [
        Path("root"),
        Path("root/runs"),
        Path("root/runs", name),
    ]

"""A run of the demo in processes of its own, as ``make demo`` does it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo.py"
DEMO_SECS = 300.0


@dataclass(frozen=True)
class Demo:
    """A finished run of the demo."""

    logdir: Path
    epochs: int
    returncode: int
    stdout: str
    stderr: str


def run_demo(logdir: Path, epochs: int) -> Demo:
    """Runs the demo, which logs what users get without asking."""
    unasked = {"BOARDD_SYSTEM_METRICS", "BOARDD_PROVENANCE"}  # which tests do without
    done = subprocess.run(
        [sys.executable, str(DEMO), "--logdir", str(logdir), "--epochs", str(epochs)],
        cwd=logdir.parent,
        env={name: value for name, value in os.environ.items() if name not in unasked},
        capture_output=True,
        text=True,
        timeout=DEMO_SECS,
    )
    return Demo(logdir, epochs, done.returncode, done.stdout, done.stderr)

"""The ``boardd`` command run to its end, and what is checked of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys


def boardd(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "boardd", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environ},
    )


def assert_refused(result: subprocess.CompletedProcess[str], code: int, message: str) -> None:
    """Checks the exit code, and that standard error is one line that matches."""
    assert result.returncode == code, result.stderr
    assert re.fullmatch(f"boardd: .*{message}.*\n", result.stderr), result.stderr

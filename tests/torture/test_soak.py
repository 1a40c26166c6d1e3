"""A short form of ``benchmarks/soak.py``: what clients leave behind that come, crash and go."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.torture_scale import seed

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"


@pytest.mark.slow
def test_nothing_stays_of_clients_that_have_gone() -> None:
    done = subprocess.run(
        [
            *(sys.executable, str(SOAK), "--seed", str(seed()), "--rest-secs", "0"),
            *("--secs", "0", "--round-secs", "2"),  # as many rounds as it takes to judge
        ],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from boardd.reduce.compiled import bits_of, entry


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        (np.float32(1.0), 0x3F800000),
        (np.float32(-0.0), -(1 << 31)),
        (np.float64(1.0), 0x3FF0000000000000),
        (np.float64("-inf"), -0x10000000000000),
    ],
)
def test_bits_are_the_same_in_python_and_compiled(value: np.floating, bits: int) -> None:
    compiled = entry(_bits)
    assert int(bits_of(value)) == int(compiled(value)) == bits


def _bits(value):  # type: ignore[no-untyped-def]  # compiled
    return bits_of(value)


TWINS = """
from boardd.reduce.compiled import brief_entry, entry
def twice(value):
    return 2 * value
print(entry(twice)(3), brief_entry(twice)(4))
"""


def test_a_function_that_keeps_the_gil_is_kept_apart_from_one_that_does_not(tmp_path: Path) -> None:
    script = tmp_path / "twins.py"
    script.write_text(TWINS)
    cache = tmp_path / "cache"
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout == "6 8\n"
    names = {path.name.rpartition("-")[0] for path in cache.rglob("*.nbi")}
    assert names == {"twins.twice", "twins.brief_twice"}

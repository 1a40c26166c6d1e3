"""Kernels for a level of processors are not run on one that is below it."""

from __future__ import annotations

import numba
import pytest
from boardd.reduce import processor

SECOND = ("cx16", "popcnt", "sse4.2", "ssse3")
THIRD = ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")


@pytest.mark.parametrize(
    ("level", "features", "expected"),
    [
        ("x86-64-v2", SECOND, True),
        ("x86-64-v2", SECOND[1:], False),
        ("x86-64-v3", (*SECOND, *THIRD), True),
        ("x86-64-v3", THIRD, False),
        ("x86-64-v3", (*SECOND, *THIRD[1:]), False),
        ("x86-64-v4", (*SECOND, *THIRD), False),
        ("generic", (), True),
        ("znver4", (), True),
    ],
)
def test_a_processor_has_a_level(level: str, features: tuple[str, ...], expected: bool) -> None:
    assert processor.has_level(level, dict.fromkeys(features, True)) is expected
    assert not processor.has_level("x86-64-v2", dict.fromkeys(features, False))


@pytest.mark.parametrize("has_it", [True, False])
def test_kernels_are_compiled_for_a_processor_below_the_level(
    has_it: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = dict.fromkeys((*SECOND, *THIRD), has_it)
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", lambda: features)
    monkeypatch.setattr(numba.config, "CPU_NAME", "x86-64-v3")
    monkeypatch.setattr(numba.config, "CPU_FEATURES", "")
    processor.fit_kernels()
    expected = ("x86-64-v3", "") if has_it else (None, None)
    assert expected == (numba.config.CPU_NAME, numba.config.CPU_FEATURES)

"""Quartiles and rules from loops that only read equal NumPy's, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from boardd.reduce.histogram import rules
from boardd.reduce.histogram.quartiles import quartiles
from boardd.reduce.histogram.rules import rule_count


def samples(seed: int, size: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    normal = random.normal(size=size) * 10.0 ** random.integers(-5, 5)
    return {
        "normal": normal,
        "float32": normal.astype(np.float32),
        "float16": random.normal(size=size).astype(np.float16),
        "integers": random.integers(-4, 5, size),
        "after a ReLU": np.maximum(normal, 0),
        "an outlier": np.append(normal[1:] * 1e-4, 1e6),
        "not finite": np.append(normal, [np.nan, np.inf, -np.inf, -np.nan]),
        "exponential": random.exponential(size=size),
    }


@pytest.mark.parametrize("kind", samples(0, 9))
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 50, 1001, 4098])
def test_quartiles_are_numpys(size: int, kind: str) -> None:
    values = samples(size, size)[kind]
    finite = values[np.isfinite(values)].astype(np.float64)
    assert quartiles(values, finite.size) == tuple(np.percentile(finite, [25, 75]))


@pytest.mark.parametrize("rule", ["auto", "doane", "fd", "rice", "sqrt", "sturges"])
@pytest.mark.parametrize("kind", samples(0, 9))
def test_rules_of_many_values_are_those_of_few(
    kind: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (3, 64, 1000, 5000):
        values = samples(size, size)[kind]
        expected = rule_count(rule, values)
        with monkeypatch.context() as patched:
            patched.setattr(rules, "_MANY", 1)
            assert rule_count(rule, values) == expected


def test_rules_of_equal_values_and_of_none() -> None:
    for values in (np.full(1 << 16, 2.0), np.full(1 << 16, np.nan)):
        assert rule_count("auto", values) == 1

"""What the hooks for networks log of parameters and gradients, checked against NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.tensorboard_reader import read_events, read_scalars

#: Of the hooks' histograms.
BINS = 11

#: By parameter.
Arrays = dict[str, np.ndarray]


def logged(directory: Path) -> dict[str, dict[int, Any]]:
    """The histograms in the event files, by tag and step; no point may be there twice."""
    found: dict[str, dict[int, Any]] = {}
    for event in read_events(directory):
        for value in event.summary.value:
            points = found.setdefault(value.tag, {})
            assert event.step not in points, f"{value.tag} was logged twice at {event.step}"
            points[event.step] = value.histo
    return found


def check_histograms(
    directory: Path, states: list[tuple[Arrays, Arrays]], steps: list[int], initial_step: int = 0
) -> None:
    """Every parameter and gradient was logged at ``steps``, and counted as NumPy does.

    ``states`` are the parameters and gradients after each step from ``initial_step`` on.
    """
    found = logged(directory)
    parameters, gradients = states[0]
    assert set(found) == {
        *(f"parameters/{name}" for name in parameters),
        *(f"gradients/{name}" for name in gradients),
    }
    assert gradients
    for kind, index in (("parameters", 0), ("gradients", 1)):
        for name in states[0][index]:
            histograms = found[f"{kind}/{name}"]
            assert list(histograms) == steps
            for step, histogram in histograms.items():
                values = states[step - initial_step][index][name].astype(np.float64)
                if values.min() < values.max():
                    counts, edges = np.histogram(values, bins=BINS)
                    assert list(histogram.bucket) == counts.tolist()
                    assert list(histogram.bucket_limit) == pytest.approx(edges[1:].tolist())
                assert histogram.num == values.size
                assert histogram.max == values.max()
                assert histogram.sum == pytest.approx(values.sum(), abs=1e-9)


def check_health(directory: Path, states: list[tuple[Arrays, Arrays]], steps: list[int]) -> None:
    """Norms and shares of zeros were shown at ``steps``, of each array and of all together.

    ``states`` as of ``check_histograms``.
    """
    shown = read_scalars(directory)["."]
    for group, index in (("parameters", 0), ("gradients", 1)):
        for step in steps:
            arrays = {f"/{name}": array for name, array in states[step][index].items()}
            arrays[""] = np.concatenate([array.reshape(-1) for array in arrays.values()])
            for name, array in arrays.items():
                norm = np.linalg.norm(array.astype(np.float64))
                for kind, expected in (
                    ("log10_norm", np.log10(norm) if norm else -45),
                    ("zeros", (array == 0).mean()),
                ):
                    points = shown[f"health/{group}/{kind}{name}"]
                    assert [point.step for point in points] == steps
                    assert points[steps.index(step)].value == pytest.approx(expected)

"""Time of a histogram of 4M float32 values, 1000 equal buckets, on one thread.

    python benchmarks/reduce_histogram.py

Every candidate that is installed counts the same values in turn, round after
round, so that other work of the machine falls on all alike. "exact" compares
the counts with ``numpy.histogram`` over float64 edges; NumPy itself, asked for
a number of buckets, rounds the edges of float32 values to float32. boardd's
histogram also has range, sum, sum of squares and counts of NaN and infinities.
The times of NumPy and boost-histogram include finding the range, which they need.
What one of many ranks contributes has exact sums instead of rounded ones.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from boardd.partials.histograms import GridHistogram, histogram_of
from boardd.reduce.histogram.bins import EqualWidth, Rule, default_edges, equal_width_edges
from boardd.reduce.histogram.grid import Grid
from boardd.reduce.histogram.histogram import histogram

Candidate = Callable[[], Any]

#: Rules that look at the values; 'stone' is left out, which takes NumPy minutes.
RULES = ("auto", "doane", "fd", "scott")


def moments(values: np.ndarray) -> tuple[float, float, float, float]:
    """What boardd's histogram finds beside the counts, in plain NumPy."""
    return (
        float(values.min()),
        float(values.max()),
        float(values.sum(dtype=np.float64)),
        float(np.einsum("i,i->", values, values, dtype=np.float64)),
    )


def equal_width(values: np.ndarray, bins: int) -> dict[str, Candidate]:
    """Candidates for ``bins`` equal buckets over the range of ``values``; each returns counts."""
    candidates: dict[str, Candidate] = {
        "numpy.histogram": lambda: np.histogram(values, bins)[0],
        "numpy.histogram + moments": lambda: (np.histogram(values, bins)[0], moments(values))[0],
        "boardd": lambda: histogram(values, EqualWidth(bins)).counts,
    }
    if importlib.util.find_spec("boost_histogram"):
        boost = importlib.import_module("boost_histogram")

        def boost_histogram() -> np.ndarray:
            low, high = float(values.min()), float(values.max())
            # Its last bucket excludes its upper edge.
            axis = boost.axis.Regular(bins, low, np.nextafter(high, np.inf))
            return boost.Histogram(axis, storage=boost.storage.Int64()).fill(values).values()

        candidates["boost-histogram"] = boost_histogram
    if importlib.util.find_spec("fast_histogram"):
        fast = importlib.import_module("fast_histogram")

        def fast_histogram() -> np.ndarray:
            low, high = float(values.min()), float(values.max())
            return fast.histogram1d(values, bins, (low, np.nextafter(high, np.inf)))

        candidates["fast-histogram"] = fast_histogram
    return candidates


def exponential(values: np.ndarray) -> dict[str, Candidate]:
    """Candidates for the 1548 exponential buckets of TensorFlow and MXBoard."""
    edges = default_edges()
    candidates: dict[str, Candidate] = {
        "numpy.histogram": lambda: np.histogram(values, edges.edges)[0],
        "boardd": lambda: histogram(values, edges).counts,
    }
    if importlib.util.find_spec("boost_histogram"):
        boost = importlib.import_module("boost_histogram")
        axis = boost.axis.Variable(edges.edges)
        candidates["boost-histogram"] = lambda: (
            boost.Histogram(axis, storage=boost.storage.Int64()).fill(values).values()
        )
    return candidates


def grid(values: np.ndarray, bins: int) -> dict[str, Candidate]:
    """Candidates for the buckets of a power of two that several ranks' values merge in."""
    edges = grid_of(values, bins).edges
    return {
        "numpy.histogram": lambda: np.histogram(values, edges)[0],
        "boardd, one of many ranks": lambda: grid_of(values, bins).counts,
    }


def grid_of(values: np.ndarray, bins: int) -> Grid:
    found = histogram_of(values, EqualWidth(bins))
    assert isinstance(found, GridHistogram)
    return found.grid


def rule(values: np.ndarray, name: str) -> dict[str, Candidate]:
    """Candidates for as many equal buckets as a rule of NumPy's finds fit."""
    wide = values.astype(np.float64)
    return {
        "numpy.histogram": lambda: np.histogram(wide, name)[0],
        "boardd": lambda: histogram(values, Rule(name)).counts,
    }


def measure(
    title: str, candidates: dict[str, Candidate], expected: np.ndarray, rounds: int
) -> list[dict[str, object]]:
    exact = {name: np.array_equal(run(), expected) for name, run in candidates.items()}
    wall: dict[str, list[float]] = {name: [] for name in candidates}
    cpu: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            cpu_start, wall_start = time.thread_time(), time.perf_counter()
            run()
            wall[name].append(time.perf_counter() - wall_start)
            cpu[name].append(time.thread_time() - cpu_start)
    reference = statistics.median(cpu["numpy.histogram"])
    print(f"\n{title}\n{'':28}{'wall ms':>9}{'CPU ms':>9}{'of NumPy':>10}  exact")
    rows = []
    for name in candidates:
        wall_ms = statistics.median(wall[name]) * 1e3
        cpu_ms = statistics.median(cpu[name]) * 1e3
        share = statistics.median(cpu[name]) / reference
        print(
            f"{name:28}{wall_ms:9.2f}{cpu_ms:9.2f}{share:10.3f}  {'yes' if exact[name] else 'NO'}"
        )
        rows.append(
            {
                "case": title,
                "candidate": name,
                "wall_ms": round(wall_ms, 3),
                "cpu_ms": round(cpu_ms, 3),
                "share_of_numpy_cpu": round(share, 4),
                "exact": exact[name],
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--size", type=int, default=4_000_000, help="values (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="runs each (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()

    random = np.random.default_rng(0)
    normal = random.standard_normal(arguments.size).astype(np.float32)
    cases = {"normal float32": normal, "the same after a ReLU": np.maximum(normal, 0)}
    cases["float64"] = normal.astype(np.float64) + random.random(arguments.size) * 1e-7
    rows = []
    for title, values in cases.items():
        edges = equal_width_edges(float(values.min()), float(values.max()), 1000)
        expected = np.histogram(values.astype(np.float64), edges)[0]
        rows += measure(
            f"{title}, 1000 equal buckets", equal_width(values, 1000), expected, arguments.rounds
        )
        slow_rounds = max(3, arguments.rounds // 3)
        expected = np.histogram(values, grid_of(values, 1000).edges)[0]
        rows += measure(
            f"{title}, 1000 to 2000 buckets that merge", grid(values, 1000), expected, slow_rounds
        )
    for name in RULES:
        expected = np.histogram(normal.astype(np.float64), name)[0]
        rows += measure(f"normal float32, rule {name!r}", rule(normal, name), expected, slow_rounds)
    expected = np.histogram(normal.astype(np.float64), default_edges().edges)[0]
    rows += measure(
        "normal float32, exponential buckets",
        exponential(normal),
        expected,
        slow_rounds,
    )
    versions = {
        name: importlib.import_module(module).__version__
        for name, module in (
            ("numpy", "numpy"),
            ("numba", "numba"),
            ("boost-histogram", "boost_histogram"),
            ("fast-histogram", "fast_histogram"),
        )
        if importlib.util.find_spec(module)
    }
    print(f"\n{arguments.size} values; Python {platform.python_version()}, {versions}")
    if arguments.json:
        report = {
            "size": arguments.size,
            "rounds": arguments.rounds,
            "python": platform.python_version(),
            "versions": versions,
            "results": rows,
        }
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""Medians over rounds, and ratios to boardd, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any

REFERENCE = "boardd"

#: One measurement of one peer in one round, as ``worker`` prints it.
Result = dict[str, Any]

TITLES = {
    ("scalars", "python"): "Scalars: Python floats, 20,000 calls back to back",
    ("scalars", "mxnet"): "Scalars: `loss.mean()` of an MXNet NDArray, just computed, 2,000 calls",
    ("histograms", "numpy"): "Histograms: 4M float32 in NumPy, 1000 bins, 20 calls back to back",
    ("histograms", "mxnet"): "Histograms: 4M float32 in an MXNet NDArray, 1000 bins, 20 calls",
    ("histograms", "mxnet-queued"): (
        "Histograms: the same, the result of about 370 ms of products still queued, 5 calls"
    ),
    ("images", "numpy"): "Images: batch 64x3x64x64 float32 in NumPy, one grid, 10 calls",
    ("images", "mxnet"): "Images: the same in an MXNet NDArray, 10 calls",
}


def duration(nanoseconds: float) -> str:
    """Three significant digits and a unit."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            value = nanoseconds / size
            digits = 2 if value < 10 else 1 if value < 100 else 0
            return f"{value:.{digits}f} {unit}"
    return f"{nanoseconds:.0f} ns"


def _times(ratio: float) -> str:
    digits = 0 if ratio >= 10 else 1 if ratio >= 1 else 2
    return f"{ratio:,.{digits}f}\N{MULTIPLICATION SIGN}"


def ratio(rounds: Sequence[Result], reference: Sequence[Result], key: str) -> float:
    """Median over rounds of the quotient in that round, so that drift of the machine cancels."""
    return median(
        one[key] / other[key] for one, other in zip(rounds, reference, strict=True) if other[key]
    )


def table(results: dict[str, Sequence[Result]], *, total_cpu: bool) -> str:
    """One workload's table; ``results`` holds the rounds of each peer."""
    columns: list[tuple[str, Callable[[Sequence[Result]], str]]] = [
        ("p50", lambda rounds: duration(median(one["p50_ns"] for one in rounds))),
        ("p99.9", lambda rounds: duration(median(one["p999_ns"] for one in rounds))),
        ("mean", lambda rounds: duration(median(one["mean_ns"] for one in rounds))),
        ("thread CPU", lambda rounds: duration(median(one["thread_cpu_ns"] for one in rounds))),
    ]
    if total_cpu:
        columns.append(
            ("total CPU", lambda rounds: duration(median(one["total_cpu_ns"] for one in rounds)))
        )
    columns.append(
        ("close", lambda rounds: duration(median(one["close_secs"] for one in rounds) * 1e9))
    )
    columns.append(
        (
            "start CPU",
            lambda rounds: duration(median(one["start_cpu_secs"] for one in rounds) * 1e9),
        )
    )
    reference = results.get(REFERENCE)
    if reference:
        columns.append(
            ("mean / boardd", lambda rounds: _times(ratio(rounds, reference, "mean_ns")))
        )
        if total_cpu:
            columns.append(
                (
                    "total CPU / boardd",
                    lambda rounds: _times(ratio(rounds, reference, "total_cpu_ns")),
                )
            )
    lines = [
        "| | " + " | ".join(name for name, _ in columns) + " |",
        "|---" + "|--:" * len(columns) + "|",
    ]
    for peer, rounds in results.items():
        lines.append(f"| {peer} | " + " | ".join(cell(rounds) for _, cell in columns) + " |")
    return "\n".join(lines)


def markdown(runs: Iterable[dict[str, Any]], machine: dict[str, Any]) -> str:
    """The whole report. A run is a worker's result with its peer, workload, input and round."""
    grouped: dict[tuple[str, str], dict[str, list[Result]]] = {}
    versions: dict[str, dict[str, str]] = {}
    for run in runs:
        peers = grouped.setdefault((run["workload"], run["input"]), {})
        peers.setdefault(run["peer"], []).append(run)
        versions[run["peer"]] = run["versions"]
    parts = [
        f"{machine['rounds']} rounds, {machine['date']}, commit {machine['commit']}: "
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}."
    ]
    for key, peers in grouped.items():
        # Where MXNet's own work is part of the run, its CPU would drown everything.
        body = table(peers, total_cpu=key[1] != "mxnet-queued")
        parts.append(f"### {TITLES[key]}\n\n{body}")
    listed = [
        f"- {peer}: " + ", ".join(f"{name} {number}" for name, number in found.items())
        for peer, found in versions.items()
        if not peer.startswith("floor")
    ]
    parts.append("### Versions\n\n" + "\n".join(listed))
    return "\n\n".join(parts) + "\n"

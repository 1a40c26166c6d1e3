"""Medians over rounds, and ratios to boardd, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any

REFERENCE = "boardd"

#: The input whose own computation lies in the measured calls.
QUEUED = "mxnet-queued"

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
    digits = 0 if ratio >= 10 else 1 if ratio >= 1 else 2 if ratio >= 0.1 else 3
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
        columns += [
            ("total CPU", lambda rounds: duration(median(one["total_cpu_ns"] for one in rounds))),
            (
                "start CPU",
                lambda rounds: duration(median(one["start_cpu_secs"] for one in rounds) * 1e9),
            ),
        ]
    columns.append(
        ("close", lambda rounds: duration(median(one["close_secs"] for one in rounds) * 1e9))
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


#: Results by workload and input, then by peer.
Grouped = dict[tuple[str, str], dict[str, list[Result]]]


def group(runs: Iterable[Result]) -> Grouped:
    """Sorts runs; each is a worker's result with its peer, workload, input and round."""
    grouped: Grouped = {}
    for run in sorted(runs, key=lambda run: run["round"]):
        peers = grouped.setdefault((run["workload"], run["input"]), {})
        peers.setdefault(run["peer"], []).append(run)
    return grouped


def conditions(machine: dict[str, Any]) -> str:
    """Where and when, in a sentence; how busy the machine was before belongs to it."""
    return (
        f"Medians of {machine['rounds']} rounds, {machine['date']}, commit {machine['commit']}: "
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, load average "
        f"{machine['load_average'][0]:.1f} before the run and "
        f"{machine['load_average_after'][0]:.1f} after it."
    )


def summary(runs: Iterable[Result], machine: dict[str, Any]) -> str:
    """One line for each workload: mean on the training thread, and total CPU, of each logger."""
    grouped = group(runs)
    peers = list(
        dict.fromkeys(peer for found in grouped.values() for peer in found if "floor" not in peer)
    )
    lines = [
        "| mean per call, training thread (total CPU) | " + " | ".join(peers) + " |",
        "|---" + "|--:" * len(peers) + "|",
    ]
    for key, found in grouped.items():
        cells = []
        for peer in peers:
            if peer not in found:
                cells.append("-")
                continue
            text = duration(median(one["mean_ns"] for one in found[peer]))
            if key[1] != QUEUED:
                text += f" ({duration(median(one['total_cpu_ns'] for one in found[peer]))})"
            cells.append(text)
        lines.append(f"| {TITLES[key]} | " + " | ".join(cells) + " |")
    return conditions(machine) + "\n\n" + "\n".join(lines) + "\n"


def markdown(runs: Sequence[Result], machine: dict[str, Any]) -> str:
    """The whole report: the summary, then every column of every workload."""
    parts = ["# boardd beside its peers", summary(runs, machine)]
    for key, peers in group(runs).items():
        # Where MXNet's own work is part of the run, its CPU would drown everything.
        parts.append(f"## {TITLES[key]}\n\n{table(peers, total_cpu=key[1] != QUEUED)}")
    versions = {run["peer"]: run["versions"] for run in runs if "floor" not in run["peer"]}
    listed = [
        f"- {peer}: " + ", ".join(f"{name} {number}" for name, number in found.items())
        for peer, found in versions.items()
    ]
    parts.append("## Versions\n\n" + "\n".join(listed))
    return "\n\n".join(part.strip() for part in parts) + "\n"

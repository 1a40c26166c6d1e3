"""Medians over rounds as Markdown: tables of all peers, and every column of each workload."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

REFERENCE = "boardd"
#: What a call's cost is put beside: a plain copy, or one that is queued.
COPIES = ("floor: copy", "floor: MXNet's copy")

#: The input whose own computation lies in the measured calls.
QUEUED = "mxnet-queued"

#: One measurement of one peer in one round, as ``worker`` prints it.
Result = dict[str, Any]
#: A workload and its input.
Key = tuple[str, str]
#: Results by workload and input, then by peer.
Grouped = dict[Key, dict[str, list[Result]]]

TITLES: dict[Key, str] = {
    ("scalars", "python"): "Scalar: Python float, 20,000 calls back to back",
    ("scalars", "mxnet"): (
        "Scalar: `loss.mean()` of an MXNet NDArray, just called, 2,000 calls back to back"
    ),
    ("scalar-sets", "python"): ("100 scalars in one call, 200 calls back to back, for each scalar"),
    ("histograms", "numpy"): "Histogram: 4M float32 in NumPy, 1000 bins",
    ("histograms", "mxnet"): "Histogram: the same in an MXNet NDArray",
    ("histograms", "mxnet-queued"): (
        "Histogram: an NDArray whose value is some 370 ms of products away"
    ),
    ("images", "numpy"): "Images: batch 64x3x64x64 float32 in NumPy, one grid",
    ("images", "mxnet"): "Images: the same in an MXNet NDArray",
    ("embeddings", "numpy"): "Embedding: 2304x1000 float32 in NumPy, with labels",
    ("embeddings", "mxnet"): "Embedding: the same in MXNet NDArrays",
}


def duration(nanoseconds: float) -> str:
    """Three significant digits and a unit."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            value = nanoseconds / size
            digits = 2 if value < 10 else 1 if value < 100 else 0
            return f"{value:.{digits}f} {unit}"
    digits = 1 if nanoseconds < 100 else 0
    return f"{nanoseconds:.{digits}f} ns"


def times(ratio: float) -> str:
    """A ratio with two or three digits."""
    digits = 0 if ratio >= 100 else 1 if ratio >= 10 else 2 if ratio >= 0.1 else 3
    return f"{ratio:,.{digits}f}\N{MULTIPLICATION SIGN}"


def group(runs: Iterable[Result]) -> Grouped:
    """Sorts runs by workload and peer, in the order of the tables and then of the rounds."""
    found: Grouped = {}
    for run in runs:
        key = (run["workload"], run["input"])
        found.setdefault(key, {}).setdefault(run["peer"], []).append(run)
    return {key: found[key] for key in TITLES if key in found}


def phase(run: Result) -> dict[str, float]:
    """The measured calls that stand for the workload: spaced ones, if there are any."""
    calls: dict[str, float] = run["spaced"] or run["back_to_back"]
    return calls


def middle(rounds: Sequence[Result], key: str) -> float:
    """The median over rounds of a figure of ``phase``."""
    return median(phase(run)[key] for run in rounds)


def ratio(
    rounds: Sequence[Result], reference: Sequence[Result], value: Callable[[Result], float]
) -> float | None:
    """Median over rounds of the quotient in each round, so that drift of the machine cancels.

    None if the two share no round.
    """
    others = {run["round"]: value(run) for run in reference}
    quotients = [
        value(run) / others[run["round"]] for run in rounds if others.get(run["round"], 0) > 0
    ]
    return median(quotients) if quotients else None


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def _across(
    head: str,
    grouped: Grouped,
    peers: Sequence[str],
    cell: Callable[[Key, list[Result]], str | None],
) -> str:
    """Rows of workloads, columns of peers; ``-`` for an empty cell.

    Returns "" if all cells are empty.
    """
    rows = []
    for key, found in grouped.items():
        cells = [cell(key, found[peer]) if peer in found else None for peer in peers]
        if any(cells):
            rows.append([TITLES[key], *(text or "-" for text in cells)])
    return _table([head, *peers], rows) if rows else ""


def _mean(key: Key, rounds: list[Result]) -> str:
    text = duration(middle(rounds, "mean_ns"))
    if key[1] != QUEUED:
        text += f" ({duration(median(run['total_cpu_ns'] for run in rounds))})"
    return text


def summary(runs: Sequence[Result], peers: Sequence[str]) -> str:
    """Four tables of the loggers ``peers``: means, scalars' tails, copies, and back to back."""
    grouped = group(runs)

    def tail(key: Key, rounds: list[Result]) -> str | None:
        if "scalar" not in key[0]:
            return None
        return f"{duration(middle(rounds, 'p50_ns'))} / {duration(middle(rounds, 'p999_ns'))}"

    def copies(key: Key, rounds: list[Result]) -> str | None:
        floor = next((grouped[key][name] for name in COPIES if name in grouped[key]), None)
        if floor is None:
            return None
        quotients = [
            ratio(rounds, floor, lambda run, name=name: phase(run)[name])  # type: ignore[misc]
            for name in ("p50_ns", "mean_ns")
        ]
        if None in quotients:
            return None
        return " / ".join(times(quotient) for quotient in quotients if quotient is not None)

    def back_to_back(key: Key, rounds: list[Result]) -> str | None:
        if any(run["spaced"] is None or run["back_to_back"] is None for run in rounds):
            return None
        return duration(median(run["back_to_back"]["mean_ns"] for run in rounds))

    tables = (
        _across("mean on the training thread (total CPU)", grouped, peers, _mean),
        _across("p50 / p99.9 on the training thread", grouped, peers, tail),
        _across("p50 / mean beside those of a plain or a queued copy", grouped, peers, copies),
        _across("mean, 20 (images: 6) back to back", grouped, peers, back_to_back),
    )
    return "\n\n".join(table for table in tables if table)


def footnotes(notes: Mapping[str, str], failures: Mapping[str, str]) -> str:
    """A list of what to know about each peer, and of who is missing and why."""
    lines = [f"- {peer}: {note}." for peer, note in notes.items() if note]
    lines += [f"- Not measured: {what}: {why}" for what, why in failures.items()]
    return "\n".join(lines)


def detailed(results: Mapping[str, Sequence[Result]], *, total_cpu: bool) -> str:
    """One workload's table, with every column; ``results`` holds the rounds of each peer."""

    def figure(name: str) -> Callable[[Sequence[Result]], str]:
        return lambda rounds: duration(middle(rounds, name))

    columns: dict[str, Callable[[Sequence[Result]], str]] = {
        "p50": figure("p50_ns"),
        "p99.9": figure("p999_ns"),
        "mean": figure("mean_ns"),
        "thread CPU": figure("thread_cpu_ns"),
    }
    all_runs = [run for rounds in results.values() for run in rounds]
    if any(run["spaced"] and run["back_to_back"] for run in all_runs):
        columns["back to back, mean"] = lambda rounds: (
            duration(median(run["back_to_back"]["mean_ns"] for run in rounds))
            if all(run["back_to_back"] for run in rounds)
            else "-"
        )
    if total_cpu:
        columns["total CPU"] = lambda rounds: duration(
            median(run["total_cpu_ns"] for run in rounds)
        )
        columns["start CPU"] = lambda rounds: duration(
            median(run["start_cpu_secs"] for run in rounds) * 1e9
        )
    columns["close"] = lambda rounds: duration(median(run["close_secs"] for run in rounds) * 1e9)
    reference = results.get(REFERENCE)
    if reference:

        def beside(value: Callable[[Result], float]) -> Callable[[Sequence[Result]], str]:
            def cell(rounds: Sequence[Result]) -> str:
                quotient = ratio(rounds, reference, value)
                return "-" if quotient is None else times(quotient)

            return cell

        columns["mean / boardd"] = beside(lambda run: phase(run)["mean_ns"])
        if total_cpu:
            columns["total CPU / boardd"] = beside(lambda run: float(run["total_cpu_ns"]))
    rows = (
        [peer, *(cell(rounds) for cell in columns.values())] for peer, rounds in results.items()
    )
    return _table(["", *columns], rows)


def details(runs: Sequence[Result]) -> str:
    """Every column of every workload, and versions."""
    parts = []
    for key, results in group(runs).items():
        # If MXNet's own work is part of the run, its CPU would drown everything.
        parts.append(f"## {TITLES[key]}\n\n{detailed(results, total_cpu=key[1] != QUEUED)}")
    versions = {run["peer"]: run["versions"] for run in runs if "floor" not in run["peer"]}
    listed = [
        f"- {peer}: " + ", ".join(f"{name} {number}" for name, number in found.items())
        for peer, found in versions.items()
    ]
    parts.append("## Versions\n\n" + "\n".join(listed))
    return "\n\n".join(parts)

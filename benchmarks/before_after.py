"""Compares two checkouts of boardd in one run: what a change costs or saves.

    python benchmarks/before_after.py BEFORE AFTER [--rounds N]

BEFORE and AFTER are checkouts in which ``make setup`` has run; their result files
change. Rounds alternate between the two, so that drift of the machine cancels. Prints a
Markdown table of the medians over rounds and of the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from comparison import report
from sustained import publish

#: One round's figures by row: nanoseconds a value or a record.
Figures = dict[str, float]


def peers(checkout: Path) -> Figures:
    """Mean time on the training thread and total CPU of every workload of ``peers.py``."""
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "peers"
        _run(checkout, "peers.py", "--peers", "boardd", "--rounds", "1", "--output", str(output))
        runs = json.loads(output.with_suffix(".json").read_text())["runs"]
    figures: Figures = {}
    for run in runs:
        row = f"{run['workload']}, {run['input']}"
        figures[f"{row}: call"] = report.phase(run)["mean_ns"]
        if run["total_cpu_ns"]:
            figures[f"{row}: total CPU"] = run["total_cpu_ns"]
    return figures


def throughput(checkout: Path) -> Figures:
    """Time and CPU of every case of ``throughput.py``, each by record."""
    _run(checkout, "throughput.py", "--rounds", "1")
    results = json.loads((checkout / "benchmarks/results/throughput.json").read_text())
    figures: Figures = {}
    for case, (run,) in results["runs"].items():
        for key in ("secs", "daemon_cpu_secs", "client_cpu_secs"):
            figures[f"throughput, {case}: {key}"] = run[key] / run["records"] * 1e9
    return figures


def _run(checkout: Path, script: str, *arguments: str) -> None:
    subprocess.run(
        [".venv/bin/python", f"benchmarks/{script}", *arguments],
        cwd=checkout,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()

    measures: list[Callable[[Path], Figures]] = [peers, throughput]
    rounds: list[tuple[Figures, Figures]] = []
    for number in range(arguments.rounds):
        # Every second round begins with the other checkout.
        order = [arguments.before, arguments.after][:: -1 if number % 2 else 1]
        found: dict[Path, Figures] = {checkout: {} for checkout in order}
        for measure in measures:
            for checkout in order:
                found[checkout] |= measure(checkout)
        rounds.append((found[arguments.before], found[arguments.after]))

    rows = []
    for row in rounds[0][0]:
        pairs = [(before[row], after[row]) for before, after in rounds if row in after]
        if pairs:
            before, after = (median(side) for side in zip(*pairs, strict=True))
            quotient = median(new / old for old, new in pairs)
            rows.append(
                [row, report.duration(before), report.duration(after), report.times(quotient)]
            )
    print(publish.table(["", "before", "after", "after / before"], rows))


if __name__ == "__main__":
    main()

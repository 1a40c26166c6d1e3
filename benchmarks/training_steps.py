"""What logging adds to a training step: nets in MXNet, boardd and its peers, in one run.

    python benchmarks/training_steps.py [--quick]

Trains a small perceptron, a convolutional net and a Transformer on digits, by turns
without logging, with the loss logged at every step, and with the loss and histograms of
all gradients, in one call where a logger has one. Prints Markdown; a run of everything
writes it to benchmarks/README.md, and every block to
benchmarks/results/training_steps.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from comparison.report import duration
from sustained import digits, machine, publish
from sustained.loggers import LOGGERS
from sustained.placement import PLACEMENTS, is_possible
from sustained.training_worker import VARIANTS

BENCHMARKS = Path(__file__).resolve().parent
WORKER_TIMEOUT_SECS = 1800.0
#: OpenBLAS's idle threads would spin after every product, in training and in peers alike.
WORKER_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}

NETS = {
    "mlp": "perceptron 784-128-64-10, batches of 32",
    "conv": "convolutional net, batches of 64",
    "transformer": "Transformer of 18 layers, 294 arrays, batches of 8",
}

#: One worker's blocks, and which logger, net, placement and round they are of.
Result = dict[str, Any]


def run_worker(logger: str, net: str, placement: str, blocks: int, block_secs: float) -> Result:
    """Trains in a process of its own, in the logger's environment.

    Raises ``subprocess.CalledProcessError`` if it fails. It also fails if a record is
    missing that was not counted as dropped.
    """
    with tempfile.TemporaryDirectory(prefix="boardd-steps-") as root:
        digits.save(Path(root) / "digits.npz")
        done = subprocess.run(
            [
                *(str(LOGGERS[logger].environment.python), "-m", "sustained.training_worker"),
                *(logger, net, placement, root),
                *("--blocks", str(blocks), "--block-secs", str(block_secs)),
            ],
            env={**os.environ, **WORKER_ENVIRONMENT, "PYTHONPATH": _python_path()},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=WORKER_TIMEOUT_SECS,
        )
    result: Result = json.loads(done.stdout.splitlines()[-1])
    return {"logger": logger, "net": net, "placement": placement, **result}


def _python_path() -> str:
    return os.pathsep.join(filter(None, (str(BENCHMARKS), os.environ.get("PYTHONPATH"))))


def compared(result: Result, variant: str) -> Iterator[dict[str, float]]:
    """Each block of ``variant`` beside the mean of its two neighbours, which log nothing."""
    blocks = result["blocks"]
    for before, block, after in zip(blocks, blocks[1:], blocks[2:], strict=False):
        if block["variant"] == variant:
            bare_secs = (before["step_secs"] + after["step_secs"]) / 2
            bare_cpu = (before["cpu_secs_per_step"] + after["cpu_secs_per_step"]) / 2
            yield {
                "ratio": block["step_secs"] / bare_secs,
                "added_cpu_secs": block["cpu_secs_per_step"] - bare_cpu,
                "dropped": sum(block["dropped"].values()) / block["logged"],
                "close_secs": block["close_secs"],
            }


def markdown(results: list[Result]) -> str:
    """One table for each net and placement."""
    parts = []
    for net, title in NETS.items():
        for placement, place in PLACEMENTS.items():
            found = [
                result
                for result in results
                if (result["net"], result["placement"]) == (net, placement)
            ]
            if not found:
                continue
            bare = median(
                block["step_secs"]
                for result in found
                for block in result["blocks"]
                if block["variant"] == "none"
            )
            parts.append(
                f"{title[0].upper()}{title[1:]}; {place}; "
                f"a step without logging takes {duration(bare * 1e9)}:\n\n{_table(found)}"
            )
    return "\n\n".join(parts)


def _table(found: list[Result]) -> str:
    head = ["", "loss: step", "added CPU", "loss and gradients: step", "added CPU", "dropped"]
    rows = []
    for logger in dict.fromkeys(result["logger"] for result in found):
        row = [logger]
        for variant in VARIANTS:
            blocks = [
                block
                for result in found
                if result["logger"] == logger
                for block in compared(result, variant)
            ]
            row.append(f"{median(block['ratio'] for block in blocks):.2f}\N{MULTIPLICATION SIGN}")
            row.append(_signed(median(block["added_cpu_secs"] for block in blocks) * 1e9))
        lost = median(block["dropped"] for block in blocks)
        rows.append([*row, f"{lost:.0%}" if lost else "nothing"])
    return publish.table(head, rows)


def _signed(nanoseconds: float) -> str:
    return duration(nanoseconds) if nanoseconds >= 0 else f"-{duration(-nanoseconds)}"


def conditions(about: dict[str, Any], rounds: int, blocks: int, block_secs: float) -> str:
    return (
        f"Medians of {rounds * blocks} blocks of {block_secs:g} s, "
        f"{rounds} rounds; {machine.sentence(about)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round; writes nothing")
    parser.add_argument("--rounds", type=int, default=3, help="processes each")
    parser.add_argument("--blocks", type=int, default=2, help="of each variant in a process")
    parser.add_argument("--block-secs", type=float, default=2.5)
    parser.add_argument("--loggers", nargs="+", choices=LOGGERS, default=list(LOGGERS))
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--placements", nargs="+", choices=PLACEMENTS, default=list(PLACEMENTS))
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.blocks, arguments.block_secs = 1, 1, 0.5

    for environment in {LOGGERS[name].environment for name in arguments.loggers}:
        environment.ensure()
    about = machine.describe()
    results = []
    for number in range(arguments.rounds):
        # Every second round goes backwards, so that nobody always runs after the same neighbour.
        order = arguments.loggers[:: -1 if number % 2 else 1]
        for net in arguments.nets:
            for placement in arguments.placements:
                for logger in order:
                    if placement not in LOGGERS[logger].placements or not is_possible(placement):
                        continue
                    result = run_worker(
                        logger, net, placement, arguments.blocks, arguments.block_secs
                    )
                    results.append({"round": number, **result})
                    ratios = ", ".join(
                        f"{variant} {median(b['ratio'] for b in compared(result, variant)):.2f}"
                        for variant in VARIANTS
                    )
                    print(
                        f"round {number + 1}/{arguments.rounds} {net} {placement} {logger}: "
                        f"{ratios}",
                        file=sys.stderr,
                    )
    results.sort(key=lambda result: list(LOGGERS).index(result["logger"]))
    text = (
        conditions(about, arguments.rounds, arguments.blocks, arguments.block_secs)
        + "\n\n"
        + markdown(results)
    )
    everything = (list(LOGGERS), list(NETS), list(PLACEMENTS))
    if (
        not arguments.quick
        and (arguments.loggers, arguments.nets, arguments.placements) == everything
    ):
        publish.publish("training_steps", {"machine": about, "results": results}, text)
    print(text)


if __name__ == "__main__":
    main()

"""Measures boardd beside MXBoard, tensorboardX and torch.utils.tensorboard, in one run.

    python benchmarks/peers.py [--rounds N] [--peers NAME ...] [--workloads NAME ...]

Each measurement runs in a fresh process with the peer's own virtual
environment, built on first use; rounds go through all peers in turn. Prints
Markdown and writes it, and every figure as JSON, to benchmarks/results/; a
run of everything also renews the table in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from comparison import environments, report

BENCHMARKS = Path(__file__).resolve().parent
RESULTS = BENCHMARKS / "results" / "peers"
MARKS = ("<!-- peers.py: begin -->", "<!-- peers.py: end -->")
WORKER_TIMEOUT_SECS = 600.0

#: Peer by name in the tables: its module (and class), where it runs, what it takes.
PEERS: dict[str, tuple[str, environments.Environment, dict[str, tuple[str, ...]]]] = {
    "boardd": (
        "boardd",
        environments.BOARDD,
        {
            "scalars": ("python", "mxnet"),
            "histograms": ("numpy", "mxnet", "mxnet-queued"),
            "images": ("numpy", "mxnet"),
        },
    ),
    "MXBoard": (
        "mxboard",
        environments.MXBOARD,
        {
            "scalars": ("python", "mxnet"),
            "histograms": ("numpy", "mxnet", "mxnet-queued"),
            "images": ("numpy", "mxnet"),
        },
    ),
    "tensorboardX": (
        "tensorboardx",
        environments.TENSORBOARDX,
        {
            "scalars": ("python", "mxnet"),
            "histograms": ("numpy", "mxnet", "mxnet-queued"),
            "images": ("numpy", "mxnet"),
        },
    ),
    "torch": (
        "torch",
        environments.TORCH,
        {"scalars": ("python",), "histograms": ("numpy",), "images": ("numpy",)},
    ),
    "floor: empty call": ("floor.Empty", environments.BOARDD, {"scalars": ("python", "mxnet")}),
    "floor: deque append": ("floor.Append", environments.BOARDD, {"scalars": ("python",)}),
    "floor: copy": (
        "floor.Copy",
        environments.BOARDD,
        {"histograms": ("numpy",), "images": ("numpy",)},
    ),
    "floor: wait for the value": (
        "floor.Wait",
        environments.BOARDD,
        {"histograms": ("mxnet-queued",)},
    ),
    "floor: min and max": ("floor.MinMax", environments.BOARDD, {"histograms": ("numpy",)}),
}

#: OpenBLAS's idle threads spin after each product of vectors that the peers
#: compute; charged as total CPU that would double their figures.
WORKER_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}


class IncompleteError(Exception):
    """A peer did not write what it was given."""


def run_worker(peer: str, workload: str, kind: str) -> dict[str, Any]:
    """Runs one measurement in a process of its own.

    Raises ``IncompleteError`` when events are missing, and
    ``subprocess.CalledProcessError`` when the worker fails.
    """
    module, environment, _ = PEERS[peer]
    with tempfile.TemporaryDirectory(prefix="boardd-peers-") as root:
        done = subprocess.run(
            [str(environment.python), "-m", "comparison.worker", module, workload, kind, root],
            env={**os.environ, **WORKER_ENVIRONMENT, "PYTHONPATH": str(BENCHMARKS)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=WORKER_TIMEOUT_SECS,
        )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if result["events"] not in (None, result["calls"]):
        raise IncompleteError(
            f"{peer} wrote {result['events']} events of {result['calls']} calls "
            f"({workload}, {kind})"
        )
    return result


def machine(rounds: int) -> dict[str, Any]:
    """What the figures depend on."""
    cpu = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=BENCHMARKS,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ).stdout.strip()
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit or "unknown",
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "rounds": rounds,
        "load_average": os.getloadavg(),
    }


def main() -> None:
    """Builds environments, measures, reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    workloads = list(dict.fromkeys(name for _, _, takes in PEERS.values() for name in takes))
    parser.add_argument("--workloads", nargs="+", choices=workloads, default=workloads)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()

    for environment in {PEERS[peer][1] for peer in arguments.peers}:
        environment.ensure()
    about = machine(arguments.rounds)
    runs = []
    for round_index in range(arguments.rounds):
        # Every second round goes backwards, so that nobody always runs after the same neighbour.
        order = arguments.peers[:: -1 if round_index % 2 else 1]
        for workload in arguments.workloads:
            kinds = dict.fromkeys(
                kind for peer in arguments.peers for kind in PEERS[peer][2].get(workload, ())
            )
            for kind in kinds:
                for peer in order:
                    if kind not in PEERS[peer][2].get(workload, ()):
                        continue
                    result = run_worker(peer, workload, kind)
                    runs.append(
                        {
                            "peer": peer,
                            "workload": workload,
                            "input": kind,
                            "round": round_index,
                            **result,
                        }
                    )
                    print(
                        f"round {round_index + 1}/{arguments.rounds} {workload} {kind} {peer}: "
                        f"mean {report.duration(result['mean_ns'])}",
                        file=sys.stderr,
                    )

    about["load_average_after"] = os.getloadavg()

    text = report.markdown(runs, about)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.with_suffix(".md").write_text(text)
    arguments.output.with_suffix(".json").write_text(
        json.dumps({"machine": about, "runs": runs}, indent=1) + "\n"
    )
    complete = arguments.peers == list(PEERS) and arguments.workloads == workloads
    if complete and arguments.output == RESULTS:
        renew_readme(report.summary(runs, about))
    print(text)


def renew_readme(table: str) -> None:
    """Puts ``table`` between the two marks in README.md."""
    path = BENCHMARKS / "README.md"
    before, rest = path.read_text().split(MARKS[0])
    _, after = rest.split(MARKS[1])
    path.write_text(f"{before}{MARKS[0]}\n{table}{MARKS[1]}{after}")


if __name__ == "__main__":
    main()

"""Measures boardd beside its peers, in one run.

    python benchmarks/peers.py [--rounds N] [--limit-secs SECS] [--peers NAME ...]
                               [--workloads NAME ...]

The peers are MXBoard, tensorboardX, torch.utils.tensorboard, CLU, wandb, Aim
and Rerun, and the floor: the least that logging could cost. Each measurement
runs in a fresh process with the peer's own virtual environment, built on first
use. Rounds go through all peers in turn. If one cannot be installed or fails, the
report says so and the run goes on. Prints Markdown, and writes every column as
Markdown and every figure as JSON to benchmarks/results/. A run of everything also
renews the tables between this script's marks in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from comparison import report
from comparison.catalog import LOGGERS, PEERS
from comparison.workloads import WORKLOADS
from sustained import machine, publish

BENCHMARKS = Path(__file__).resolve().parent
RESULTS = BENCHMARKS / "results" / "peers"
WORKER_TIMEOUT_SECS = 180.0

#: OpenBLAS's idle threads spin after each product of vectors that the peers compute. Charged
#: as total CPU, that would double their figures.
WORKER_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}


class MeasurementError(Exception):
    """A peer failed, did not end in time, or did not write what it was given."""


def run_worker(peer: str, workload: str, kind: str) -> dict[str, Any]:
    """Runs one measurement in a process of its own.

    Raises ``MeasurementError`` if it fails; the worker's output is then on stderr.
    """
    entry = PEERS[peer]
    times = "once" if workload in entry.slow else "repeated"
    with (
        tempfile.TemporaryDirectory(prefix="boardd-peers-", ignore_cleanup_errors=True) as root,
        tempfile.TemporaryFile("w+") as errors,
    ):
        worker = subprocess.Popen(
            [
                *(str(entry.environment.python), "-m", "comparison.worker"),
                *(entry.module, workload, kind, root, times),
            ],
            env={**os.environ, **WORKER_ENVIRONMENT, "PYTHONPATH": str(BENCHMARKS)},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = worker.communicate(timeout=WORKER_TIMEOUT_SECS)
        except subprocess.TimeoutExpired:
            raise MeasurementError(f"not done after {WORKER_TIMEOUT_SECS:.0f} s") from None
        finally:
            if worker.poll() is None:
                os.killpg(worker.pid, signal.SIGKILL)
                worker.wait()
        if worker.returncode:
            errors.seek(0)
            said = errors.read().strip()
            print(said, file=sys.stderr)
            last = said.rpartition("\n")[2][:200]
            raise MeasurementError(f"exit status {worker.returncode}: {last}")
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    if result["written"] not in (None, result["logged"]):
        raise MeasurementError(
            f"{result['written']} values in its files, {result['logged']} were logged"
        )
    return result


def build(peers: list[str], failures: dict[str, str]) -> list[str]:
    """Makes environments; returns the peers that have one, and notes the failures."""
    ready = []
    for peer in peers:
        try:
            PEERS[peer].environment.ensure()
            ready.append(peer)
        except (subprocess.CalledProcessError, OSError) as error:
            failures[peer] = f"its environment cannot be built: {error}"
    return ready


def plan(peers: list[str], workloads: list[str], number: int) -> Iterator[tuple[str, str, str]]:
    """Workload, input and peer of each measurement of round ``number``, in order."""
    # Every second round goes backwards, so that nobody always runs after the same neighbour.
    order = peers[:: -1 if number % 2 else 1]
    for workload in workloads:
        for kind in WORKLOADS[workload]:
            for peer in order:
                entry = PEERS[peer]
                takes = kind in entry.takes.get(workload, ())
                if takes and not (number and workload in entry.slow):
                    yield workload, kind, peer


def measure(
    peers: list[str], workloads: list[str], number: int, failures: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """The results of round ``number``; notes what fails and does not try it again."""
    for workload, kind, peer in plan(peers, workloads, number):
        what = f"{peer}, {workload}, {kind}"
        if what in failures:
            continue
        try:
            result = run_worker(peer, workload, kind)
        except MeasurementError as error:
            failures[what] = str(error)
            print(f"{what}: {error}", file=sys.stderr)
            continue
        mean = report.duration(report.phase(result)["mean_ns"])
        print(f"round {number + 1}: {what}: {mean}", file=sys.stderr)
        yield {"peer": peer, "workload": workload, "input": kind, "round": number, **result}


def main() -> int:
    """Builds environments, measures, reports; the exit status is 1 when anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--limit-secs",
        type=float,
        default=900.0,
        help="begin no round that would end after this time, at the pace so far (default: 900)",
    )
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()

    failures: dict[str, str] = {}
    peers = build(arguments.peers, failures)
    about = machine.describe()
    began = time.monotonic()
    runs: list[dict[str, Any]] = []
    about["rounds"] = 0
    for number in range(arguments.rounds):
        took_secs = time.monotonic() - began
        if number and took_secs * (number + 1) / number > arguments.limit_secs:
            print(f"no round {number + 1}: {took_secs:.0f} s are spent", file=sys.stderr)
            break
        runs += measure(peers, arguments.workloads, number, failures)
        about["rounds"] = number + 1
    about["took_secs"] = time.monotonic() - began
    about["load_average_after"] = os.getloadavg()

    loggers = [peer for peer in LOGGERS if peer in peers]
    notes = {peer: LOGGERS[peer].note for peer in loggers}
    about_rounds = f"Medians over rounds ({about['rounds']}), {machine.sentence(about)}"
    footnotes = report.footnotes(notes, failures)

    def joined(*parts: str) -> str:
        return "\n\n".join(part for part in parts if part)

    text = joined(about_rounds, report.summary(runs, loggers), footnotes)
    details = joined(
        "# boardd beside its peers: every column", about_rounds, footnotes, report.details(runs)
    )
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.with_suffix(".md").write_text(f"{details}\n")
    arguments.output.with_suffix(".json").write_text(
        json.dumps({"machine": about, "failures": failures, "runs": runs}, indent=1) + "\n"
    )
    is_complete = arguments.peers == list(PEERS) and arguments.workloads == list(WORKLOADS)
    if is_complete and arguments.output == RESULTS:
        publish.renew("peers", text)
    print(text)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

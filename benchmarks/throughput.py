"""What one daemon on one core keeps up with: scalars, and tensors reduced to histograms.

    python benchmarks/throughput.py [--quick]

The daemon is pinned to one core and the clients to the others. Clients log as
fast as they can and wait when memory is full (``on_full="block"``), so that
nothing is dropped. Prints Markdown; a whole run writes it to
benchmarks/README.md, and every figure to benchmarks/results/throughput.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from comparison.event_files import count_events
from comparison.report import duration
from sustained import machine, publish
from sustained.daemon import Daemon
from sustained.flood import BYTES_PER_VALUE, HISTOGRAM_TAG, MEASURED, RECORDS, SERIES, TAG, VALUES

BENCHMARKS = Path(__file__).resolve().parent
CLIENT_TIMEOUT_SECS = 900.0


@dataclass(frozen=True)
class Case:
    """``clients`` processes that each make ``calls`` calls of a workload of ``flood``."""

    title: str
    workload: str
    clients: int
    calls: int
    quick_calls: int
    tag: str


CASES = {
    "scalars": Case("`add_scalar` of a number", "scalar", 1, 4_000_000, 100_000, TAG),
    "scalars-2": Case("`add_scalar` of a number, two clients", "scalar", 2, 2_000_000, 50_000, TAG),
    "sets": Case("`add_scalar` of a dict of 100", "set", 1, 60_000, 1_000, SERIES),
    "histograms": Case(
        "`add_histogram` of 4M float32, 1000 bins", "histogram", 1, 400, 20, HISTOGRAM_TAG
    ),
}


def place() -> tuple[set[int], set[int]]:
    """The daemon's core and the clients': different ones if there are two."""
    cores = sorted(os.sched_getaffinity(0))
    return {cores[-1]}, set(cores[:-1] or cores)


def measure(case: Case, calls: int) -> dict[str, Any]:
    """Runs a case with a new daemon; checks that every record is in the event files.

    Raises ``RuntimeError`` when one is missing.
    """
    daemon_cores, client_cores = place()
    with tempfile.TemporaryDirectory(prefix="boardd-throughput-") as name:
        root = Path(name)
        logdirs = [root / f"client{number}" for number in range(case.clients)]
        with Daemon(root, daemon_cores) as daemon:
            clients = [
                subprocess.Popen(
                    [
                        *(sys.executable, "-m", "sustained.flood", daemon.address),
                        *(str(logdir), case.workload, str(calls)),
                    ],
                    env={**os.environ, "PYTHONPATH": _python_path()},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    preexec_fn=lambda: os.sched_setaffinity(0, client_cores),
                )
                for logdir in logdirs
            ]
            try:
                for client in clients:
                    _await_ready(client)
                daemon_cpu = daemon.cpu_secs()
                for client in clients:
                    assert client.stdin is not None
                    client.stdin.write("go\n")
                    client.stdin.flush()
                done = [_result(client) for client in clients]
                daemon_cpu = daemon.cpu_secs() - daemon_cpu
                peak_rss_bytes = daemon.peak_rss_bytes()
            finally:
                for client in clients:
                    client.kill()
                    client.wait()
        records = calls * RECORDS[case.workload] * case.clients
        found = sum(count_events(logdir / MEASURED, case.tag) for logdir in logdirs)
        if found != records or any(result["dropped"] for result in done):
            raise RuntimeError(f"{case.title}: {found} events of {records} records; {done}")
        size_bytes = sum(
            path.stat().st_size
            for logdir in logdirs
            for path in (logdir / MEASURED).rglob("*tfevents*")
        )
    secs = max(result["written"] for result in done) - min(result["begun"] for result in done)
    return {
        "records": records,
        "secs": secs,
        "call_secs": max(result["called"] - result["begun"] for result in done),
        "client_cpu_secs": sum(result["cpu_secs"] for result in done),
        "daemon_cpu_secs": daemon_cpu,
        "daemon_peak_rss_bytes": peak_rss_bytes,
        "event_file_bytes": size_bytes,
    }


def _python_path() -> str:
    return os.pathsep.join(filter(None, (str(BENCHMARKS), os.environ.get("PYTHONPATH"))))


def _await_ready(client: subprocess.Popen[str]) -> None:
    assert client.stdout is not None
    if client.stdout.readline() != "ready\n":
        raise RuntimeError(f"a client ended with {client.wait()} before it was ready")


def _result(client: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = client.communicate(timeout=CLIENT_TIMEOUT_SECS)
    if client.returncode:
        raise RuntimeError(f"a client ended with {client.returncode}")
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def rate(case: Case, run: dict[str, Any]) -> str:
    """Records, or for tensors bytes, in a second."""
    if case.workload == "histogram":
        return f"{run['records'] * VALUES * BYTES_PER_VALUE / run['secs'] / 1e9:.2f} GB/s"
    return f"{run['records'] / run['secs'] / 1e6:.2f} million/s"


def daemon_limit(case: Case, run: dict[str, Any]) -> str:
    """The rate at which the daemon alone would fill its core, from its CPU time."""
    return rate(case, {**run, "secs": run["daemon_cpu_secs"]})


def markdown(runs: dict[str, list[dict[str, Any]]]) -> str:
    """One line for each case: its round with the median time."""
    head = [
        "one daemon on one core",
        "sustained",
        "daemon's CPU allows",
        "daemon CPU each",
        "client CPU each",
        "daemon's peak memory",
        "event file each",
    ]
    rows = []
    for name, rounds in runs.items():
        case = CASES[name]
        middle = median(run["secs"] for run in rounds)
        run = min(rounds, key=lambda run: abs(run["secs"] - middle))
        records = run["records"]
        rows.append(
            [
                case.title,
                rate(case, run),
                daemon_limit(case, run),
                duration(run["daemon_cpu_secs"] / records * 1e9),
                duration(run["client_cpu_secs"] / records * 1e9),
                f"{run['daemon_peak_rss_bytes'] / 1e6:.0f} MB",
                f"{run['event_file_bytes'] / records:,.1f} bytes",
            ]
        )
    return publish.table(head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round; writes nothing")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    arguments = parser.parse_args()

    about = machine.describe()
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in arguments.cases}
    for number in range(1 if arguments.quick else arguments.rounds):
        for name in arguments.cases:
            case = CASES[name]
            run = measure(case, case.quick_calls if arguments.quick else case.calls)
            runs[name].append(run)
            print(f"round {number + 1} {name}: {rate(case, run)}", file=sys.stderr)
    shared = "" if about["cores"] > 1 else " The clients had to share the daemon's core."
    text = (
        f"Medians of {len(runs[arguments.cases[0]])} rounds, {machine.sentence(about)}{shared}"
        f"\n\n{markdown(runs)}"
    )
    if not arguments.quick and arguments.cases == list(CASES):
        publish.publish("throughput", {"machine": about, "runs": runs}, text)
    print(text)


if __name__ == "__main__":
    main()

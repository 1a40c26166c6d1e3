"""What the ranks of one run cost the daemon of their host, and how late their points are.

    python benchmarks/ranks.py [--quick]

Each rank logs 100 scalars and two histograms of 10,000 float32 in each step, one step a
second, all ranks at once. Few processes hold the ranks, but each rank has a session, a
thread and connections of its own: the daemon sees what it would see of as many processes,
except that some have the same process id. Prints Markdown; a whole run writes it to
benchmarks/README.md, and every figure to benchmarks/results/ranks.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from comparison.report import duration
from sustained import machine, publish
from sustained.daemon import Daemon
from sustained.growth import Growth
from sustained.rank_steps import HISTOGRAMS, SCALARS, WARM_UP_STEPS

BENCHMARKS = Path(__file__).resolve().parent
WORLD_SIZES = (1, 4, 16, 64, 256)
PROCESSES = 8
PAUSE_SECS = 1.0
READY_SECS = 300.0
#: From the moment that every process is ready until the first step.
START_SECS = 1.0
#: What is written behind the last step counts, too.
SETTLE_SECS = 1.0


def measure(world_size: int, steps: int) -> dict[str, Any]:
    """Figures of one daemon and ``steps`` steps of each rank.

    Raises ``RuntimeError`` when a point is missing.
    """
    with tempfile.TemporaryDirectory(prefix="ranks-", dir="/tmp") as name:
        root = Path(name)
        logdir = root / "run"
        run = logdir if world_size == 1 else logdir / f"rank_{world_size - 1}"
        with Daemon(root) as daemon, Growth(logdir) as merged, Growth(run) as own:
            holders = _started(daemon, logdir, world_size, steps)
            try:
                for holder in holders:
                    _await_ready(holder)
                before = _used(daemon)
                begin = time.monotonic() + START_SECS
                for holder in holders:
                    _tell(holder, str(begin))
                done = [_result(holder) for holder in holders]
                time.sleep(SETTLE_SECS)
                used = {name: now - before[name] for name, now in _used(daemon).items()}
                memory = daemon.memory_bytes()
                for holder in holders:
                    _tell(holder, "")
                    holder.wait()
            finally:
                for holder in holders:
                    holder.kill()
                    holder.wait()
        rank_steps = world_size * steps
        last = {
            step: max(result["logged"][str(step)] for result in done)
            for step in range(WARM_UP_STEPS, WARM_UP_STEPS + steps)
        }
        return {
            "world_size": world_size,
            "steps": steps,
            "cpu_secs": used["cpu_secs"] / rank_steps,
            "file_bytes": used["file_bytes"] / rank_steps,
            "memory_bytes": memory,
            "merged_lag_secs": _lags(merged.whole_at(), last),
            "own_lag_secs": _lags(own.whole_at(), last),
            "records": rank_steps * (len(SCALARS) + len(HISTOGRAMS)),
            "lost": sum(result["dropped"] + result["rejected"] for result in done),
        }


def _started(
    daemon: Daemon, logdir: Path, world_size: int, steps: int
) -> list[subprocess.Popen[str]]:
    """Processes that hold the ranks, about as many each."""
    count = min(PROCESSES, world_size)
    firsts = [number * world_size // count for number in range(count + 1)]
    return [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "sustained.rank_steps"),
                ",".join(daemon.address_of(rank) for rank in range(first, end)),
                *(str(logdir), str(world_size), str(first), str(steps), str(PAUSE_SECS)),
            ],
            env={**os.environ, "PYTHONPATH": _python_path()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for first, end in itertools.pairwise(firsts)
    ]


def _python_path() -> str:
    return os.pathsep.join(filter(None, (str(BENCHMARKS), os.environ.get("PYTHONPATH"))))


def _used(daemon: Daemon) -> dict[str, float]:
    return {"cpu_secs": daemon.cpu_secs(), "file_bytes": daemon.written_bytes()}


def _await_ready(holder: subprocess.Popen[str]) -> None:
    assert holder.stdout is not None
    if holder.stdout.readline() != "ready\n":
        raise RuntimeError(f"a process ended with {holder.wait()} before it was ready")


def _tell(holder: subprocess.Popen[str], line: str) -> None:
    assert holder.stdin is not None
    holder.stdin.write(f"{line}\n")
    holder.stdin.flush()


def _result(holder: subprocess.Popen[str]) -> dict[str, Any]:
    assert holder.stdout is not None
    line = holder.stdout.readline()
    if not line:
        raise RuntimeError(f"a process ended with {holder.wait()}")
    result: dict[str, Any] = json.loads(line)
    return result


def _lags(whole_at: dict[int, float], logged: dict[int, float]) -> list[float]:
    """Seconds from the last call of each step until its last point was in the file.

    Empty if there are no points. Raises ``RuntimeError`` if only some steps have any.
    """
    found = [whole_at[step] - at for step, at in logged.items() if step in whole_at]
    if found and len(found) < len(logged):
        raise RuntimeError(f"only {len(found)} of {len(logged)} steps are in the files")
    return found


def _lag(lags: list[float]) -> str:
    if not lags:
        return "-"
    return f"{duration(median(lags) * 1e9)} / {duration(max(lags) * 1e9)}"


def markdown(runs: list[dict[str, Any]]) -> str:
    """One line for each world size, and how the figures grow with it."""
    head = [
        "ranks",
        "daemon CPU, a rank and step",
        "daemon CPU, a second",
        "memory",
        "of it shared with clients",
        "merged points: lag, median / max",
        "a rank's own points",
        "written, a rank and step",
        "lost",
    ]
    rows = [
        [
            str(run["world_size"]),
            duration(run["cpu_secs"] * 1e9),
            duration(run["cpu_secs"] * run["world_size"] / PAUSE_SECS * 1e9),
            f"{run['memory_bytes']['all'] / 1e6:.0f} MB",
            f"{run['memory_bytes']['shared'] / 1e6:.0f} MB",
            _lag(run["merged_lag_secs"]),
            _lag(run["own_lag_secs"]),
            f"{run['file_bytes'] / 1e3:.1f} kB",
            str(run["lost"]) if run["lost"] else "nothing",
        ]
        for run in runs
    ]
    return publish.table(head, rows)


def middle(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The round with the median CPU time."""
    at = median(run["cpu_secs"] for run in rounds)
    return min(rounds, key=lambda run: abs(run["cpu_secs"] - at))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round; writes nothing")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--ranks", type=int, nargs="+", default=list(WORLD_SIZES))
    arguments = parser.parse_args()

    about = machine.describe()
    steps = 5 if arguments.quick else arguments.steps
    runs: dict[int, list[dict[str, Any]]] = {size: [] for size in arguments.ranks}
    for number in range(1 if arguments.quick else arguments.rounds):
        for world_size in arguments.ranks:
            run = measure(world_size, steps)
            runs[world_size].append(run)
            print(
                f"round {number + 1}, {world_size} ranks: {duration(run['cpu_secs'] * 1e9)}",
                file=sys.stderr,
            )
    text = (
        f"Medians of {len(runs[arguments.ranks[0]])} rounds of {steps} steps, "
        f"{machine.sentence(about)}\n\n{markdown([middle(rounds) for rounds in runs.values()])}"
    )
    if not arguments.quick and arguments.ranks == list(WORLD_SIZES):
        flat = [run for rounds in runs.values() for run in rounds]
        publish.publish("ranks", {"machine": about, "runs": flat}, text)
    print(text)


if __name__ == "__main__":
    main()

"""What boardd takes of its host: from a cold start to the first points, and idle with 50 writers.

    python benchmarks/host_care.py [--quick]

Starts daemons as clients do. The first ones find no compiled kernel, as on a fresh installation.
Then all kernels are compiled, and the same is measured again. Processor time is that of
/proc/PID/stat and schedstat, which depends less on what else runs than the time on the clock.
Prints Markdown; a whole run writes it to benchmarks/README.md, and every figure to
benchmarks/results/host_care.json. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from sustained import machine, publish

WRITERS = 50
#: By this time the daemon has loaded its modules, and given back what it does not need.
SETTLED_SECS = 20.0
IDLE_SECS = 30.0
QUICK_IDLE_SECS = 10.0

#: Logs what its third argument says, tells how long that took, and goes on when told to.
CLIENT = """
import json, sys, time
import numpy as np
from boardd_client import SummaryWriter

values = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
logdir, address, kind, count = sys.argv[1:]
cpu, begin = time.process_time(), time.monotonic()
writers = [
    SummaryWriter(f"{logdir}/{number}", address=address, verbose=False)
    for number in range(int(count))
]
for writer in writers:
    if kind != "histogram":
        writer.add_scalar("loss", 1.0, 0)
    if kind != "scalar":
        writer.add_histogram("weights", values, 0, bins=1000)
for writer in writers:
    if not writer.flush(300):
        sys.exit("nothing was written")
secs = time.monotonic() - begin
print(json.dumps({"secs": secs, "client_cpu_secs": time.process_time() - cpu}), flush=True)
sys.stdin.readline()
for writer in writers:
    writer.close()
"""


@contextlib.contextmanager
def logging(kind: str, writers: int = 1) -> Iterator[tuple[dict[str, float], int, int]]:
    """Has a new daemon write; yields what that took, the daemon's pid and the client's."""
    with tempfile.TemporaryDirectory(prefix="boardd-", dir="/tmp") as directory:
        socket = Path(directory) / "run" / "s"
        environ = os.environ | {"XDG_RUNTIME_DIR": directory, "XDG_CONFIG_HOME": directory}
        arguments = [directory + "/logs", f"unix:{socket}", kind, str(writers)]
        with subprocess.Popen(
            [sys.executable, "-c", CLIENT, *arguments],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as client:
            assert client.stdin is not None
            assert client.stdout is not None
            told = client.stdout.readline()
            (daemon,) = (
                process
                for process in psutil.process_iter()
                if str(socket) in process_arguments(process) and process.pid != client.pid
            )
            try:
                yield json.loads(told), daemon.pid, client.pid
            finally:
                client.communicate("\n")
                daemon.terminate()
                daemon.wait(60)


def process_arguments(process: psutil.Process) -> list[str]:
    """The command line of a process; empty if it has ended."""
    with contextlib.suppress(psutil.Error):
        arguments: list[str] = process.cmdline()
        return arguments
    return []


def first_points() -> dict[str, dict[str, float]]:
    """From a cold start to the first point of each kind, in seconds."""
    found = {}
    for kind in ("scalar", "histogram"):
        with logging(kind) as (took, daemon, _):
            times = psutil.Process(daemon).cpu_times()
            found[kind] = {**took, "daemon_cpu_secs": times.user + times.system}
    return found


def compile_kernels() -> float:
    """Compiles all; returns the processor time in seconds."""
    before = os.times()
    with subprocess.Popen(
        [sys.executable, "-m", "boardd.host.kernel_compiler"], stdin=subprocess.PIPE
    ) as process:
        process.wait()
    if process.returncode:
        sys.exit(f"the compiler of kernels ended with {process.returncode}")
    after = os.times()
    return (
        after.children_user
        + after.children_system
        - (before.children_user + before.children_system)
    )


def cpu_secs(pid: int) -> float:
    """Processor time of all threads that run, to the nanosecond."""
    total = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # a thread has ended
            total += int(path.read_text().split()[0])
    return total / 1e9


def memory_mib(pid: int) -> dict[str, float]:
    """Resident memory without what clients share, in all and without pages of files."""
    found = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("RssAnon", "RssFile"):
            found[name] = int(value.split()[0]) / 1024
    return {"own_mib": found["RssAnon"] + found["RssFile"], "anonymous_mib": found["RssAnon"]}


def idle(secs: float) -> dict[str, Any]:
    """A daemon with ``WRITERS`` open writers of one process, all of which have logged."""
    with logging("both", WRITERS) as (_, daemon, client):
        time.sleep(SETTLED_SECS)
        before = cpu_secs(daemon), cpu_secs(client)
        time.sleep(secs)
        after = cpu_secs(daemon), cpu_secs(client)
        used = [100 * (late - early) / secs for early, late in zip(before, after, strict=True)]
        return {"daemon_percent": used[0], "client_percent": used[1], **memory_mib(daemon)}


def report(results: dict[str, Any]) -> str:
    """The tables, in Markdown."""
    rows = []
    for when in ("fresh", "compiled"):
        for kind, took in results[when].items():
            cells = [took[name] for name in ("secs", "client_cpu_secs", "daemon_cpu_secs")]
            rows.append([f"first {kind}, {when}", *(f"{cell:.2f}" for cell in cells)])
    starts = publish.table(["s", "until it is written", "client's CPU", "daemon's CPU"], rows)
    quiet = results["idle"]
    state = publish.table(
        [f"idle, {WRITERS} open writers", ""],
        [
            ["daemon, % of a core", f"{quiet['daemon_percent']:.2f}"],
            ["the writers' process, % of a core", f"{quiet['client_percent']:.2f}"],
            ["daemon, resident, without what clients share, MiB", f"{quiet['own_mib']:.0f}"],
            ["of it not of files, MiB", f"{quiet['anonymous_mib']:.0f}"],
        ],
    )
    compiled = f"Compiling all kernels took {results['compile_cpu_secs']:.0f} s of CPU."
    return "\n\n".join([machine.sentence(results["machine"]), starts, compiled, state])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="measure shorter, change no file")
    arguments = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("BOARDD_")]:
        del os.environ[name]
    results: dict[str, Any] = {"machine": machine.describe()}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["NUMBA_CACHE_DIR"] = cache
        results["fresh"] = first_points()
        results["compile_cpu_secs"] = compile_kernels()
        results["compiled"] = first_points()
        results["idle"] = idle(QUICK_IDLE_SECS if arguments.quick else IDLE_SECS)
    text = report(results)
    print(text)
    if not arguments.quick:
        publish.publish("host_care", results, text)


if __name__ == "__main__":
    main()

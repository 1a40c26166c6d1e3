"""What stays of clients that come, log, crash and go: in the daemon, and in a process that lives.

    python benchmarks/soak.py [--secs SECS] [--round-secs SECS] [--rest-secs SECS] [--seed SEED]

Client after client logs to a daemon of this script's own: each a process of its own, by value
or through shared memory, that closes its writer, leaves without, is killed, forks, or is the
two ranks of a merged run. Beside them one process opens and closes writers. After each round
all clients have gone, and what the daemon holds is looked at when it has written everything
and is at rest: descriptors, threads, maps, children, files of its socket and of logs, and
memory. What it held after the first rounds is the baseline. Ends with 1 if something is held
above that, or if memory grows by 1 MB an hour or more in the last half. Prints Markdown; a
run of at least twenty minutes writes it to benchmarks/README.md, and every figure to
benchmarks/results/soak.json.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from boardd_protos.log_directory import log_directories
from sustained import machine, publish
from sustained.daemon import Daemon
from sustained.footprint import Footprint, footprint, hourly_growth

BENCHMARKS = Path(__file__).resolve().parent
#: Rounds until all that is kept for later has been made: threads, kernels, heaps.
WARM_UP_ROUNDS = 3
PUBLISHED_SECS = 1200.0
ROUND_SECS = 120.0
#: How long clients may take to end a round that is over.
ROUND_END_SECS = 300.0
#: How long the daemon may take to write what is left, and to forget who is gone.
QUIET_SECS = 120.0
#: From then on until it has given back the memory that it does not use.
REST_SECS = 12.0
#: How long what ends may stay above the baseline.
SETTLE_SECS = 30.0
GROWTH_BYTES = 1e6
LEASE_SECS = 2
#: What a round must leave as it was.
HELD = ("descriptors", "threads", "maps", "shared_maps", "children", "files")
#: Pools of threads, which are bounded, grow when the machine is busy. Each thread has a stack and
#: a heap, of two maps each, and the heap of all splits and joins some.
SLACK = {"threads": 4, "maps": 24}


class Client:
    """A process that works for as long as a line says, and then tells something in a line."""

    def __init__(self, module: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"sustained.{module}", *arguments],
            cwd=BENCHMARKS,
            env={**os.environ, "BOARDD_AUTOSTART": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, secs: float) -> None:
        """Lets it work for ``secs``."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{secs}\n")
        self.process.stdin.flush()

    def told(self, timeout_secs: float) -> Any:
        """Waits for its line, which is JSON; ``TimeoutError`` if it does not come."""
        assert self.process.stdout is not None
        # It writes a line at a time, so none is held back in the buffer.
        if not select.select([self.process.stdout], [], [], timeout_secs)[0]:
            raise TimeoutError(f"a client has said nothing for {timeout_secs:g} s")
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a client has ended with {self.process.wait()}")
        return json.loads(line)


def soak(secs: float, round_secs: float, rest_secs: float, seed: int) -> dict[str, Any]:
    """Lets clients come for ``secs``, and for a round more than the warm-up takes.

    Returns the samples of each round, and what they are of.
    """
    samples: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="soak-", dir="/tmp") as name:
        root = Path(name)
        flags = ("--lease-secs", str(LEASE_SECS), "--join-secs", "2", "--log-level", "warning")
        with Daemon(root, None, *flags) as daemon:
            clients = (
                Client("lives", daemon.address, name, str(seed)),
                Client("returning", daemon.address, name),
            )
            try:
                began = time.monotonic()
                while time.monotonic() < began + secs or len(samples) <= WARM_UP_ROUNDS:
                    for client in clients:
                        client.begin(round_secs)
                    ended, returned = [
                        client.told(round_secs + ROUND_END_SECS) for client in clients
                    ]
                    counters = _quiet(daemon)
                    time.sleep(rest_secs)
                    told = {"ended": ended, "returned": returned, "written": counters.written}
                    deadline = time.monotonic() + SETTLE_SECS
                    sample = {**told, **_sample(daemon, clients[1], began)}
                    # Connections and threads that end may take a moment.
                    while above([*samples, sample]) and time.monotonic() < deadline:
                        time.sleep(0.5)
                        sample = {**told, **_sample(daemon, clients[1], began)}
                    samples.append(sample)
                    print(_line(sample), file=sys.stderr, flush=True)
                    for run in root.iterdir():
                        shutil.rmtree(run)
            finally:
                for client in clients:
                    client.process.kill()
                    client.process.wait()
    return {"samples": samples, "seed": seed, "round_secs": round_secs}


def _sample(daemon: Daemon, returning: Client, began: float) -> dict[str, Any]:
    return {
        "secs": time.monotonic() - began,
        "files": _files(daemon),
        "daemon": footprint(daemon.pid)._asdict(),
        "returning": footprint(returning.process.pid)._asdict(),
        "load_average": os.getloadavg()[0],
    }


def _quiet(daemon: Daemon) -> Any:
    """Waits until the daemon has no session and no run; returns its counters."""
    deadline = time.monotonic() + QUIET_SECS
    while (status := daemon.status()).sessions or status.runs:
        if time.monotonic() > deadline:
            raise RuntimeError(f"not quiet after {QUIET_SECS:g} s:\n{status}")
        time.sleep(0.5)
    counters = status.counters
    rejected = sum(count.records for count in counters.rejected)
    if counters.pending or counters.accepted != counters.written + rejected:
        raise RuntimeError(f"the counts do not balance: {counters}")
    return counters


def _files(daemon: Daemon) -> int:
    """How many files lie beside its socket and among the logs of its clients."""
    socket = Path(daemon.address.removeprefix("unix:"))
    places = [socket.parent, *log_directories(socket)]
    return len({path for place in places for path in place.rglob("*") if path.is_file()})


def _line(sample: dict[str, Any]) -> str:
    held = Footprint(**sample["daemon"])
    return (
        f"{sample['secs']:6.0f} s: {sum(sample['ended'].values())} clients, "
        f"{sample['returned']} writers, {sample['files']} files, {held}, "
        f"load {sample['load_average']:.1f}"
    )


def judge(samples: list[dict[str, Any]]) -> list[str]:
    """What failed, is above the baseline at the end, or grows, each in a sentence."""
    found = [f"{what}: {count}" for what, count in _ended(samples).items() if "failed" in what]
    found += above(samples)
    late = _late(samples)
    for process in ("daemon", "returning"):
        growth = _growth(late, process)
        if len(late) > WARM_UP_ROUNDS and growth >= GROWTH_BYTES:
            found.append(f"memory of {process} grows by {growth / 1e6:.2f} MB an hour")
    return found


def above(samples: list[dict[str, Any]]) -> list[str]:
    """What the last sample has more of than the first rounds had."""
    found = []
    for process in ("daemon", "returning"):
        for name in HELD:
            values = _values(samples, process, name)
            baseline, last = max(values[:WARM_UP_ROUNDS]), values[-1]
            if last > baseline + SLACK.get(name, 0):
                found.append(f"{name} of {process}: {last:g}, baseline {baseline:g}")
    return found


def _warm(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The samples from the baseline on."""
    return samples[WARM_UP_ROUNDS - 1 :]


def _late(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last half of them: a heap settles for a while, and a leak goes on."""
    return samples[len(samples) // 2 :]


def _ended(samples: list[dict[str, Any]]) -> dict[str, int]:
    ended: dict[str, int] = samples[-1]["ended"]
    return ended


def _values(samples: list[dict[str, Any]], process: str, name: str) -> list[float]:
    if name == "files":
        return [float(sample["files"]) for sample in samples]
    return [float(sample[process][name]) for sample in samples]


def _growth(samples: list[dict[str, Any]], process: str) -> float:
    """Bytes an hour."""
    secs = [float(sample["secs"]) for sample in samples]
    return hourly_growth(secs, _values(samples, process, "rss_bytes"))


def markdown(samples: list[dict[str, Any]]) -> str:
    """A table of what is held: after the warm-up, the most, at the end."""
    names = {
        "descriptors": "descriptors",
        "threads": "threads",
        "maps": "maps",
        "shared_maps": "of them shared with clients",
        "children": "children",
        "files": "files beside the socket, and logs",
        "rss_bytes": "RSS, MB",
    }
    warm = _warm(samples)
    rows = []
    for name, title in names.items():
        unit = 1e6 if name == "rss_bytes" else 1
        cells = []
        for process in ("daemon", "returning"):
            values = [value / unit for value in _values(warm, process, name)]
            figures = (values[0], max(values), values[-1])
            cells += [f"{value:.1f}" if unit > 1 else f"{value:.0f}" for value in figures]
        if name == "files":
            cells[3:] = ["", "", ""]
        rows.append([title, *cells])
    for title, part in (("since warm", warm), ("in the last half", _late(samples))):
        growth = [f"{_growth(part, process) / 1e6:+.2f}" for process in ("daemon", "returning")]
        rows.append([f"RSS, MB an hour, {title}", "", "", growth[0], "", "", growth[1]])
    head = ["", "daemon: warm", "most", "end", "a living client: warm", "most", "end"]
    return publish.table(head, rows)


def sentences(samples: list[dict[str, Any]], about: dict[str, Any]) -> str:
    """What happened, and on which machine."""
    last = samples[-1]
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(_ended(samples).items()))
    loads = [sample["load_average"] for sample in samples]
    return (
        f"{last['secs'] / 60:.0f} minutes in {len(samples)} rounds: {kinds}; {last['returned']:,} "
        f"writers of one living client; {last['written']:,} records written. "
        f"{machine.sentence(about)} Load average during the run {min(loads):.1f} to "
        f"{max(loads):.1f}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--secs", type=float, default=3600.0, help="(default: %(default)g)")
    parser.add_argument("--round-secs", type=float, default=ROUND_SECS, help="(default: 120)")
    parser.add_argument("--rest-secs", type=float, default=REST_SECS, help="(default: 12)")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", file=sys.stderr)
    about = machine.describe()
    found = soak(arguments.secs, arguments.round_secs, arguments.rest_secs, arguments.seed)
    samples = found["samples"]
    text = f"{sentences(samples, about)}\n\n{markdown(samples)}"
    if arguments.secs >= PUBLISHED_SECS:
        publish.publish("soak", {"machine": about, **found}, text)
    print(text)
    if above := judge(samples):
        sys.exit("\n".join(above))


if __name__ == "__main__":
    main()

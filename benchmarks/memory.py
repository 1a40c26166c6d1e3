"""Memory of the client beside its arena, and of the daemon idle, at work and idle again.

    python benchmarks/memory.py

Starts a daemon of its own and training processes that log scalars, histograms and
images to it. Resident memory (RSS) counts every page that a process maps, including
files and shared maps. The proportional share (PSS) divides a page among the
processes that map it. For the client, the figure is what ``SummaryWriter`` and
logging added, less the resident part of its map (ring and arena), whose size is the
user's choice. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

#: By this time without a session, the daemon has given back what it does not use.
IDLE_SECS = 12.0
START_SECS = 60.0

CLIENT = """
import json, sys
import numpy as np
sys.path.insert(0, sys.argv[3])
from memory import resident
import boardd_client
from boardd_client import SummaryWriter
random = np.random.default_rng(0)
values = random.standard_normal(100_000).astype(np.float32)
image = random.random((3, 256, 256), np.float32)
before = resident("self")
writer = SummaryWriter(sys.argv[2], address=sys.argv[1], on_full="block")
for step in range(int(sys.argv[4])):
    for _ in range(100):
        writer.add_scalar("loss", 1.0, step)
    writer.add_histogram("weights", values, bins=1000, global_step=step)
    if step % 20 == 0:
        writer.add_image("image", image, step)
if not writer.flush(120):
    sys.exit("flush failed")
print(json.dumps({"before": before, "after": resident("self")}), flush=True)
sys.stdin.readline()
writer.close()
"""


def resident(pid: str | int) -> dict[str, float]:
    """Returns the resident memory of a process in MiB: all, its share, and of shared maps."""
    found = {"rss_mib": 0.0, "pss_mib": 0.0, "maps_mib": 0.0}
    in_map = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            in_map = "memfd:" in line
        elif line.startswith("Rss:"):
            size_mib = int(line.split()[1]) / 1024
            found["rss_mib"] += size_mib
            found["maps_mib"] += size_mib if in_map else 0.0
        elif line.startswith("Pss:"):
            found["pss_mib"] += int(line.split()[1]) / 1024
    return {name: round(value, 1) for name, value in found.items()}


def measure(directory: Path, steps: int) -> dict[str, dict[str, float]]:
    """Returns the memory in MiB at each moment, by its name."""
    socket = directory / "socket" / "boardd.sock"
    command = [sys.executable, "-m", "boardd", "--socket", str(socket)]
    daemon = subprocess.Popen([*command, "--logdir-root", str(directory), "--log-level", "error"])
    try:
        deadline = time.monotonic() + START_SECS
        while not socket.exists():
            if daemon.poll() is not None or time.monotonic() > deadline:
                sys.exit("the daemon has not started")
            time.sleep(0.05)
        found = {"daemon, just started": resident(daemon.pid)}
        client = subprocess.Popen(
            [
                sys.executable,
                "-c",
                CLIENT,
                f"unix:{socket}",
                str(directory / "run"),
                str(Path(__file__).parent),
                str(steps),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with client:
            assert client.stdin is not None
            assert client.stdout is not None
            told = client.stdout.readline()
            if not told:
                sys.exit("the client has failed")
            client_memory = json.loads(told)
            found["daemon, all written, client open"] = resident(daemon.pid)
            client.stdin.write("\n")
            client.stdin.flush()
        time.sleep(IDLE_SECS)
        found["daemon, idle again"] = resident(daemon.pid)
        found["client, before SummaryWriter"] = client_memory["before"]
        found["client, after"] = client_memory["after"]
        found["client, added"] = {
            name: round(client_memory["after"][name] - client_memory["before"][name], 1)
            for name in client_memory["after"]
        }
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--steps", type=int, default=200, help="steps (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    # An earlier daemon has compiled the kernels by now, as on any host that has run one.
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        measure(Path(first), 1)
        found = measure(Path(second), arguments.steps)
    print(f"{'MiB':36}{'RSS':>8}{'PSS':>8}{'maps':>8}{'RSS less maps':>15}")
    for name, sizes in found.items():
        less = sizes["rss_mib"] - sizes["maps_mib"]
        print(
            f"{name:36}{sizes['rss_mib']:8.1f}{sizes['pss_mib']:8.1f}{sizes['maps_mib']:8.1f}"
            f"{less:15.1f}"
        )
    print(f"\n{arguments.steps} steps; {os.cpu_count()} cores; Python {sys.version.split()[0]}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()

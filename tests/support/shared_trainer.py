"""A process that logs through shared memory and dies: ``python -m support.shared_trainer``.

Arguments: the daemon's socket, the logdir, how many scalars it commits, how many
it logs behind them. Then a histogram and a value that never arrives, a line on
standard output, and it waits to be killed.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Final

import grpc.aio
import numpy as np
from boardd_protos.frame import CLAIMED, Frame, FrameKind, encode

from support.raw_client import definitions, scalars, summary
from support.shared_client import SharedClient, slotted_histogram

VALUES: Final = np.arange(1000, dtype=np.float32)


def start(socket: Path, logdir: str, committed: int, behind: int) -> subprocess.Popen[str]:
    """Starts one and waits until all is logged."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "support.shared_trainer"),
            *(str(socket), logdir, str(committed), str(behind)),
        ],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if line != "logged\n":
        process.kill()
        process.communicate(timeout=120)
        raise AssertionError(f"the trainer printed {line!r}")
    return process


def end(process: subprocess.Popen[str]) -> None:
    """Kills it, as ``kill -9`` does."""
    process.kill()
    process.communicate(timeout=120)


def steps(committed: int, behind: int) -> list[int]:
    """The steps that it logs, in order: all that must be in the logdir."""
    first = 2
    return list(range(first, first + committed + behind + 1))


async def _log(socket: Path, logdir: str, committed: int, behind: int) -> None:
    async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
        client = SharedClient(channel, socket, log_bytes=1 << 20)
        await client.begin(logdir)
        client.ring.append(scalars(2, committed))
        await client.commit()
        following = 2 + committed
        client.ring.append(scalars(following, behind))
        following += behind
        offset = client.place(VALUES)
        client.keep(definitions(logdir, {2: "weights"}))
        client.ring.append(
            summary(following, slotted_histogram(VALUES, offset), series=2),
            encode(Frame(FrameKind.SUMMARY, CLAIMED, following + 1, 0, 1e9, 2, 0.0, bytes(16))),
        )
        print("logged", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_log(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))

"""Clients that come, log and go, each in a process of its own that is forked from this one.

    python -m sustained.lives ADDRESS LOGDIR SEED

Reads a number of seconds from each line, lets clients come for so long, and prints as JSON
how many of each kind there were. A client logs by value or through shared memory. It closes
its writer, leaves without, is killed in the middle of its calls, forks a child that logs too,
or is the two ranks of a merged run. What is imported here is not imported again by each
client, so that there are many of them; gRPC is, since after a fork a process of its own is
started for it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final

import boardd_client.transport.sender  # noqa: F401  imported before the clients are forked
import numpy as np
from boardd_client import SummaryWriter

KINDS: Final = ("closed", "left", "killed", "forked", "ranks")
AT_ONCE: Final = 3
CLOSE_SECS: Final = 60.0
RANKS: Final = 2


class Life:
    """What one client does; all of it runs in the client's process."""

    def __init__(self, address: str, run: str, seed: int) -> None:
        self._address = address
        self._run = run
        self._chance = random.Random(seed)
        os.environ["BOARDD_SHARED_MEMORY"] = self._chance.choice("01")

    def closed(self) -> None:
        """Logs and closes; checks that all is written."""
        writer = self._writer()
        self._log(writer, self._steps())
        self._close(writer)

    def left(self) -> None:
        """Logs, and leaves the rest to the end of the interpreter."""
        self._log(self._writer(), self._steps())

    def killed(self) -> None:
        """Is killed between two calls."""
        self._log(self._writer(), self._steps())
        os.kill(os.getpid(), signal.SIGKILL)

    def forked(self) -> None:
        """Logs beside a child that logs too, and is killed at times."""
        writer = self._writer()
        self._log(writer, self._steps())
        child = os.fork()
        self._log(writer, self._steps())
        if not child and self._chance.random() < 0.5:
            os.kill(os.getpid(), signal.SIGKILL)
        self._close(writer)
        if child:
            os.waitpid(child, 0)

    def ranks(self) -> None:
        """Is two ranks of one run, one of which is killed at times."""
        child = os.fork()
        writer = self._writer(rank=1 if child else 0, world_size=RANKS)
        self._log(writer, 60)
        if not child and self._chance.random() < 0.5:
            os.kill(os.getpid(), signal.SIGKILL)
        self._close(writer)
        if child:
            os.waitpid(child, 0)

    def _writer(self, **ranks: int) -> SummaryWriter:
        return SummaryWriter(
            self._run, address=self._address, on_full="block", verbose=False, **ranks
        )

    def _steps(self) -> int:
        return self._chance.randrange(5, 200)

    def _log(self, writer: SummaryWriter, steps: int) -> None:
        values = np.arange(float(self._chance.choice((100, 5_000, 50_000))))
        image = np.zeros((3, 32, 32), np.float32)
        for step in range(steps):
            writer.add_scalar("loss", step / 2, step)
            if step % 10 == 0:
                writer.add_histogram("weights", values, step, bins=64)
            if step % 50 == 0:
                writer.add_image("image", image, step)
                writer.add_text("note", f"step {step}", step)

    def _close(self, writer: SummaryWriter) -> None:
        result = writer.close(CLOSE_SECS)
        counts = writer.statistics()
        if not result or counts.accepted != counts.written:
            raise RuntimeError(f"{self._run}: {result}, {counts}")


class Nursery:
    """Forks clients, and tells of those that failed."""

    def __init__(self, address: str, logdir: Path, seed: int) -> None:
        self._address = address
        self._logdir = logdir
        self._chance = random.Random(seed)
        self._alive: dict[int, str] = {}
        self._number = 0
        self.ended: Counter[str] = Counter()

    def live(self, secs: float) -> None:
        """Lets clients come for ``secs``, and waits until all have gone."""
        deadline = time.monotonic() + secs
        while time.monotonic() < deadline:
            self._begin()
            if len(self._alive) == AT_ONCE:
                self._reap()
        while self._alive:
            self._reap()

    def _begin(self) -> None:
        kind = self._chance.choice(KINDS)
        self._number += 1
        seed = self._chance.randrange(1 << 30)
        child = os.fork()
        if child:
            self._alive[child] = kind
            return
        run = self._logdir / f"{self._number:06}-{kind}"
        # So that a client that fails does not come back into the loop of its parent.
        try:
            getattr(Life(self._address, str(run), seed), kind)()
        except BaseException as error:
            print(f"{run.name}, seed {seed}: {error!r}", file=sys.stderr)
            sys.exit(1)
        sys.exit(0)

    def _reap(self) -> None:
        child, status = os.wait()
        kind = self._alive.pop(child)
        is_as_meant = os.waitstatus_to_exitcode(status) == (
            -signal.SIGKILL if kind == "killed" else 0
        )
        self.ended[kind if is_as_meant else f"{kind}, failed"] += 1


def main() -> None:
    """Lets clients come for as long as each line says."""
    nursery = Nursery(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    for line in sys.stdin:
        nursery.live(float(line))
        print(json.dumps(nursery.ended), flush=True)


if __name__ == "__main__":
    main()

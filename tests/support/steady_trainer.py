"""A process that logs to two runs until its input ends: ``python -m support.steady_trainer``.

Arguments: the daemon's address, the logdir, a number that is the value of its scalars.
When its input ends it closes its writers, and prints how many steps it has logged.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

#: A histogram is logged so often.
HISTOGRAM_STEPS: Final = 10


def start(
    address: str, logdir: Path, number: int, environ: Mapping[str, str]
) -> subprocess.Popen[str]:
    """Starts one."""
    return subprocess.Popen(
        [sys.executable, "-m", "support.steady_trainer", address, str(logdir), str(number)],
        cwd=Path(__file__).parents[1],
        env=dict(environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def end(trainer: subprocess.Popen[str], timeout_secs: float) -> int:
    """Ends it; returns how many steps it has logged, all of them written."""
    output, _ = trainer.communicate(timeout=timeout_secs)
    assert trainer.returncode == 0, output
    return int(output)


def _log(address: str, logdir: str, number: int) -> None:
    from boardd_client import SummaryWriter

    is_over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), is_over.set())).start()
    writers = [
        SummaryWriter(f"{logdir}/{run}", address=address, on_full="block") for run in ("a", "b")
    ]
    step = 0
    while not is_over.wait(0.002):
        for writer in writers:
            writer.add_scalar("loss", float(number), step)
            if step % HISTOGRAM_STEPS == 0:
                writer.add_histogram(f"h{number}", np.arange(100.0), step, bins=4)
        step += 1
    for writer in writers:
        assert writer.close(timeout=120), writer.statistics()
    counts = writers[0].statistics()  # of all writers of the process
    assert counts.accepted == counts.written, counts
    print(step)


if __name__ == "__main__":
    _log(sys.argv[1], sys.argv[2], int(sys.argv[3]))

"""A trainer that does nothing wrong, beside clients that do.

``python -m fuzz.bystander ADDRESS LOGDIR SECS`` logs ``RECORDS`` scalars, ``WARM_UP`` of them
at once and the others in about ``SECS``, and prints ``Seen`` as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from boardd_client import SummaryWriter

RECORDS: Final = 10_000
#: Records until the daemon has loaded what it needs; their times are not looked at.
WARM_UP: Final = 1_000
TAG: Final = "bystander"
_DEADLINE_SECS: Final = 60.0
#: How often it logs and looks.
_TICK_SECS: Final = 0.002


@dataclass(frozen=True)
class Seen:
    """What became of its records, and seconds from a call until the client heard of it written."""

    written: int
    p50_secs: float
    p99_secs: float
    worst_secs: float


def start(address: str, logdir: Path, secs: float) -> subprocess.Popen[str]:
    """Starts one."""
    return subprocess.Popen(
        [sys.executable, "-m", "fuzz.bystander", address, str(logdir), str(secs)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    )


def end(bystander: subprocess.Popen[str], timeout_secs: float) -> Seen:
    """Waits until it has ended; returns what it saw."""
    output, _ = bystander.communicate(timeout=timeout_secs)
    assert bystander.returncode == 0, output
    return Seen(**json.loads(output))


def main(address: str, logdir: str, secs: float) -> None:
    """See the module."""
    called: list[float] = []
    written = np.zeros(RECORDS)
    done = 0
    with SummaryWriter(logdir, address=address, on_full="block") as writer:

        def log_until(count: int) -> None:
            while len(called) < count:
                called.append(time.monotonic())
                writer.add_scalar(TAG, 1.0, len(called) - 1)

        log_until(WARM_UP)
        assert writer.flush(_DEADLINE_SECS), writer.statistics()
        began = time.monotonic()
        while done < RECORDS and time.monotonic() < began + secs + _DEADLINE_SECS:
            share = min(1.0, (time.monotonic() - began) / secs)
            log_until(WARM_UP + int((RECORDS - WARM_UP) * share))
            reached = writer.statistics().written
            written[done:reached] = time.monotonic()
            done = max(done, reached)
            time.sleep(_TICK_SECS)
        assert writer.flush(_DEADLINE_SECS), writer.statistics()
    took = (written[:done] - np.array(called[:done]))[WARM_UP:]
    p50, p99 = np.quantile(took, (0.5, 0.99)).tolist()
    print(json.dumps(asdict(Seen(done, p50, p99, float(took.max())))))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))

"""A trainer that logs until it is killed or told to end: ``python -m support.tortured_trainer``.

Arguments: the run's directory, a tag, and a directory in which its
files are named by the tag: ``.told`` says how many steps it has logged and how many of its
records it was told to be written; it ends when there is one named ``.end``, with all written.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple

#: Each so many steps there is a histogram under the tag with this suffix.
HISTOGRAM_STEPS: Final = 20
HISTOGRAM_SUFFIX: Final = "/weights"
PACE_SECS: Final = 0.002
CLOSE_SECS: Final = 120.0

_TOLD: Final = struct.Struct("<QQ")


class Told(NamedTuple):
    """What a trainer says of itself."""

    steps: int
    written: int  #: records, those of histograms too


def told(directory: Path, tag: str) -> Told:
    """What the trainer of ``tag`` said last; it may have been killed since."""
    try:
        return Told(*_TOLD.unpack((directory / f"{tag}.told").read_bytes()))
    except FileNotFoundError:
        return Told(0, 0)


def records(steps: int) -> int:
    """How many records are in ``steps`` steps."""
    return steps + -(-steps // HISTOGRAM_STEPS)


def main(run: str, tag: str, directory: Path) -> None:
    import numpy as np
    from boardd_client import SummaryWriter

    end = str(directory / f"{tag}.end")
    values = np.arange(200.0)
    partial = directory / f"{tag}.begin"
    partial.write_bytes(_TOLD.pack(0, 0))
    fd = os.open(partial.rename(directory / f"{tag}.told"), os.O_WRONLY)
    sw = SummaryWriter(run, on_full="block")
    step = 0
    while not os.path.exists(end):
        sw.add_scalar(tag, step / 2, step)
        if step % HISTOGRAM_STEPS == 0:
            sw.add_histogram(tag + HISTOGRAM_SUFFIX, values, step, bins=4)
        step += 1
        os.pwrite(fd, _TOLD.pack(step, sw.statistics().written), 0)
        time.sleep(PACE_SECS)
    result = sw.close(CLOSE_SECS)
    counts = sw.statistics()
    assert result, (result, counts)
    assert counts.accepted == counts.written == records(step), (step, counts)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))

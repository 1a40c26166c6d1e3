"""Event files that separate ranks wrote, for what merges them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from boardd.events.scalars import encode_scalars

NAME = "events.out.tfevents.1700000000.host"


def write_ranks(root: Path, ranks: int, steps: int, tags: int) -> None:
    """Writes ``tags`` scalars of float64 at each step, which are exact in the files."""
    rng = np.random.default_rng(0)
    names = [f"layer/{number}/weight".encode() for number in range(tags)]
    for rank in range(ranks):
        directory = root / f"rank_{rank}"
        directory.mkdir(parents=True)
        with (directory / NAME).open("wb") as file:
            for begin in range(0, steps, 100):
                step = np.repeat(np.arange(begin, min(begin + 100, steps)), tags)
                tag = np.tile(np.arange(tags), len(step) // tags)
                times, values = 1e9 + step + rank / 8, rng.normal(size=len(step))
                file.write(encode_scalars(times, step, values, tag, names, is_exact=True))

"""A script that logs a little of everything, in two halves: ``python -m support.short_history``.

Arguments: the logdir, and a directory for its files. It makes ``half`` when the first half is
written, waits for ``go``, and leaves in ``counts`` what became of its records. ``check`` says
whether they are in the event files.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from support.independent_reader import points, run_events

HALF: Final = 10
FLUSH_SECS: Final = 60.0
#: Records of the run "a" and of the run "b".
RECORDS: Final = (2 * HALF + 4 + 3, 5)


def check(logdir: Path, notes: Path, *, is_lossless: bool) -> None:
    """Checks that all that was accepted is there once; ``is_lossless``: all of it was."""
    counts = json.loads((notes / "counts").read_text())
    lost = sum(counts["dropped"].values()) + sum(counts["rejected"].values())
    assert counts["pending"] == 0, counts
    assert counts["written"] + lost == sum(RECORDS), counts
    if is_lossless:
        assert counts["closed"], counts
        assert not lost, counts
    found = 0
    for run in ("a", "b"):
        if not (logdir / run).exists():
            continue
        shown = [
            (value.tag, event.step) for event in run_events(logdir / run) for value in event.values
        ]
        shown = [(tag, step) for tag, step in shown if not tag.startswith("boardd/")]
        twice = [one for one, count in Counter(shown).items() if count > 1]
        assert not twice, (run, twice)
        for tag in {tag for tag, _ in shown}:
            steps = [step for found_tag, step in shown if found_tag == tag]
            assert steps == sorted(steps), (run, tag, steps)
        assert all(value == step / 2 for step, value in points(logdir / run, "loss")), run
        found += len(shown) + (logdir / run / "projector_config.pbtxt").exists()
    assert found == counts["written"], (found, counts)


def main(logdir: Path, notes: Path) -> None:
    import numpy as np
    from boardd_client import SummaryWriter

    sw = SummaryWriter(logdir / "a", on_full="block")
    _log(sw, range(HALF))
    sw.flush(FLUSH_SECS)
    (notes / "half").touch()
    deadline = time.monotonic() + FLUSH_SECS
    while not (notes / "go").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    _log(sw, range(HALF, 2 * HALF))
    sw.add_image("image", np.zeros((3, 8, 8), np.float32), 0)
    sw.add_text("note", "a little of everything", 0)
    sw.add_embedding("points", np.eye(4, dtype=np.float32), labels=["a", "b", "c", "d"])
    other = SummaryWriter(logdir / "b", on_full="block")
    _log(other, range(5), every=99)
    sw.flush(FLUSH_SECS, level="synced")
    closed = [bool(writer.close(FLUSH_SECS)) for writer in (other, sw)]
    counts = sw.statistics()  # of both writers
    told: dict[str, Any] = {
        "closed": all(closed),
        "written": counts.written,
        "pending": counts.pending,
        "dropped": dict(counts.dropped),
        "rejected": dict(counts.rejected),
    }
    (notes / "counts").write_text(json.dumps(told))


def _log(sw: Any, steps: range, every: int = 5) -> None:
    import numpy as np

    for step in steps:
        sw.add_scalar("loss", step / 2, step)
        if step % every == every - 1:
            sw.add_histogram("weights", np.arange(9.0), step, bins=3)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

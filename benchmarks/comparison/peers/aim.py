"""Aim, with a repository in a local directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aim import Distribution, Image, Run
from aim.storage.context import Context

from comparison.peers.convert import grid, to_numpy
from comparison.peers.peer import BasicPeer
from comparison.workloads import NAME_PREFIX, SET_SIZE

#: Of a distribution, by its documentation.
MOST_BINS = 512


class Peer(BasicPeer):
    """Everything is written from the calling thread into an embedded database."""

    packages = ("aim",)
    writes_events = False

    def open(self, logdir: Path) -> None:
        """Begins a run with the defaults."""
        logdir.mkdir(parents=True)
        self._run = Run(repo=str(logdir))

    def scalar(self, tag: str, value: Any, step: int) -> None:
        """Tracks a number."""
        number = value if isinstance(value, float) else value.asscalar().item()
        self._run.track(number, name=tag, step=step)

    def scalars(self, tag: str, values: Mapping[str, float], step: int) -> None:
        """Tracks numbers under their names."""
        self._run.track(values, step=step)

    def histogram(self, tag: str, values: Any, step: int) -> None:
        """Tracks a distribution with the most bins it can have."""
        samples = to_numpy(values)
        self._run.track(Distribution(samples, bin_count=MOST_BINS), name=tag, step=step)

    def image(self, tag: str, images: Any, step: int) -> None:
        """Tracks a grid, which its users make."""
        self._run.track(Image(grid(to_numpy(images))), name=tag, step=step)

    def close(self) -> None:
        """Ends the run."""
        self._hash = self._run.hash
        self._run.close()

    def written(self, logdir: Path, tag: str, method: str) -> int | None:
        """Values in the repository, read by Aim."""
        # Resumed, because one that is only read is looked for in an index that no run makes.
        run = Run(
            self._hash,
            repo=str(logdir),
            system_tracking_interval=None,
            capture_terminal_logs=False,
        )
        sequence = {"histogram": run.get_distribution_sequence, "image": run.get_image_sequence}
        names = [tag]
        if method == "scalars":
            names = [f"{NAME_PREFIX}{index:02}" for index in range(SET_SIZE)]
        found = [sequence.get(method, run.get_metric)(name, Context({})) for name in names]
        count = sum(len(values.values.sparse_list()[0]) for values in found if values is not None)
        run.close()
        return count

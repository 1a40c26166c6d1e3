"""Rerun, saving to a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rerun as rr
from rerun.chunk import RrdReader

from comparison.peers.convert import grid
from comparison.peers.peer import BasicPeer
from comparison.workloads import HISTOGRAM_BINS, SET_SIZE


class Peer(BasicPeer):
    """A thread of the process batches and writes; histograms are made by its users."""

    packages = ("rerun-sdk", "pyarrow")
    writes_events = False

    def open(self, logdir: Path) -> None:
        """Begins a recording with the defaults."""
        logdir.mkdir(parents=True)
        self._recording = rr.RecordingStream("comparison")
        self._recording.save(logdir / "comparison.rrd")
        self._named: set[str] = set()

    def scalar(self, tag: str, value: Any, step: int) -> None:
        """Logs a number."""
        self._recording.set_time("step", sequence=step)
        self._recording.log(tag, rr.Scalars(value))

    def scalars(self, tag: str, values: Mapping[str, float], step: int) -> None:
        """Logs the curves of one plot as a batch, whose names are logged once."""
        if tag not in self._named:
            self._recording.log(tag, rr.SeriesLines(names=list(values)), static=True)
            self._named.add(tag)
        self._recording.set_time("step", sequence=step)
        self._recording.log(tag, rr.Scalars(list(values.values())))

    def histogram(self, tag: str, values: Any, step: int) -> None:
        """Logs a bar chart of NumPy's counts, as its documentation does."""
        counts, edges = np.histogram(values, bins=HISTOGRAM_BINS)
        self._recording.set_time("step", sequence=step)
        self._recording.log(tag, rr.BarChart(counts, abscissa=edges[:-1]))

    def image(self, tag: str, images: Any, step: int) -> None:
        """Logs a grid, which its users make, uncompressed."""
        self._recording.set_time("step", sequence=step)
        self._recording.log(tag, rr.Image(grid(images)))

    def flush(self) -> None:
        """Waits until all is in the file."""
        self._recording.flush()

    def close(self) -> None:
        """Waits until all is in the file, and ends the recording."""
        self._recording.flush()
        self._recording.disconnect()

    def written(self, logdir: Path, tag: str, method: str) -> int | None:
        """Values in the recording, read by Rerun."""
        chunks = RrdReader(logdir / "comparison.rrd").stream()
        rows: int = sum(
            chunk.num_rows
            for chunk in chunks
            if chunk.entity_path.strip("/") == tag and not chunk.is_static
        )
        return rows * (SET_SIZE if method == "scalars" else 1)

"""What the peers with a ``SummaryWriter`` have in common."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from comparison.event_files import count_embeddings, count_events
from comparison.peers.peer import BasicPeer
from comparison.workloads import HISTOGRAM_BINS


class WriterPeer(BasicPeer):
    """Logs through ``self.writer``, an object with MXBoard's or torch's methods."""

    writes_events = True
    writer: Any

    def scalar(self, tag: str, value: Any, step: int) -> None:
        """Logs a scalar."""
        self.writer.add_scalar(tag, value, step)

    def scalars(self, tag: str, values: Mapping[str, float], step: int) -> None:
        """Logs several curves of one plot."""
        self.writer.add_scalars(tag, values, step)

    def histogram(self, tag: str, values: Any, step: int) -> None:
        """Logs a histogram of equal bins."""
        self.writer.add_histogram(tag, values, step, bins=HISTOGRAM_BINS)

    def image(self, tag: str, images: Any, step: int) -> None:
        """Logs a batch as a grid."""
        self.writer.add_image(tag, images, step)

    def flush(self) -> None:
        """Flushes the writer."""
        self.writer.flush()

    def close(self) -> None:
        """Flushes and closes the writer."""
        self.writer.flush()
        self.writer.close()

    def written(self, logdir: Path, tag: str, method: str) -> int | None:
        """Events of ``tag``, or embeddings with their files."""
        return count_embeddings(logdir) if method == "embedding" else count_events(logdir, tag)

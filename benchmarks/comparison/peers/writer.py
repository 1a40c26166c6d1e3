"""What the peers with a ``SummaryWriter`` have in common."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from comparison.workloads import HISTOGRAM_BINS


class WriterPeer:
    """Logs through ``self.writer``, an object with MXBoard's or torch's methods."""

    writes_events = True
    packages: tuple[str, ...] = ()
    writer: Any

    def start(self, root: Path) -> None:
        """Nothing runs beside the process."""

    def scalar(self, tag: str, value: Any, step: int) -> None:
        """Logs a scalar."""
        self.writer.add_scalar(tag, value, step)

    def histogram(self, tag: str, values: Any, step: int) -> None:
        """Logs a histogram of equal bins."""
        self.writer.add_histogram(tag, values, step, bins=HISTOGRAM_BINS)

    def image(self, tag: str, images: Any, step: int) -> None:
        """Logs a batch as a grid."""
        self.writer.add_image(tag, images, step)

    def close(self) -> None:
        """Flushes and closes the writer."""
        self.writer.flush()
        self.writer.close()

    def stop(self) -> None:
        """Nothing to stop."""

    def versions(self) -> dict[str, str]:
        """Versions of the installed among ``packages``."""
        found = {}
        for name in (*self.packages, "numpy", "protobuf", "mxnet"):
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                continue
        return found

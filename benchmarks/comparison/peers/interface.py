"""What the worker asks of a peer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol


class Peer(Protocol):
    """A logger. Calls are made as its own documentation shows them."""

    #: Whether it writes event files that the worker can count.
    writes_events: bool

    def start(self, root: Path) -> None:
        """Starts what runs beside the training process; ``root`` is above all logdirs."""

    def open(self, logdir: Path) -> None:
        """Opens a writer for ``logdir``, ending none before it."""

    def scalar(self, tag: str, value: Any, step: int) -> None:
        """Logs a number, or a one-element array."""

    def histogram(self, tag: str, values: Any, step: int) -> None:
        """Logs a histogram with ``workloads.HISTOGRAM_BINS`` bins."""

    def image(self, tag: str, images: Any, step: int) -> None:
        """Logs a batch NCHW in [0, 1] as one grid."""

    def close(self) -> None:
        """Returns when all that was logged is in the event file."""

    def stop(self) -> None:
        """Ends what ``start`` began."""

    def versions(self) -> dict[str, str]:
        """Versions of the packages that matter."""

"""What the worker asks of a peer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol


class Peer(Protocol):
    """A logger. Calls are made as its own documentation shows them.

    A peer that does not take NDArrays is given ``asnumpy()`` of them within the
    measured call, as its users write.
    """

    #: Whether it writes event files that the worker can count.
    writes_events: bool

    def start(self, root: Path) -> None:
        """Starts what runs beside the training process; ``root`` is above all logdirs."""

    def open(self, logdir: Path) -> None:
        """Opens a writer for ``logdir``, ending none before it."""

    def prepare(self, method: str) -> None:
        """Brings what ``method`` uses into the state that long training brings it into."""

    def scalar(self, tag: str, value: Any, step: int) -> None:
        """Logs a number, or a one-element array."""

    def scalars(self, tag: str, values: Mapping[str, float], step: int) -> None:
        """Logs several numbers in one call: the curves ``values`` in the plot ``tag``.

        If a peer's call for several numbers has no place for the plot's name, it gets the
        names of the curves alone.
        """

    def histogram(self, tag: str, values: Any, step: int) -> None:
        """Logs a histogram with ``workloads.HISTOGRAM_BINS`` bins."""

    def image(self, tag: str, images: Any, step: int) -> None:
        """Logs a batch NCHW in [0, 1] as one grid."""

    def embedding(self, tag: str, value: tuple[Any, Any], step: int) -> None:
        """Logs a matrix and the label of each of its rows."""

    def flush(self) -> None:
        """Hands over what was logged; the worker waits for what is still being worked on."""

    def close(self) -> None:
        """Returns when all that was logged is in the files."""

    def written(self, logdir: Path, tag: str, method: str) -> int | None:
        """The number of values in the files, after ``close``; None if nothing is written."""

    def stop(self) -> None:
        """Ends what ``start`` began."""

    def versions(self) -> dict[str, str]:
        """Versions of the packages that matter."""

"""MXBoard 0.1.0, whose interface boardd follows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mxboard import SummaryWriter

from comparison.peers.writer import WriterPeer


class Peer(WriterPeer):
    """Everything but the file write happens on the calling thread."""

    packages = ("mxboard",)

    def open(self, logdir: Path) -> None:
        """Opens a writer with the defaults."""
        self.writer = SummaryWriter(str(logdir), verbose=False)

    def scalar(self, tag: str, value: Any, step: int) -> None:
        """Logs a number; an array of one element is read first, since MXBoard refuses it."""
        if not isinstance(value, float):
            value = value.asscalar()
        self.writer.add_scalar(tag, value, step)

    def scalars(self, tag: str, values: Mapping[str, float], step: int) -> None:
        """Logs several curves of one plot."""
        self.writer.add_scalar(tag, values, step)

    def embedding(self, tag: str, value: tuple[Any, Any], step: int) -> None:
        """Logs a matrix with labels."""
        matrix, labels = value
        self.writer.add_embedding(tag, matrix, labels, global_step=step)

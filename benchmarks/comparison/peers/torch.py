"""``torch.utils.tensorboard``, PyTorch's own writer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from comparison.peers.convert import to_numpy
from comparison.peers.writer import WriterPeer


class Peer(WriterPeer):
    """Everything but the file write happens on the calling thread."""

    packages = ("torch", "tensorboard")

    def open(self, logdir: Path) -> None:
        """Opens a writer with the defaults."""
        self.writer = SummaryWriter(str(logdir))

    def image(self, tag: str, images: Any, step: int) -> None:
        """Logs a batch as a grid."""
        self.writer.add_images(tag, images, step)

    def embedding(self, tag: str, value: tuple[Any, Any], step: int) -> None:
        """Logs a matrix with labels, which it takes as a list."""
        matrix, labels = value
        self.writer.add_embedding(matrix, to_numpy(labels).tolist(), global_step=step, tag=tag)

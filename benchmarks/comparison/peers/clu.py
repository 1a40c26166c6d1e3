"""CLU's ``AsyncWriter``, around whichever of CLU's two writers costs less."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from clu.metric_writers import AsyncWriter, SummaryWriter
from clu.metric_writers.torch_tensorboard_writer import TorchTensorboardWriter

from comparison.event_files import count_events
from comparison.peers.peer import BasicPeer
from comparison.workloads import HISTOGRAM_BINS, NAME_PREFIX


class Peer(BasicPeer):
    """Values wait in an unbounded queue, not copied, for a thread of the process."""

    packages = ("clu", "tensorflow-cpu", "torch", "tensorboard", "jax")
    writes_events = True

    def open(self, logdir: Path) -> None:
        """Notes where to write; the writer that is used opens itself."""
        self._logdir = logdir
        self._writers: list[AsyncWriter] = []

    @cached_property
    def _torch(self) -> AsyncWriter:
        return self._opened(TorchTensorboardWriter(str(self._logdir)))

    @cached_property
    def _tensorflow(self) -> AsyncWriter:
        return self._opened(SummaryWriter(str(self._logdir)))

    def _opened(self, writer: Any) -> AsyncWriter:
        self._writers.append(AsyncWriter(writer))
        return self._writers[-1]

    def scalar(self, tag: str, value: Any, step: int) -> None:
        """Logs a number."""
        self._torch.write_scalars(step, {tag: value})

    def scalars(self, tag: str, values: Mapping[str, float], step: int) -> None:
        """Logs numbers under their names."""
        self._torch.write_scalars(step, values)

    def histogram(self, tag: str, values: Any, step: int) -> None:
        """Logs a histogram; TensorFlow's writer would take 32 GB for these values and bins."""
        self._torch.write_histograms(step, {tag: values}, {tag: HISTOGRAM_BINS})

    def image(self, tag: str, images: Any, step: int) -> None:
        """Logs a batch as separate images of one step; torch's writer takes one image only."""
        self._tensorflow.write_images(step, {tag: images.transpose(0, 2, 3, 1)})

    def flush(self) -> None:
        """Waits until all is written."""
        for writer in self._writers:
            writer.flush()

    def close(self) -> None:
        """Waits until all is written, and closes."""
        for writer in self._writers:
            writer.close()

    def written(self, logdir: Path, tag: str, method: str) -> int | None:
        """Events."""
        return count_events(logdir, NAME_PREFIX if method == "scalars" else tag)

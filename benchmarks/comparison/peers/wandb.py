"""Weights & Biases, offline: a service beside the process writes a log of records."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

os.environ["WANDB_SILENT"] = "true"

import wandb
from wandb.proto import wandb_internal_pb2 as records

from comparison.peers.convert import grid, to_numpy
from comparison.peers.peer import BasicPeer
from comparison.workloads import NAME_PREFIX

#: Its records lie in blocks, each piece of a record behind a header: LevelDB's log format.
FILE_HEADER_BYTES = 7
BLOCK_BYTES = 32768
PIECE_HEADER = struct.Struct("<IHB")
WHOLE, LAST = 1, 4


class Peer(BasicPeer):
    """Histograms and pictures are made on the calling thread; the rest is the service's."""

    packages = ("wandb",)
    writes_events = False

    def open(self, logdir: Path) -> None:
        """Begins a run that is written to ``logdir`` and sent nowhere."""
        logdir.mkdir(parents=True)
        self._run = wandb.init(mode="offline", project="comparison", dir=str(logdir))

    def scalar(self, tag: str, value: Any, step: int) -> None:
        """Logs a number."""
        self._run.log({tag: value if isinstance(value, float) else value.asscalar()}, step=step)

    def scalars(self, tag: str, values: Mapping[str, float], step: int) -> None:
        """Logs numbers under their names."""
        self._run.log(values, step=step)

    def histogram(self, tag: str, values: Any, step: int) -> None:
        """Logs a histogram with the most bins it can have."""
        histogram = wandb.Histogram(to_numpy(values), num_bins=wandb.Histogram.MAX_LENGTH)
        self._run.log({tag: histogram}, step=step)

    def image(self, tag: str, images: Any, step: int) -> None:
        """Logs a grid, which its users make."""
        self._run.log({tag: wandb.Image(grid(to_numpy(images)))}, step=step)

    def embedding(self, tag: str, value: tuple[Any, Any], step: int) -> None:
        """Logs a table with a column for each dimension, which its projector reads."""
        matrix, labels = (to_numpy(item) for item in value)
        columns = [f"D{index}" for index in range(matrix.shape[1])]
        data = np.column_stack([matrix, labels])
        self._run.log({tag: wandb.Table(columns=[*columns, "label"], data=data)}, step=step)

    def close(self) -> None:
        """Ends the run."""
        self._run.finish()

    def written(self, logdir: Path, tag: str, method: str) -> int | None:
        """Values in the run's history, and the files of images and tables that belong to it."""
        prefix = NAME_PREFIX if method == "scalars" else tag
        found = 0
        for path in logdir.rglob("*.wandb"):
            for data in _pieces(path.read_bytes()):
                record = records.Record.FromString(data)
                items = record.history.item if record.HasField("history") else ()
                names = {item.key or item.nested_key[0] for item in items}
                found += sum(name.startswith(prefix) for name in names)
        if method in ("image", "embedding"):
            media = (path for path in logdir.rglob("files/media/**/*") if path.is_file())
            found = min(found, sum(1 for _ in media))
        return found


def _pieces(data: bytes) -> Iterator[bytes]:
    """The records of a file, put together from their pieces."""
    offset, record = FILE_HEADER_BYTES, b""
    while offset + PIECE_HEADER.size <= len(data):
        left = BLOCK_BYTES - offset % BLOCK_BYTES
        if left < PIECE_HEADER.size:
            offset += left
            continue
        _, size_bytes, kind = PIECE_HEADER.unpack_from(data, offset)
        offset += PIECE_HEADER.size
        record += data[offset : offset + size_bytes]
        offset += size_bytes
        if kind in (WHOLE, LAST):
            yield record
            record = b""

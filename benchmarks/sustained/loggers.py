"""boardd and its peers as a training loop uses them: each at its defaults.

The peers are those of ``comparison.peers``. A loop hands every logger MXNet's
arrays; those that do not take them get ``asnumpy()``, as their users write.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparison import environments
from comparison.environments import MXNET, Environment

#: torch's writer beside MXNet; torch itself is used for nothing else here.
TORCH_MXNET = Environment(
    "torch-mxnet",
    ("torch==2.13.0", "tensorboard==2.21.0", *MXNET, "pillow==13.0.0", "setuptools<81"),
)


@dataclass(frozen=True)
class Logger:
    """Where a logger runs and how it is reached.

    ``peer``: its class, ``module.Class``, with the methods of ``comparison.peers.interface``.
    ``takes_mxnet``: whether that takes NDArrays, if need be by converting them.
    ``placements``: those of ``placement.PLACEMENTS`` that tell something about it.
    ``is_logger``: whether it writes what it is given, which is then checked.
    """

    peer: str
    environment: Environment
    takes_mxnet: bool
    placements: tuple[str, ...]
    is_logger: bool = True


#: Without a process of its own a logger cannot be on another core.
_IN_PROCESS = ("free", "one")

LOGGERS = {
    "boardd": Logger(
        "sustained.boardd_peer.Peer", environments.BOARDD, True, ("free", "apart", "one")
    ),
    "floor: MXNet's copy": Logger(
        "comparison.peers.floor.EngineCopy",
        environments.BOARDD,
        takes_mxnet=True,
        placements=_IN_PROCESS,
        is_logger=False,
    ),
    "MXBoard": Logger("comparison.peers.mxboard.Peer", environments.MXBOARD, True, _IN_PROCESS),
    "tensorboardX": Logger(
        "comparison.peers.tensorboardx.Peer", environments.TENSORBOARDX, True, _IN_PROCESS
    ),
    "torch": Logger("comparison.peers.torch.Peer", TORCH_MXNET, False, _IN_PROCESS),
    "wandb": Logger(
        "comparison.peers.wandb.Peer", environments.WANDB, True, ("free", "apart", "one")
    ),
}


class LoopLogger:
    """A peer, given what a training loop has: MXNet's arrays."""

    def __init__(self, name: str) -> None:
        logger = LOGGERS[name]
        module, _, attribute = logger.peer.rpartition(".")
        self.is_logger = logger.is_logger
        self.peer: Any = getattr(importlib.import_module(module), attribute)()
        self._number: Callable[[Any], Any] = _itself if logger.takes_mxnet else _number
        self._values: Callable[[Any], Any] = _itself if logger.takes_mxnet else _values

    def start(self, root: Path) -> None:
        """Starts what runs beside the training process."""
        self.peer.start(root)

    def open(self, logdir: Path) -> None:
        """Opens a writer."""
        self.peer.open(logdir)

    def scalar(self, tag: str, value: Any, step: int) -> None:
        """Logs an NDArray of one element."""
        self.peer.scalar(tag, self._number(value), step)

    def histogram(self, tag: str, values: Any, step: int) -> None:
        """Logs an NDArray."""
        self.peer.histogram(tag, self._values(values), step)

    def histograms(self, values: Mapping[str, Any], step: int) -> None:
        """Logs NDArrays by tag, in one call if the logger has one."""
        together = getattr(self.peer, "histograms", None)
        if together is not None:
            together(values, step)
            return
        for tag, array in values.items():
            self.histogram(tag, array, step)

    def close(self) -> dict[str, Any]:
        """Returns when all is written; what the logger counted, if it counts."""
        self.peer.close()
        counts: dict[str, Any] = getattr(self.peer, "counts", {})
        return counts

    def stop(self) -> None:
        """Ends what ``start`` began."""
        self.peer.stop()


def _itself(value: Any) -> Any:
    return value


def _number(value: Any) -> float:
    number: float = value.asscalar().item()
    return number


def _values(value: Any) -> Any:
    return value.asnumpy()

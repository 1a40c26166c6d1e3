"""boardd at its defaults: what finds no room is dropped and counted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from boardd_client import SummaryWriter
from comparison.event_files import count_names
from comparison.peers.writer import WriterPeer
from comparison.workloads import HISTOGRAM_BINS

from sustained.daemon import Daemon

CLOSE_SECS = 300.0


class Peer(WriterPeer):
    """The client, and a daemon that is this process's child; its CPU counts."""

    packages = ("boardd", "grpcio", "numba")

    def __init__(self) -> None:
        #: After ``close``: what the client counted of the records of that writer.
        self.counts: dict[str, Any] = {}

    def start(self, root: Path) -> None:
        """Starts a daemon that may write beneath ``root``."""
        self._daemon = Daemon(root)

    def open(self, logdir: Path) -> None:
        """Opens a writer."""
        self.writer = SummaryWriter(str(logdir), address=self._daemon.address)

    def histograms(self, values: Mapping[str, Any], step: int) -> None:
        """Logs histograms in one call."""
        self.writer.add_histograms(values, step, bins=HISTOGRAM_BINS)

    def written(self, logdir: Path, tag: str, method: str) -> int | None:
        """How often events name ``tag``: those of several histograms do so several times."""
        return count_names(logdir, tag)

    def close(self) -> None:
        """Closes the writer, and checks its counts.

        Raises ``RuntimeError`` when not everything that was accepted was written.
        """
        result = self.writer.close(CLOSE_SECS)
        counts = self.writer.statistics()
        if not result or counts.pending or counts.rejected or counts.accepted != counts.written:
            raise RuntimeError(f"not written: {result}, {counts}")
        self.counts = {
            "accepted": counts.accepted,
            "written": counts.written,
            "dropped": dict(counts.dropped),
        }

    def stop(self) -> None:
        """Ends the daemon."""
        self._daemon.close()

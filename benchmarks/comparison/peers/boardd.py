"""boardd: its client, and a daemon of its own that is this process's child."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from boardd_client import SummaryWriter
from boardd_client.environment import Settings
from boardd_protos.frame import HEADER_BYTES

from comparison.peers.writer import WriterPeer
from comparison.processes import wait_loaded

START_SECS = 60.0
CLOSE_SECS = 120.0
PREPARATION_TAG = "comparison/preparation"
PREPARATION_BYTES = 16 << 20


class Peer(WriterPeer):
    """Reductions, encoding and files are the daemon's; its CPU counts."""

    packages = ("boardd", "grpcio", "numba")

    def start(self, root: Path) -> None:
        """Starts a daemon on a socket beneath ``root`` and waits until it has loaded all."""
        runtime = root / "runtime"
        runtime.mkdir(mode=0o700)
        path = runtime / "boardd.sock"
        self._address = f"unix:{path}"
        log = root / "daemon.log"
        with log.open("wb") as output:
            self._daemon = subprocess.Popen(
                [sys.executable, "-m", "boardd", "--socket", str(path), "--logdir-root", str(root)],
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + START_SECS
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(os.fspath(path))
                    break
                except OSError as error:
                    if self._daemon.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(f"no daemon: {log.read_text()}") from error
            time.sleep(0.02)
        wait_loaded(self._daemon.pid)

    def open(self, logdir: Path) -> None:
        """Opens a writer that waits when the others do, so that all complete the same work."""
        self.writer = SummaryWriter(str(logdir), address=self._address, on_full="block")

    def prepare(self, method: str) -> None:
        """Goes once round the ring, or the arena, so that their memory has been touched."""
        settings = Settings.from_environ(os.environ)
        if method in ("scalar", "scalars"):
            for step in range(settings.log_bytes // HEADER_BYTES + 1):
                self.writer.add_scalar(PREPARATION_TAG, 0.0, step)
        else:
            values = np.zeros(PREPARATION_BYTES, np.uint8)
            for step in range(settings.arena_bytes // PREPARATION_BYTES + 1):
                self.writer.add_histogram(PREPARATION_TAG, values, step, bins=1)
        self.flush()

    def embedding(self, tag: str, value: tuple[Any, Any], step: int) -> None:
        """Logs a matrix with labels."""
        matrix, labels = value
        self.writer.add_embedding(tag, matrix, labels, global_step=step)

    def flush(self) -> None:
        """Waits until all is written; raises when it is not."""
        result = self.writer.flush(CLOSE_SECS)
        if not result:
            raise RuntimeError(f"not written: {result}")

    def close(self) -> None:
        """Closes the writer; raises when not everything was written."""
        result = self.writer.close(CLOSE_SECS)
        if not result:
            raise RuntimeError(f"not written: {result}")

    def stop(self) -> None:
        """Ends the daemon."""
        self._daemon.terminate()
        self._daemon.wait()

"""boardd: its client, and a daemon of its own that is this process's child."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from boardd_client import SummaryWriter

from comparison.peers.writer import WriterPeer

START_SECS = 60.0
CLOSE_SECS = 120.0


class Peer(WriterPeer):
    """Reductions, encoding and files are the daemon's; its CPU counts."""

    packages = ("boardd", "grpcio", "numba")

    def start(self, root: Path) -> None:
        """Starts a daemon on a socket beneath ``root`` and waits until it listens."""
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
                    return
                except OSError as error:
                    if self._daemon.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(f"no daemon: {log.read_text()}") from error
            time.sleep(0.02)

    def open(self, logdir: Path) -> None:
        """Opens a writer that waits where others wait, so that all complete the same work."""
        self.writer = SummaryWriter(str(logdir), address=self._address, on_full="block")

    def close(self) -> None:
        """Closes the writer; raises when not everything was written."""
        result = self.writer.close(CLOSE_SECS)
        if not result:
            raise RuntimeError(f"not written: {result}")

    def stop(self) -> None:
        """Ends the daemon."""
        self._daemon.terminate()
        self._daemon.wait()

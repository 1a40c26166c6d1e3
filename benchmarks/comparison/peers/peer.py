"""What most peers have in common."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


class BasicPeer:
    """Runs nothing beside the process and needs no preparation."""

    packages: tuple[str, ...] = ()

    def start(self, root: Path) -> None:
        """Nothing runs beside the process."""

    def prepare(self, method: str) -> None:
        """The warm-up calls are enough."""

    def flush(self) -> None:
        """Nothing to hand over."""

    def stop(self) -> None:
        """Nothing to stop."""

    def versions(self) -> dict[str, str]:
        """Versions of the installed among ``packages``."""
        found = {}
        for name in (*self.packages, "numpy", "protobuf", "mxnet"):
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                continue
        return found

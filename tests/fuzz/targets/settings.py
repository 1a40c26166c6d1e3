"""A configuration file that nobody has looked over."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from boardd.errors import ConfigError
from boardd.settings.sources import load


def config(data: bytes) -> None:
    """A TOML file of settings."""
    path = _directory() / "boardd.toml"
    path.write_bytes(data)
    try:
        load(["--config", str(path)], {})
    except ConfigError:
        return


@functools.cache
def _directory() -> Path:
    return Path(tempfile.mkdtemp(prefix="boardd-fuzz-"))

"""The URLs beneath which a daemon may write, and whether it can."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from boardd_protos import remote_logdir

from boardd.errors import ConfigError
from boardd.shipping.store import obstacle

_TOP = Path("/")


def check_remote_roots(logdir_roots: Sequence[Path | str]) -> None:
    """Raises ``ConfigError`` for a root that is a URL and cannot be written to from here."""
    for root in logdir_roots:
        if isinstance(root, str) and (why := obstacle(root.partition("://")[0])):
            raise ConfigError(f"logdir root {root}: {why}")


def remote_roots(logdir_roots: Sequence[Path | str]) -> tuple[str, ...]:
    """The URLs among the roots; ``remote_logdir.ANY`` beside ``/``, which is above everything.

    So a daemon that a client has started for its user writes wherever that user may.
    """
    if _TOP in logdir_roots:
        return (remote_logdir.ANY,)
    return tuple(root for root in logdir_roots if isinstance(root, str))

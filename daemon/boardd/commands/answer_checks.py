"""Checks of whether a daemon answers, and what to do if it does not."""

from __future__ import annotations

from pathlib import Path

from boardd_protos import address
from boardd_protos.socket_owner import lock_holder

from boardd.commands.findings import Finding, fail
from boardd.errors import (
    CommandError,
    ConfigError,
    NotBoarddError,
    RefusedError,
    SilentDaemonError,
    UnauthenticatedError,
    UntrustedError,
)


def answer_finding(error: CommandError, where: address.Address) -> Finding:
    """What ``error``, of a daemon at ``where`` that was asked for its status, comes to."""
    return fail("daemon", str(error), _cure(error, where))


def _cure(error: CommandError, where: address.Address) -> str:
    if isinstance(error, UnauthenticatedError):
        return "give its token with --token-file, BOARDD_TOKEN_FILE or BOARDD_TOKEN"
    if isinstance(error, RefusedError):
        return "look again when it is less busy; its log says more"
    if isinstance(error, ConfigError):
        return "correct it"
    if isinstance(error, UntrustedError):
        return "correct the certificates or the flags that name them"
    if isinstance(error, NotBoarddError):
        return "ask another with --address, or give the daemon a socket or port of its own"
    if isinstance(error, SilentDaemonError):
        pid = lock_holder(where.path) if isinstance(where, address.UnixAddress) else None
        return _silence_cure(pid)
    return "start it, or ask another with --address"


def _silence_cure(pid: int | None) -> str:
    """What to do about a daemon that accepts connections and does not answer.

    ``pid`` is None if it cannot be seen from here.
    """
    patience = "wait, and look again with a longer --timeout"
    if pid is None:
        return f"{patience}; if it stays silent, look at it where it runs"
    if _is_stopped(pid):
        return f"it is stopped: kill -CONT {pid}"
    return f"{patience}; if it stays silent, end it with: kill {pid}"


def _is_stopped(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    # The name of the program before it may hold anything.
    return stat.rpartition(")")[2].split()[0] in ("T", "t")

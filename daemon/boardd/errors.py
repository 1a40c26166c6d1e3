"""Errors that end a ``boardd`` command, each with the exit code it means.

The command line prints the message as one line and leaves with ``exit_code``;
a traceback is for defects only.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the exit code of ``boardd`` says."""

    OK = 0
    FAILED = 1  #: could not start or go on; left at once on a second signal; still running
    USAGE = 2  #: a flag, variable, file or directory is not as it must be
    NO_DAEMON = 3  #: no daemon answers at the address
    ADDRESS_TAKEN = 4  #: another process has the socket or the port


class CommandError(Exception):
    """A command cannot go on; the message says what to do."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED


class ConfigError(CommandError):
    """A setting is wrong; correct it and start again."""

    exit_code = ExitCode.USAGE


class NoDaemonError(CommandError):
    """Nothing answers at the address; start a daemon or name another address."""

    exit_code = ExitCode.NO_DAEMON


class SilentDaemonError(NoDaemonError):
    """Something listens at the address and does not answer in time; wait, or look at it."""


class NotBoarddError(NoDaemonError):
    """What listens at the address is another program; ask another address."""


class UntrustedError(NoDaemonError):
    """The two ends do not agree on TLS; give the certificates that fit."""


class RefusedError(CommandError):
    """The daemon answers and refuses the call; its message says why."""


class UnauthenticatedError(RefusedError):
    """The daemon asks for a token and was given none, or a wrong one; give it the right one."""


class AddressTakenError(CommandError):
    """Another process serves the address; use it, stop it, or take another address."""

    exit_code = ExitCode.ADDRESS_TAKEN


def ending(error: Exception) -> tuple[str, ExitCode] | None:
    """Returns what to tell of an error that ends a command, and the exit code.

    None for a defect, of which the traceback tells.
    """
    if isinstance(error, CommandError):
        return str(error), error.exit_code
    if isinstance(error, ModuleNotFoundError):
        if error.name is None or error.name.partition(".")[0] in ("boardd", "boardd_protos"):
            return None
        why = f"the daemon needs {error.name}, which is not installed; run: pip install boardd"
        return why, ExitCode.FAILED
    if isinstance(error, OSError):
        return f"cannot go on: {error}; see to it and start again", ExitCode.FAILED
    return None

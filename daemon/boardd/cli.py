"""The ``boardd`` command: finds the command that its arguments ask for, and ends it well."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final

from boardd.commands import serve
from boardd.errors import ConfigError, ExitCode, ending

#: Each is a module of ``boardd.commands`` with ``run(arguments, environ)``.
COMMANDS: Final = ("config", "doctor", "merge", "status", "stop", "top", "view")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command that ``arguments`` (default: those of the process) ask for.

    Returns its exit code, an ``ExitCode``; 130 after Ctrl-C.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    # What gRPC's core would print is reported below, in one line.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        if given and not given[0].startswith("-"):
            return _run(given[0], given[1:])
        serve.run(given, os.environ)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of the output has left, so nothing more can be said, or flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except Exception as error:
        told = ending(error)
        if told is None:
            raise
        why, exit_code = told
        print(f"boardd: {why}", file=sys.stderr)
        return exit_code


def _run(command: str, arguments: Sequence[str]) -> int:
    if command not in COMMANDS:
        close = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ";"
        known = ", ".join(COMMANDS)
        raise ConfigError(f"unknown command {command!r}{hint} known: {known}; see boardd --help")
    module = importlib.import_module(f"boardd.commands.{command}")
    code: int = module.run(arguments, os.environ)
    return code

"""The ``boardd`` command: finds the command that its arguments ask for, and ends it well."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final

from boardd.commands import serve
from boardd.errors import CommandError, ConfigError, ExitCode

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
    except CommandError as error:
        print(f"boardd: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("boardd", "boardd_protos"):
            raise
        print(
            f"boardd: the daemon needs {error.name}, which is not installed; "
            "run: pip install boardd",
            file=sys.stderr,
        )
        return ExitCode.FAILED
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of the output has left, so nothing more can be said, or flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except OSError as error:
        print(f"boardd: cannot go on: {error}; see to it and start again", file=sys.stderr)
        return ExitCode.FAILED


def _run(command: str, arguments: Sequence[str]) -> int:
    if command not in COMMANDS:
        close = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ";"
        known = ", ".join(COMMANDS)
        raise ConfigError(f"unknown command {command!r}{hint} known: {known}; see boardd --help")
    module = importlib.import_module(f"boardd.commands.{command}")
    code: int = module.run(arguments, os.environ)
    return code

"""``boardd``: runs the daemon in the foreground."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from boardd.errors import ExitCode, ending
from boardd.host import blas_threads, log_lines

if TYPE_CHECKING:
    from boardd.commands.progress import ProgressBar
    from boardd.settings.config import Config

_logger = logging.getLogger("boardd")


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Serves until a signal or idleness ends the process.

    Raises ``CommandError``; once a log that programs read is chosen, what ends the process is a
    line of that.
    """
    from boardd.settings.sources import load

    config = load(arguments, environ)
    # The log of a daemon that a client started is quoted to people.
    chosen = "text" if config.autostarted else "auto"
    log_format = chosen if config.log_format == "auto" else config.log_format
    log_lines.configure(config.log_level, log_format, environ)
    try:
        _serve(config)
    except Exception as error:
        if not log_lines.are_for_programs():
            raise
        told = ending(error)
        if told is None:
            _logger.critical("boardd has a defect", exc_info=True)
            raise SystemExit(ExitCode.FAILED) from None
        why, exit_code = told
        _logger.critical("%s", why)
        raise SystemExit(exit_code) from None


def _serve(config: Config) -> NoReturn:
    blas_threads.limit_libraries(os.environ)
    # Only now: the kernels and gRPC take a second to import, which --help need not wait for.
    from boardd.commands.control import replace
    from boardd.host.daemon import run

    run(config, replace, _show_drain if sys.stderr.isatty() else None)


def _show_drain(records: int) -> ProgressBar:
    # Only for who looks: a daemon that nobody looks at never loads it.
    from boardd.commands.progress import ProgressBar

    return ProgressBar("boardd writes what it holds", records, "records")

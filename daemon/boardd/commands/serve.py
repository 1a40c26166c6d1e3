"""``boardd``: runs the daemon in the foreground."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from boardd.host import blas_threads

if TYPE_CHECKING:
    from boardd.commands.progress import ProgressBar


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Serves until a signal or idleness ends the process. Raises ``CommandError``."""
    from boardd.settings.sources import load

    config = load(arguments, environ)
    blas_threads.limit_libraries(os.environ)
    # Only now: the kernels and gRPC take a second to import, which --help need not wait for.
    from boardd.commands.control import replace
    from boardd.host.daemon import run

    run(config, replace, _show_drain if sys.stderr.isatty() else None)


def _show_drain(records: int) -> ProgressBar:
    # Only for who looks: a daemon that nobody looks at never loads it.
    from boardd.commands.progress import ProgressBar

    return ProgressBar("boardd writes what it holds", records, "records")

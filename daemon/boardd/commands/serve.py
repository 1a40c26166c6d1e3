"""``boardd``: runs the daemon in the foreground."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NoReturn

from boardd.host import blas_threads


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Serves until a signal or idleness ends the process. Raises ``CommandError``."""
    from boardd.settings.sources import load

    config = load(arguments, environ)
    blas_threads.limit_libraries(os.environ)
    # Only now: the kernels and gRPC take a second to import, which --help need not wait for.
    from boardd.commands.control import replace
    from boardd.host.daemon import run

    run(config, replace)

"""A daemon that awaits no kernels, since it has loaded numba: ``python -m support.kernel_daemon``."""

from __future__ import annotations

import sys

import boardd.reduce.compiled  # noqa: F401
from boardd.cli import main

if __name__ == "__main__":
    sys.exit(main())

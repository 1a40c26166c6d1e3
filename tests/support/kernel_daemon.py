"""A daemon that has loaded numba, and so awaits no kernels: ``python -m support.kernel_daemon``."""

from __future__ import annotations

import sys

import boardd.reduce.compiled  # noqa: F401
from boardd.cli import main

if __name__ == "__main__":
    sys.exit(main())

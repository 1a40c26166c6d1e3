"""What is loaded after the daemon's start, and that numba is none of it without kernels."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import asyncio, sys
from boardd.host import late_modules
from boardd.host.kernel_compiler import KernelCompiler
from boardd.reduce import readiness
from boardd.summaries import kernels

kernels.await_kernels()
compiler = KernelCompiler()
compiler.begin()
late_modules._load_gently(compiler)
assert set(late_modules.late_modules()) <= set(sys.modules)
print(readiness.are_awaited(), "numba" in sys.modules, set(kernels.MODULES) <= set(sys.modules))
"""


def loaded(**environ: str) -> str:
    """Whether kernels are still awaited, numba is loaded, and all kernels are."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def test_without_compiled_kernels_numpy_does_their_work_for_good() -> None:
    assert loaded(NUMBA_CACHE_DIR=os.devnull + "/cache") == "True False False\n"

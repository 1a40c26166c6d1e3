"""What is loaded after the daemon's start, while sessions live; and without kernels no numba."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
from boardd.host import late_modules

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


class _Loop:
    """Keeps itself, as what a run's task and its error keep."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(tmp_path)
    name = "module_of_a_late_kind"
    (tmp_path / f"{name}.py").write_text("CONTENT = [object() for _ in range(10)]\n")
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def test_what_is_in_a_cycle_while_a_module_is_loaded_is_collected_later(module: str) -> None:
    loop = _Loop()
    gone = weakref.ref(loop)
    frozen = gc.get_freeze_count()
    late_modules.load(module)
    assert module in sys.modules
    assert gc.get_freeze_count() <= frozen
    del loop
    gc.collect()
    assert gone() is None


def test_a_module_that_cannot_be_loaded_is_told(
    tmp_path: Path, module: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / f"{module}.py").write_text("raise OSError('gone')\n")
    with caplog.at_level(logging.WARNING):
        late_modules.load(module)
    assert f"{module} cannot be loaded: OSError: gone" in caplog.text


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

"""Modules that are loaded soon after the daemon has begun to serve, or when a record needs them.

To load them takes two seconds of processor time, so nobody waits for it. Once they are loaded,
the daemon does not depend on its virtual environment any more.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import pkgutil
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Final

from boardd.host import heap
from boardd.host.kernel_compiler import KernelCompiler
from boardd.summaries import kernels

_logger = logging.getLogger(__name__)

#: What only other commands need, and what numba imports itself if it is told to.
_OTHERS: Final = (
    *("boardd.__main__", "boardd.cli", "boardd.commands", "boardd.merge"),
    "boardd.host.kernel_cache",
)
#: What other packages load at their first use.
_OTHER_PACKAGES: Final = (
    "PIL.BmpImagePlugin",
    "PIL.GifImagePlugin",
    "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin",
    "PIL.PpmImagePlugin",
)

#: The largest package, by itself; and what a process has loaded that has kernels.
_NUMBA: Final = "numba"
_COMPILED: Final = "boardd.reduce.compiled"

#: The package of the daemon itself.
_PACKAGE: Final = __name__.partition(".")[0]

#: How long after the daemon's start they are loaded: its first records go first.
_DELAY_SECS: Final = 5.0
#: The pause after each of them, for whoever waits for the interpreter. Not by a low priority of
#: the thread: on a busy machine it would hold the interpreter for seconds without running.
_PAUSE_SECS: Final = 0.01


async def load_in_background() -> None:
    """Begins to load all modules, a while from now, on a thread that pauses after each.

    Kernels come last: until they are loaded NumPy does their work, which no record waits for.
    What is not compiled yet another process compiles. It ends with this task.
    """
    compiler = KernelCompiler()
    if _COMPILED not in sys.modules:
        kernels.await_kernels()
        compiler.begin()
    try:
        await asyncio.sleep(_DELAY_SECS)
        thread = threading.Thread(
            target=_load_gently, args=(compiler,), name="boardd-load", daemon=True
        )
        thread.start()
        await asyncio.Event().wait()
    finally:
        compiler.stop()


def _load_gently(compiler: KernelCompiler) -> None:
    _load(late_modules(), _PAUSE_SECS)
    if compiler.wait():
        _load(kernel_modules(), _PAUSE_SECS)
        kernels.kernels_are_there()
    heap.give_back()  # numba's compiler takes a hundred MiB, and is seldom needed again


def load_all() -> None:
    """Loads all modules; warns of those that cannot be loaded."""
    _load(late_modules(), 0.0)
    _load(kernel_modules(), 0.0)


def _load(names: Iterable[str], pause_secs: float) -> None:
    for name in names:
        if name not in sys.modules:
            load(name)
            time.sleep(pause_secs)


def load(name: str) -> None:
    """Loads a module; warns if it cannot be loaded.

    What it makes is not frozen for the collector, though to look among all modules later takes
    a while: sessions live meanwhile, and what of theirs is in a cycle would stay for ever.
    """
    try:
        importlib.import_module(name)
    except Exception as error:  # what needs it will be held up, and all else goes on
        _logger.warning("%s cannot be loaded: %s: %s", name, type(error).__name__, error)


def late_modules() -> Iterator[str]:
    """The names of all modules that a record may need, without those of kernels."""
    yield from _OTHER_PACKAGES
    package = importlib.import_module(_PACKAGE)
    for module in pkgutil.walk_packages(package.__path__, f"{_PACKAGE}."):
        if not module.name.startswith(_OTHERS) and module.name not in kernels.MODULES:
            yield module.name


def kernel_modules() -> Iterator[str]:
    """The names of the modules that import numba. Some compile what is not compiled yet."""
    yield _NUMBA
    yield from kernels.MODULES

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
from collections.abc import Iterator
from typing import Final

from boardd.host import heap
from boardd.host.kernel_compiler import KernelCompiler
from boardd.summaries import kernels

_logger = logging.getLogger(__name__)

#: What only other commands need.
_OTHER_COMMANDS: Final = ("boardd.__main__", "boardd.cli", "boardd.commands", "boardd.merge")
#: What other packages load at their first use; and the largest of them, by itself.
_OTHER_PACKAGES: Final = (
    "numba",
    "PIL.BmpImagePlugin",
    "PIL.GifImagePlugin",
    "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin",
    "PIL.PpmImagePlugin",
)

#: What loads numba, or has compiled already.
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

    Kernels that are not compiled yet are first, by another process. It ends with this task.
    """
    compiler = KernelCompiler()
    is_compiling = _COMPILED not in sys.modules and compiler.begin()
    if is_compiling:
        kernels.await_kernels()
    try:
        await asyncio.sleep(_DELAY_SECS)
        thread = threading.Thread(
            target=_load_gently, args=(compiler,), name="boardd-load", daemon=True
        )
        thread.start()
        if is_compiling:
            await asyncio.Event().wait()
    finally:
        compiler.stop()


def _load_gently(compiler: KernelCompiler) -> None:
    compiler.wait()
    load_all(_PAUSE_SECS)
    kernels.kernels_are_there()
    heap.give_back()  # numba's compiler takes a hundred MiB, and is seldom needed again


def load_all(pause_secs: float = 0.0) -> None:
    """Loads all modules, with a pause after each; warns of those that cannot be loaded."""
    for name in late_modules():
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
    """The names of all modules that a record may need."""
    yield from _OTHER_PACKAGES
    package = importlib.import_module(_PACKAGE)
    for module in pkgutil.walk_packages(package.__path__, f"{_PACKAGE}."):
        if not module.name.startswith(_OTHER_COMMANDS):
            yield module.name

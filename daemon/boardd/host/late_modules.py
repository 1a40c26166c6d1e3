"""Modules that are loaded once the daemon serves, before a record needs them.

To load them takes two seconds of processor time, so nobody waits for it. As soon as they are
loaded, the daemon does not depend on its virtual environment any more.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import pkgutil
import threading
from collections.abc import Iterator
from typing import Final

import boardd

_logger = logging.getLogger(__name__)

#: What only other commands need.
_OTHER_COMMANDS: Final = ("boardd.__main__", "boardd.cli", "boardd.commands", "boardd.merge")
#: What libraries load at their first use.
LIBRARY_MODULES: Final[tuple[str, ...]] = ()

#: The lowest priority: whoever has something to do goes first.
_NICE: Final = 19


def load_in_background() -> None:
    """Begins to load all modules on a thread of the lowest priority."""
    threading.Thread(target=_load_all, name="boardd-load", daemon=True).start()


def _load_all() -> None:
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
    for name in late_modules():
        try:
            importlib.import_module(name)
        except Exception as error:  # what needs it will be held up, and all else goes on
            _logger.warning("%s cannot be loaded: %s: %s", name, type(error).__name__, error)
    _logger.debug("all modules are loaded")


def late_modules() -> Iterator[str]:
    """The names of all modules that a record may need."""
    yield from LIBRARY_MODULES
    for module in pkgutil.walk_packages(boardd.__path__, "boardd."):
        if not module.name.startswith(_OTHER_COMMANDS):
            yield module.name

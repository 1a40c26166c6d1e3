"""Errors that say nothing of a record: what the daemon is made of cannot be loaded.

Modules are loaded when they are first needed. If the daemon's virtual environment was moved,
upgraded or removed since it started, that fails, whatever the record that needed them.
"""

from __future__ import annotations

import traceback

#: In the files of the code that loads: Python's import system, and the loader of libraries.
_LOADERS = ("<frozen importlib", "<frozen zipimport", "/ctypes/__init__.py")


def is_environment_fault(error: BaseException) -> bool:
    """Whether ``error`` was raised because a module or a library could not be loaded."""
    if isinstance(error, ImportError):
        return True
    if not isinstance(error, OSError):
        return False
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(loader in file for file in files for loader in _LOADERS)

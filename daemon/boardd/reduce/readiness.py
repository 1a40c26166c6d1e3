"""Whether compiled kernels may be called, or NumPy does their work for now.

To compile them takes many seconds of processor time on a fresh installation. The daemon has
another process do that, and meanwhile no record waits for it. Whoever says nothing here gets
kernels, compiled as they are called.
"""

from __future__ import annotations

_are_awaited = False


def await_kernels() -> None:
    """Lets NumPy do the work of kernels from now on."""
    global _are_awaited
    _are_awaited = True


def kernels_are_there() -> None:
    """Lets kernels do their work from now on."""
    global _are_awaited
    _are_awaited = False


def are_awaited() -> bool:
    """Whether NumPy does the work of kernels."""
    return _are_awaited

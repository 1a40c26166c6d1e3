"""Whether compiled loops may be called, or Python and protobuf do their work for now.

Whoever says nothing here gets the loops, compiled as they are called.
"""

from __future__ import annotations

_are_awaited = False


def await_kernels() -> None:
    """Lets Python and protobuf do the work of kernels from now on, so that none is compiled."""
    global _are_awaited
    _are_awaited = True


def kernels_are_there() -> None:
    """Lets kernels do their work from now on."""
    global _are_awaited
    _are_awaited = False


def are_awaited() -> bool:
    """Whether Python and protobuf do the work of kernels."""
    return _are_awaited

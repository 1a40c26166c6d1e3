"""Where kernels lie that were compiled beforehand: in an image, which is read only.

numba imports this if ``NUMBA_CACHE_LOCATOR_CLASSES`` names the class.
"""

from __future__ import annotations

import os
from typing import Any

import numba
from numba.core import caching

# Older versions call it private.
_Locator: Any = getattr(caching, "UserProvidedCacheLocator", None)
_Locator = _Locator or caching._UserProvidedCacheLocator


class KernelCacheLocator(_Locator):  # type: ignore[misc]  # numba has no types
    """Finds kernels below ``NUMBA_CACHE_DIR``, which numba's own does only if it can write there.

    What is missing there is compiled in each process.
    """

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> KernelCacheLocator | None:
        """The place for a function; None if none was compiled of its module."""
        if not numba.config.CACHE_DIR:
            return None
        locator = cls(py_func, py_file)
        return locator if os.path.isdir(locator.get_cache_path()) else None

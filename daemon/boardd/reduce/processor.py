"""For which processors kernels are compiled: this one, or all of a level (``NUMBA_CPU_NAME``).

A level lets kernels be compiled on one machine and run on others, as in an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import llvmlite.binding
import numba

#: LLVM's names for processors from 2009, 2013 and 2017 on, and what others may lack of them.
_ADDED: Final = {
    "x86-64-v2": ("cx16", "popcnt", "sse4.2", "ssse3"),
    "x86-64-v3": ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"),
    "x86-64-v4": ("avx512bw", "avx512cd", "avx512dq", "avx512vl"),
}


def has_level(level: str, features: Mapping[str, bool]) -> bool:
    """Whether a processor with ``features``, as LLVM calls them, has all that ``level`` stands for.

    True for a name that is none of a level.
    """
    if level not in _ADDED:
        return True
    levels = [name for name in _ADDED if name <= level]
    return all(features.get(feature, False) for name in levels for feature in _ADDED[name])


def fit_kernels() -> None:
    """Has kernels compiled for this processor if it lacks what ``NUMBA_CPU_NAME`` stands for.

    An instruction that it does not know would end the daemon.
    """
    level = numba.config.CPU_NAME
    if level and not has_level(level, llvmlite.binding.get_host_cpu_features()):
        numba.config.CPU_NAME = numba.config.CPU_FEATURES = None

"""Memory that the daemon gives back to the system when it has nothing to do.

Three things stay after work unless somebody lets go of them: Python objects that
hold each other, free memory that the C library keeps for later, and the code of
LLVM, of which numba has touched most pages while it loaded the kernels and which
is not needed again. The last are pages of a file: whoever runs into one again
reads it from the page cache.
"""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Callable, Iterator
from typing import Final

#: From malloc.h of glibc: how many separate heaps threads may have.
_M_ARENA_MAX: Final = -8

#: From asm-generic/mman-common.h.
_MADV_DONTNEED: Final = 4

#: Mapped, private, and never written: nothing is lost when such pages are let go.
_CODE: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r-xp \S+ \S+ \S+ +\S*/libllvmlite\.so")

#: Less than this is not worth a tenth of a second.
_WORTH_BYTES: Final = 8 << 20

#: Objects made and kept before the youngest are searched for cycles. A burst of records keeps
#: thousands for a moment, none of them in a cycle.
_COLLECT_AFTER: Final = 50_000


def limit_heaps() -> None:
    """Has all threads share two heaps. Before they start: each would come to keep its own peak."""
    _libc("mallopt")(_M_ARENA_MAX, 2)


def collect_seldom() -> None:
    """Has Python look for cycles less often. What is imported by now is never searched."""
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


def give_back() -> None:
    """Gives back what is not in use. Takes about a tenth of a second, with the GIL."""
    gc.collect()
    _libc("malloc_trim")(ctypes.c_size_t(0))
    madvise = _libc("madvise")
    for start, end in _compiler_code():
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)


class Keeping:
    """What the daemon keeps resident by itself, from one giving back to the next."""

    def __init__(self) -> None:
        self._kept_bytes = own_bytes()

    def give_back(self) -> None:
        """Does ``give_back``."""
        give_back()
        self._kept_bytes = own_bytes()

    def give_back_growth(self) -> bool:
        """Does ``give_back`` if that is worth its time by now. Returns whether it did."""
        if own_bytes() - self._kept_bytes < _WORTH_BYTES:
            return False
        self.give_back()
        return True


def own_bytes() -> int:
    """Resident memory of this process, less what clients share with it."""
    kibibytes = {"VmRSS": 0, "RssShmem": 0}
    with open("/proc/self/status") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name in kibibytes:
                kibibytes[name] = int(value.split()[0])
    return 1024 * (kibibytes["VmRSS"] - kibibytes["RssShmem"])


def _compiler_code() -> Iterator[tuple[int, int]]:
    with open("/proc/self/maps") as file:
        for line in file:
            if found := _CODE.match(line):
                yield int(found[1], 16), int(found[2], 16)


def _libc(name: str) -> Callable[..., object]:
    """A function of the C library; one that does nothing if the library lacks it, as musl may."""
    return getattr(ctypes.CDLL(None), name, _do_nothing)


def _do_nothing(*arguments: object) -> None:
    pass

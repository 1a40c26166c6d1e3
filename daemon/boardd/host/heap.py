"""Memory that the daemon gives back to the system when it has nothing to do.

Three things stay resident after work unless something lets go of them: Python
objects that hold each other, free memory that the C library keeps for later, and
the code of libraries. Numba touched most pages of LLVM's while it loaded the kernels,
and does not need them again. These are pages of files, so a thread that does need one
maps it anew from the page cache.
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

#: In /proc/self/smaps, a file that is mapped privately and not to be written, such as code.
_OF_FILE: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ \S+ +/")
#: Of a mapping none of whose pages was changed: letting go of them loses nothing.
_UNCHANGED: Final = re.compile(r"Anonymous: +0 kB")

#: Giving back less than this is not worth a tenth of a second.
_WORTH_BYTES: Final = 8 << 20

#: Python searches the youngest objects for cycles when this many more were made than freed. A
#: burst of records keeps thousands for a moment, none of them in a cycle.
_COLLECT_AFTER: Final = 50_000


def limit_heaps() -> None:
    """Makes all threads share two heaps, since each heap keeps its peak. Call before they start."""
    _libc("mallopt")(_M_ARENA_MAX, 2)


def collect_seldom() -> None:
    """Makes Python look for cycles less often, and never among what is there by now.

    To look among all modules takes a tenth of a second, in which nothing else goes on. Call
    before there are sessions: what is in a cycle by then is never collected.
    """
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


def give_back() -> None:
    """Gives back what is not in use. May take 0.1 s, half of it without the GIL."""
    gc.collect()
    _libc("malloc_trim")(ctypes.c_size_t(0))
    madvise = _libc("madvise")
    for start, end in _code():
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)


class Keeping:
    """The memory that the daemon keeps resident after it last gave some back."""

    def __init__(self) -> None:
        self._kept_bytes = own_bytes()

    def give_back(self) -> None:
        """Gives back what is not in use, and measures what stays."""
        give_back()
        self._kept_bytes = own_bytes()

    def give_back_growth(self) -> bool:
        """Gives back if enough has grown to be worth the time. Returns whether it did."""
        if own_bytes() - self._kept_bytes < _WORTH_BYTES:
            return False
        self.give_back()
        return True


def own_bytes() -> int:
    """Resident memory of this process in bytes, less what clients share with it."""
    kibibytes = {"VmRSS": 0, "RssShmem": 0}
    with open("/proc/self/status") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name in kibibytes:
                kibibytes[name] = int(value.split()[0])
    return 1024 * (kibibytes["VmRSS"] - kibibytes["RssShmem"])


def _code() -> Iterator[tuple[int, int]]:
    """Where pages of files are mapped that nobody has changed: first address, and past the last."""
    found = None
    with open("/proc/self/smaps") as file:
        for line in file:
            if line[0].isupper():  # of the mapping whose line came last
                if found is not None and _UNCHANGED.match(line):
                    yield int(found[1], 16), int(found[2], 16)
            else:
                found = _OF_FILE.match(line)


def _libc(name: str) -> Callable[..., object]:
    """A function of the C library; one that does nothing if the library lacks it, as musl may."""
    return getattr(ctypes.CDLL(None), name, _do_nothing)


def _do_nothing(*arguments: object) -> None:
    pass

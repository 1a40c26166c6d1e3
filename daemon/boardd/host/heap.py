"""Memory that the daemon gives back to the system when it has nothing to do.

Three things stay resident after work unless something lets go of them: Python
objects that hold each other, free memory that the C library keeps for later, and
the code of extension modules. Numba touched most pages of LLVM's while it loaded the kernels,
and does not need them again. These are pages of files, so a thread that does need one
maps it anew from the page cache.

Python unmaps no extension module. Anything else that is mapped may be unmapped by one thread, and
another one's memory lie there, before this one has let go of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Final

#: From malloc.h of glibc: how many separate heaps threads may have.
_M_ARENA_MAX: Final = -8

#: From asm-generic/mman-common.h.
_MADV_DONTNEED: Final = 4

#: In /proc/self/smaps, a file that is mapped privately and not to be written, such as code.
_OF_FILE: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ (\d+) +(/.*)\n")
#: Of a mapping none of whose pages was changed: letting go of them loses nothing.
_UNCHANGED: Final = re.compile(r"Anonymous: +0 kB")

#: The file of LLVM, which is no extension module. Once numba has the other, it is loaded for good.
_COMPILER: Final = "libllvmlite.so"
_HAS_COMPILER: Final = ("numba", "njit")

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
    """Where libraries are mapped that stay so, and unchanged: first address, and past the last."""
    lasting = _lasting_files()
    found = None
    with open("/proc/self/smaps") as file:
        for line in file:
            if line[0].isupper():  # of the mapping whose line came last
                is_code = found is not None and lasting.get(found[4]) == int(found[3])
                if found is not None and is_code and _UNCHANGED.match(line):
                    yield int(found[1], 16), int(found[2], 16)
            else:
                found = _OF_FILE.match(line)


def _lasting_files() -> dict[str, int]:
    """The inodes of libraries that are loaded for good and are still on disk, by their paths."""
    package, last = _HAS_COMPILER
    paths = set()
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        # A module is there once its library is mapped.
        if isinstance(path, str) and path.endswith(".so"):
            paths.add(os.path.realpath(path))
    if hasattr(sys.modules.get(package), last):
        directory = os.path.dirname(sys.modules["llvmlite.binding"].__file__ or "")
        paths.add(os.path.realpath(os.path.join(directory, _COMPILER)))
    inodes = {}
    for path in paths:
        with contextlib.suppress(OSError):
            inodes[path] = os.stat(path).st_ino
    return inodes


def _libc(name: str) -> Callable[..., object]:
    """A function of the C library; one that does nothing if the library lacks it, as musl may."""
    return getattr(ctypes.CDLL(None), name, _do_nothing)


def _do_nothing(*arguments: object) -> None:
    pass

"""What a daemon gives back when it has nothing to do: and that it works on afterwards."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from boardd.host import heap

PROGRAM = """
import gc
import numpy as np
from boardd.host import heap
from boardd.reduce.histogram.bins import EqualWidth
from boardd.reduce.histogram.histogram import histogram

def resident(name):
    total, inside = 0, False
    for line in open("/proc/self/smaps"):
        if line[:1].islower() or line[:1].isdigit():
            inside = name in line
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total

heap.limit_heaps()
histogram(np.ones(4), EqualWidth(2))

class Loop:
    pass

loop = Loop()
loop.itself, loop.data = loop, np.ones(1 << 20)
gc.disable()
import weakref
gone = weakref.ref(loop)
del loop
before = resident("libllvmlite")
heap.give_back()
after = resident("libllvmlite")
assert gone() is None
assert before > 0 and after < before / 2, (before, after)
values = np.arange(100_000, dtype=np.float32)
for bins in (10, 20):
    assert histogram(values, EqualWidth(bins)).counts.tolist() == [100_000 // bins] * bins
# What is compiled anew finds the compiler whole.
assert histogram(values.astype(np.float64).astype(np.int16), EqualWidth(2)).num == 100_000
import numba
assert numba.njit(lambda a, b: a * b)(6, 7) == 42
print("whole")
"""


def test_memory_is_given_back_and_all_works_on():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "whole\n", done.stderr


def resident_bytes(address: int) -> int:
    """Of the mapping that begins at ``address``."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    next(line for line in lines if line.startswith(f"{address:x}-"))
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Rss:"))


@pytest.mark.parametrize("access", [mmap.PROT_READ, mmap.PROT_READ | mmap.PROT_EXEC])
def test_what_may_be_unmapped_is_left_alone(access: int, tmp_path: Path) -> None:
    """Memory of another thread may lie there by the time that the pages are let go of."""
    path, size_bytes = tmp_path / "library.so", 64 * mmap.PAGESIZE
    path.write_bytes(bytes(size_bytes))
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), size_bytes, mmap.MAP_PRIVATE, access) as view,
    ):
        address = np.frombuffer(view, np.uint8).ctypes.data
        assert view[:: mmap.PAGESIZE] == bytes(64)
        before = resident_bytes(address)
        heap.give_back()
        assert resident_bytes(address) == before > 0


def test_a_library_whose_file_is_gone_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pages could not be had again from a server that has removed it."""
    library = Path(np.random.mtrand.__file__)
    assert str(library.resolve()) in heap._lasting_files()
    monkeypatch.setattr(np.random.mtrand, "__file__", str(tmp_path / "gone.so"))
    assert str(library.resolve()) not in heap._lasting_files()
    assert str(tmp_path / "gone.so") not in heap._lasting_files()


def test_what_clients_share_is_not_the_daemons_own():
    before = heap.own_bytes()
    shared = os.memfd_create("shared")
    try:
        os.ftruncate(shared, 32 << 20)
        with mmap.mmap(shared, 32 << 20) as view:
            view[:: mmap.PAGESIZE] = bytes(len(view) // mmap.PAGESIZE)
            assert heap.own_bytes() - before < 8 << 20
    finally:
        os.close(shared)
    own = np.ones(32 << 20, np.uint8)
    assert heap.own_bytes() - before >= len(own)


def test_growth_is_given_back_once():
    keeping = heap.Keeping()
    assert not keeping.give_back_growth()
    kept = np.ones(32 << 20, np.uint8)
    assert keeping.give_back_growth()
    assert not keeping.give_back_growth()
    assert kept[-1] == 1


def test_a_c_library_without_a_function_is_left_alone() -> None:
    assert heap._libc("no_such_function")(1) is None
